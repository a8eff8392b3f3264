package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/policy"
)

// verification is what was found of a bundle: its bytes, and what they mean.
type verification struct {
	ledger.Report
	Meaning engine.Meaning `json:"meaning"`
}

// String says it in one sentence.
func (v verification) String() string {
	return fmt.Sprintf("%s; commands: %d derived again, %d bound, %d wrong", v.Report, v.Meaning.Derived+v.Meaning.Limits, v.Meaning.Bound, len(v.Meaning.Wrong))
}

// verifyBundleFile verifies an exported log without any server: every byte of it against the trust file, and every
// decision in it by deciding it again. An empty trust checks that the bundle is consistent with itself only. A decision
// that does not derive is an error.
func verifyBundleFile(ctx context.Context, file, trust string) (verification, error) {
	r := &replay{}
	return r.run(ctx, file, trust)
}

// run reads the whole bundle. What is wrong with it is a finding.
func (r *replay) run(ctx context.Context, file, trust string) (verification, error) {
	v, err := r.read(ctx, file, trust)
	if err != nil {
		err = finding{err}
	}
	return v, err
}

// replay derives a bundle, and remembers what it is asked to.
type replay struct {
	// want is the entry to explain; its decision and the texts around it are kept.
	want     remit.EntryIndex
	explain  bool
	found    *explanation
	foundErr error

	bundle   *ledger.Bundle
	compiled map[remit.Digest]*policy.Bundle
	names    map[remit.ID]string
	intents  map[remit.ID]string   // by task
	askers   map[remit.ID]remit.ID // task: who requested it
	head     remit.EntryIndex      // first entry of the command that is being read
	outcomes map[remit.ID]bool     // attempts of the explained decision
	permit   remit.ID              // of the explained decision
}

func (r *replay) read(ctx context.Context, file, trustFile string) (v verification, err error) {
	var trust ledger.Trust
	if trustFile != "" {
		b, err := readBounded(trustFile)
		if err != nil {
			return v, fmt.Errorf("reading the trust file: %w", err)
		}
		if trust, err = ledger.ParseTrust(b); err != nil {
			return v, err
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return v, fmt.Errorf("opening the bundle: %w", err)
	}
	defer f.Close()
	r.compiled, r.names, r.intents, r.askers, r.outcomes = map[remit.Digest]*policy.Bundle{}, map[remit.ID]string{}, map[remit.ID]string{}, map[remit.ID]remit.ID{}, map[remit.ID]bool{}
	d := &engine.Deriver{
		Policies: r,
		Payload: func(c remit.Digest) ([]byte, error) {
			p, err := r.bundle.Payload(c)
			return p.Body, err
		},
		Blob: func(c remit.Digest) ([]byte, error) { return r.bundle.Blob(c) },
	}
	if r.explain {
		d.Decided = r.decided(ctx)
	}
	v.Report, err = ledger.VerifyBundle(ctx, f, trust, func(b *ledger.Bundle, i remit.EntryIndex, l ledger.Leaf) error {
		r.bundle = b
		r.note(i, l)
		return d.Entry(ctx, i, l)
	})
	if err != nil {
		return v, err
	}
	if v.Meaning, err = d.Finish(ctx); err != nil {
		return v, remit.Errorf(remit.BadRequest, "the bundle is wrong: its entries do not follow from each other: %w", err)
	}
	if n := len(v.Meaning.Wrong); n > 0 {
		return v, remit.Errorf(remit.BadRequest, "the log contradicts its own rules: %s", v.Meaning.Wrong[0])
	}
	return v, nil
}

// Policy compiles a policy from its text in the bundle, once.
func (r *replay) Policy(ctx context.Context, d remit.Digest) (authority.Policy, error) {
	if p := r.compiled[d]; p != nil {
		return p, nil
	}
	text, ok := r.bundle.Policy(d)
	if !ok {
		return nil, remit.Errorf(remit.NoPolicy, "the bundle has no policy %s", d)
	}
	files, err := policy.Decode(text)
	if err != nil {
		return nil, err
	}
	p, err := policy.Compile(ctx, files)
	if err != nil {
		return nil, err
	}
	if p.Digest() != d {
		return nil, remit.Errorf(remit.BadRequest, "the policy %s in the bundle has the digest %s", d, p.Digest())
	}
	r.compiled[d] = p
	return p, nil
}

// note keeps the names and words that an explanation needs: they are payloads, and go when the reading goes on.
func (r *replay) note(i remit.EntryIndex, l ledger.Leaf) {
	if !l.Command.IsZero() {
		r.head = i
	}
	if !r.explain {
		return
	}
	switch e := l.Event.(type) {
	case *remit.PersonDeclared:
		if name, ok := r.text(e.Name); ok {
			r.names[e.ID] = name
		}
	case *remit.TaskCreated:
		r.askers[e.ID] = e.Requester
		if words, ok := r.text(e.Intent); ok {
			r.intents[e.ID] = words
		}
	case *remit.Redeemed:
		if r.permit != "" && e.Permit == r.permit {
			r.outcomes[e.ID] = true
		}
	case *remit.Recorded:
		if r.outcomes[e.Attempt] {
			r.found.Outcome = e.Outcome
		}
	}
	if i != r.want {
		return
	}
	e, ok := l.Event.(*remit.Decided)
	if !ok {
		place := ""
		if r.head != i {
			place = fmt.Sprintf("; it follows from entry %d", r.head)
		}
		r.foundErr = remit.Errorf(remit.NotFound, "entry %d is %s, not a decision%s", i, l.Event.Kind(), place)
		return
	}
	x := &explanation{DecisionView: remit.DecisionView{Entry: i, At: l.At, Verdict: e.Verdict, Code: e.Code, Rules: e.Rules, Gateway: e.Gateway,
		Agent: e.Agent, Instance: e.Instance, Task: e.Task, Executor: e.Executor, Access: e.Access, Policy: e.Policy, Facts: e.Facts}}
	if e.Code != "" {
		x.Meaning = e.Code.Info().Meaning
	}
	for _, name := range e.Observed {
		x.Observed = append(x.Observed, remit.ObservationOf(name))
	}
	for _, s := range e.Steps {
		x.Steps = append(x.Steps, s.Step)
		if s.Ref != "" && !s.Step.Effect {
			x.Refs = append(x.Refs, remit.RefView{Ref: s.Ref, Op: s.Op, Old: fmt.Sprintf("%x", s.Old), New: fmt.Sprintf("%x", s.New), Commits: s.Commits, Matched: patternTexts(s.Protected)})
		}
	}
	x.Requester, x.Intent = r.name(r.askers[e.Task]), r.intents[e.Task]
	r.found, r.permit = x, e.Permit
}

func patternTexts(ps []remit.Pattern) []string {
	var out []string
	for _, p := range ps {
		out = append(out, string(p))
	}
	return out
}

func (r *replay) name(id remit.ID) string {
	if n, ok := r.names[id]; ok {
		return n
	}
	return string(id)
}

// text is a payload; a name may have been written as a JSON string.
func (r *replay) text(c remit.Digest) (string, bool) {
	p, err := r.bundle.Payload(c)
	if err != nil {
		return "", false
	}
	var s string
	if json.Unmarshal(p.Body, &s) == nil {
		return s, true
	}
	return string(p.Body), true
}

// decided derives the wanted decision once more, for the sentence that its caller was told.
func (r *replay) decided(ctx context.Context) func(*authority.State, time.Time, remit.EntryIndex, *authority.Authorize, *remit.Decided) {
	return func(s *authority.State, at time.Time, i remit.EntryIndex, c *authority.Authorize, e *remit.Decided) {
		if i != r.want || r.found == nil {
			return
		}
		told, err := engine.Told(ctx, s, at, c, r)
		if err != nil {
			return
		}
		d := told.Decision
		r.found.Observed = told.Observed
		r.found.Sentence = d.Sentence
		r.found.Derived = d.Verdict == e.Verdict && d.Code == e.Code && d.Access == e.Access
	}
}

// explainFromBundle verifies an exported log and explains one decision in it, derived again from the bundle alone.
func explainFromBundle(ctx context.Context, file, trust string, entry remit.EntryIndex) (explanation, error) {
	r := &replay{want: entry, explain: true}
	v, err := r.run(ctx, file, trust)
	switch {
	case err != nil:
		return explanation{}, err
	case r.foundErr != nil:
		return explanation{}, r.foundErr
	case r.found == nil:
		return explanation{}, remit.Errorf(remit.NotFound, "the bundle has %d entries, and no entry %d", v.Size, entry)
	}
	return *r.found, nil
}

var errUntrusted = errors.New("self-consistent only: anyone could have made this bundle; give --trust FILE (from remit log checkpoint), or --no-trust to be content with that")
