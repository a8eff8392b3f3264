package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// breaks are rules of the house with one line of them changed. The simulator must notice each within some thousand
// histories: what it cannot notice, it does not test.
var breaks = []struct{ file, what, old, new string }{
	{"authority/closure.go", "R3: the closure may vote", "own := slices.Contains(e.closure, p)", "own := false"},
	{"authority/closure.go", "R6: software votes on production", "return e.zone == remit.ZoneProduction && e.s.Profile != remit.Demo", "return false"},
	{"authority/apply.go", "R8: a permit is good twice", "delete(s.Permits, e.Permit)\n\t\ts.Attempts", "s.Attempts"},
	{"authority/apply.go", "R6: an approval is not reserved", "s.moveAccess(a, remit.AccessReserved, \"\")", ""},
	{"authority/state.go", "R8: a permit outlives what it rests on", "return s.TaskLive(p.Task, t) && s.launcherLive(p.Launcher) && (p.Executor != \"\" || s.InstanceLive(p.Instance, t))", "return true"},
	{"authority/authorize.go", "R2: an instance acts that has ended", "if !s.InstanceLive(i.ID, now) {", "if false {"},
	{"authority/authorize.go", "R1: the scope is not looked at", "if l.scope != \"\" {", "if false {"},
	{"authority/authorize.go", "R4: an effect in production passes", "case s.zoneOf(l.info, st.Resource) == remit.ZoneProduction:\n\t\td.hold", "case false:\n\t\td.hold"},
	{"authority/authorize.go", "R3: an author merges", "s.wrote(agent, l.facts) {", "false {"},
	{"authority/ending.go", "R2: children are not ended", "if e.s.Tasks[child].Parent == id {", "if false {"},
	{"authority/hold.go", "R8: done after revocation", "if out == remit.Done && (", "if false && ("},
	{"authority/hold.go", "R6: another effect than was approved", "if effect != a.Effect {", "if false {"},
	{"authority/hold.go", "R6: votes are not counted at redeem", "el := s.electorateOf(a, now); !el.met(s.standing(a, el)) {\n\t\t\treturn nil, Result{}", "el := s.electorateOf(a, now); false && !el.met(s.standing(a, el)) {\n\t\t\treturn nil, Result{}"},
	{"authority/hold.go", "R2: a permit never expires", "if now >= p.NotAfter {", "if false {"},
	{"authority/lease.go", "R4: a credential of another zone", "if zone == remit.ZoneNone || serves != zone {", "if false {"},
	{"authority/authorize.go", "R4: a build with secrets runs anything", "\t\tif l.facts.Runs {", "\t\tif false {"},
	{"authority/decide.go", "R5: a grant is what was asked for", "grant, err := intersect(c.Scope, a.Entitlements, id)", "grant, err := c.Scope, error(nil)\n\tif len(grant) == 0 {\n\t\tgrant, err = intersect(c.Scope, a.Entitlements, id)\n\t}"},
	{"authority/tool.go", "R6: another definition passes", "pinned && r.Tool.Pin != t.Pin {", "false && pinned {"},
	{"authority/tool.go", "R1: a label is lost", "out = append(out, t.Taints...)", "_ = t"},
	{"authority/plan.go", "R6: a plan passes whatever its votes are", "d.zone, now); !el.met(s.standing(s.Accesses[c.in.Access], el)) {", "d.zone, now); false && !el.met(s.standing(s.Accesses[c.in.Access], el)) {"},
	{"authority/plan.go", "R6: a step of a plan is used again and again", "\t\tf.Used[i]++\n", "\t\t_ = i\n"},
	{"authority/internal/plan/plan.go", "R6: a plan covers other refs", "if !slices.ContainsFunc(refs, covers) {", "if false {"},
	{"authority/breakglass.go", "R6: break-glass lets anything pass", "return code == \"\" && l.child == nil", "return code != \"?\" && l.child == nil"},
	{"authority/evidence.go", "R6: a reviewer who rejects is not heard", "\t\tcase !v.Approve:\n\t\t\treturn nil\n", ""},
	{"authority/enrol.go", "control: a key by invitation waits for nobody", "if _, ok := el.fillable(); ok {", "if _, ok := el.fillable(); false && ok {"},
	{"authority/groups.go", "R3: a provider makes voters on what is asked already", "return x.Since < e.made && (", "return ("},
	{"authority/seen.go", "R3: anybody has seen it", "case s.electorateOf(a, now).whyNot(c.Person) != \"\":", "case false:"},
	{"executor/executor.go", "R7: nothing is reconciled at start", "\tvar failed []error\n\tfor _, o := range open {", "\tvar failed []error\n\tfor _, o := range open[:0] {"},
	{"gateway/gateway.go", "R8: it is sent although it was revoked", "\tcase <-revoked:\n\t\treturn unsent", "\tcase <-make(chan struct{}):\n\t\treturn unsent"},
	{"engine/live.go", "R8: the engine cuts nothing", "e.end(e.committed, leaves[len(leaves)-1].At)\n\t\t\treturn", "return"},
	{"engine/live.go", "R8: a redemption is taken twice", "\tu.redemption = nil\n\treturn r, nil", "\treturn r, nil"},
	{"engine/writer.go", "R7: it is acknowledged before it is durable", "\t\tdefault:\n\t\t\treturn e.fail(jobs, err)", "\t\tcase errors.Is(err, ledger.ErrUnknown):\n\t\t\tanswer(jobs[:g.taken], nil)\n\t\t\tjobs = jobs[g.taken:]\n\t\tdefault:\n\t\t\treturn e.fail(jobs, err)"},
}

var found = regexp.MustCompile(`history (\d+) of`)

// TestBreaksAreFound breaks the house in each way, in a build of its own, and plays histories until that shows.
func TestBreaksAreFound(t *testing.T) {
	if os.Getenv("REMIT_MUTANTS") != "1" {
		t.Skip("this builds the simulator once for each break, which takes minutes; REMIT_MUTANTS=1 runs it")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaks {
		t.Run(b.what, func(t *testing.T) {
			path := filepath.Join(root, filepath.FromSlash(b.file))
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), b.old); n != 1 {
				t.Fatalf("%q stands %d times in %s; a break changes one place", b.old, n, b.file)
			}
			dir := t.TempDir()
			changed, overlay, bin := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
			replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			for name, body := range map[string]string{changed: strings.Replace(string(source), b.old, b.new, 1), overlay: string(replace)} {
				if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, ".").CombinedOutput(); err != nil {
				t.Fatalf("it does not compile: %v\n%s", err, out)
			}
			run := exec.CommandContext(t.Context(), bin, "-test.run", "^TestSim$", "-test.v", "-sim.whole")
			run.Env = append(os.Environ(), "REMIT_SIM_HISTORIES=5000", "REMIT_SIM_FROM=1", "REMIT_SIM_SEED=")
			out, err := run.CombinedOutput()
			at := found.FindSubmatch(out)
			if err == nil || at == nil {
				t.Fatalf("5,000 histories do not show it: %v", err)
			}
			t.Logf("history %s", at[1])
		})
	}
}
