package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Notifier tells people what waits. *notify.Outbox is one.
type Notifier interface {
	Status() []remit.ChannelView
	// Retry tries what is parked in a channel once more, or forgets it, and says how much that is.
	Retry(channel string, drop bool) (int, error)
}

// told makes the channels and escalations one commitment: addresses of people are in them.
func (d *declaring) told(in remit.Declarations) error {
	if len(in.Notify)+len(in.Escalations) == 0 {
		return nil
	}
	var old remit.Digest
	d.s.view(func(st *authority.State) { old = st.Notify })
	in = remit.Declarations{Notify: slices.Clone(in.Notify), Escalations: slices.Clone(in.Escalations)}
	sortTold(&in) // another order is no other declaration
	spec, err := json.Marshal(in)
	if err != nil {
		return err
	}
	d.set.Notify, err = d.commit(old, spec)
	return err
}

// Told is who is told of what.
func (s *Server) Told(ctx context.Context) (out remit.Declarations, err error) {
	var spec remit.Digest
	s.view(func(st *authority.State) { spec = st.Notify })
	if spec.IsZero() {
		return out, nil
	}
	return out, s.spec(ctx, spec, &out)
}

// whereTo says in one line where the messages of a declaration go.
func (s *Server) whereTo(ctx context.Context, spec remit.Digest) string {
	var told remit.Declarations
	if spec.IsZero() {
		return "to nobody"
	}
	if err := s.spec(ctx, spec, &told); err != nil {
		return "to where cannot be read any more"
	}
	var out []string
	for _, c := range told.Notify {
		to := append([]string{c.Name + ": " + c.Kind, cmp.Or(c.URL, "its address is a secret")}, c.To...)
		for _, p := range c.People {
			to = append(to, p.Person+" at "+p.Address)
		}
		out = append(out, strings.Join(to, " "))
	}
	return strings.Join(out, "; ")
}

// declaredTold puts channels and escalations into declarations that are written for people.
func (s *Server) declaredTold(ctx context.Context, out *remit.Declarations) error {
	told, err := s.Told(ctx)
	out.Notify, out.Escalations = told.Notify, told.Escalations
	return err
}

func sortTold(d *remit.Declarations) {
	slices.SortFunc(d.Notify, func(a, b remit.Channel) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Escalations, func(a, b remit.Escalation) int { return strings.Compare(a.Name, b.Name) })
}

// CardOf is an access request as it is now, for nobody in particular: nobody may vote on what they are only told of.
func (s *Server) CardOf(ctx context.Context, id remit.ID) (remit.AccessView, error) {
	v, err := s.access(&call{r: new(http.Request).WithContext(ctx), person: nobody}, id)
	v.Link, v.YouMay, v.WhyNot = "", false, ""
	return v, err
}

// NameOf is a person's name.
func (s *Server) NameOf(ctx context.Context, person remit.ID) string {
	return s.people(ctx).Name(person)
}

// OwnerOf is the name of an agent's owner; empty: there is no such agent.
func (s *Server) OwnerOf(ctx context.Context, agent string) string {
	owner := remit.ID("")
	s.view(func(st *authority.State) {
		if a := st.Agents[agent]; a != nil {
			owner = a.Owner
		}
	})
	if owner == "" {
		return ""
	}
	return s.NameOf(ctx, owner)
}

// AskedIn are, by their names, the people who may answer items of a run now, and which. Opening tells that not all of its
// items are there yet.
func (s *Server) AskedIn(ctx context.Context, run remit.ID) (by map[string][]remit.ID, opening bool, err error) {
	var items []remit.ID
	err = remit.Errorf(remit.NotFound, "there is no run %.64s of a campaign", run)
	s.view(func(st *authority.State) {
		if st.Runs[run] == nil {
			return
		}
		err, opening = nil, st.Opening(run)
		for _, id := range st.OpenItems.IDs {
			if x := st.Items[id]; x != nil && x.Run == run && x.Status == remit.ItemOpen {
				items = append(items, id)
			}
		}
	})
	if err != nil || opening {
		return nil, opening, err
	}
	d, now := s.people(ctx), s.now().UnixNano()
	by = map[string][]remit.ID{}
	for some := range slices.Chunk(items, inboxBatch) { // the writer does not wait for all of them
		s.view(func(st *authority.State) {
			for _, id := range some {
				may, _, _ := st.ReviewersOf(id, now)
				for _, p := range may {
					by[d.Name(p)] = append(by[d.Name(p)], id)
				}
			}
		})
	}
	return by, false, nil
}

// nobody is no person's id: it is entitled to no vote.
const nobody = remit.ID("nobody")

// seen writes down that somebody who may vote has a card before them.
func seen(s *Server, c *call, _ none) (none, error) {
	_, err := s.cfg.Engine.Do(c.r.Context(), &authority.SeeAccess{Access: c.id(), Person: c.person})
	return none{}, err
}

func notifyStatus(s *Server, _ *call) ([]remit.ChannelView, error) {
	if s.cfg.Notifier == nil {
		return []remit.ChannelView{}, nil
	}
	return s.cfg.Notifier.Status(), nil
}

func retryChannel(s *Server, c *call, in remit.RetryRequest) (out remit.RetryAnswer, err error) {
	if s.cfg.Notifier == nil {
		return out, remit.Errorf(remit.NotFound, "this server tells nobody")
	}
	out.Messages, err = s.cfg.Notifier.Retry(c.r.PathValue("name"), in.Drop)
	if err == nil {
		s.cfg.Slog.Info("parked messages", "channel", c.r.PathValue("name"), "by", c.person, "drop", in.Drop, "messages", out.Messages)
	}
	return out, err
}

// listAsked is who was asked how often in the last day, the most often first.
func listAsked(s *Server, c *call) ([]remit.AskedView, error) {
	d := s.people(c.r.Context())
	now := s.now()
	out := []remit.AskedView{}
	s.view(func(st *authority.State) {
		for p, n := range st.AskedSince(now.Add(-24*time.Hour).UnixNano(), now.UnixNano()) {
			out = append(out, remit.AskedView{Person: d.Name(p), Asked: n.Asked, Voted: n.Voted, Waits: n.Waits})
		}
	})
	slices.SortFunc(out, func(a, b remit.AskedView) int {
		return cmp.Or(cmp.Compare(b.Asked, a.Asked), cmp.Compare(a.Person, b.Person))
	})
	return out, nil
}

func listGates(s *Server, c *call) ([]remit.GateView, error) {
	return s.cfg.Follow.Gates(c.r.Context())
}
