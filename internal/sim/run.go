package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
)

// Step is one thing that somebody does, or that happens. Its own seed decides how, so that a history without some of its
// steps has the others as they were.
type Step struct {
	Move int
	Seed uint64
}

// Steps are those of a seed.
func Steps(seed uint64) []Step {
	r := rand.New(rand.NewPCG(seed, 1))
	steps := make([]Step, 20+r.IntN(31))
	for i := range steps {
		steps[i] = Step{weighted[r.IntN(len(weighted))], r.Uint64()}
	}
	return steps
}

// Result is what came of a history.
type Result struct {
	Wrong  []string // rules that were broken, and how
	Trace  []string // what happened, if that was asked for
	Log    []string // its entries, likewise
	Leaves [][]byte
	Stats  map[string]int
	Head   remit.Digest // the same seed has the same log
}

// prologues are the logs of houses in which nothing has happened yet, by profile.
var prologues struct {
	sync.Mutex
	known map[remit.Profile][]appended
}

// Run plays a history. It must be called in a bubble of testing/synctest, whose Wait is settle. With a directory the
// kills that the log cannot take survive the process.
func Run(seed uint64, steps []Step, trace bool, dir string, settle func()) Result {
	w := &World{seed: seed, dir: dir, settle: settle, traces: trace, profile: profileOf(seed), clock: &clock{begun: time.Now()}, rules: policies(), up: newUpstream(),
		random: newRandom(seed), sets: map[remit.ID]authority.Set{}, struck: map[remit.ID]bool{}, stats: map[string]int{}, set: company()}
	w.up.refs[app.Name()+" refs/heads/main"], w.up.refs[docs.Name()+" refs/heads/main"] = oid("main"), oid("main")
	w.disk = w.prologue()
	time.Sleep(time.Hour) // after the prologue
	w.open()
	for i, s := range steps {
		w.r = rand.New(rand.NewPCG(s.Seed, uint64(s.Move)))
		w.say("%d %s", i, moves[s.Move].name)
		moves[s.Move].do(w)
		if w.dead || w.engine.Failed() != nil {
			w.restart()
		}
		if len(w.wrong) > 0 {
			break
		}
	}
	return w.finish()
}

// newRandom is the randomness of one history.
func newRandom(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func profileOf(seed uint64) remit.Profile {
	return []remit.Profile{remit.Team, remit.Team, remit.Team, remit.Solo, remit.Demo}[seed%5]
}

func (w *World) prologue() *disk {
	prologues.Lock()
	defer prologues.Unlock()
	if prologues.known[w.profile] == nil {
		was := w.random
		w.random, w.disk, w.record = newRandom(0), &disk{}, true
		w.open()
		for _, c := range []authority.Command{
			&authority.Init{Org: "acme", Origin: "log.acme.example", Verifier: "v", Profile: w.profile, OPA: "1.0", Admins: []remit.PersonDeclared{person("ada", false)}, Policy: world.Nothing.Digest()},
			&authority.ApplySet{By: "p-ada", Set: w.set},
		} {
			if _, err := w.engine.Do(context.Background(), c); err != nil {
				panic("sim: the house does not stand: " + err.Error())
			}
		}
		w.engine.Close()
		if prologues.known == nil {
			prologues.known = map[remit.Profile][]appended{}
		}
		prologues.known[w.profile], w.random, w.record = w.recorded, was, false
	}
	d := &disk{}
	for _, a := range prologues.known[w.profile] {
		if err := d.Append(context.Background(), a.expect, a.batch); err != nil {
			panic("sim: the house does not stand: " + err.Error())
		}
	}
	return d
}

func (w *World) open() {
	w.process = &store{disk: w.disk, w: w}
	kills := ""
	if w.dir != "" {
		kills = filepath.Join(w.dir, "pending-kills")
	}
	e, err := engine.Open(context.Background(), engine.Config{Kills: kills, Store: w.process, Policies: w.rules, Clock: w.clock, Log: slog.New(slog.DiscardHandler), Random: w.random})
	if err != nil {
		panic("sim: the log cannot be folded: " + err.Error())
	}
	w.engine = e
}

// restart ends the process, as a kill or its own fail stop does, and begins another one over the same disk.
func (w *World) restart() {
	for range 4 {
		w.stats["restart"]++
		var before []byte
		if w.seed%4 == 0 && !w.dead && w.engine.Failed() == nil { // it costs as much as all the rest
			w.view(func(s *authority.State) { before = s.Encode() })
		}
		w.process = nil // nothing more of the old one reaches the disk
		w.engine.Close()
		w.dead, w.fault, w.gate, w.cut, w.deaf = false, 0, nil, 0, false
		w.permits = nil
		w.say("a new process; the log has %d entries", w.disk.size())
		w.open()
		w.view(func(s *authority.State) {
			if before != nil && !bytes.Equal(before, s.Encode()) {
				w.fail("log: the state is not what a replay gives")
			}
		})
		if w.begin(); !w.dead && w.engine.Failed() == nil {
			return
		}
		w.fuse = 0
	}
	w.fail("R7: the house does not come up again")
}

// begin is what a process does first: what was under way is found out.
func (w *World) begin() {
	if w.jumped && w.engine.ConfirmClock("p-ada") != nil { // whoever was killed confirms nothing
		w.odd(w.engine.ConfirmClock("p-bob"))
	}
	w.jumped = false
	w.engine.DrainKills()
	if !w.dead && w.engine.Failed() == nil {
		w.view(func(s *authority.State) {
			for _, id := range sorted(w.struck) {
				if w.dir != "" && s.LiveTasks[id] {
					w.fail("R11: task %s was killed, and lives again after a restart", id)
				}
			}
		})
		clear(w.struck)
	}
	x := executor.Executor{Orders: w, Pipeline: w.pipeline(), Protocols: map[string]gateway.Protocol{"sim": protocol{w}}, Log: slog.New(slog.DiscardHandler)}
	if err := x.Reconcile(context.Background()); err != nil {
		w.say("reconciling: %s", reason(err))
	}
	w.sweep()
}

// sweep ends the credentials that must not live any longer.
func (w *World) sweep() {
	var ids []remit.ID
	w.view(func(s *authority.State) { ids = s.LeasesToEnd(w.engine.Now().UnixNano()) })
	for _, id := range ids {
		if err := w.endLease(id); err != nil {
			w.say("sweeping: %s", reason(err))
		}
	}
}

// finish ends a history in order and looks at everything that it left.
func (w *World) finish() Result {
	if len(w.wrong) == 0 {
		w.fuse = 0
		w.restart()
		w.odd(w.engine.Tick(context.Background()))
		w.sweep()
		w.odd(w.engine.Failed())
	}
	w.engine.Close()
	res := Result{Stats: w.stats}
	if head, err := w.disk.Head(context.Background()); err == nil {
		res.Head = head.Root
	}
	j := judge.New()
	derive := w.deriver(w.seed%20 == 0)
	var log []ledger.Leaf
	for entry, err := range w.disk.Read(context.Background(), 0) {
		i, b := entry.Index, entry.Leaf
		l, derr := ledger.Decode(b)
		if err = errors.Join(err, derr); err != nil {
			w.fail("log: entry %d cannot be read: %v", i, err)
			break
		}
		res.Leaves = append(res.Leaves, b)
		log = append(log, l)
		if w.traces {
			res.Log = append(res.Log, fmt.Sprintf("%4d %s %s %s", i, l.At.Format("01-02 15:04:05"), l.Event.Kind(), short(l.Event)))
		}
		w.stats[l.Event.Kind()]++
		if d, ok := l.Event.(*remit.Decided); ok {
			w.stats[fmt.Sprint("decision ", d.Verdict, " ", d.Code)]++
			for what, is := range map[string]bool{"plan": len(d.Plan.Filed) > 0, "by plan": d.Plan.Used != nil, "deviates": d.Plan.In != "" && d.Plan.Used == nil, "break-glass": d.Glass != "", "evidence": len(d.Stood) > 0} {
				if is {
					w.stats[fmt.Sprint(what, " ", d.Verdict)]++
				}
			}
		}
		if v := j.Read(i, l.At, l.Event); v != nil {
			w.fail("%s", v)
			break
		}
		if derive != nil {
			if err := derive.Entry(context.Background(), i, l); err != nil {
				w.fail("log: it cannot be derived: %v", err)
				break
			}
		}
	}
	if derive != nil && len(w.wrong) == 0 {
		m, err := derive.Finish(context.Background())
		for _, x := range m.Wrong {
			w.fail("log: a decision that the rules do not give: %v", x)
		}
		w.odd(err)
	}
	if len(w.wrong) == 0 {
		w.view(func(s *authority.State) { w.audit(log, s) })
	}
	res.Wrong, res.Trace = w.wrong, w.trace
	return res
}

// deriver takes every decision again, by the rules and the policy that were in force.
func (w *World) deriver(wanted bool) *engine.Deriver {
	if !wanted {
		return nil
	}
	return &engine.Deriver{Policies: w.rules, Payload: func(d remit.Digest) ([]byte, error) {
		p, err := w.disk.Payload(context.Background(), d)
		return p.Body, err
	}, Blob: func(d remit.Digest) ([]byte, error) {
		return nil, fmt.Errorf("no command is large enough for a blob: %s", d)
	}}
}

// audit compares what is upstream with what the log says that was done.
func (w *World) audit(log []ledger.Leaf, s *authority.State) {
	decided, redeemed, outcome := map[remit.ID]*remit.Decided{}, map[remit.ID]remit.EntryIndex{}, map[remit.ID]*remit.Recorded{}
	permit, leases := map[remit.ID]remit.ID{}, map[remit.ID]bool{}
	for i, l := range log {
		switch e := l.Event.(type) {
		case *remit.Decided:
			if e.Permit != "" {
				decided[e.Permit] = e
			}
		case *remit.Redeemed:
			redeemed[e.ID], permit[e.ID] = remit.EntryIndex(i), e.Permit
		case *remit.Recorded:
			outcome[e.Attempt] = e
		case *remit.LeaseOpened:
			leases[e.ID] = true
		}
	}
	acted, approved := map[remit.ID]bool{}, map[remit.ID]remit.ID{}
	for _, a := range w.up.acts {
		at, ok := redeemed[a.attempt]
		if !ok || at >= a.size {
			w.fail("R7: %q was done upstream under %s before its redemption was durable, or without one", a.what, a.attempt)
			return
		}
		if acted[a.attempt] {
			w.fail("R8: attempt %s was done twice: %q", a.attempt, a.what)
		}
		acted[a.attempt] = true
		d := decided[permit[a.attempt]]
		if d == nil {
			w.fail("R7: attempt %s rests on no decision", a.attempt)
			return
		}
		if d.Access != "" {
			if was := approved[d.Access]; was != "" {
				w.fail("R6: approval %s was used upstream twice, by %s and %s", d.Access, was, a.attempt)
			}
			approved[d.Access] = a.attempt
		}
		switch r := outcome[a.attempt]; {
		case r == nil:
			w.fail("R7: %q was done under %s, and no outcome of it was ever recorded", a.what, a.attempt)
		case r.Outcome == remit.NotApplied && !w.undone(a):
			w.fail("R7: %q was done under %s, and the log says that it was not applied", a.what, a.attempt)
		}
	}
	for id := range redeemed {
		if outcome[id] == nil {
			w.fail("R7: attempt %s has no outcome, and nobody looked for one", id)
		}
	}
	for id := range w.up.creds {
		if l := s.Leases[id]; l == nil || l.Status.Ended() {
			w.fail("R9: the credential of lease %s is alive upstream, and the log says that it ended", id)
		} else if !s.TaskLive(l.Task, s.Now) && w.engine.Failed() == nil {
			w.fail("R9: the credential of lease %s outlives its task", id)
		}
	}
	for id := range w.up.minted {
		if !leases[id] {
			w.fail("R7: a credential was made that no lease intended: %s", id)
		}
	}
}

// undone tells whether a later act may have taken an act back before anybody looked: the ref stands at its old value
// again, and a look at it cannot tell.
func (w *World) undone(of act) bool {
	words := strings.Fields(of.what)
	n := 0
	for _, a := range w.up.acts {
		if o := strings.Fields(a.what); len(o) > 1 && len(words) > 1 && o[0] == words[0] && o[1] == words[1] {
			n++
		}
	}
	return n > 1
}

func short(e remit.Event) string {
	s := fmt.Sprintf("%+v", e)
	if len(s) > 600 {
		s = s[:600] + "…"
	}
	return s
}

// Shrink leaves out steps of a failing history for as long as it fails: fails plays what is left.
func Shrink(steps []Step, fails func([]Step) bool) []Step {
	for size := len(steps) / 2; size > 0; {
		shorter := false
		for i := 0; i+size <= len(steps); {
			rest := slices.Concat(steps[:i], steps[i+size:])
			if fails(rest) {
				steps, shorter = rest, true
			} else {
				i += size
			}
		}
		if !shorter || size > len(steps)/2 {
			size /= 2
		}
	}
	return steps
}
