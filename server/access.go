package server

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
)

// maxExplained bounds the memory of cards.
const maxExplained = 4096

// explain derives the decisions behind cards, in one pass for those that are not known yet: what that says never
// changes, and costs a pass over the log.
func (s *Server) explain(ctx context.Context, entries []remit.EntryIndex) (map[remit.EntryIndex]*engine.Explanation, error) {
	out := map[remit.EntryIndex]*engine.Explanation{}
	var missing []remit.EntryIndex
	s.cards.Lock()
	for _, i := range entries {
		if x := s.explained[i]; x != nil {
			out[i] = x
		} else {
			missing = append(missing, i)
		}
	}
	s.cards.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := s.cfg.Engine.Explain(ctx, missing...)
	if err != nil {
		return nil, err
	}
	s.cards.Lock()
	defer s.cards.Unlock()
	if len(s.explained)+len(found) > maxExplained {
		clear(s.explained)
	}
	for i, x := range found {
		if out[i] = x; x.Opened != nil {
			s.explained[i] = x
		}
	}
	return out, nil
}

func listAccesses(s *Server, c *call) ([]remit.AccessView, error) {
	all, err := c.flag("all")
	if err != nil {
		return nil, err
	}
	return s.accesses(c, func(a *authority.Access) bool { return all || pending(a.Status) })
}

func pending(st remit.AccessStatus) bool {
	return st == remit.AccessOpen || st == remit.AccessMet || st == remit.AccessReserved
}

func oneAccess(s *Server, c *call) (remit.AccessView, error) { return s.access(c, c.id()) }

func (s *Server) access(c *call, id remit.ID) (remit.AccessView, error) {
	list, err := s.accesses(c, func(a *authority.Access) bool { return a.ID == id })
	if err != nil {
		return remit.AccessView{}, err
	}
	if len(list) == 0 {
		return remit.AccessView{}, remit.Errorf(remit.NotFound, "there is no access request %.64s", id)
	}
	if err := c.own(list[0].Task); err != nil {
		return remit.AccessView{}, err
	}
	return list[0], nil
}

// waitAccess answers when the request is settled, or as it is when the server's patience ends.
func waitAccess(s *Server, c *call) (remit.AccessView, error) {
	leave, err := s.enter(c.who())
	if err != nil {
		return remit.AccessView{}, err
	}
	defer leave()
	ctx := c.r.Context()
	over := s.cfg.Clock.After(patience)
	for {
		changed := s.cfg.Engine.Changed()
		found, waiting, own := false, false, error(nil)
		s.view(func(st *authority.State) {
			if a := st.Accesses[c.id()]; a != nil {
				found, waiting, own = true, pending(a.Status), c.own(a.Task)
			}
		})
		switch {
		case own != nil:
			return remit.AccessView{}, own
		case !found || !waiting:
			return s.access(c, c.id())
		}
		select {
		case <-changed:
		case <-over:
			return s.access(c, c.id())
		case <-s.closed:
			return s.access(c, c.id())
		case <-ctx.Done():
			return remit.AccessView{}, errGone
		}
	}
}

// carded is an access request as it stood, with what its card needs of the state.
type carded struct {
	authority.Access
	reach    []remit.Scope
	eligible []remit.ID
	refused  []string
	whyNot   string
	next     remit.ID // that took its place
}

// accesses makes the cards of the requests that which is true of, newest first.
func (s *Server) accesses(c *call, which func(*authority.Access) bool) ([]remit.AccessView, error) {
	ctx := c.r.Context()
	now := s.now().UnixNano()
	var found []carded
	var profile remit.Profile
	s.view(func(st *authority.State) {
		profile = st.Profile
		var list []*authority.Access
		next := map[remit.ID]remit.ID{}
		for _, a := range st.Accesses {
			if a.Replaces != "" {
				next[a.Replaces] = a.ID
			}
			if which(a) {
				list = append(list, a)
			}
		}
		slices.SortFunc(list, func(a, b *authority.Access) int { return cmp.Compare(b.Entry, a.Entry) })
		for _, a := range list[:min(len(list), maxAccesses)] {
			k := carded{Access: *a, next: next[a.ID]}
			k.Votes = slices.Clone(a.Votes)
			if t := st.Tasks[a.Task]; t != nil {
				k.reach = scopes(t.Grant)
			}
			k.eligible, k.refused = st.Eligible(a.ID, now)
			if c.person != "" {
				k.whyNot = st.MayVote(a.ID, c.person, now)
			} else {
				k.whyNot = "agents never vote"
			}
			found = append(found, k)
		}
	})
	var entries []remit.EntryIndex
	for _, k := range found {
		entries = append(entries, k.Decision)
	}
	why, err := s.explain(ctx, entries)
	if err != nil {
		return nil, err
	}
	d := s.people(ctx)
	out := []remit.AccessView{}
	for _, k := range found {
		v, err := s.card(ctx, k, why[k.Decision], d)
		if err != nil {
			return nil, err
		}
		v.Profile = profile
		out = append(out, v)
	}
	return out, nil
}

// card puts together what a person needs to decide.
func (s *Server) card(ctx context.Context, k carded, x *engine.Explanation, d follow.Directory) (remit.AccessView, error) {
	notAfter := time.Unix(0, k.NotAfter).UTC()
	v := remit.AccessView{ID: k.ID, Status: k.Status, Why: k.Why, Outcome: k.Outcome, Task: k.Task, Agent: k.Agent, Steps: []remit.Step{}, Rules: []string{},
		Reach: k.reach, Needs: append([]remit.Need{}, k.Needs...), Zone: k.Zone, Votes: []remit.VoteView{}, Eligible: namesOf(d, k.eligible),
		Refused: namedAll(d, k.refused), NotAfter: notAfter, Effect: k.Effect, Change: k.Change, Card: k.Access.Card, Entry: k.Entry,
		Decision: k.Decision, Replaces: k.Replaces, Carried: k.Carried, ReplacedBy: k.next, Opened: time.Unix(0, k.At).UTC(), Link: s.link(k.ID, k.NotAfter)}
	for _, vote := range k.Votes {
		v.Votes = append(v.Votes, remit.VoteView{Person: d.Name(vote.Person), Approve: vote.Approve, Assurance: vote.Assurance, At: s.at(ctx, vote.Entry), Signed: vote.Signed})
	}
	v.WhyNot = named(d, k.whyNot)
	v.YouMay = v.WhyNot == "" && k.Status == remit.AccessOpen
	if err := s.fixed(&v, k, x, d); err != nil {
		return v, err
	}
	switch cmd := x.Command.(type) {
	case *authority.Authorize:
		v.Steps = append(v.Steps, cmd.Request.Steps...)
		v.Refs = refViews(cmd.Request.Refs, x.Event)
		v.Artifacts = cmd.Request.Artifacts
		if cmd.Request.Deploy != nil {
			v.Artifacts = cmd.Request.Deploy.Artifacts
		}
		if cmd.Request.Plan != nil {
			v.Plan = s.planCard(k.Task, cmd.Request.Plan)
		}
		if e, ok := x.Event.(*remit.Decided); ok && e.Plan.In != "" && e.Plan.Used == nil {
			v.Deviates = s.agreed(k.Task, e.Plan.In)
		}
		v.Sentence, v.Observed = x.Result.Decision.Sentence, x.Result.Observed
		v.Intent = s.text(ctx, x.Card.Intent)
		v.Shown = s.shown(ctx, k.Shown)
	case *authority.ApplySet:
		v.Steps = append(v.Steps, remit.Step{Action: "control.apply", Resource: "control:declarations"})
		v.By = d.Name(k.By)
		v.Sentence = named(d, x.Result.Decision.Sentence)
		fresh := map[remit.ID]string{}
		for _, p := range cmd.Set.People {
			if name, ok := follow.ParseName([]byte(s.text(ctx, p.Name))); ok {
				fresh[p.ID] = name
			}
		}
		v.Changes, v.Tried = readable(d.With(fresh), x.Result.Changes), s.newestTrial(d, &cmd.Set)
		for i := range v.Changes {
			if v.Changes[i].Kind == "notify" { // where messages go is what is decided on
				v.Changes[i].Details = s.whereTo(ctx, cmd.Set.Notify)
			}
		}
	case *authority.ErasePayloads:
		v.Steps = append(v.Steps, remit.Step{Action: "control.erase", Resource: "control:log"})
		v.By = d.Name(k.By)
		v.Sentence = fmt.Sprintf("erase %d payloads (%s %s, %d entries): %s", len(cmd.Payloads), cmd.What, d.Name(cmd.ID), len(cmd.Entries), s.text(ctx, cmd.Reason))
	case *authority.AbandonLease:
		v.Steps = append(v.Steps, remit.Step{Action: "control.lease", Resource: "control:leases"})
		v.By = d.Name(k.By)
		v.Sentence = "give up lease " + string(cmd.Lease) + ": " + s.text(ctx, cmd.Reason)
	case *authority.Regrant, *authority.ReviveAgent:
		v.By = d.Name(k.By)
		s.backCard(&v, cmd, x)
	}
	if k.Outcome != "" && k.Task != "" {
		came, err := s.cfg.Follow.Came(ctx, k.Task, k.Decision, k.ID)
		if err != nil {
			return v, err
		}
		v.Receipt, v.Failed = s.text(ctx, came.Receipt), came.Code
	}
	return v, nil
}

// fixed is the part of the card whose digest a vote signs. A card that is not the one that the log commits to is not
// shown: nobody shall vote on what nobody can check.
func (s *Server) fixed(v *remit.AccessView, k carded, x *engine.Explanation, d follow.Directory) error {
	if x == nil || x.Opened == nil || x.Opened.ID != k.ID || x.Card.Digest() != k.Access.Card {
		v.Sentence, v.Fixed = "(this card cannot be derived from the log any more)", json.RawMessage("null")
		v.YouMay, v.WhyNot = false, "the card cannot be derived from the log any more, so nobody can check it; cancel the request and ask again"
		return nil
	}
	b, err := json.Marshal(x.Card)
	if err != nil {
		return remit.Errorf(remit.Internal, "encoding a card: %w", err)
	}
	v.Fixed = b
	v.Rules = append(v.Rules, x.Card.Rules...)
	v.Function, v.Confinement, v.Ungoverned = x.Card.Function, x.Card.Confinement, x.Card.Ungoverned
	for to, id := range map[*string]remit.ID{&v.Requester: x.Card.Requester, &v.Owner: x.Card.Owner, &v.Launcher: x.Card.Launcher} {
		if id != "" {
			*to = d.Name(id)
		}
	}
	return nil
}

// refViews joins what the gateway saw of refs with what matching them gave.
func refViews(refs []remit.RefChange, e remit.Event) []remit.RefView {
	var out []remit.RefView
	decided, _ := e.(*remit.Decided)
	for _, r := range refs {
		v := remit.RefView{Ref: r.Ref, Op: r.Op, Old: r.Old, New: r.New, Commits: r.Commits, Outside: r.Outside}
		if decided != nil {
			for _, f := range decided.Steps {
				switch {
				case f.Ref != r.Ref:
				case f.Step.Effect:
					v.Effects = append(v.Effects, string(f.Step.Action)+" on "+string(f.Step.Resource))
				default:
					for _, p := range f.Protected {
						v.Matched = append(v.Matched, string(p))
					}
				}
			}
		}
		out = append(out, v)
	}
	return out
}

// shown is the payload with which the gateway shows the change; nil where there is none or it is gone.
func (s *Server) shown(ctx context.Context, commitment remit.Digest) *remit.Shown {
	if commitment.IsZero() {
		return nil
	}
	b, ok := s.cfg.Engine.Text(ctx, commitment)
	if !ok {
		return nil
	}
	out := new(remit.Shown)
	if err := json.Unmarshal(b, out); err != nil {
		s.cfg.Slog.Error("a payload that shows a change cannot be read", "payload", commitment, "err", err)
		return nil
	}
	return out
}

// link is a page that shows a card to whoever has it. It shows; it cannot vote.
func (s *Server) link(id remit.ID, notAfter int64) string {
	org := s.org()
	return s.cfg.Base + "/v1/orgs/" + string(org) + "/approvals/" + string(id) + "/card?view=" + s.viewToken(org, id, notAfter)
}

func (s *Server) viewToken(org remit.Org, id remit.ID, notAfter int64) string {
	d := s.mac("view", string(org), string(id), time.Unix(0, notAfter).UTC().Format(time.RFC3339Nano))
	return base64.RawURLEncoding.EncodeToString(d[:])
}

// vote hands a signed statement to the authority, which alone says what it is worth.
func vote(s *Server, c *call, in remit.VoteRequest) (remit.AccessView, error) {
	sig, err := s.signatureOf(c, in)
	if err != nil {
		return remit.AccessView{}, err
	}
	host, loopback := s.host(c.r)
	_, err = s.do(c, &authority.CastVote{Access: c.id(), Person: c.person, Statement: in.Statement,
		Signature: sig, Host: host, Loopback: loopback, Signed: signedIn(c.session), Proved: proved(c.session)})
	if err != nil {
		return remit.AccessView{}, s.inNames(c, err)
	}
	if err := s.CompleteControl(c.r.Context()); err != nil {
		s.cfg.Slog.Error("completing an approved control step", "access", c.id(), "err", err)
	}
	return s.access(c, c.id())
}

// CompleteControl puts in force the declarations whose approval has been met. It is called after each vote, and at
// start and every second for what a crash left. Who asked and what for stand in the held command; nothing of the voter
// is in it.
func (s *Server) CompleteControl(ctx context.Context) error {
	s.control.Lock()
	defer s.control.Unlock()
	met := map[remit.ID]remit.EntryIndex{}
	var setEntry remit.EntryIndex
	s.view(func(st *authority.State) {
		for id := range st.OpenHolds {
			if a := st.Accesses[id]; a.Task == "" && a.Status == remit.AccessMet {
				met[id] = a.Decision
			}
		}
		setEntry = st.SetEntry
	})
	for id, entry := range met {
		if at, tried := s.stuck[id]; tried && at == setEntry {
			continue
		}
		_, cmd, err := s.cfg.Engine.Entry(ctx, entry)
		if err != nil { // the others do not wait for this one; it is read again the next time
			s.cfg.Slog.Error("the command of an approved control step cannot be read", "access", id, "err", err)
			continue
		}
		switch held := cmd.(type) {
		case *authority.ApplySet:
			held.Access = id
		case *authority.AbandonLease:
			held.Access = id
		case *authority.Regrant:
			held.Access = id
		case *authority.ReviveAgent:
			held.Access = id
		case *authority.ErasePayloads:
			held.Access = id
			if err := s.completeErase(ctx, held); err != nil {
				s.cfg.Slog.Error("an approved erasure cannot be completed", "access", id, "err", err)
				s.stuck[id] = setEntry
			}
			continue
		default:
			s.cfg.Slog.Error("an approved control step has no command any more", "access", id, "entry", entry)
			s.stuck[id] = setEntry
			continue
		}
		if _, err := s.cfg.Engine.Do(ctx, cmd); err != nil {
			// What came into force in between contradicts the set: it stays as it is until it expires.
			s.cfg.Slog.Error("an approved control step cannot be completed", "access", id, "err", err)
			s.stuck[id] = setEntry
		}
	}
	return nil
}
