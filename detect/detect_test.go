package detect

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// log is a log made by hand.
type log struct {
	entries []Entry
	now     time.Time
}

func (l *log) add(e remit.Event) remit.EntryIndex {
	i := remit.EntryIndex(len(l.entries))
	l.entries = append(l.entries, Entry{Index: i, At: l.now, Event: e})
	return i
}

func (l *log) wait(d time.Duration) { l.now = l.now.Add(d) }

func begin() *log { return &log{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

// deny is a denial of a task's step.
func (l *log) deny(task remit.ID, code remit.Code, action remit.Action, on remit.Resource) remit.EntryIndex {
	return l.add(&remit.Decided{Verdict: remit.Deny, Code: code, Task: task, Agent: "coder", Instance: "I-" + task,
		Steps: []remit.StepFacts{{Step: remit.Step{Action: action, Resource: on}}}})
}

func (l *log) allow(task remit.ID, action remit.Action, on remit.Resource) remit.EntryIndex {
	return l.add(&remit.Decided{Verdict: remit.Allow, Task: task, Agent: "coder", Instance: "I-" + task,
		Steps: []remit.StepFacts{{Step: remit.Step{Action: action, Resource: on}}}})
}

// found folds the log whole; and again as two processes would, the second of which begins anew and says only what lies
// after what the first one has said: the same findings must come out.
func (l *log) found(t *testing.T) []Finding {
	t.Helper()
	fold := func(entries []Entry) (all []Finding) {
		d := New()
		for _, e := range entries {
			all = append(all, d.Fold(e)...)
		}
		return all
	}
	whole := fold(l.entries)
	for _, f := range whole {
		if !slices.Contains(remit.DetectionNames(), f.Detection) || len(f.Entries) == 0 || len(f.Entries) > MaxEntries || !slices.IsSorted(f.Entries) || f.Count < len(f.Entries) {
			t.Errorf("a finding that names nothing: %+v", f)
		}
	}
	for cut := range l.entries {
		before := fold(l.entries[:cut])
		var after []Finding
		for _, f := range fold(l.entries) {
			if f.Last() >= remit.EntryIndex(cut) {
				after = append(after, f)
			}
		}
		if got := append(before, after...); !reflect.DeepEqual(got, whole) && len(got)+len(whole) > 0 {
			t.Fatalf("restarted at %d:\n%+v\ninstead of\n%+v", cut, got, whole)
		}
	}
	return whole
}

// one asks for exactly one finding of a detection.
func one(t *testing.T, l *log, detection string) Finding {
	t.Helper()
	all := l.found(t)
	if len(all) != 1 || all[0].Detection != detection {
		t.Fatalf("found %+v, want one %s", all, detection)
	}
	return all[0]
}

func nothing(t *testing.T, l *log) {
	t.Helper()
	if all := l.found(t); len(all) > 0 {
		t.Fatalf("found %+v", all)
	}
}

func TestDenialBurst(t *testing.T) {
	denials := func(n int, every time.Duration, tasks ...remit.ID) *log {
		l := begin()
		for i := range n {
			l.deny(tasks[i%len(tasks)], remit.PolicyDenied, "probe.write", "probe:a")
			l.wait(every)
		}
		return l
	}
	f := one(t, denials(BurstCount, time.Second, "T-1"), remit.DenialBurst)
	if f.Count != BurstCount || f.Agent != "coder" || f.Task != "T-1" || f.Instance != "I-T-1" || f.Last() != BurstCount-1 || len(f.Entries) != MaxEntries {
		t.Errorf("%+v", f)
	}
	one(t, denials(3*BurstCount, time.Second, "T-1"), remit.DenialBurst) // that goes on is one
	nothing(t, denials(BurstCount-1, time.Second, "T-1"))
	nothing(t, denials(2*BurstCount-2, time.Second, "T-1", "T-2"))
	nothing(t, denials(3*BurstCount, BurstTime/(BurstCount-2), "T-1")) // too slow
	l := denials(BurstCount, time.Second, "T-1")
	l.wait(BurstTime + time.Minute)
	l.entries = append(l.entries, shift(denials(BurstCount, time.Second, "T-1"), l)...)
	if all := l.found(t); len(all) != 2 {
		t.Errorf("two bursts are %+v", all)
	}

	l = begin() // a loop over one request: one entry, and its repeats
	first := l.deny("T-1", remit.OutOfScope, "probe.write", "probe:a")
	l.wait(time.Minute)
	l.add(&remit.DenialRepeated{Entry: first, Count: BurstCount - 2})
	nothing(t, l)
	l.deny("T-1", remit.OutOfScope, "probe.write", "probe:a")
	one(t, l, remit.DenialBurst)
	l = begin() // busy, and never refused
	for range 2 * BurstCount {
		l.allow("T-1", "probe.read", "probe:a")
	}
	nothing(t, l)
	l = begin()
	l.add(&remit.DenialRepeated{Entry: 99, Count: 1000}) // of what this log does not have
	l.add(&remit.DenialRepeated{Entry: 99, Count: -1000})
	nothing(t, l)
}

// shift puts the entries of m behind those of l.
func shift(m, l *log) []Entry {
	by := l.now.Sub(m.entries[0].At)
	for i := range m.entries {
		m.entries[i].At, m.entries[i].Index = m.entries[i].At.Add(by), remit.EntryIndex(len(l.entries)+i)
	}
	return m.entries
}

func TestProbing(t *testing.T) {
	tries := func(n int, every time.Duration, code remit.Code, names ...string) *log {
		l := begin()
		for i := range n {
			l.deny("T-1", code, "source.read", remit.Resource("repo:forge/"+names[i%len(names)]))
			l.wait(every)
		}
		return l
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprint("r", i)
	}
	f := one(t, tries(ProbeTargets, time.Minute, remit.OutOfScope, many...), remit.Probing)
	if f.Count != ProbeTargets || f.Task != "T-1" || f.Last() != ProbeTargets-1 {
		t.Errorf("%+v", f)
	}
	one(t, tries(2*ProbeTargets, time.Minute, remit.CrossesBoundary, many...), remit.Probing)
	nothing(t, tries(ProbeTargets-1, time.Minute, remit.OutOfScope, many...))
	nothing(t, tries(ProbeTargets, time.Minute, remit.PolicyDenied, many...))     // inside, and refused all the same
	nothing(t, tries(2*ProbeTargets, time.Minute, remit.OutOfScope, many[:2]...)) // a mistake that is repeated
	nothing(t, tries(2*ProbeTargets, ProbeTime/(ProbeTargets-2), remit.OutOfScope, many...))
	l := tries(ProbeTargets-1, time.Minute, remit.OutOfScope, many...)
	l.add(&remit.TaskEnded{Task: "T-1"})
	l.deny("T-1", remit.OutOfScope, "source.read", "repo:forge/last")
	nothing(t, l)
	l = begin() // held, because the intent does not cover it
	for i := range ProbeTargets {
		l.add(&remit.Decided{Verdict: remit.Hold, Code: remit.OutOfEnvelope, Task: "T-1", Agent: "coder",
			Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:forge/a"}, Ref: fmt.Sprint("refs/heads/", i)}}})
	}
	one(t, l, remit.Probing)
}

func TestInstanceTwice(t *testing.T) {
	start := func(l *log, id, task remit.ID, host string) remit.EntryIndex {
		return l.add(&remit.InstanceStarted{ID: id, Task: task, Agent: "coder", Launcher: "P-1", Host: remit.Hash([]byte(host))})
	}
	l := begin()
	start(l, "I-1", "T-1", "laptop")
	start(l, "I-2", "T-1", "laptop")
	start(l, "I-3", "T-2", "elsewhere")
	nothing(t, l)
	start(l, "I-4", "T-1", "elsewhere")
	if f := one(t, l, remit.InstanceTwice); f.Count != 3 || f.Agent != "coder" || f.Task != "T-1" || f.Instance != "I-4" || fmt.Sprint(f.Entries) != "[0 1 3]" {
		t.Errorf("%+v", f)
	}
	l = begin() // one after the other
	start(l, "I-1", "T-1", "laptop")
	l.add(&remit.InstanceEnded{Instance: "I-1"})
	start(l, "I-2", "T-1", "elsewhere")
	nothing(t, l)
	l = begin() // CI runners
	for i := range 2 {
		l.add(&remit.InstanceStarted{ID: remit.ID(fmt.Sprint("I-", i)), Task: "T-1", Agent: "builder", Issuer: "forge", Host: remit.Hash(fmt.Append(nil, i))})
	}
	start(l, "I-9", "T-1", "laptop") // beside a person
	nothing(t, l)

	for name, end := range map[string]remit.Event{"ended": &remit.InstanceEnded{Instance: "I-T-1"}, "task ended": &remit.TaskEnded{Task: "T-1"}} {
		l = begin()
		start(l, "I-T-1", "T-1", "laptop")
		l.add(end)
		l.wait(EndGrace)
		l.allow("T-1", "probe.read", "probe:a") // under way when it ended
		nothing(t, l)
		l.wait(time.Second)
		last := l.allow("T-1", "probe.read", "probe:a")
		l.allow("T-1", "probe.read", "probe:b")
		if f := one(t, l, remit.InstanceTwice); fmt.Sprint(f.Entries) != fmt.Sprint([]remit.EntryIndex{1, last}) || f.Count != 2 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestOutsideHours(t *testing.T) {
	// days of work from nine to five, at the request of one person, then an hour of another task of theirs.
	days := func(n int) *log {
		l := begin()
		for i := range n {
			l.now = time.Date(2026, 3, 2+i, 9, 0, 0, 0, time.UTC)
			task := remit.ID(fmt.Sprint("T-", i))
			l.add(&remit.TaskCreated{ID: task, Requester: "P-1", Agent: "coder"})
			for range 9 {
				l.allow(task, "probe.read", "probe:a")
				l.wait(time.Hour)
			}
			l.add(&remit.TaskEnded{Task: task})
		}
		return l
	}
	at := func(l *log, hour int, person remit.ID) *log {
		l.now = l.now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Duration(hour)*time.Hour)
		l.add(&remit.TaskCreated{ID: "T-x", Requester: person, Agent: "coder"})
		l.allow("T-x", "probe.read", "probe:a")
		l.allow("T-x", "probe.read", "probe:a")
		return l
	}
	f := one(t, at(days(HoursDays), 3, "P-1"), remit.OutsideHours)
	if f.Task != "T-x" || f.Agent != "coder" || f.Instance != "I-T-x" {
		t.Errorf("%+v", f)
	}
	nothing(t, at(days(HoursDays-1), 3, "P-1")) // too little is known
	nothing(t, at(days(HoursDays), 8, "P-1"))   // an hour early
	nothing(t, at(days(HoursDays), 18, "P-1"))  // an hour late
	one(t, at(days(HoursDays), 19, "P-1"), remit.OutsideHours)
	nothing(t, at(days(HoursDays), 3, "P-2")) // of whom nothing is known
	l := at(days(HoursDays), 3, "P-1")
	l.add(&remit.TaskEnded{Task: "T-x"})
	at(l, 3, "P-1") // the night after: it has become their hour
	if all := l.found(t); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	l = at(days(HoursDays), 3, "P-1")
	l.add(&remit.TaskCreated{ID: "T-y", Requester: "P-1", Agent: "coder"})
	l.allow("T-y", "probe.read", "probe:a") // the same night: one task does not excuse the next
	if all := l.found(t); len(all) != 2 {
		t.Errorf("%+v", all)
	}
	l = days(HoursDays) // an executor works when people have voted
	l.now = l.now.Add(10 * time.Hour)
	l.add(&remit.TaskCreated{ID: "T-x", Requester: "P-1", Agent: "coder"})
	l.add(&remit.Decided{Verdict: remit.Allow, Task: "T-x", Agent: "coder", Instance: "I-1", Executor: "executor/source"})
	nothing(t, l)
	l = days(HoursDays)
	l.now = l.now.Add(2 * HoursMemory)
	at(l, 11, "P-1") // their hours are forgotten
	one(t, l, remit.OutsideHours)
}

func oid(b byte) []byte { return bytes.Repeat([]byte{b}, 20) }

// push is a decision to move a ref.
func (l *log) push(verdict remit.Verdict, action remit.Action, from, to []byte) remit.EntryIndex {
	i := remit.EntryIndex(len(l.entries))
	d := &remit.Decided{Verdict: verdict, Task: "T-1", Agent: "coder", Steps: []remit.StepFacts{{Step: remit.Step{Action: action, Resource: "repo:forge/a"},
		Ref: "refs/heads/x", Old: from, New: to}}}
	if verdict == remit.Allow {
		d.Permit, d.NotAfter = remit.ID(fmt.Sprint("P-", i)), l.now.Add(time.Minute).UnixNano()
	}
	return l.add(d)
}

func (l *log) redeem(i remit.EntryIndex) {
	l.add(&remit.Redeemed{ID: remit.ID(fmt.Sprint("X-", i)), Permit: remit.ID(fmt.Sprint("P-", i))})
}

func (l *log) record(i remit.EntryIndex, o remit.Outcome, made string) remit.EntryIndex {
	return l.add(&remit.Recorded{Attempt: remit.ID(fmt.Sprint("X-", i)), Outcome: o, Made: made})
}

func (l *log) done(from, to []byte) remit.EntryIndex {
	i := l.push(remit.Allow, "source.push", from, to)
	l.redeem(i)
	return l.record(i, remit.Done, "")
}

func TestRefMovedOutside(t *testing.T) {
	l := begin()
	l.done(nil, oid(1))
	l.done(oid(1), oid(2))
	l.wait(time.Hour)
	nothing(t, l)
	seen := l.push(remit.Hold, "source.push", oid(9), oid(3))
	l.push(remit.Allow, "source.push", oid(9), oid(3))
	if f := one(t, l, remit.RefMoved); f.Agent != "" || f.Task != "T-1" || fmt.Sprint(f.Entries) != fmt.Sprint([]remit.EntryIndex{5, seen}) || f.Count != 2 {
		t.Errorf("%+v", f)
	}

	l = begin() // deleted outside
	l.done(nil, oid(1))
	l.wait(time.Hour)
	l.push(remit.Allow, "source.push", nil, oid(2))
	one(t, l, remit.RefMoved)

	l = begin() // reset to what it was
	l.done(oid(1), oid(2))
	l.wait(StaleRead + time.Second)
	l.push(remit.Allow, "source.push", oid(1), oid(3))
	one(t, l, remit.RefMoved)

	near := map[string]func(l *log){
		"read just before": func(l *log) {
			l.wait(StaleRead)
			l.push(remit.Allow, "source.push", oid(1), oid(3))
		},
		"a claim of what is denied": func(l *log) { l.wait(time.Hour); l.push(remit.Deny, "source.push", oid(9), oid(3)) },
		"another ref": func(l *log) {
			l.add(&remit.Decided{Verdict: remit.Allow, Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:forge/a"}, Ref: "refs/heads/y", Old: oid(9)}}})
		},
		"a read": func(l *log) { l.wait(time.Hour); l.push(remit.Allow, "source.read", oid(9), nil) },
		"under way": func(l *log) {
			l.wait(time.Hour)
			i := l.push(remit.Allow, "source.push", oid(2), oid(3))
			l.redeem(i)
			l.push(remit.Allow, "source.push", oid(3), oid(4)) // upstream shows it before it has answered
			l.record(i, remit.Done, "")
		},
		"ambiguous, done": func(l *log) {
			i := l.push(remit.Allow, "source.push", oid(2), oid(3))
			l.redeem(i)
			l.record(i, remit.Ambiguous, "")
			l.wait(time.Hour)
			l.push(remit.Allow, "source.push", oid(3), oid(4))
		},
		"ambiguous, not done": func(l *log) {
			i := l.push(remit.Allow, "source.push", oid(2), oid(3))
			l.redeem(i)
			l.record(i, remit.Ambiguous, "")
			l.wait(time.Hour)
			l.push(remit.Allow, "source.push", oid(2), oid(4))
		},
		"a merge that the forge made": func(l *log) {
			i := l.push(remit.Allow, "source.merge", oid(2), oid(3))
			l.redeem(i)
			l.record(i, remit.Done, fmt.Sprintf("%x", oid(7)))
			l.wait(time.Hour)
			l.push(remit.Allow, "source.push", oid(7), oid(8))
		},
	}
	for name, add := range near {
		t.Run(name, func(t *testing.T) {
			l := begin()
			l.done(oid(1), oid(2))
			add(l)
			nothing(t, l)
		})
	}
	l = begin() // proven not to have arrived, and yet it is there
	l.done(oid(1), oid(2))
	i := l.push(remit.Allow, "source.push", oid(2), oid(3))
	l.redeem(i)
	l.record(i, remit.NotApplied, "")
	l.wait(time.Hour)
	l.push(remit.Allow, "source.push", oid(3), oid(4))
	one(t, l, remit.RefMoved)
}

func TestUnusedBroadGrant(t *testing.T) {
	grant := []remit.Scope{{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/**"}},
		{Actions: []remit.Action{"source.merge"}, Resources: []remit.Pattern{"repo:forge/a"}},
		{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/a"}}} // neither broad nor privileged
	// tasks of an agent, one every so often, each of which does what is given.
	tasks := func(n int, every time.Duration, does ...remit.Action) *log {
		l := begin()
		for i := range n {
			id := remit.ID(fmt.Sprint("T-", i))
			l.add(&remit.TaskCreated{ID: id, Agent: "coder", Requester: "P-1", Grant: grant})
			for _, a := range does {
				l.allow(id, a, "repo:forge/a")
			}
			l.add(&remit.TaskEnded{Task: id})
			l.wait(every)
		}
		return l
	}
	day := 24 * time.Hour
	f := one(t, tasks(UnusedTasks, day, "source.push"), remit.UnusedGrant)
	if f.Count != UnusedTasks || len(f.Entries) != MaxEntries || f.Entries[1] != 5 || f.Agent != "coder" || f.Task != "T-19" {
		t.Errorf("%+v", f)
	}
	if f := one(t, tasks(2*UnusedTasks, day, "source.read"), remit.UnusedGrant); f.Count != UnusedTasks || f.Entries[1] != 5 {
		t.Errorf("%+v", f)
	}
	nothing(t, tasks(UnusedTasks, day, "source.read", "source.merge"))
	nothing(t, tasks(UnusedTasks-1, day, "source.push"))
	nothing(t, tasks(UnusedTasks, time.Hour, "source.push")) // within a week
	nothing(t, tasks(2*UnusedTasks, day))                    // that did nothing
	l := tasks(UnusedTasks-1, day, "source.push")
	l.add(&remit.AgentDeclared{Name: "coder"})
	l.entries = append(l.entries, shift(tasks(1, day, "source.push"), l)...)
	nothing(t, l)
}
