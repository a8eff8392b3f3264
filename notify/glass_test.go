package notify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/notify"
)

// TestAReviewThatIsMissingIsToldUntilItIsMade: once while a quarter of its time is left, once when it is over, then daily;
// a channel that hears of break-glass hears of that, and nothing of a review that was made.
func TestAReviewThatIsMissingIsToldUntilItIsMade(t *testing.T) {
	h, e, other := newHouse(t), newEndpoint(t, nil), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	ops, deaf := hook("ops", e), hook("deaf", other)
	ops.Events, deaf.Events = []string{remit.TellGlass}, []string{remit.TellDebt}
	start := time.Unix(1_800_000_000, 0)
	until := start.Add(30 * time.Minute)
	h.waiting.Glasses = []notify.Glass{{ID: "G-9", Entry: 9, Name: "fire", Task: "T-1", By: "p-ada", Reviewers: "oncall\u202e", Until: until, Due: until.Add(24 * time.Hour), Under: []remit.EntryIndex{3, 4}}}
	h.declare([]remit.Channel{ops, deaf})
	_, stop := h.run()
	var want []string
	told := func(at time.Duration, rungs ...string) {
		t.Helper()
		h.set(func() { h.ahead = at })
		h.poke()
		mark := h.add(&remit.BreakGlassReviewed{ID: "G-0", By: "p-ben"}) // told after what was due
		want = append(want, fmt.Sprint(uint64(mark))+":ops")
		for _, r := range rungs {
			want = append(want, "9:ops:"+r)
		}
		wantIDs(t, e, append([]string{}, want...)...)
	}
	told(18*time.Hour + 29*time.Minute)
	told(18*time.Hour+30*time.Minute, "review-due")
	told(24*time.Hour + 29*time.Minute)
	told(24*time.Hour+30*time.Minute, "review-overdue-0")
	noted(t, h, "ops", len(want)) // what a stop leaves unnoted is told again
	stop()
	_, _ = h.run()
	told(48*time.Hour + 29*time.Minute)
	told(48*time.Hour+30*time.Minute, "review-overdue-1")
	told(120*time.Hour, "review-overdue-3") // the days on which nothing ran are one
	h.set(func() { h.waiting.Glasses = nil })
	told(240 * time.Hour)
	wantIDs(t, other)
	for _, g := range e.all {
		text := string(g.body)
		switch {
		case strings.HasSuffix(g.id, "review-due"):
			if !strings.Contains(text, "The review of break-glass G-9 is due at 16 Jan 2027 08:30 UTC") || !strings.Contains(text, `"review":"due"`) || strings.Contains(text, "OVERDUE") {
				t.Error(text)
			}
		case strings.Contains(g.id, "review-overdue"):
			if !strings.Contains(text, "BREAK-GLASS G-9: its review is OVERDUE since") || !strings.Contains(text, "nobody can open break-glass") || !strings.Contains(text, "name of p-ada") ||
				!strings.Contains(text, `oncall\\u{202E}`) || !strings.Contains(text, "remit break-glass review G-9") || !strings.Contains(text, `"entries":[3,4]`) {
				t.Error(text)
			}
		}
	}
}
