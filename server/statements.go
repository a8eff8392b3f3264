package server

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Attestor signs what the log says, for tools that know nothing of Remit. What it gives are DSSE envelopes, as JSON.
type Attestor interface {
	Provenance(ctx context.Context, origin string, v remit.ArtifactView) ([]byte, error)
	Review(ctx context.Context, origin string, v remit.ReviewView) ([]byte, error)
	Release(ctx context.Context, origin string, r Released) ([]byte, error)
	Source(ctx context.Context, origin, repository string, v remit.SourceView, leaves []remit.Digest) ([]byte, error)
	// Key is the public key that they are signed with, PEM.
	Key() ([]byte, error)
}

// Released is a change of an environment that was carried out, with the decision that it rests on.
type Released struct {
	remit.Deploy
	Decision  remit.EntryIndex
	At        time.Time // of the decision
	Policy    remit.Digest
	Rules     int
	Evidence  []string // that the environment required then
	Task      remit.ID
	Access    remit.ID
	Approvals []authority.Vote
	Executor  string
	Attempt   remit.ID
	Outcome   remit.Outcome
}

// maxReviews is how many verdicts are listed.
const maxReviews = 500

// listReviews are the verdicts that stand: the last one of each agent on each change.
func listReviews(s *Server, c *call) ([]remit.ReviewView, error) {
	only := c.r.URL.Query().Get("repository")
	out := []remit.ReviewView{}
	s.view(func(st *authority.State) {
		for name, list := range st.Reviews {
			for _, r := range list {
				if only == "" || only == name {
					out = append(out, reviewView(remit.Resource("repo:"+name), r))
				}
			}
		}
	})
	slices.SortFunc(out, func(a, b remit.ReviewView) int { return cmp.Compare(b.Entry, a.Entry) })
	return out[:min(len(out), maxReviews)], nil
}

func reviewView(repo remit.Resource, r authority.Review) remit.ReviewView {
	v := remit.ReviewView{Entry: r.Entry, Repository: repo, Verdict: remit.ReviewReject, Agent: r.Agent, Task: r.Task, Head: r.Head}
	if r.Approve {
		v.Verdict = remit.ReviewApprove
	}
	return v
}

// carried is an act that was carried out, as the log has it from its outcome back to its request.
type carried struct {
	entry    remit.EntryIndex // of the outcome
	at       time.Time        // of the outcome
	outcome  *remit.Recorded
	decision remit.EntryIndex
	decided  time.Time
	event    *remit.Decided
	request  *remit.Request // nil: erased
}

// entryOf is the entry that made what an id names.
func entryOf(id remit.ID) (remit.EntryIndex, bool) {
	_, number, _ := strings.Cut(string(id), "-")
	n, err := strconv.ParseUint(number, 10, 63)
	return remit.EntryIndex(n), err == nil
}

// act reads what an outcome is of. Each step back is one entry, which the id names: attempt, permit, request.
func (s *Server) act(ctx context.Context, text string) (d carried, err error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return d, remit.Errorf(remit.BadRequest, "an entry is a number, not %.32q", text)
	}
	d.entry = remit.EntryIndex(n)
	none := remit.Errorf(remit.NotFound, "entry %d of the log is no outcome", d.entry)
	var next remit.EntryIndex
	if s.view(func(st *authority.State) { next = st.Next }); d.entry >= next {
		return d, none
	}
	l, err := s.leaf(ctx, d.entry)
	if err != nil {
		return d, err
	}
	ok := false
	if d.outcome, ok = l.Event.(*remit.Recorded); !ok {
		return d, none
	}
	d.at = l.At.UTC()
	i, _ := entryOf(d.outcome.Attempt)
	if l, err = s.leaf(ctx, i); err != nil {
		return d, err
	}
	redeemed, ok := l.Event.(*remit.Redeemed)
	if !ok {
		return d, none
	}
	d.decision, _ = entryOf(redeemed.Permit)
	l, cmd, err := s.cfg.Engine.Entry(ctx, d.decision)
	if err != nil {
		return d, err
	}
	if d.event, ok = l.Event.(*remit.Decided); !ok {
		return d, none
	}
	d.decided = l.At.UTC()
	if a, ok := cmd.(*authority.Authorize); ok {
		d.request = &a.Request
	}
	return d, nil
}

// oneReview is a verdict with all that it is on, also one that its agent has changed since.
func oneReview(s *Server, c *call) (remit.ReviewView, error) {
	d, err := s.act(c.r.Context(), c.r.PathValue("entry"))
	if err != nil {
		return remit.ReviewView{}, err
	}
	if d.event.Review == "" || d.outcome.Outcome != remit.Done {
		return remit.ReviewView{}, remit.Errorf(remit.NotFound, "entry %d of the log records no verdict; remit review verdicts shows those that stand", d.entry)
	}
	if d.request == nil || len(d.request.Refs) != 1 || len(d.request.Steps) != 1 {
		return remit.ReviewView{}, remit.Errorf(remit.NotFound, "what the verdict of entry %d is on was erased", d.entry)
	}
	ref := d.request.Refs[0]
	v := remit.ReviewView{Entry: d.entry, At: d.at, Repository: d.request.Steps[0].Resource, Verdict: d.event.Review, Task: d.event.Task,
		Head: ref.New, Ref: ref.Ref, Base: ref.Old, Tree: ref.Tree, Diff: remit.DiffDigest(ref.Paths), Superseded: true}
	s.view(func(st *authority.State) {
		v.Agent = st.Tasks[v.Task].Agent
		for _, r := range st.Reviews[v.Repository.Name()] {
			if r.Entry == d.entry {
				v.Superseded = false
			}
		}
	})
	return v, nil
}

// signedReview gives the statement on a verdict. One that its agent has taken back is not said any more.
func signedReview(s *Server, c *call) error {
	v, err := oneReview(s, c)
	if err != nil {
		return err
	}
	if v.Superseded {
		return remit.Errorf(remit.Conflict, "agent %s has given another verdict on this change since, so there is no statement on the one of entry %d", v.Agent, v.Entry)
	}
	return s.sign(c, func(a Attestor, origin string) ([]byte, error) { return a.Review(c.r.Context(), origin, v) })
}

// signedRelease gives the statement on a change of an environment.
func signedRelease(s *Server, c *call) error {
	ctx := c.r.Context()
	d, err := s.act(ctx, c.r.PathValue("entry"))
	if err != nil {
		return err
	}
	if d.event.Deploy.Environment == "" {
		return remit.Errorf(remit.NotFound, "entry %d of the log records no release; remit release history shows them", d.entry)
	}
	r := Released{Deploy: d.event.Deploy, Decision: d.decision, At: d.decided, Policy: d.event.Policy, Task: d.event.Task, Access: d.event.Access,
		Executor: d.event.Executor, Attempt: d.outcome.Attempt, Outcome: d.outcome.Outcome}
	s.view(func(st *authority.State) {
		if a := st.Accesses[r.Access]; a != nil {
			r.Approvals = slices.DeleteFunc(slices.Clone(a.Votes), func(v authority.Vote) bool { return !v.Approve })
		}
	})
	if err := s.asOf(ctx, &r); err != nil {
		return err
	}
	return s.sign(c, func(a Attestor, origin string) ([]byte, error) { return a.Release(ctx, origin, r) })
}

// asOf reads which rules and which evidence the decision on a release went by.
func (s *Server) asOf(ctx context.Context, r *Released) error {
	leave, err := s.work(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.leaseEntries(ctx, 0, func(i remit.EntryIndex, l ledger.Leaf) bool {
		switch e := l.Event.(type) {
		case *remit.RulesActivated:
			r.Rules = e.Version
		case *remit.EnvironmentDeclared:
			if e.Name == r.Environment && !r.Rollback { // the way back rests on what was good, not on evidence
				r.Evidence = authority.EvidenceOf(*e)
			}
		}
		return i < r.Decision
	})
}

// sign answers with a signed statement.
func (s *Server) sign(c *call, make func(a Attestor, origin string) ([]byte, error)) error {
	if s.cfg.Attestor == nil {
		return remit.Errorf(remit.NotFound, "this server signs no statements")
	}
	var origin string
	s.view(func(st *authority.State) { origin = st.Origin })
	b, err := make(s.cfg.Attestor, origin)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", envelopeType)
	if _, err := c.w.Write(append(b, '\n')); err != nil {
		return errGone
	}
	return nil
}

// envelopeType is the media type of a DSSE envelope with an in-toto statement (in-toto attestation, "Envelope").
const envelopeType = "application/vnd.in-toto.envelope+json"

// jobOf tells which CI job published an artifact; nil: none did, or what its token said was erased.
func (s *Server) jobOf(ctx context.Context, p remit.ArtifactView) (*remit.JobView, error) {
	d, err := s.act(ctx, strconv.FormatUint(uint64(p.Entry), 10))
	if err != nil {
		return nil, err
	}
	i, ok := entryOf(d.event.Instance)
	if !ok {
		return nil, nil // carried out by an executor, after a vote
	}
	l, cmd, err := s.cfg.Engine.Entry(ctx, i)
	if err != nil {
		return nil, err
	}
	started, _ := l.Event.(*remit.InstanceStarted)
	job, ok := cmd.(*authority.StartJob)
	if started == nil || !ok || started.ID != d.event.Instance {
		return nil, nil
	}
	v := &remit.JobView{Upstream: job.Issuer, Repository: job.Repository, Workflow: job.Workflow, Environment: job.Environment}
	var said struct {
		Issuer string `json:"iss"`
	}
	if b, ok := s.cfg.Engine.Text(ctx, started.Claims); ok && json.Unmarshal(b, &said) == nil {
		v.Issuer = said.Issuer // RFC 7519 §4.1.1; it was compared with the declared one when the job started
	}
	return v, nil
}
