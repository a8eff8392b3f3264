package notify

import (
	"context"
	"errors"
	"slices"

	"github.com/remit-dev/remit"
)

// errNotYet: who is asked cannot be said before all items of a run are there.
var errNotYet = errors.New("its items are still being opened")

// spreading is an item that becomes one for each person whom it concerns. They take its place in one step, so a crash leaves
// all of them or none.
type spreading struct{ items []item }

func (*spreading) Error() string { return "it goes to people, one by one" }

// spread says to whom of a channel's people an item goes: what waits, to those who may answer it now; what was taken away, to
// the owner of the agent, unless they did it.
func (o *Outbox) spread(ctx context.Context, c remit.Channel, it item) error {
	asked := map[string][]remit.ID{}
	switch r := o.cfg.Reviews; {
	case it.Run != nil:
		by, opening, err := r.Asked(ctx, it.Run.ID)
		switch {
		case err != nil:
			return errNotForIt // it was forgotten, so it ended long ago
		case opening:
			return errNotYet
		}
		asked = by
	case it.Review != nil, it.Reminded != nil:
		var ids []remit.ID
		if it.Review != nil {
			ids = []remit.ID{it.Review.ID}
		} else {
			ids = it.Reminded.Items
		}
		for _, id := range ids {
			v, err := r.ReviewItem(ctx, id)
			if err != nil || v.Status != remit.ItemOpen {
				continue // it was answered meanwhile
			}
			for _, who := range v.Reviewers {
				asked[who] = append(asked[who], id)
			}
		}
	case it.Removed != nil:
		if owner := r.AgentOwner(ctx, it.Removed.Agent); it.Removed.By == "" || o.cfg.House.Name(ctx, it.Removed.By) != owner {
			asked[owner] = []remit.ID{it.Removed.Item}
		}
	case it.Idle != nil:
		asked[r.AgentOwner(ctx, it.Idle.Agent)] = nil
	}
	var out []item
	for _, p := range c.People {
		ids, ok := asked[p.Person]
		if !ok {
			continue
		}
		one := it
		one.Person, one.Items = p.Person, ids
		out = append(out, one)
	}
	if out == nil {
		return errNotForIt
	}
	return &spreading{out}
}

// address is where a person is told through a channel; ok is false where they are not any more.
func address(c remit.Channel, person string) (_ remit.Reached, ok bool) {
	i := slices.IndexFunc(c.People, func(p remit.Reached) bool { return p.Person == person })
	if i < 0 {
		return remit.Reached{}, false
	}
	return c.People[i], true
}

// concerns tells whether what an item says of an item of a review is for everybody, or for the one whom it goes to.
func (it item) concerns(v remit.ItemView) bool {
	return v.Status == remit.ItemOpen && (it.Person == "" || slices.Contains(v.Reviewers, it.Person))
}
