package notify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// What a review opens, reminds of and takes away is told with its evidence and where to look; what was answered meanwhile is
// not reminded of, and nothing in a message can answer.
func TestReviewsAreTold(t *testing.T) {
	h, e, other := newHouse(t), newEndpoint(t, nil), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	ops, deaf := hook("ops", e), hook("deaf", other)
	ops.Events = []string{remit.TellReviewOpened, remit.TellReviewReminder, remit.TellReviewRemoved, remit.TellAgentIdle}
	deaf.Events = []string{remit.TellDebt}
	until := time.Unix(1_800_086_400, 0).UTC()
	item := func(id remit.ID, status remit.ItemStatus, uses int) {
		h.items[id] = remit.ItemView{ID: id, Status: status, Agent: "coder", Owner: "mia\u202e", Entitlement: &remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/*"}},
			Uses: uses, LastEntry: 7, Advice: remit.Remove, Why: "it was never used since it was granted", Ends: until, Reviewers: []string{"noa"}}
	}
	item("R-1", remit.ItemOpen, 3)
	item("R-2", remit.ItemKept, 1)
	item("R-3", remit.ItemLapsed, 0)
	h.declare([]remit.Channel{ops, deaf})
	h.add(&remit.CampaignOpened{ID: "C-2", Campaign: "quarterly", Deadline: until.UnixNano(), Agents: 2}) // 2
	h.add(&remit.ReviewOpened{ID: "R-1", Run: "C-2", Agent: "coder"})                                     // with the campaign
	h.add(&remit.ReviewOpened{ID: "R-1", Cause: remit.CauseWide, Agent: "coder"})                         // 4
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1", "R-2", "R-9"}})                                  // 5
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1"}, Last: true})                                    // 6
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-2"}})                                                // answered
	h.add(&remit.ReviewRemoved{Item: "R-3", Agent: "coder", Lapsed: true})                                // 8
	h.add(&remit.ReviewRemoved{Item: "R-9", Agent: "coder", By: "p-noa", Left: []remit.Scope{{}}})        // 9, forgotten
	h.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended, Cause: remit.CauseIdle})      // 10
	h.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended, By: "p-noa"})                 // a person's doing
	_, stop := h.run()
	defer stop()
	wantIDs(t, e, "2:ops", "4:ops", "5:ops", "6:ops", "8:ops", "9:ops", "10:ops")
	wantIDs(t, other)
	want := map[string][]string{
		":2:":  {"Campaign quarterly reviews what 2 agents may do, until 16 Jan 2027 08:00 UTC", "what nobody has certified is removed"},
		":4:":  {"Agent coder: what it may do is to be reviewed by", "3 times, the last in entry 7", "remit review show R-1", `owned by mia\\u{202E}`},
		":5:":  {"Reviews: 1 still to be answered", "R-1  coder", "what uses them stops when they are removed"},
		":6:":  {"LAST REMINDER", "removed from 16 Jan 2027 08:00 UTC on", "also the group"},
		":8:":  {"was removed, because nobody certified it", "remit log receipt 8", "remit review regrant R-3"},
		":9:":  {"was shrunk to what was used", "name of p-noa"},
		":10:": {"Agent coder is suspended: nobody used it", "remit agent revive coder"},
	}
	for _, g := range e.all {
		for part, texts := range want {
			if !strings.Contains(g.id, part) {
				continue
			}
			for _, w := range texts {
				if !strings.Contains(string(g.body), w) {
					t.Errorf("%s: no %q in %s", g.id, w, g.body)
				}
			}
		}
		if strings.Contains(string(g.body), "R-2") || strings.Contains(string(g.body), "approve/") {
			t.Errorf("%s", g.body)
		}
	}
}
