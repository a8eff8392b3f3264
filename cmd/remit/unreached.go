package main

import (
	"context"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// unreached are the owners of agents whom no channel reminds of what they have to answer in reviews: what they do not look
// at by themselves is removed without their having heard of it. Where nothing is reviewed, or there is no channel at all,
// there is none.
func unreached(d remit.Declarations) (out []string) {
	if len(d.Campaigns) == 0 && d.Reviews == nil || len(d.Notify) == 0 {
		return nil
	}
	reached := map[string]bool{}
	for _, c := range d.Notify {
		if !c.Tells(remit.TellReviewReminder) {
			continue
		}
		if len(c.People) == 0 {
			return nil // it reaches all
		}
		for _, p := range c.People {
			reached[p.Person] = true
		}
	}
	for _, a := range d.Agents {
		if !reached[a.Owner] {
			out = append(out, a.Owner)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reached warns of owners who would lose what they use without having been told. Who may not read the declarations is not told.
func (x *examination) reached(ctx context.Context, c *client.Client) error {
	d, err := c.Declarations(ctx)
	switch {
	case isCode(err, remit.Forbidden):
		return nil
	case err != nil:
		return err
	}
	if names := unreached(d); len(names) > 0 {
		x.warn("reviews", "no channel reminds %s of what they have to answer, and what nobody answers is removed; add them to the people of a channel (notify: in the declarations)", visible(strings.Join(names, ", ")))
	}
	return nil
}
