package evidence_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// full is a log in which something speaks of nearly every control.
func full() *book {
	b := &book{}
	b.add(&remit.Genesis{Org: "acme", Origin: "remit.example/acme", Profile: remit.Team, Admins: []remit.ID{"p-1", "p-2"}})
	b.add(&remit.RulesActivated{Version: 2})
	b.add(&remit.PolicyInstalled{Bundle: remit.Hash([]byte("builtin"))})
	b.add(&remit.PersonDeclared{ID: "p-1"})
	b.add(&remit.PersonDeclared{ID: "p-2"})
	b.add(&remit.GroupDeclared{Name: "reviewers", Members: []remit.ID{"p-2"}, Asks: remit.Asks{Most: 9, Hours: 1}})
	b.add(&remit.UpstreamDeclared{Name: "forge", Type: remit.KindGitea})
	b.add(&remit.RepositoryDeclared{Name: "forge/payments", DefaultBranch: "main", Reviews: 1, Protected: []remit.Pattern{"deploy/**"}})
	b.add(&remit.EnvironmentDeclared{Name: "payments/production", Tier: "production", Approvers: []remit.Need{{Group: "reviewers", N: 2}}, Evidence: []string{remit.EvidenceBuilt}})
	b.add(&remit.AgentDeclared{Name: "coder", Function: remit.FuncCode, Owner: "p-1", Expires: 1893456000, Jobs: []remit.Job{{Issuer: "ci"}}})
	b.add(&remit.ToolDeclared{Name: "hub/comment", Zone: remit.ZoneSource, Pin: remit.Hash([]byte("pin")), Taints: []string{"issue-text"}})
	b.add(&remit.DetectionDeclared{Name: remit.DenialBurst, Suspend: true})
	b.add(&remit.BreakGlassDeclared{Name: "fire", Minutes: 10})
	b.add(&remit.NotifyDeclared{Spec: remit.Hash([]byte("channels"))})
	b.add(&remit.PolicyInstalled{Bundle: remit.Hash([]byte("ours")), By: "p-1"})
	b.add(&remit.Applied{By: "p-1", Access: "A-1"})
	b.add(&remit.TaskCreated{ID: "T-9", Requester: "p-1", Agent: "coder", Deadline: begin.Add(time.Hour).UnixNano()})
	b.add(&remit.InstanceStarted{ID: "I-1", Task: "T-9", Agent: "coder", Confinement: remit.ConfineSandbox})
	for n := range byte(40) {
		b.change(change{merge: n%2 == 0, old: n, new: n + 1, votes: map[remit.ID]remit.Assurance{"p-2": remit.AssuranceTouch}})
		b.add(&remit.Decided{Verdict: remit.Deny, Code: remit.RefOutOfScope, Agent: "coder"})
	}
	deploy := func(v remit.Verdict, access remit.ID) {
		d := &remit.Decided{Verdict: v, Access: access, Deploy: remit.Deploy{Environment: "payments/production"}, Steps: []remit.StepFacts{{Step: remit.Step{Action: "deploy.promote", Resource: "environment:payments/production"}}}}
		i := b.add(d)
		if v == remit.Allow {
			d.Permit = remit.ID(fmt.Sprintf("P-%d", i))
			b.add(&remit.Redeemed{ID: "X-1", Permit: d.Permit})
			b.add(&remit.Recorded{Attempt: "X-1", Outcome: remit.Done})
		}
	}
	deploy(remit.Hold, "A-7")
	b.add(&remit.AccessOpened{ID: "A-7", Zone: remit.ZoneProduction})
	b.add(&remit.VoteCast{Access: "A-7", Person: "p-2", Approve: true, Assurance: remit.AssuranceTouch})
	b.add(&remit.AccessMoved{Access: "A-7", To: remit.AccessMet})
	deploy(remit.Allow, "A-7")
	b.add(&remit.LeaseOpened{ID: "L-1", Task: "T-9", NotAfter: begin.Add(time.Hour).UnixNano(), Revocation: remit.RevokeImmediate})
	b.add(&remit.LeaseMoved{Lease: "L-1", To: remit.LeaseRevoking})
	b.add(&remit.LeaseMoved{Lease: "L-1", To: remit.LeaseRevoked})
	b.add(&remit.Decided{Verdict: remit.Deny, Code: remit.ToolDrift, Steps: []remit.StepFacts{{Step: remit.Step{Action: "tool.call", Resource: "tool:hub/comment"}}}})
	b.add(&remit.InstanceEnded{Instance: "I-1"})
	b.add(&remit.TaskEnded{Task: "T-9", Status: remit.TaskCompleted})
	return b
}

var end = begin.Add(time.Hour)

func (b *book) report(t *testing.T, framework string, since, until time.Time) remit.EvidenceReport {
	t.Helper()
	m, err := evidence.Load(framework)
	if err != nil {
		t.Fatal(err)
	}
	f, err := evidence.New(since, until)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range b.leaves {
		if err := f.Entry(remit.EntryIndex(i), l); err != nil {
			t.Fatal(err)
		}
	}
	r, err := f.Report(m, remit.EvidenceSettings{SecondHead: true, TokenLife: 300, SVIDLife: 900})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func control(t *testing.T, r remit.EvidenceReport, name string) remit.EvidenceControl {
	t.Helper()
	for _, c := range r.Controls {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no control %s", name)
	return remit.EvidenceControl{}
}

// TestNoClaimWithoutAnEntry: over all frameworks and several periods, a figure that is more than nothing has entries of the
// period, each of a kind that it counts, and their digest; a control of which nothing speaks is silent; and no item is in
// force of which a control is not.
func TestNoClaimWithoutAnEntry(t *testing.T) {
	b := full()
	told := 0
	for name := range counts {
		for _, p := range [][2]time.Duration{{0, time.Hour}, {time.Minute, time.Hour}, {30 * time.Second, 2 * time.Minute}, {-time.Hour, 10 * time.Second}, {30 * time.Minute, time.Hour}} {
			r := b.report(t, name, begin.Add(p[0]), begin.Add(p[1]))
			states := map[string]remit.EvidenceState{}
			for _, c := range r.Controls {
				states[c.Name] = c.State
				silent := true
				for _, x := range c.Figures {
					if x.Entries.Count > 0 {
						silent, told = false, told+1
					}
					if (x.Value > 0) && x.Entries.Count == 0 || x.Unit == remit.EvidenceCount && x.Value != int64(x.Entries.Count) || x.Entries.Count > 0 && (len(x.Entries.Listed) == 0 || x.Entries.Digest.IsZero()) {
						t.Errorf("%s, %s: %+v", c.Name, x.Name, x)
					}
					for _, i := range x.Entries.Listed {
						if at := b.leaves[i].At; at.Before(r.Since) || !at.Before(r.Until) {
							t.Errorf("%s, %s: entry %d is not of the period", c.Name, x.Name, i)
						}
					}
				}
				if silent != c.Silent {
					t.Errorf("%s is silent: %v", c.Name, c.Silent)
				}
				for _, w := range c.Why {
					for _, i := range w.Entries.Listed {
						if !b.leaves[i].At.Before(r.Until) {
							t.Errorf("%s: entry %d is of after the period", c.Name, i)
						}
					}
				}
			}
			for _, item := range r.Items {
				for _, c := range item.Controls {
					if item.State == remit.EvidenceInForce && states[c] != remit.EvidenceInForce {
						t.Errorf("%s is in force, and %s is %s", item.ID, c, states[c])
					}
				}
				if len(item.Gaps) == 0 {
					t.Errorf("%s covers all", item.ID)
				}
			}
		}
	}
	if told < 300 {
		t.Errorf("%d figures said something", told)
	}
	empty := b.report(t, "owasp-asi-2026", end.Add(-time.Second), end)
	for _, c := range empty.Controls {
		if !c.Silent {
			t.Errorf("%s speaks of a period without entries", c.Name)
		}
	}
}

// TestAControlThatIsTakenAway: each makes its control less than it was, and is said.
func TestAControlThatIsTakenAway(t *testing.T) {
	before := map[string]remit.EvidenceControl{}
	for name := range counts {
		for _, c := range full().report(t, name, begin, end).Controls {
			before[c.Name] = c
		}
	}
	for name, x := range map[string]struct {
		do   remit.Event
		want remit.EvidenceState
		says string
	}{
		"production-approval":  {&remit.EnvironmentDeclared{Name: "payments/production", Tier: "production", Evidence: []string{remit.EvidenceBuilt}}, remit.EvidenceNotInForce, "payments/production: no approvers are declared"},
		"release-evidence":     {&remit.EnvironmentDeclared{Name: "payments/production", Tier: "production"}, remit.EvidenceNotInForce, "no evidence is required"},
		"tool-admission":       {&remit.ToolDeclared{Name: "hub/**", Zone: remit.ZoneSource}, remit.EvidencePartly, "hub/**: admitted by a pattern"},
		"untrusted-input":      {&remit.ToolDeclared{Name: "hub/comment", Zone: remit.ZoneSource}, remit.EvidencePartly, "none says that its answers are untrusted"},
		"dual-control":         {&remit.GroupDeclared{Name: remit.Administrators, Members: []remit.ID{"p-1"}}, remit.EvidenceNotInForce, "one administrator"},
		"policy-bundle":        {&remit.PolicyInstalled{Bundle: remit.Hash([]byte("builtin"))}, remit.EvidencePartly, "nobody here has written one"},
		"detections":           {&remit.DetectionDeclared{Name: remit.DenialBurst}, remit.EvidencePartly, "none suspends"},
		"notification":         {&remit.NotifyDeclared{}, remit.EvidenceNotInForce, "no channel"},
		"budgets":              {&remit.GroupDeclared{Name: "reviewers"}, remit.EvidencePartly, "no group has a bound"},
		"agent-registry":       {&remit.AgentDeclared{Name: "coder", Function: remit.FuncCode, Owner: "p-1"}, remit.EvidencePartly, "coder: no day is declared"},
		"confinement":          {&remit.InstanceStarted{ID: "I-2", Agent: "coder", Confinement: remit.ConfineNone}, remit.EvidencePartly, "1 instance ran unconfined"},
		"credential-brokering": {&remit.InstanceStarted{ID: "I-2", Agent: "coder", Confinement: remit.ConfineSandbox, Ungoverned: []string{"AWS_SECRET_ACCESS_KEY"}}, remit.EvidencePartly, "handed a credential past Remit"},
		"credential-end":       {&remit.LeaseOpened{ID: "L-2", Task: "T-9", NotAfter: begin.Add(10 * time.Minute).UnixNano(), Revocation: remit.RevokeImmediate}, remit.EvidencePartly, "1 credential is in debt"},
		"break-glass":          {&remit.BreakGlassOpened{ID: "G-1", Due: begin.Add(10 * time.Minute).UnixNano()}, remit.EvidencePartly, "1 review is overdue"},
		"vote-assurance":       {&remit.VoteCast{Access: "A-9", Person: "p-2", Approve: true, Assurance: remit.AssuranceSoftware}, remit.EvidencePartly, "votes were by a key"},
		"source-record":        {&remit.RepositoryDeclared{Name: "forge/payments", DefaultBranch: "main"}, remit.EvidencePartly, "forge/payments: a merge needs no verdict"},
		"gateways":             {&remit.Found{Detection: remit.RefMoved, Entries: []remit.EntryIndex{3}}, remit.EvidencePartly, "refs moved around Remit"},
		"verifiable-log":       {&remit.LogForked{Size: 3}, remit.EvidencePartly, "went on from a backup"},
		"ci-identity":          {&remit.AgentDeclared{Name: "coder", Function: remit.FuncCode, Owner: "p-1", Expires: 1}, remit.EvidenceNotSeen, "no CI job"},
		"decision-point":       {&remit.Recorded{Attempt: "X-9", Outcome: remit.Ambiguous}, remit.EvidencePartly, "nobody can tell"},
		"revocation":           {&remit.Recorded{Attempt: "X-9", Outcome: remit.AfterRevocation}, remit.EvidencePartly, "on its way when"},
		"instance-identity":    {&remit.Found{Detection: remit.InstanceTwice, Entries: []remit.EntryIndex{3}}, remit.EvidencePartly, "two hosts"},
		"dependency-changes":   {&remit.PolicyInstalled{Bundle: remit.Hash([]byte("builtin"))}, remit.EvidencePartly, "nobody here has written"},
	} {
		if before[name].State != remit.EvidenceInForce {
			t.Errorf("%s is %s to begin with: %+v", name, before[name].State, before[name].Why)
		}
		b := full()
		b.add(x.do)
		found := false
		for framework := range counts {
			r := b.report(t, framework, begin, end)
			i := slices.IndexFunc(r.Controls, func(c remit.EvidenceControl) bool { return c.Name == name })
			if i < 0 {
				continue
			}
			found = true
			c := r.Controls[i]
			if c.State != x.want || !slices.ContainsFunc(c.Why, func(w remit.EvidenceSaid) bool { return strings.Contains(w.Text, x.says) }) {
				t.Errorf("%s is %s: %+v", name, c.State, c.Why)
			}
			for _, item := range r.Items {
				if slices.Contains(item.Controls, name) && item.State == remit.EvidenceInForce {
					t.Errorf("%s of %s is in force all the same", item.ID, framework)
				}
			}
		}
		if !found {
			t.Errorf("no framework has %s", name)
		}
	}
	for _, name := range []string{"entitlement-review", "unused-agents", "authority-scan", "policy-trials"} {
		if before[name].State == remit.EvidenceInForce {
			t.Errorf("%s is in force, and nothing says so", name)
		}
	}
}

// maker proves entries of a book, as a server does.
type maker struct {
	store      *ledgertest.Memory
	key        plainKey
	trust      ledger.Trust
	checkpoint []byte
}

type plainKey struct{ ed25519.PrivateKey }

func (k plainKey) Public() ed25519.PublicKey { return k.PrivateKey.Public().(ed25519.PublicKey) }

func (k plainKey) Sign(m []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, m), nil }

const origin = "remit.example/acme"

func (b *book) maker(t *testing.T) maker {
	t.Helper()
	m := maker{store: &ledgertest.Memory{}, key: plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}}
	key, err := ledger.VerifierKey(origin, m.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	m.trust.Verifier = key
	b.leaves[0].Event.(*remit.Genesis).Verifier = key
	var leaves [][]byte
	for _, l := range b.leaves {
		leaf, err := ledger.Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	tree, hashes := ledger.Tree{}.Append(leaves...)
	if err := m.store.Append(t.Context(), ledger.Empty(), ledger.Batch{Entries: leaves, Hashes: hashes, Next: tree.Head(0)}); err != nil {
		t.Fatal(err)
	}
	if m.checkpoint, err = ledger.SignCheckpoint(origin, tree.Head(0), m.key); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m maker) Receipt(i remit.EntryIndex) ([]byte, error) {
	return ledger.Receipt(context.Background(), m.store, i, m.checkpoint, m.trust.Verifier)
}

func (m maker) Sign(kind string, d remit.Digest) ([]byte, error) {
	return ledger.SignDigest(origin, kind, d, m.key)
}

func (m maker) pack(t *testing.T, r remit.EvidenceReport) []byte {
	t.Helper()
	f, err := evidence.Load(r.Framework.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.MakePack(f, r, m.checkpoint, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recount derives a checked pack from a log again.
func recount(t *testing.T, c evidence.Checked, b *book) error {
	t.Helper()
	again, err := c.Recount()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range b.leaves {
		if err := again.Entry(remit.EntryIndex(i), l); err != nil {
			t.Fatal(err)
		}
	}
	return again.Compare()
}

// TestPacks: each framework's pack verifies alone and with the log; a longer log changes nothing of it.
func TestPacks(t *testing.T) {
	for name := range counts {
		b := full()
		m := b.maker(t)
		c, err := evidence.OpenPack(m.pack(t, b.report(t, name, begin, end)), m.trust)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !c.Current || c.Proven < 20 {
			t.Errorf("%s: current %v, %d proven", name, c.Current, c.Proven)
		}
		b.add(&remit.Decided{Verdict: remit.Allow})
		if err := recount(t, c, b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnyByteOfAPack: no byte of a pack may change.
func TestAnyByteOfAPack(t *testing.T) {
	b := full()
	m := b.maker(t)
	pack := m.pack(t, b.report(t, "maestro", begin, end))
	r := rand.New(rand.NewPCG(1, 2))
	at := []int{0, 1, len(pack) - 1, len(pack) - 2}
	for range 120 {
		at = append(at, r.IntN(len(pack)))
	}
	for i := len(pack) - 90; i < len(pack); i++ { // the signature
		at = append(at, i)
	}
	for _, i := range at {
		changed := bytes.Clone(pack)
		changed[i] ^= 1 << r.IntN(7)
		if _, err := evidence.OpenPack(changed, m.trust); err == nil {
			t.Fatalf("byte %d changed, near %q", i, changed[max(i-20, 0):min(i+20, len(changed))])
		}
	}
	for _, cut := range [][]byte{nil, pack[:len(pack)/2], append(bytes.Clone(pack), ' '), append(bytes.Clone(pack), pack...)} {
		if _, err := evidence.OpenPack(cut, m.trust); err == nil {
			t.Fatal("what is no pack is one")
		}
	}
	other, err := ledger.VerifierKey(origin, plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))}.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.OpenPack(pack, ledger.Trust{Verifier: other}); err == nil {
		t.Error("another log's key verifies it")
	}
}

// TestLyingServer: whoever has the log's key can sign what they like, and it is found: by the pack alone where the claim
// does not fit its own entries, and by the log where it does.
func TestLyingServer(t *testing.T) {
	figure := func(r *remit.EvidenceReport, name string) *remit.EvidenceFigure {
		for i := range r.Controls {
			for j := range r.Controls[i].Figures {
				if r.Controls[i].Figures[j].Name == name {
					return &r.Controls[i].Figures[j]
				}
			}
		}
		t.Fatalf("no figure %s", name)
		return nil
	}
	for name, x := range map[string]struct {
		lie   func(*remit.EvidenceReport)
		alone string // what the pack alone shows; empty: only the log does
		log   string
	}{
		"a figure without entries": {func(r *remit.EvidenceReport) { figure(r, "glass.reviewed").Value = 3 }, "says 3, and rests on 0 entries", ""},
		"a figure of other entries": {func(r *remit.EvidenceReport) {
			x := figure(r, "glass.reviewed")
			x.Value, x.Entries = 1, remit.NewEvidenceEntries([]remit.EntryIndex{5})
		}, "and that is group.declared", ""},
		"entries that the log has not": {func(r *remit.EvidenceReport) { x := figure(r, "decisions.denied"); x.Entries.Listed[23] += 90000 }, "proving", ""},
		"a better state":               {func(r *remit.EvidenceReport) { r.Controls[0].State = remit.EvidencePartly }, "its reasons make it", ""},
		"a better item":                {func(r *remit.EvidenceReport) { r.Items[7].State = remit.EvidenceInForce }, "its controls make it", ""},
		"no gaps":                      {func(r *remit.EvidenceReport) { r.Items[3].Gaps = []string{} }, "is not as its map has it", ""},
		"an item less":                 {func(r *remit.EvidenceReport) { r.Items = r.Items[:3] }, "and its map", ""},
		"silence that speaks":          {func(r *remit.EvidenceReport) { r.Controls[0].Silent = !r.Controls[0].Silent }, "wrongly whether", ""},
		"fewer denials": {func(r *remit.EvidenceReport) {
			x := figure(r, "decisions.denied")
			x.Value, x.Entries.Count = x.Value-1, x.Entries.Count-1
		}, "", `the log says otherwise: decision-point, "denied": the pack says 40 over 40 entries, and the log 41 over 41`},
		"a shorter time":  {func(r *remit.EvidenceReport) { figure(r, "approvals.time/median").Value = 1000 }, "", "the log says otherwise"},
		"another reason":  {func(r *remit.EvidenceReport) { r.Controls[0].Why[0].Text = "it is so" }, "", "the log says otherwise: control agent-registry"},
		"another profile": {func(r *remit.EvidenceReport) { r.Profile = remit.Solo }, "", "the log says otherwise"},
		"another period":  {func(r *remit.EvidenceReport) { r.Since = r.Since.Add(-time.Hour) }, "", "the log says otherwise"},
	} {
		t.Run(name, func(t *testing.T) {
			b := full()
			m := b.maker(t)
			r := b.report(t, "owasp-asi-2026", begin.Add(2*time.Second), end)
			f, err := evidence.Load("owasp-asi-2026")
			if err != nil {
				t.Fatal(err)
			}
			x.lie(&r)
			pack, err := evidence.MakePack(f, r, m.checkpoint, m)
			var c evidence.Checked
			if err == nil {
				c, err = evidence.OpenPack(pack, m.trust)
			}
			if x.alone != "" {
				if err == nil || !strings.Contains(err.Error(), x.alone) {
					t.Errorf("the pack alone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("the pack alone: %v", err)
			}
			if err := recount(t, c, b); err == nil || !strings.Contains(err.Error(), x.log) {
				t.Errorf("with the log: %v", err)
			}
		})
	}
}

// TestOSCAL: the members that the model requires are there, ids are unique and of the right form, what refers to something
// refers to what is there, and nothing is satisfied of which nothing speaks.
func TestOSCAL(t *testing.T) {
	id := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	token := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	for name := range counts {
		r := full().report(t, name, begin, end)
		b, err := evidence.OSCAL(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := evidence.OSCAL(r); err != nil || !bytes.Equal(again, b) {
			t.Error("the same report has other bytes")
		}
		var doc map[string]map[string]any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		// What OSCAL 1.1.2 requires of each object, by its place (assessment-results JSON format reference).
		need := map[string][]string{"": {"uuid", "metadata", "import-ap", "results"}, "metadata": {"title", "last-modified", "version", "oscal-version"}, "import-ap": {"href"},
			"results": {"uuid", "title", "description", "start", "reviewed-controls"}, "reviewed-controls": {"control-selections"}, "include-controls": {"control-id"},
			"observations": {"uuid", "description", "methods", "collected"}, "relevant-evidence": {"description"}, "findings": {"uuid", "title", "description", "target"},
			"target": {"type", "target-id", "status"}, "status": {"state"}, "related-observations": {"observation-uuid"}, "props": {"name", "value"}, "resources": {"uuid"}, "rlinks": {"href"}, "hashes": {"algorithm", "value"}}
		var refs []string
		var walk func(place string, v any)
		walk = func(place string, v any) {
			switch v := v.(type) {
			case []any:
				if len(v) == 0 {
					t.Errorf("%s: %s is empty, which OSCAL does not allow", name, place)
				}
				for _, one := range v {
					walk(place, one)
				}
			case map[string]any:
				for _, m := range need[place] {
					if s, ok := v[m]; !ok || s == "" {
						t.Errorf("%s: %s lacks %s: %v", name, place, m, v)
					}
				}
				for m, one := range v {
					s, _ := one.(string)
					switch m {
					case "uuid":
						if !id.MatchString(s) || seen[s] {
							t.Errorf("%s: %s has the id %s", name, place, s)
						}
						seen[s] = true
					case "observation-uuid":
						refs = append(refs, s)
					case "control-id", "target-id", "name":
						if !token.MatchString(s) {
							t.Errorf("%s: %s %q is no token", name, m, s)
						}
					case "href":
						if rest, ok := strings.CutPrefix(s, "#"); ok {
							refs = append(refs, rest)
						}
					}
					walk(m, one)
				}
			}
		}
		walk("", doc["assessment-results"])
		for _, ref := range refs {
			if !seen[ref] {
				t.Errorf("%s: nothing has the id %s", name, ref)
			}
		}
		if n := strings.Count(string(b), `"state": "satisfied"`); n > len(r.Items) {
			t.Errorf("%d of %d are satisfied", n, len(r.Items))
		}
		quiet, err := evidence.OSCAL(full().report(t, name, end.Add(-time.Second), end))
		if err != nil || strings.Contains(string(quiet), `"state": "satisfied"`) {
			t.Errorf("%s: satisfied without an entry (%v)", name, err)
		}
	}
}

// TestPage: the page says what is missing in words, and text from declarations is text.
func TestPage(t *testing.T) {
	b := full()
	b.add(&remit.ToolDeclared{Name: "hub/<script>alert(1)</script>/**", Zone: remit.ZoneSource})
	var page bytes.Buffer
	if err := evidence.HTML(&page, b.report(t, "owasp-asi-2026", begin, end)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ASI01 Agent Goal Hijack", "Not covered:", "No evidence in this period.", "not in force", "@media print", "ASI06 Memory &amp; Context Poisoning"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(page.String(), "<script>") {
		t.Error("a name is markup")
	}
}

// FuzzPack: what is no pack of this key is refused, whatever it is.
func FuzzPack(f *testing.F) {
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":1,"map":"","report":{},"checkpoint":"","receipts":[],"signature":""}`))
	key, err := ledger.VerifierKey(origin, plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := evidence.OpenPack(b, ledger.Trust{Verifier: key}); err == nil {
			t.Fatalf("%q is a pack", b)
		}
	})
}

// TestFold: a fold takes every entry from the first one on, and counts an entry once in a figure, whatever it says twice.
func TestFold(t *testing.T) {
	f, err := evidence.New(begin, end)
	if err != nil {
		t.Fatal(err)
	}
	b := full()
	if err := f.Entry(1, b.leaves[1]); err == nil {
		t.Error("the first entry was left out")
	}
	if _, err := evidence.New(end, begin); err == nil {
		t.Error("a period ends before it begins")
	}
	tool := remit.StepFacts{Step: remit.Step{Action: "tool.call", Resource: "tool:hub/comment"}}
	before := valueOf(t, control(t, b.report(t, "owasp-asi-2026", begin, end), "tool-admission"), "tools.called")
	b.add(&remit.Decided{Verdict: remit.Allow, Steps: []remit.StepFacts{tool, tool, tool}})
	if got := valueOf(t, control(t, b.report(t, "owasp-asi-2026", begin, end), "tool-admission"), "tools.called"); got != before+1 {
		t.Errorf("%d decisions on calls, and there were %d before one more", got, before)
	}
}
