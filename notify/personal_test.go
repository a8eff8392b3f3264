package notify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// waits is an item that some may answer.
func (h *house) waits(id remit.ID, status remit.ItemStatus, reviewers ...string) {
	h.set(func() {
		h.items[id] = remit.ItemView{ID: id, Status: status, Agent: "coder", Owner: "mia", Entitlement: &remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/*"}},
			Uses: 3, Advice: remit.Keep, Why: "all of it was used", Ends: time.Unix(1_800_086_400, 0).UTC(), Reviewers: reviewers}
	})
}

func personalHook(name string, e *endpoint, people ...string) remit.Channel {
	c := hook(name, e)
	for _, p := range people {
		c.People = append(c.People, remit.Reached{Person: p, Address: p + "@chat"})
	}
	return c
}

// What waits goes to each who may answer it, with what they may answer and nothing else; what was taken away to the owner of
// the agent, unless they did it. Holds go to nobody in person.
func TestReviewsGoToWhoMayAnswer(t *testing.T) {
	h, e, all := newHouse(t), newEndpoint(t, nil), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	h.owner = "mia"
	h.waits("R-1", remit.ItemOpen, "noa")
	h.waits("R-2", remit.ItemOpen, "noa", "mia")
	h.waits("R-3", remit.ItemKept)
	h.waits("R-4", remit.ItemOpen, "rio") // whom no channel reaches
	h.declare([]remit.Channel{personalHook("people", e, "mia", "noa", "zoe"), hook("all", all)})
	h.asks()                                                                       // 2
	h.add(&remit.CampaignOpened{ID: "C-3", Campaign: "quarterly", Agents: 2})      // 3
	h.add(&remit.ReviewOpened{ID: "R-1", Run: "C-3", Agent: "coder"})              // with the campaign
	h.add(&remit.ReviewOpened{ID: "R-2", Cause: remit.CauseWide, Agent: "coder"})  // 5
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1", "R-2", "R-3", "R-4"}})    // 6
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-3", "R-4"}, Last: true})      // nobody who is reached
	h.add(&remit.ReviewRemoved{Item: "R-9", Agent: "coder", Lapsed: true})         // 8
	h.add(&remit.ReviewRemoved{Item: "R-9", Agent: "coder", By: "p-mia"})          // by mia herself
	h.add(&remit.ReviewRemoved{Item: "R-9", Agent: "coder", By: "p-noa"})          // 10
	h.add(&remit.AgentChanged{Agent: "coder", Status: "suspended", Cause: "idle"}) // 11
	h.set(func() { h.names = map[remit.ID]string{"p-mia": "mia", "p-noa": "noa"} })
	_, stop := h.run()
	defer stop()
	until(t, "the run is looked at again until all of its items are there", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.opened = h.looked > 1
		return h.opened
	})
	wantIDs(t, e, "3:people:mia", "3:people:noa", "5:people:mia", "5:people:noa", "6:people:mia", "6:people:noa", "8:people:mia", "10:people:mia", "11:people:mia")
	wantIDs(t, all, "2:all", "3:all", "5:all", "6:all", "7:all", "8:all", "9:all", "10:all", "11:all")
	for _, g := range e.all {
		who, body := g.id[strings.LastIndex(g.id, ":")+1:], string(g.body)
		if !strings.Contains(body, fmt.Sprintf(`"to":{"person":%q,"address":"%s@chat"}`, who, who)) || strings.Contains(body, "R-3") || strings.Contains(body, "R-4") {
			t.Errorf("%s: %s", g.id, body)
		}
		if mine := who == "noa"; strings.Contains(g.id, ":6:") && (strings.Contains(body, "R-1") != mine || !strings.Contains(body, "R-2")) {
			t.Errorf("%s names what others answer: %s", g.id, body)
		}
		if strings.Contains(g.id, ":3:") && !strings.Contains(body, "items for you to answer") {
			t.Errorf("%s: %s", g.id, body)
		}
	}
}

// One person whose message is refused holds up nobody else, is told under the same id, and a restart at any time loses and
// repeats nothing.
func TestWhatGoesToPeopleIsNotLostAndNotRepeated(t *testing.T) {
	h := newHouse(t)
	e := newEndpoint(t, func(g got) int {
		if strings.HasSuffix(g.id, ":noa") {
			return 400
		}
		return 204
	})
	h.secrets["one"] = newSecret()
	h.waits("R-1", remit.ItemOpen, "mia", "noa", "rio")
	h.declare([]remit.Channel{personalHook("people", e, "mia", "noa", "rio")})
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1"}, Last: true})
	o, stop := h.run()
	until(t, "two are told, and one is not", func() bool { return only(o).Delivered == 2 && len(only(o).Parked) == 1 })
	stop()
	e.set(nil)
	o, stop = h.run()
	defer stop()
	until(t, "it goes on", func() bool { return len(o.Status()) == 1 })
	if n, err := o.Retry("people", false); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	until(t, "the third is told", func() bool { return only(o).Delivered == 3 && only(o).Waiting == 0 })
	count := map[string]int{}
	for _, id := range e.ids() {
		count[id]++
	}
	if count["acme_example:2:people:mia"] != 1 || count["acme_example:2:people:rio"] != 1 || count["acme_example:2:people:noa"] != 4 {
		t.Fatal(count)
	}
}

// A stop at each of the tries of a reminder to three people: together they have one message each, and the one that nobody had
// noted may come a second time.
func TestAStopBetweenPeople(t *testing.T) {
	for cut := range 3 {
		h := newHouse(t)
		arrived, die := make(chan struct{}), make(chan struct{})
		n := 0
		e := newEndpoint(t, nil)
		e.set(func(got) int {
			if n++; n == cut+1 {
				close(arrived)
				<-die
			}
			return 204
		})
		h.secrets["one"] = newSecret()
		h.waits("R-1", remit.ItemOpen, "mia", "noa", "rio")
		h.declare([]remit.Channel{personalHook("people", e, "mia", "noa", "rio")})
		h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1"}})
		_, stop := h.run()
		<-arrived
		stop()
		close(die)
		o, stop := h.run()
		until(t, "all are told", func() bool { return only(o).Delivered == 3 && only(o).Waiting == 0 })
		stop()
		ids := e.ids()
		slices.Sort(ids)
		if once := slices.Compact(slices.Clone(ids)); len(ids) != 4 || len(once) != 3 {
			t.Errorf("stopped at message %d: %v", cut, ids)
		}
	}
}

// One mail goes to one person, and a message of Slack mentions them; neither shows whom else it goes to.
func TestPeopleAreReachedWhereTheyAre(t *testing.T) {
	h, p, e := newHouse(t), newPostOffice(t, "starttls"), newEndpoint(t, nil)
	h.secrets["password"], h.secrets["chat"] = "open sesame", e.URL+"/services/x"
	mail := inbox(p, "smtp")
	mail.To, mail.People = nil, []remit.Reached{{Person: "mia", Address: "mia@example.com"}, {Person: "noa", Address: "noa@example.com"}}
	chat := remit.Channel{Name: "chat", Kind: remit.ChannelSlack, Insecure: true, Secret: remit.Source{From: "file", Name: "chat"}, People: []remit.Reached{{Person: "noa", Address: "U012AB3CD"}}}
	h.waits("R-1", remit.ItemOpen, "mia", "noa")
	h.declare([]remit.Channel{mail, chat})
	h.add(&remit.ReviewReminded{Items: []remit.ID{"R-1"}})
	o, _ := h.run()
	until(t, "both are told", func() bool { s := o.Status(); return len(s) == 2 && s[0].Delivered == 1 && s[1].Delivered == 2 })
	to := [][]string{p.to[0], p.to[1]}
	slices.SortFunc(to, slices.Compare)
	if !slices.Equal(to[0], []string{"mia@example.com"}) || !slices.Equal(to[1], []string{"noa@example.com"}) || strings.Contains(p.mails[0], "noa") == strings.Contains(p.mails[0], "mia@example.com") {
		t.Errorf("%v\n%s", to, p.mails[0])
	}
	if b := string(e.last().body); !strings.Contains(b, `\u003c@U012AB3CD\u003e *Reviews, for you: 1 still to be answered`) {
		t.Errorf("%s", b)
	}
}
