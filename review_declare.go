package remit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds and defaults of what is declared of reviews.
const (
	MaxCanaries    = 20
	LeastDue       = time.Hour
	LongestDue     = 90 * 24 * time.Hour
	LeastIdle      = 24 * time.Hour
	LongestIdle    = 3650 * 24 * time.Hour
	defaultDue     = 14 * 24 * time.Hour // of a campaign
	defaultSuspend = 14 * 24 * time.Hour
	defaultRetire  = 60 * 24 * time.Hour
	defaultUnused  = 30 * 24 * time.Hour
	defaultMicro   = 7 * 24 * time.Hour // how long people have for items that no campaign opened
	off            = "off"
	none           = "none"
)

// span reads a length of time between least and longest, or gives the default for an empty text.
func span(at, s string, std, least, longest time.Duration) (int64, error) {
	if s == "" {
		return int64(std), nil
	}
	d, err := ParseSpan(s)
	if err == nil && (d < least || d > longest) {
		err = fmt.Errorf("%s is not between %s and %s", s, FormatSpan(int64(least)), FormatSpan(int64(longest)))
	}
	if err != nil {
		return 0, &DeclarationError{Path: at, Sentence: err.Error()}
	}
	return int64(d), nil
}

// FormatSpan writes what ParseSpan reads, for nanoseconds that are whole minutes.
func FormatSpan(n int64) string {
	switch d := time.Duration(n); {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
}

// Declared is c as it stands in the log, with its defaults filled in; owners are the ids of c.Owners, at is its place in
// the set, campaigns[2], for errors. Whether its groups and its cadence are right, the authority says.
func (c Campaign) Declared(at string, owners []ID) (CampaignDeclared, error) {
	due, err := span(at+".due", c.Due, defaultDue, LeastDue, LongestDue)
	out := CampaignDeclared{Name: c.Name, Agents: slices.Clone(c.Agents), Functions: slices.Clone(c.Functions), Owners: owners, Cadence: c.Cadence, Due: due,
		Reviewers: slices.Clone(c.Reviewers), Fallback: c.Fallback, Canaries: c.Canaries}
	if out.Fallback == "" {
		out.Fallback = Administrators
	}
	return out, err
}

// Campaign is c as it is declared; owners are the names of c.Owners.
func (c CampaignDeclared) Campaign(owners []string) Campaign {
	out := Campaign{Name: c.Name, Agents: slices.Clone(c.Agents), Functions: slices.Clone(c.Functions), Owners: owners, Cadence: c.Cadence,
		Reviewers: slices.Clone(c.Reviewers), Fallback: c.Fallback, Canaries: c.Canaries}
	if c.Due != int64(defaultDue) {
		out.Due = FormatSpan(c.Due)
	}
	if out.Fallback == Administrators {
		out.Fallback = ""
	}
	return out
}

// DeclaredReviews is what d says of reviews as it stands in the log, with the defaults filled in; nil where it declares neither
// reviews nor a campaign.
func (d Declarations) DeclaredReviews() (*ReviewsDeclared, error) {
	if d.Reviews == nil && len(d.Campaigns) == 0 {
		return nil, nil
	}
	r := Reviews{}
	if d.Reviews != nil {
		r = *d.Reviews
	}
	if r.SuspendAfter == off && r.RetireAfter == "" {
		r.RetireAfter = off // what never suspends itself never retires
	}
	var out ReviewsDeclared
	for _, x := range []struct {
		to         *int64
		name, text string
		std, least time.Duration
		longest    time.Duration
		off        bool
	}{
		{&out.SuspendAfter, "suspend_after", r.SuspendAfter, defaultSuspend, LeastIdle, LongestIdle, true},
		{&out.RetireAfter, "retire_after", r.RetireAfter, defaultRetire, LeastIdle, LongestIdle, true},
		{&out.UnusedAfter, "unused_after", r.UnusedAfter, defaultUnused, LeastIdle, LongestIdle, false},
		{&out.Due, "due", r.Due, defaultMicro, LeastDue, LongestDue, false},
	} {
		if x.off && x.text == off {
			continue
		}
		n, err := span("reviews."+x.name, x.text, x.std, x.least, x.longest)
		if err != nil {
			return nil, err
		}
		*x.to = n
	}
	if out.Fallback = r.Fallback; out.Fallback == "" {
		out.Fallback = Administrators
	}
	switch {
	case len(r.Micro) == 0:
		out.Micro = Causes()
	case len(r.Micro) == 1 && r.Micro[0] == none:
	default:
		for i, m := range r.Micro {
			if !slices.Contains(Causes(), m) || slices.Contains(r.Micro[:i], m) {
				return nil, &DeclarationError{Path: fmt.Sprintf("reviews.micro[%d]", i),
					Sentence: fmt.Sprintf("%q is not one of %s, each once, or `none` alone", m, strings.Join(Causes(), ", "))}
			}
		}
		out.Micro = slices.Clone(r.Micro)
	}
	slices.Sort(out.Micro)
	return &out, nil
}

// Reviews is r as it is declared.
func (r ReviewsDeclared) Reviews() *Reviews {
	text := func(n int64, std time.Duration) string {
		switch n {
		case 0:
			return off
		case int64(std):
			return ""
		}
		return FormatSpan(n)
	}
	out := &Reviews{SuspendAfter: text(r.SuspendAfter, defaultSuspend), RetireAfter: text(r.RetireAfter, defaultRetire), UnusedAfter: text(r.UnusedAfter, defaultUnused),
		Due: text(r.Due, defaultMicro), Fallback: r.Fallback, Micro: slices.Clone(r.Micro)}
	if out.Fallback == Administrators {
		out.Fallback = ""
	}
	switch len(out.Micro) {
	case 0:
		out.Micro = []string{none}
	case len(Causes()):
		out.Micro = nil
	}
	return out
}
