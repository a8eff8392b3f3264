package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

const (
	maxLeases  = 500
	maxReason  = 1 << 10
	maxReceipt = 16 << 10
)

// listLeases gives the leases that have not ended, with what they cost: those whose end is overdue, and those that only
// their own end ends. With all, also those that have ended, from the log.
func listLeases(s *Server, c *call) (remit.LeaseList, error) {
	all, err := c.flag("all")
	if err != nil {
		return remit.LeaseList{}, err
	}
	out := remit.LeaseList{Leases: []remit.LeaseView{}}
	now := s.now().UnixNano()
	live := map[remit.ID]bool{}
	s.view(func(st *authority.State) {
		debts := map[remit.ID]authority.LeaseDebt{}
		for _, d := range st.Debt(now) {
			debts[d.Lease] = d
			if d.Since != 0 {
				out.Debt++
			}
			if d.Until != 0 {
				out.Exposure++
				until := dateTime(d.Until)
				if out.Until == nil || until.After(*out.Until) {
					out.Until = until
				}
				if d.Lease == "" {
					out.Lost = until
				}
			}
		}
		for id, l := range st.Leases {
			v := leaseView(&l.LeaseOpened, l.Entry, l.At)
			v.Status, v.Tries, v.Ending = l.Status, l.Tries, dateTime(l.Ending)
			v.Due, v.Until = dateTime(debts[id].Since), dateTime(debts[id].Until)
			live[id] = true
			out.Leases = append(out.Leases, v)
		}
		agents(st, out.Leases)
		out.Contained = slices.Sorted(maps.Keys(st.Contained))
	})
	if all {
		ended, err := s.endedLeases(c.r.Context(), live)
		if err != nil {
			return out, err
		}
		s.view(func(st *authority.State) { agents(st, ended) })
		out.Leases = append(out.Leases, ended...)
	}
	slices.SortFunc(out.Leases, func(a, b remit.LeaseView) int { return cmp.Compare(b.Entry, a.Entry) })
	out.Leases = out.Leases[:min(len(out.Leases), maxLeases)]
	return out, nil
}

// agents puts the agents of their tasks to leases.
func agents(st *authority.State, list []remit.LeaseView) {
	for i := range list {
		if t := st.Tasks[list[i].Task]; t != nil {
			list[i].Agent = t.Agent
		}
	}
}

func leaseView(e *remit.LeaseOpened, entry remit.EntryIndex, at int64) remit.LeaseView {
	return remit.LeaseView{ID: e.ID, Status: remit.LeaseIntended, Upstream: e.Upstream, Zone: e.Zone, Target: e.Target, Write: e.Write, Task: e.Task,
		Attempt: e.Attempt, Opened: time.Unix(0, at).UTC(), NotAfter: time.Unix(0, e.NotAfter).UTC(), Revocation: e.Revocation, Bound: e.Bound,
		Survive: e.Survive, Entry: entry}
}

// endedLeases reads the newest leases that have ended out of the log.
func (s *Server) endedLeases(ctx context.Context, live map[remit.ID]bool) ([]remit.LeaseView, error) {
	done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	open, ended := map[remit.ID]remit.LeaseView{}, []remit.LeaseView{}
	err = s.leaseEntries(ctx, 0, func(i remit.EntryIndex, l ledger.Leaf) bool {
		switch e := l.Event.(type) {
		case *remit.LeaseOpened:
			if !live[e.ID] {
				open[e.ID] = leaseView(e, i, l.At.UnixNano())
			}
		case *remit.LeaseMoved:
			v, ok := open[e.Lease]
			if !ok {
				return true
			}
			v.Status, v.Code, v.Tries, v.Last = e.To, e.Code, e.Tries, i
			switch at := l.At.UTC(); {
			case e.To.Ended():
				v.Ended = &at
				delete(open, e.Lease)
				if ended = append(ended, v); len(ended) >= 2*maxLeases {
					ended = append(ended[:0], ended[maxLeases:]...)
				}
				return true
			case v.Ending == nil && (e.To == remit.LeaseRevoking || e.To == remit.LeaseQuarantined):
				v.Ending = &at
			}
			open[e.Lease] = v
		}
		return true
	})
	return ended, err
}

// leaseEntries reads the log from an index on.
func (s *Server) leaseEntries(ctx context.Context, from remit.EntryIndex, yield func(remit.EntryIndex, ledger.Leaf) bool) error {
	for e, err := range s.cfg.Engine.Read(ctx, from) {
		if err != nil {
			return err
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return err
		}
		if !yield(e.Index, l) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// leaseReceipt gives the receipt of a lease that has ended, with what ties it to the log.
func leaseReceipt(s *Server, c *call) (remit.LeaseProof, error) {
	none := remit.Errorf(remit.NotFound, "there is no lease %.32q", c.id())
	number, ok := strings.CutPrefix(string(c.id()), "L-")
	from, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil {
		return remit.LeaseProof{}, none
	}
	live, next := false, remit.EntryIndex(0)
	s.view(func(st *authority.State) { live, next = st.Leases[c.id()] != nil, st.Next })
	switch {
	case live:
		return remit.LeaseProof{}, remit.Errorf(remit.NotFound, "lease %s has not ended, so it has no receipt yet", c.id())
	case remit.EntryIndex(from) >= next:
		return remit.LeaseProof{}, none
	}
	ctx := c.r.Context()
	done, err := s.work(ctx)
	if err != nil {
		return remit.LeaseProof{}, err
	}
	defer done()
	opened, out := false, remit.LeaseProof{}
	var end *remit.LeaseMoved
	// Its id is the entry that wrote it down; its end comes later.
	err = s.leaseEntries(ctx, remit.EntryIndex(from), func(i remit.EntryIndex, l ledger.Leaf) bool {
		switch e := l.Event.(type) {
		case *remit.LeaseOpened:
			opened = opened || e.ID == c.id()
		case *remit.LeaseMoved:
			if e.Lease == c.id() && e.To.Ended() {
				end, out.Entry, out.Commitment = e, i, e.Receipt
			}
		}
		return opened && end == nil
	})
	if err != nil {
		return out, err
	}
	if end == nil {
		return out, none
	}
	body, ok := s.cfg.Engine.Text(ctx, end.Receipt)
	if !ok {
		return out, remit.Errorf(remit.NotFound, "the receipt of lease %s, to which entry %d commits, is gone", c.id(), out.Entry)
	}
	out.Body = body
	if end.To == remit.LeaseAbandoned { // what was committed to is the reason
		out.Receipt = remit.LeaseReceipt{Lease: c.id(), Status: end.To, Tries: end.Tries}
		return out, nil
	}
	if err := remit.DecodeStrict(bytes.NewReader(body), maxReceipt, &out.Receipt); err != nil {
		return out, remit.Errorf(remit.Internal, "the receipt of lease %s cannot be read: %w", c.id(), err)
	}
	return out, nil
}

// abandonLease asks that a lease is given up which cannot be seen dead. It waits for a second administrator.
func abandonLease(s *Server, c *call, in remit.AbandonRequest) (remit.Decision, error) {
	reason := strings.TrimSpace(in.Reason)
	if reason == "" || len(reason) > maxReason {
		return remit.Decision{}, remit.Errorf(remit.BadRequest, "abandoning a lease needs a reason of at most %d bytes: somebody may still have the credential", maxReason)
	}
	p, err := s.cfg.Engine.NewPayload([]byte(reason))
	if err != nil {
		return remit.Decision{}, err
	}
	res, err := s.do(c, &authority.AbandonLease{By: c.person, Lease: c.id(), Reason: p.Commitment()}, p)
	if err != nil {
		return remit.Decision{}, s.inNames(c, err)
	}
	return res.Decision, nil
}

// containUpstream has all that Remit made at an upstream ended, and nothing done there until that is lifted. What the log
// knows of ends by the entry alone; what it does not, the broker asks the upstream for.
func containUpstream(s *Server, c *call, in remit.ContainRequest) (remit.ContainAnswer, error) {
	out := remit.ContainAnswer{Upstream: c.r.PathValue("name")}
	if in.Lift { // taking away never waits for a proof, giving back does
		if err := s.freshly(c, c.session); err != nil {
			return out, err
		}
	}
	if _, err := s.cfg.Engine.Do(c.r.Context(), &authority.ContainUpstream{By: c.person, Upstream: out.Upstream, Lift: in.Lift}); err != nil {
		return out, s.inNames(c, err)
	}
	if in.Lift {
		return out, nil
	}
	s.view(func(st *authority.State) {
		for id, l := range st.Leases {
			if l.Upstream == out.Upstream {
				out.Leases = append(out.Leases, id)
			}
		}
	})
	slices.Sort(out.Leases)
	if s.cfg.Contain == nil {
		return out, nil
	}
	if err := s.cfg.Contain(context.WithoutCancel(c.r.Context()), out.Upstream); err != nil {
		var e *remit.Error
		if out.Rest = remit.UpstreamDown.Info().Meaning; errors.As(err, &e) {
			out.Rest = e.Sentence
		}
		s.cfg.Slog.Error("containing an upstream", "upstream", out.Upstream, "err", err)
	}
	return out, nil
}
