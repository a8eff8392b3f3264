package follow

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// stories knows which entries belong to which task. An entry costs eight bytes; what it says is read when it is asked
// for.
type stories struct {
	of        map[remit.ID][]remit.EntryIndex
	instances map[remit.ID]remit.ID         // running, to their task
	accesses  map[remit.ID]remit.ID         // to their task
	attempts  map[remit.ID]remit.ID         // without an outcome, to their task
	leases    map[remit.ID]remit.ID         // not ended, to their task
	decisions map[remit.EntryIndex]remit.ID // of the last while, to their task: permits and repeats refer to them
	age       []aged                        // of decisions, in the order of the log
}

type aged struct {
	decision remit.EntryIndex
	at       time.Time
}

// refer is how long after a decision an entry may still refer to it: a permit lives for a minute, and repeats of a denial
// are counted after one.
const refer = 15 * time.Minute

func newStories() stories {
	return stories{of: map[remit.ID][]remit.EntryIndex{}, instances: map[remit.ID]remit.ID{}, accesses: map[remit.ID]remit.ID{},
		attempts: map[remit.ID]remit.ID{}, leases: map[remit.ID]remit.ID{}, decisions: map[remit.EntryIndex]remit.ID{}}
}

// decisionOf is the entry of the decision that a permit came with: ids carry the entry that created them.
func decisionOf(permit remit.ID) (i remit.EntryIndex, ok bool) {
	n, err := fmt.Sscanf(string(permit), "P-%d", &i)
	return i, err == nil && n == 1
}

func (s *stories) fold(i remit.EntryIndex, l ledger.Leaf) {
	for len(s.age) > 0 && l.At.Sub(s.age[0].at) > refer {
		delete(s.decisions, s.age[0].decision)
		s.age = s.age[1:]
	}
	var task remit.ID
	switch e := l.Event.(type) {
	case *remit.TaskCreated:
		task = e.ID
		if e.Parent != "" {
			s.of[e.Parent] = append(s.of[e.Parent], i)
		}
	case *remit.TaskEnded:
		task = e.Task
	case *remit.LeaseOpened:
		task = e.Task
		s.leases[e.ID] = task
	case *remit.LeaseMoved:
		task = s.leases[e.Lease]
		if e.To.Ended() {
			delete(s.leases, e.Lease)
		}
	case *remit.InstanceStarted:
		task = e.Task
		s.instances[e.ID] = e.Task
	case *remit.InstanceEnded:
		task = s.instances[e.Instance]
		delete(s.instances, e.Instance)
	case *remit.Decided:
		if task = e.Task; task != "" {
			s.decisions[i], s.age = task, append(s.age, aged{i, l.At})
		}
	case *remit.DenialRepeated:
		task = s.decisions[e.Entry]
	case *remit.AccessOpened:
		if task = e.Task; task != "" {
			s.accesses[e.ID] = task
		}
	case *remit.VoteCast:
		task = s.accesses[e.Access]
	case *remit.AccessSeen:
		task = s.accesses[e.Access]
	case *remit.PlanWithdrawn:
		task = e.Task
	case *remit.AccessMoved:
		task = s.accesses[e.Access]
	case *remit.Redeemed:
		if d, ok := decisionOf(e.Permit); ok {
			task = s.decisions[d]
			s.attempts[e.ID] = task
		}
	case *remit.BreakGlassOpened:
		task = e.Task
	case *remit.Found:
		task = e.Task
	case *remit.Recorded:
		task = s.attempts[e.Attempt]
		delete(s.attempts, e.Attempt)
	}
	if task != "" {
		s.of[task] = append(s.of[task], i)
	}
}

// Entries lists the entries of a task.
func (f *Follower) Entries(ctx context.Context, task remit.ID) ([]remit.EntryIndex, error) {
	return f.entriesOf(ctx, task, 0)
}

// entriesOf lists the entries of a task, from an index on.
func (f *Follower) entriesOf(ctx context.Context, task remit.ID, from remit.EntryIndex) ([]remit.EntryIndex, error) {
	if err := f.CatchUp(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.stories.of[task]
	for len(all) > 0 && all[0] < from {
		all = all[1:]
	}
	return append([]remit.EntryIndex(nil), all...), nil
}

// Came is what came of an allowed decision. Receipt is the commitment of what the upstream said.
type Came struct {
	Outcome remit.Outcome // empty: nothing yet
	Code    remit.Code
	Receipt remit.Digest
}

// Came tells what came of a decision of a task; of a hold, what came of the claim of its access request.
func (f *Follower) Came(ctx context.Context, task remit.ID, decision remit.EntryIndex, access remit.ID) (Came, error) {
	entries, err := f.entriesOf(ctx, task, decision)
	if err != nil {
		return Came{}, err
	}
	var came Came
	permits, attempts := map[remit.ID]bool{}, map[remit.ID]bool{}
	err = f.leaves(ctx, entries, func(i remit.EntryIndex, l ledger.Leaf) bool {
		switch e := l.Event.(type) {
		case *remit.Decided:
			if e.Verdict == remit.Allow && (i == decision || access != "" && e.Access == access) {
				permits[e.Permit] = true
			}
		case *remit.Redeemed:
			if permits[e.Permit] {
				attempts[e.ID] = true
			}
		case *remit.Recorded:
			if attempts[e.Attempt] {
				came = Came{e.Outcome, e.Code, e.Receipt}
			}
		}
		return true
	})
	return came, err
}

// Trace is the story of a task from intent to outcome. Sentences are made of what the log's leaves say, with the names
// of people from d.
func (f *Follower) Trace(ctx context.Context, task remit.ID, d Directory) ([]remit.TraceStep, error) {
	entries, err := f.entriesOf(ctx, task, 0)
	if err != nil {
		return nil, err
	}
	t := teller{names: d, task: task}
	err = f.leaves(ctx, entries, func(i remit.EntryIndex, l ledger.Leaf) bool {
		t.tell(i, l)
		if last := &t.steps[len(t.steps)-1]; !l.Command.IsZero() {
			f.mu.Lock()
			last.ErasedBy = f.erased[l.Command]
			f.mu.Unlock()
		}
		return true
	})
	return t.steps, err
}

// teller turns leaves into lines.
type teller struct {
	names Directory
	task  remit.ID // whose story it is
	steps []remit.TraceStep
}

func (t *teller) tell(i remit.EntryIndex, l ledger.Leaf) {
	s := remit.TraceStep{Entry: i, At: l.At, Kind: l.Event.Kind()}
	switch e := l.Event.(type) {
	case *remit.TaskCreated:
		t.created(&s, e)
	case *remit.TaskEnded:
		s.Actor = t.by(e.By)
		s.Sentence = "the task is " + string(e.Status)
	case *remit.InstanceStarted:
		s.Actor = t.names.Name(e.Launcher)
		if e.Issuer != "" {
			s.Actor = "a job of " + e.Issuer
		}
		s.Sentence = fmt.Sprintf("starts instance %s, confinement: %s", e.ID, e.Confinement)
	case *remit.InstanceEnded:
		s.Actor, s.Depth = string(e.Instance), 1
		s.Sentence = "the instance has ended"
		if e.Lost {
			s.Sentence = "the instance was lost: its launcher was not heard of"
		}
	case *remit.Decided:
		t.decided(&s, e)
	case *remit.DenialRepeated:
		s.Actor, s.Depth, s.Sentence = "remit", 1, fmt.Sprintf("the denial of entry %d was repeated %d times", e.Entry, e.Count)
	case *remit.AccessOpened:
		s.Actor, s.Depth = "remit", 1
		s.Sentence = fmt.Sprintf("asks people: %s needs %s", e.ID, needs(e.Needs))
	case *remit.VoteCast:
		s.Actor, s.Depth = t.names.Name(e.Person), 1
		s.Verdict = "approve"
		if !e.Approve {
			s.Verdict = "deny"
		}
		s.Sentence = fmt.Sprintf("votes %s on %s, assurance: %s", s.Verdict, e.Access, e.Assurance)
		if !e.Signed.IsZero() {
			s.Sentence += ", signed in " + e.Signed.String()
		}
	case *remit.PlanWithdrawn:
		s.Actor, s.Depth, s.Sentence = t.by(e.By), 1, fmt.Sprintf("withdraws the plan %s: what is left of it is held as if there were none", e.Access)
		if e.Instance != "" {
			s.Actor = string(e.Instance)
		}
	case *remit.AccessSeen:
		s.Actor, s.Depth, s.Sentence = t.names.Name(e.Person), 1, fmt.Sprintf("has the card of %s before them", e.Access)
	case *remit.AccessMoved:
		s.Actor, s.Depth, s.Code = t.by(e.By), 1, e.Why
		s.Sentence = fmt.Sprintf("%s is %s", e.Access, e.To)
		if e.Why != "" {
			s.Sentence += ": " + e.Why.Info().Meaning
		}
	case *remit.Redeemed:
		s.Actor, s.Depth, s.Sentence = "remit", 1, fmt.Sprintf("begins attempt %s", e.ID)
		if len(e.Taints) > 0 {
			s.Sentence += "; the task is marked " + strings.Join(e.Taints, ", ")
		}
	case *remit.Recorded:
		s.Actor, s.Depth, s.Code = "remit", 1, e.Code
		s.Sentence = fmt.Sprintf("the outcome of %s is %s", e.Attempt, e.Outcome)
		if e.Made != "" {
			s.Sentence += ": " + e.Made
		}
	case *remit.BreakGlassOpened:
		s.Actor, s.Sentence = t.names.Name(e.By), fmt.Sprintf("opens break-glass %s, %s, until %s: what of the task lies in it waits for nobody; it is to be reviewed until %s", e.ID, e.Name, stamp(e.Until), stamp(e.Due))
	case *remit.Found:
		s.Actor, s.Sentence = "remit", fmt.Sprintf("detection %s finds %d entries, the first is %d", e.Detection, e.Count, e.Entries[0])
		if e.Suspended {
			s.Sentence += "; agent " + e.Agent + " is suspended"
		}
	case *remit.LeaseOpened:
		s.Actor, s.Depth = "remit", 1
		s.Sentence = fmt.Sprintf("has credential %s made at %s for %s, until %s at most", e.ID, e.Upstream, e.Target, stamp(e.NotAfter))
	case *remit.LeaseMoved:
		s.Actor, s.Depth, s.Code = "remit", 1, e.Code
		s.Sentence = fmt.Sprintf("credential %s is %s", e.Lease, e.To)
	}
	t.steps = append(t.steps, s)
}

// created is a task that is made: in its own story by who asked for it, in that of its parent as what came of asking.
func (t *teller) created(s *remit.TraceStep, e *remit.TaskCreated) {
	if e.ID != t.task {
		s.Actor, s.Depth = "remit", 1
		s.Sentence = fmt.Sprintf("makes task %s of agent %s", e.ID, e.Agent)
		return
	}
	s.Actor = t.names.Name(e.Requester)
	if e.By != "" {
		s.Actor = string(e.By) + " for " + s.Actor
	}
	s.Sentence = fmt.Sprintf("asks agent %s for work until %s", e.Agent, stamp(e.Deadline))
	for _, in := range e.Inputs {
		s.Sentence += ", on " + in.String()
	}
}

func (t *teller) decided(s *remit.TraceStep, e *remit.Decided) {
	s.Actor, s.Verdict, s.Code = e.Agent, e.Verdict.String(), e.Code
	if e.Executor != "" {
		s.Actor = e.Executor
	}
	// The line names the first step; the sentence adds what it does not say: refs, further steps, what it sets off, why.
	var said []string
	for i, f := range e.Steps {
		if i == 0 {
			s.Action, s.Resource = string(f.Step.Action), string(f.Step.Resource)
		}
		switch {
		case f.Step.Effect:
			said = append(said, fmt.Sprintf("causes %s on %s", f.Step.Action, f.Step.Resource))
		case f.Ref != "":
			said = append(said, f.Ref)
		case i > 0:
			said = append(said, fmt.Sprintf("%s on %s", f.Step.Action, f.Step.Resource))
		}
	}
	if e.Code != "" {
		said = append(said, e.Code.Info().Meaning)
	}
	switch {
	case len(e.Plan.Filed) > 0:
		said = append(said, fmt.Sprintf("a plan of %d steps", len(e.Plan.Filed)))
	case e.Plan.Used != nil:
		said = append(said, fmt.Sprintf("as planned: %s, without asking %s", e.Plan.In, needs(e.Plan.Needs)))
	case e.Plan.In != "":
		said = append(said, "deviates from plan "+string(e.Plan.In))
	}
	for _, x := range e.Stood {
		said = append(said, fmt.Sprintf("evidence (%s) stands in for %d of %s", x.Need.Evidence, x.Need.N, x.Need.Group))
	}
	if e.Glass != "" {
		said = append(said, "under break-glass "+string(e.Glass))
	}
	for _, name := range e.Observed {
		said = append(said, remit.ObservationOf(name).String())
	}
	s.Sentence = strings.Join(slices.Compact(said), ", ")
}

func (t *teller) by(id remit.ID) string {
	if id == "" {
		return "remit"
	}
	return t.names.Name(id)
}

func stamp(nanos int64) string { return time.Unix(0, nanos).UTC().Format("2006-01-02 15:04 MST") }

func needs(list []remit.Need) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, n.String())
	}
	return strings.Join(parts, " and ")
}
