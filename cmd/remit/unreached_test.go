package main

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit"
)

func TestOwnersWhomNobodyReminds(t *testing.T) {
	personal := remit.Channel{Name: "owners", People: []remit.Reached{{Person: "ana", Address: "1"}}}
	removals := personal
	removals.Events = []string{remit.TellReviewRemoved}
	holds := remit.Channel{Name: "holds", Events: []string{remit.TellOpened}}
	for name, c := range map[string]struct {
		channels []remit.Channel
		reviews  *remit.Reviews
		want     []string
	}{
		"nothing is reviewed":              {[]remit.Channel{holds}, nil, nil},
		"no channel, which is said anyway": {nil, &remit.Reviews{}, nil},
		"one that reaches all":             {[]remit.Channel{personal, {Name: "all"}}, &remit.Reviews{}, nil},
		"one that tells of holds only":     {[]remit.Channel{holds}, &remit.Reviews{}, []string{"ana", "ben"}},
		"one of people":                    {[]remit.Channel{holds, personal}, &remit.Reviews{}, []string{"ben"}},
		"one that tells them too late":     {[]remit.Channel{removals}, &remit.Reviews{}, []string{"ana", "ben"}},
	} {
		d := remit.Declarations{Notify: c.channels, Reviews: c.reviews, Agents: []remit.Agent{{Name: "a", Owner: "ben"}, {Name: "b", Owner: "ana"}, {Name: "c", Owner: "ben"}}}
		if got := unreached(d); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}
