package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
)

// reviews are campaigns, and what else holds for reviews, with their defaults filled in.
func (d *declaring) reviews(in remit.Declarations) (err error) {
	for i, x := range in.Campaigns {
		at := fmt.Sprintf("campaigns[%d]", i)
		var owners []remit.ID
		for j, name := range x.Owners {
			id, err := d.person(fmt.Sprintf("%s.owners[%d]", at, j), name)
			if err != nil {
				return err
			}
			owners = append(owners, id)
		}
		x.Agents, x.Functions, x.Reviewers = some(x.Agents), some(x.Functions), some(x.Reviewers)
		declared, err := x.Declared(at, owners)
		if err != nil {
			return err
		}
		d.set.Campaigns = append(d.set.Campaigns, declared)
	}
	d.set.Reviews, err = in.DeclaredReviews()
	return err
}

// declaredReviews puts campaigns and what holds for reviews into declarations that are written for people. What is in force
// only because a campaign is, is not written.
func declaredReviews(st *authority.State, d follow.Directory, out *remit.Declarations) {
	for _, c := range st.Campaigns {
		out.Campaigns = append(out.Campaigns, c.Campaign(some(namesOf(d, c.Owners))))
	}
	slices.SortFunc(out.Campaigns, func(a, b remit.Campaign) int { return strings.Compare(a.Name, b.Name) })
	if st.Settings == nil {
		return
	}
	if out.Reviews = st.Settings.Reviews(); len(out.Campaigns) > 0 && equalReviews(*out.Reviews) {
		out.Reviews = nil
	}
}

// equalReviews tells whether r says what holds where nothing is said.
func equalReviews(r remit.Reviews) bool {
	return r.SuspendAfter == "" && r.RetireAfter == "" && r.UnusedAfter == "" && r.Due == "" && r.Fallback == "" && len(r.Micro) == 0
}
