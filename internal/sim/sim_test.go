package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	seedFlag = flag.Uint64("sim.seed", 0, "play the history of this seed, and print it")
	noShrink = flag.Bool("sim.whole", false, "do not leave out steps of a failing history")
)

// histories are how many are played, and from which seed on: REMIT_SIM_HISTORIES=100000 REMIT_SIM_FROM=1.
func histories(t *testing.T) (n, from uint64) {
	n, from = 1000, 1
	if testing.Short() {
		n = 200
	}
	for name, v := range map[string]*uint64{"REMIT_SIM_HISTORIES": &n, "REMIT_SIM_FROM": &from} {
		if s := os.Getenv(name); s != "" {
			x, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatalf("%s is a number, not %q", name, s)
			}
			*v = x
		}
	}
	return n, from
}

// play runs a history in a bubble of its own, whose time is the virtual clock.
func play(t *testing.T, seed uint64, steps []Step, trace bool) (res Result) {
	dir := ""
	if seed%50 == 0 { // the disk is slow
		var err error
		if dir, err = os.MkdirTemp("", "sim"); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
	}
	synctest.Test(t, func(*testing.T) { res = Run(seed, steps, trace, dir, synctest.Wait) })
	return res
}

func report(t *testing.T, seed uint64, steps []Step, res Result) {
	t.Helper()
	if len(res.Wrong) > 0 && !*noShrink {
		steps = Shrink(steps, func(s []Step) bool { return len(play(t, seed, s, false).Wrong) > 0 })
	}
	res = play(t, seed, steps, true)
	t.Logf("seed %d, %d steps\n%s\n\nthe log:\n%s", seed, len(steps), strings.Join(res.Trace, "\n"), strings.Join(res.Log, "\n"))
	if len(res.Wrong) > 0 {
		t.Errorf("seed %d: %s\nagain: go test ./internal/sim -run TestSim -sim.seed=%d -v", seed, strings.Join(res.Wrong, "\n"), seed)
	}
}

func TestSim(t *testing.T) {
	seed := *seedFlag
	if s := os.Getenv("REMIT_SIM_SEED"); s != "" && seed == 0 {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("REMIT_SIM_SEED is a number, not %q", s)
		}
	}
	if seed != 0 {
		report(t, seed, Steps(seed), play(t, seed, Steps(seed), false))
		return
	}
	n, from := histories(t)
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // histories are short-lived
	stats := map[string]int{}
	entries := 0
	var mu sync.Mutex
	var next atomic.Uint64
	next.Store(from)
	failed := uint64(0)
	t.Run("histories", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1) - 1; seed < from+n; seed = next.Add(1) - 1 {
					res := play(t, seed, Steps(seed), false)
					mu.Lock()
					if len(res.Wrong) > 0 && (failed == 0 || seed < failed) {
						failed = seed
					}
					stop := failed != 0
					entries += len(res.Leaves)
					for k, v := range res.Stats {
						stats[k] += v
					}
					mu.Unlock()
					if stop {
						return
					}
				}
			})
		}
	})
	if failed != 0 {
		t.Logf("history %d of %d", failed-from+1, n)
		report(t, failed, Steps(failed), Result{Wrong: []string{"as found"}})
		return
	}
	t.Logf("%d histories, %d entries", n, entries)
	for _, k := range slices.Sorted(maps.Keys(stats)) {
		t.Logf("%8d %s", stats[k], k)
	}
	// Histories are worth something only if they come everywhere.
	for _, must := range []string{"killed", "restart", "cut off", "credential", "kill", "act ref", "act deploy", "act publish", "act say", "outcome done", "outcome not_applied", "outcome ambiguous",
		"access.opened", "vote.cast", "access.moved", "permit.redeemed", "attempt.recorded", "lease.intended", "lease.moved", "control.applied", "policy.installed", "person.killed",
		"agent.changed", "task.ended", "instance.ended", "clock.confirmed", "denial.repeated", "tool.declared", "decision hold TOOL_DRIFT", "decision deny TOOL_MISJUDGED", "person.invited", "key.enrolled", "key.admitted", "key.removed", "groups.shown",
		"plan hold", "plan allow", "by plan allow", "deviates hold", "plan.withdrawn", "break-glass.opened", "break-glass.reviewed", "break-glass allow", "evidence allow", "decision deny HOLD_BUDGET", "access.seen"} {
		if stats[must] == 0 && n >= 1000 {
			t.Errorf("no history came to %q", must)
		}
	}
}

// TestOneSeedIsOneHistory: a failure that is played again is the same one.
func TestOneSeedIsOneHistory(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		a, b := play(t, seed, Steps(seed), false), play(t, seed, Steps(seed), true)
		if a.Head != b.Head || len(a.Leaves) != len(b.Leaves) {
			t.Fatalf("seed %d: %d entries with head %s, and again %d with %s", seed, len(a.Leaves), a.Head, len(b.Leaves), b.Head)
		}
	}
}

// TestShrink leaves what matters.
func TestShrink(t *testing.T) {
	steps := Steps(7)
	need := []Step{steps[3], steps[len(steps)/2], steps[len(steps)-1]}
	got := Shrink(steps, func(s []Step) bool {
		return !slices.ContainsFunc(need, func(n Step) bool { return !slices.Contains(s, n) })
	})
	if fmt.Sprint(got) != fmt.Sprint(need) {
		t.Fatalf("%d steps are left of %d; want %v", len(got), len(steps), need)
	}
}
