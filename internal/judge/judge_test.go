package judge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/internal/sim"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// line is one entry of a log that a test bends.
type line struct {
	at time.Time
	e  remit.Event
}

func decode(t testing.TB, leaves [][]byte) (log []line) {
	t.Helper()
	for _, b := range leaves {
		l, err := ledger.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, line{l.At, l.Event})
	}
	return log
}

// first is the first thing that a judge finds.
func first(log []line) *judge.Violation {
	j := judge.New()
	for i, l := range log {
		if v := j.Read(remit.EntryIndex(i), l.at, l.e); v != nil {
			return v
		}
	}
	return nil
}

var logsOnce struct {
	sync.Once
	logs [][][]byte
}

// goodLogs are those of a few hundred histories.
func goodLogs(t *testing.T) [][][]byte {
	t.Helper()
	logsOnce.Do(func() { logsOnce.logs = playLogs(t) })
	return logsOnce.logs
}

func playLogs(t *testing.T) (logs [][][]byte) {
	t.Helper()
	n := uint64(420)
	if testing.Short() {
		n = 60
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			res := sim.Run(900_000+seed, sim.Steps(900_000+seed), false, "", synctest.Wait)
			if len(res.Wrong) > 0 {
				t.Fatalf("seed %d: %s", 900_000+seed, res.Wrong[0])
			}
			logs = append(logs, res.Leaves)
		})
	}
	return logs
}

// unknown is an event of a later release.
type unknown struct{}

func (*unknown) Kind() string { return "from.tomorrow" }

func with(log []line, i int, add ...remit.Event) []line {
	var in []line
	for _, e := range add {
		in = append(in, line{log[min(i, len(log)-1)].at, e})
	}
	return slices.Concat(log[:i], in, log[i:])
}

func drop(log []line, i int) []line { return slices.Delete(slices.Clone(log), i, i+1) }

// bend is one of them; is tells for which events it has to be tried.
type bend struct {
	name, rule string
	kind
}

type kind struct {
	is func(remit.Event) bool
	at func(log []line, i int) []line
}

// on bends the entries of one kind.
func on[E remit.Event](bend func(l []line, i int, e E) []line) kind {
	return kind{func(e remit.Event) bool { _, is := e.(E); return is }, func(l []line, i int) []line { return bend(l, i, l[i].e.(E)) }}
}

// anywhere bends any entry.
func anywhere(bend func(l []line, i int) []line) kind {
	return kind{func(remit.Event) bool { return true }, bend}
}

// house is how many entries declare the company of the histories, and put it in force.
const house = 39

// late puts an entry behind the first ones, when the house stands and nothing has happened yet.
func late(e remit.Event) kind {
	return anywhere(func(l []line, i int) []line {
		if i != house {
			return nil
		}
		return with(l, i, e)[:i+1]
	})
}

func granted(e *remit.Decided, l []line) []line {
	if e.Verdict == remit.Deny {
		return nil
	}
	return l
}

func allowed(e *remit.Decided, l []line) []line {
	if e.Verdict != remit.Allow {
		return nil
	}
	return l
}

// meets bends a vote that made a quorum.
func meets(l []line, i int, e *remit.VoteCast, bend func() []line) []line {
	if m, ok := l[min(i+1, len(l)-1)].e.(*remit.AccessMoved); !ok || m.Access != e.Access || m.To != remit.AccessMet {
		return nil
	}
	return bend()
}

func taskOf(l []line, id remit.ID) *remit.TaskCreated {
	for _, x := range l {
		if t, ok := x.e.(*remit.TaskCreated); ok && t.ID == id {
			return t
		}
	}
	return &remit.TaskCreated{}
}

func requester(l []line, id remit.ID) remit.ID { return taskOf(l, id).Requester }
func parent(l []line, id remit.ID) remit.ID    { return taskOf(l, id).Parent }

func ownerSam(l []line) bool {
	return slices.ContainsFunc(l, func(x line) bool {
		switch e := x.e.(type) {
		case *remit.AgentDeclared:
			return e.Owner == "p-sam"
		case *remit.GroupDeclared:
			return e.Name == remit.Administrators && slices.Contains(e.Members, "p-sam")
		}
		return false
	})
}

func accessOf(l []line, id remit.ID) *remit.AccessOpened {
	for _, x := range l {
		if a, ok := x.e.(*remit.AccessOpened); ok && a.ID == id {
			return a
		}
	}
	return nil
}

// TestBentLogsAreFound bends good logs in every way at every place, and expects to be told of the rule each time.
func TestBentLogsAreFound(t *testing.T) {
	const enough = 20 // of one kind
	logs := goodLogs(t)
	var plain [][]line
	for _, l := range logs {
		plain = append(plain, decode(t, l))
	}
	for _, b := range slices.Concat(bends, planBends, glassBends, keyBends, seenBends, stepBends, reviewBends) {
		t.Run(b.name, func(t *testing.T) {
			bent, named := 0, 0
			for n, leaves := range logs {
				for i := 1; i < len(leaves) && bent < enough; i++ {
					if !b.is(plain[n][i].e) {
						continue
					}
					log := b.at(decode(t, leaves), i)
					if log == nil {
						continue
					}
					bent++
					v := first(log)
					if v == nil {
						t.Fatalf("bent at entry %d, %s: nobody sees it", i, fmt.Sprintf("%+v", plain[n][i].e))
					}
					if v.Rule == b.rule {
						named++
					} else {
						t.Logf("%s", v)
					}
				}
			}
			if bent == 0 && !testing.Short() {
				t.Fatal("no log can be bent so")
			}
			if named*2 < bent {
				t.Fatalf("%d of %d were found under rule %s", named, bent, b.rule)
			}
			t.Logf("%d times, %d of them under rule %s", bent, named, b.rule)
		})
	}
}

// TestGapsAreFound: an entry that is missing shows, whatever it said.
func TestGapsAreFound(t *testing.T) {
	log := decode(t, goodLogs(t)[0])
	for gap := range log {
		j := judge.New()
		var v *judge.Violation
		for i, l := range log {
			if i == gap {
				continue
			}
			if v = j.Read(remit.EntryIndex(i), l.at, l.e); v != nil {
				break
			}
		}
		if gap < len(log)-1 && (v == nil || v.Rule != "log") {
			t.Fatalf("without entry %d: %v", gap, v)
		}
	}
}

// TestLog reads a store, and goes on after what it finds.
func TestLog(t *testing.T) {
	leaves := slices.Clone(goodLogs(t)[1])
	store := func() *ledgertest.Memory {
		m := &ledgertest.Memory{}
		tree, hashes := ledger.Tree{}.Append(leaves...)
		if err := m.Append(t.Context(), ledger.Empty(), ledger.Batch{Entries: leaves, Hashes: hashes, Next: tree.Head(0)}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if found, err := judge.Log(t.Context(), store()); err != nil || len(found) > 0 {
		t.Fatalf("%v %v", found, err)
	}
	for _, extra := range []remit.Event{&remit.Recorded{Attempt: "X-1", Outcome: remit.Done}, &remit.Redeemed{ID: "X-2", Permit: "P-1"}} {
		last, err := ledger.Decode(leaves[len(leaves)-1])
		if err != nil {
			t.Fatal(err)
		}
		b, err := ledger.Encode(ledger.Leaf{At: last.At, Event: extra})
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, b)
	}
	found, err := judge.Log(t.Context(), store())
	if err != nil || len(found) != 2 || found[0].Rule != "R7" || found[1].Rule != "R8" || int(found[1].Entry) != len(leaves)-1 {
		t.Fatalf("%v %v", found, err)
	}
}

// TestJudgeStands: whatever a log says, the judge says something of it and does not fall.
func TestJudgeStands(t *testing.T) {
	for n, leaves := range goodLogs(t)[:20] {
		log := decode(t, leaves)
		rand.New(rand.NewPCG(uint64(n), 1)).Shuffle(len(log), func(i, k int) { log[i], log[k] = log[k], log[i] })
		j := judge.New()
		found := 0
		for i, l := range log {
			if j.Read(remit.EntryIndex(i), l.at, l.e) != nil {
				found++
			}
		}
		if found == 0 {
			t.Fatal("a shuffled log passes")
		}
	}
}
