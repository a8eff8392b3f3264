package engine_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// told is a log that a forger may change before it is derived.
type told struct {
	leaves   []ledger.Leaf
	payloads map[remit.Digest][]byte
	erased   map[remit.Digest]bool
	rules    *world.Rules
}

// find gives the first entry of a kind that fits.
func find[E remit.Event](t *testing.T, l *told, fits func(E) bool) int {
	t.Helper()
	for i, leaf := range l.leaves {
		if e, ok := leaf.Event.(E); ok && fits(e) {
			return i
		}
	}
	t.Fatalf("the log has no %T that fits", *new(E))
	return 0
}

func (l *told) derive(t *testing.T) (engine.Meaning, error) {
	d := &engine.Deriver{Policies: l.rules,
		Payload: func(c remit.Digest) ([]byte, error) {
			if l.erased[c] {
				return nil, ledger.ErrErased
			}
			b, ok := l.payloads[c]
			if !ok {
				return nil, ledger.ErrNotFound
			}
			return b, nil
		},
		Blob: func(remit.Digest) ([]byte, error) { return nil, ledger.ErrNotFound }}
	for i, leaf := range l.leaves {
		if err := d.Entry(t.Context(), remit.EntryIndex(i), leaf); err != nil {
			return engine.Meaning{}, err
		}
	}
	return d.Finish(t.Context())
}

// story is a log with an allow, denials of rules and of the clock's kind, a hold, votes, a claim and outcomes.
func story(t *testing.T) *told {
	t.Helper()
	store := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: store})
	slow := c.Rules.Add(world.Rule{Name: "slow", Says: func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action == "probe.write" {
			return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyTimeout, Rules: []string{"remit.any"}, Sentence: "late", Limit: true}
		}
		return authority.Finding{Verdict: remit.Allow}
	}})
	c.Set.Policy = slow
	do(t, c, &authority.ApplySet{By: "p-ada", Set: c.Set})
	canary, coder := launch(t, c, "canary"), launch(t, c, "coder")
	if err := c.Engine.Record(t.Context(), redeem(t, c, allow(t, c, world.Ask(canary, "probe.read"))), remit.Done, "", []byte("ok"), ""); err != nil {
		t.Fatal(err)
	}
	ask(t, c, world.Ask(canary, "probe.write"))
	ask(t, c, world.Ask(canary, "source.read"))
	req := world.Push(coder, "fix", "1", "deploy/prod.yaml")
	held := ask(t, c, req)
	if err := c.Vote(t.Context(), held.Access, "rio", true); err != nil {
		t.Fatal(err)
	}
	if err := c.Engine.Record(t.Context(), redeem(t, c, allow(t, c, world.Claim(held.Access, req))), remit.Done, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	do(t, c, &authority.EndTask{By: "p-mia", Task: coder.Task, Status: remit.TaskCompleted})
	// From here on the policy is quick: what it said before is not derived from it.
	c.Rules.Add(world.Rule{Name: "slow", Says: world.Nothing.Says})
	l := &told{payloads: map[remit.Digest][]byte{}, erased: map[remit.Digest]bool{}, rules: c.Rules}
	for e, err := range store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := ledger.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		l.leaves = append(l.leaves, leaf)
		if p, err := store.Payload(t.Context(), leaf.Command); err == nil {
			l.payloads[leaf.Command] = p.Body
		}
	}
	return l
}

func TestATrueLogIsDerivedWhole(t *testing.T) {
	l := story(t)
	m, err := l.derive(t)
	if err != nil || len(m.Wrong) > 0 || m.Limits != 1 || m.Bound != 0 || m.Entries != len(l.leaves) {
		t.Fatalf("%+v %v", m, err)
	}
}

func TestAForgedLogIsWrong(t *testing.T) {
	decided := func(v remit.Verdict, code remit.Code) func(*remit.Decided) bool {
		return func(d *remit.Decided) bool { return d.Verdict == v && d.Code == code }
	}
	for name, forge := range map[string]func(t *testing.T, l *told){
		"a deny that became an allow": func(t *testing.T, l *told) {
			d := l.leaves[find(t, l, func(d *remit.Decided) bool { return d.Verdict == remit.Deny && d.Task != "" })].Event.(*remit.Decided)
			d.Verdict, d.Code, d.Rules, d.Permit, d.Hash, d.NotAfter = remit.Allow, "", nil, "P-forged", remit.Hash(nil), time.Now().Add(time.Hour).UnixNano()
		},
		"a deny of class limit that became an allow": func(t *testing.T, l *told) {
			d := l.leaves[find(t, l, decided(remit.Deny, remit.PolicyTimeout))].Event.(*remit.Decided)
			d.Verdict, d.Permit, d.Hash, d.NotAfter = remit.Allow, "P-forged", remit.Hash(nil), time.Now().Add(time.Hour).UnixNano()
		},
		"more behind a deny of class limit": func(t *testing.T, l *told) {
			i := find(t, l, decided(remit.Deny, remit.PolicyTimeout))
			l.leaves = append(l.leaves[:i+1:i+1], ledger.Leaf{At: l.leaves[i].At, Event: &remit.DenialRepeated{Entry: 1, Count: 1}})
		},
		"another task in a deny of class limit": func(t *testing.T, l *told) {
			l.leaves[find(t, l, decided(remit.Deny, remit.PolicyTimeout))].Event.(*remit.Decided).Task = ""
		},
		"an allow that became a deny": func(t *testing.T, l *told) {
			d := l.leaves[find(t, l, decided(remit.Allow, ""))].Event.(*remit.Decided)
			d.Verdict, d.Code, d.Permit = remit.Deny, remit.PolicyDenied, ""
			l.leaves = l.leaves[:find(t, l, func(*remit.Redeemed) bool { return true })]
		},
		"a longer life of a permit": func(t *testing.T, l *told) {
			l.leaves[find(t, l, decided(remit.Allow, ""))].Event.(*remit.Decided).NotAfter++
		},
		"an event with a time of its own": func(t *testing.T, l *told) {
			i := find(t, l, func(*remit.TaskEnded) bool { return true })
			l.leaves[i].At = l.leaves[i].At.Add(time.Hour)
		},
		"another voter": func(t *testing.T, l *told) {
			l.leaves[find(t, l, func(*remit.VoteCast) bool { return true })].Event.(*remit.VoteCast).Person = "p-noa"
		},
		"an outcome": func(t *testing.T, l *told) {
			l.leaves[find(t, l, func(*remit.Recorded) bool { return true })].Event.(*remit.Recorded).Outcome = remit.NotApplied
		},
		"another command": func(t *testing.T, l *told) {
			i := find(t, l, func(*remit.VoteCast) bool { return true })
			j := find(t, l, func(*remit.Recorded) bool { return true })
			l.payloads[l.leaves[i].Command] = l.payloads[l.leaves[j].Command]
		},
		"a command that cannot be read": func(t *testing.T, l *told) {
			l.payloads[l.leaves[find(t, l, decided(remit.Allow, ""))].Command] = []byte(`{"command":"kill","body":{"Whom":1}}`)
		},
		"a command that is missing and was not erased": func(t *testing.T, l *told) {
			delete(l.payloads, l.leaves[find(t, l, decided(remit.Allow, ""))].Command)
		},
		"a blob that is missing": func(t *testing.T, l *told) {
			l.payloads[l.leaves[find(t, l, decided(remit.Allow, ""))].Command] = fmt.Appendf(nil, `{"blob":%q}`, remit.Hash(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := story(t)
			forge(t, l)
			if m, err := l.derive(t); err == nil && len(m.Wrong) == 0 {
				t.Fatalf("it was not noticed: %+v", m)
			} else if len(m.Wrong) > 0 && !strings.HasPrefix(m.Wrong[0], "entry ") {
				t.Fatal(m.Wrong[0])
			}
		})
	}
}

// TestARemovedVoteIsNoticed: what it met was met by nobody.
func TestARemovedVoteIsNoticed(t *testing.T) {
	l := story(t)
	i := find(t, l, func(*remit.VoteCast) bool { return true })
	l.leaves = slices.Delete(l.leaves, i, i+1)
	if m, err := l.derive(t); err == nil && len(m.Wrong) == 0 {
		t.Fatalf("it was not noticed: %+v", m)
	}
}

func TestAnErasedCommandIsBound(t *testing.T) {
	l := story(t)
	i := find(t, l, func(d *remit.Decided) bool { return d.Verdict == remit.Hold })
	l.erased[l.leaves[i].Command] = true
	if m, err := l.derive(t); err != nil || len(m.Wrong) != 1 || m.Bound != 1 {
		t.Fatalf("no entry says that it was erased: %+v %v", m, err)
	}
	// The command of the erasure is gone as well, and is bound by its own entry.
	own, last := remit.Hash([]byte("erasure")), l.leaves[len(l.leaves)-1]
	l.erased[own] = true
	l.leaves = append(l.leaves, ledger.Leaf{At: last.At, Command: own, Event: &remit.PayloadsErased{By: "p-ana", Payloads: []remit.Digest{l.leaves[i].Command, own}, Reason: own}})
	m, err := l.derive(t)
	at := remit.EntryIndex(len(l.leaves) - 1)
	if err != nil || len(m.Wrong) > 0 || m.Bound != 2 || !slices.Equal(m.Erased[at], []remit.EntryIndex{remit.EntryIndex(i), at}) {
		t.Fatalf("%+v %v", m, err)
	}
	if m, err := (&engine.Deriver{}).Finish(t.Context()); err == nil {
		t.Fatalf("an empty log has a meaning: %+v", m)
	}
}

func TestTryShowsWhatAnotherPolicyWouldHaveDone(t *testing.T) {
	c := open(t, world.CoreOptions{})
	canary, coder := launch(t, c, "canary"), launch(t, c, "coder")
	early := ask(t, c, world.Ask(canary, "probe.read"))
	c.Clock.Advance(time.Hour)
	since := c.Clock.Now()
	d := ask(t, c, world.Ask(canary, "probe.read"))
	ask(t, c, world.Ask(canary, "source.read")) // denied by the rules, whatever a policy says
	ask(t, c, world.Ask(canary, "probe.privileged"))
	preview := world.Push(coder, "fix", "1", "x")
	preview.Preview, preview.Refs[0].Ref = true, "refs/heads/main"
	ask(t, c, preview)
	strict := world.Rule{Name: "strict", Says: func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action != "probe.read" {
			return authority.Finding{Verdict: remit.Allow}
		}
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"no.reading"}, Sentence: "nobody reads",
			Observed: []remit.Observation{{Rule: "on.trial", Verdict: remit.Hold, Text: "t"}}}
	}}
	before := encoded(c.Engine)
	tried, err := c.Engine.Try(t.Context(), engine.Trial{Policy: strict, Since: since})
	diffs, judged := tried.Differences, tried.Judged
	if err != nil || judged != 3 || len(diffs) != 1 {
		t.Fatalf("%d judged, %+v, %v", judged, diffs, err)
	}
	got := diffs[0]
	if got.Entry != d.Entry || got.Was != remit.Allow || got.Would != remit.Deny || !slices.Equal(got.Rules, []string{"no.reading"}) || got.Agent != "canary" {
		t.Fatalf("%+v", got)
	}
	tried, err = c.Engine.Try(t.Context(), engine.Trial{Policy: strict})
	diffs, judged = tried.Differences, tried.Judged
	if want := []remit.TryObserved{{Rule: "on.trial", Verdict: remit.Hold, Requests: 2}}; !slices.Equal(tried.Observed, want) {
		t.Fatalf("%+v", tried.Observed)
	}
	if err != nil || judged != 4 || len(diffs) != 2 || diffs[0].Entry != early.Entry {
		t.Fatalf("%d judged, %+v, %v", judged, diffs, err)
	}
	if tried, err := c.Engine.Try(t.Context(), engine.Trial{Policy: world.Nothing}); err != nil || len(tried.Differences) != 0 {
		t.Fatalf("the policy in force differs from itself: %+v %v", diffs, err)
	}
	if !bytes.Equal(before, encoded(c.Engine)) {
		t.Fatal("trying changed something")
	}
}

func TestALargeCommandIsABlobBeforeItIsAnEntry(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "coder")
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("some/long/directory/file-%d.go", i))
	}
	d := ask(t, c, world.Push(caller, "big", "1", paths...))
	_, cmd, err := c.Engine.Entry(t.Context(), d.Entry)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := cmd.(*authority.Authorize); !ok || len(a.Request.Refs[0].Paths) != len(paths) {
		t.Fatalf("%T", cmd)
	}
	n := 0
	for _, err := range c.Config.Blobs.List(t.Context()) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 {
		t.Fatalf("%d blobs", n)
	}
	check(t, c)
	if err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutSpaceForItsBlobALargeCommandIsDenied(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "coder")
	c.Engine.Close()
	cfg := c.Config
	blobs, err := ledger.OpenBlobDir(filepath.Join(t.TempDir(), "blobs"), ledger.BlobOptions{Quota: 1})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Blobs = blobs
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before, _ := cfg.Store.Head(t.Context())
	_, err = e.Authorize(t.Context(), world.Push(caller, "big", "1", strings.Fields(strings.Repeat("p ", 2000))...))
	coded(t, err, remit.NoSpace)
	if after, _ := cfg.Store.Head(t.Context()); after != before {
		t.Fatal("there is an entry for what is not kept")
	}
	if d, err := e.Authorize(t.Context(), world.Push(caller, "small", "1", "p")); err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%+v %v", d, err)
	}
}
