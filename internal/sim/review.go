package sim

import (
	"context"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// reviews declares what is reviewed, or opens a run of it, and lets some time pass.
func (w *World) reviews() {
	declared := false
	w.view(func(s *authority.State) { declared = s.Campaigns["all"] != nil })
	switch {
	case !declared || w.one(6):
		s := clone(w.set)
		s.Campaigns = []remit.CampaignDeclared{{Name: "all", Cadence: "30 6 * * *", Due: int64(pick(w, time.Hour, 4*time.Hour, 24*time.Hour)), Fallback: pick(w, "reviewers", remit.Administrators),
			Reviewers: pick(w, nil, nil, []string{"release", "devs"}), Canaries: pick(w, 0, 2)}}
		day := int64(24 * time.Hour)
		s.Reviews = &remit.ReviewsDeclared{UnusedAfter: pick(w, day, 3*day), Due: int64(pick(w, time.Hour, 6*time.Hour)), Fallback: "reviewers",
			Micro: pick(w, nil, []string{remit.CauseNewFunction, remit.CauseOwnerLeft}, []string{remit.CauseNewFunction, remit.CauseOwnerLeft, remit.CauseUnused, remit.CauseWide})}
		if w.one(3) {
			s.Reviews.SuspendAfter, s.Reviews.RetireAfter = day, 2*day
		}
		if declared && w.one(3) {
			s.Campaigns, s.Reviews = nil, nil
		}
		w.putInForce("p-ada", s, "")
	case w.one(2):
		_, _ = w.do(&authority.OpenRun{By: pick(w, remit.ID("p-ada"), "p-ada", "p-bob", "p-mia"), Campaign: "all"})
	}
	w.sleep(pick(w, time.Minute, time.Minute, time.Hour, 5*time.Hour, 26*time.Hour))
}

// answers has people say something to what is open, mostly who may.
func (w *World) answers() {
	var items []authority.Item
	var origin string
	now := w.engine.Now().UnixNano()
	may := map[remit.ID][]remit.ID{}
	w.view(func(s *authority.State) {
		origin = s.Origin
		for _, id := range s.OpenItems.IDs {
			if x := s.Items[id]; x.Status == remit.ItemOpen {
				items = append(items, *x)
				may[id], _, _ = s.ReviewersOf(id, now)
			}
		}
	})
	var all []remit.Certified
	by := w.somebody()
	for _, x := range items {
		if len(may[x.ID]) > 0 && len(all) == 0 && !w.one(6) {
			by = pick(w, may[x.ID]...)
		}
		a := remit.Certified{Item: x.ID, Answer: pick(w, remit.Keep, remit.Keep, remit.Keep, remit.Remove), Shown: x.Shown}
		if x.Advice == remit.Shrink && w.one(2) || w.one(20) {
			a.Answer = remit.Shrink
		}
		if w.one(3) {
			continue
		}
		if w.one(40) {
			a.Shown = digest("another card")
		}
		all = append(all, a)
		if w.one(2) || x.ID == items[len(items)-1].ID {
			w.certify(by, origin, all)
			all = nil
		}
	}
}

func (w *World) certify(by remit.ID, origin string, all []remit.Certified) {
	c := remit.Certification{Origin: origin, Answers: all}
	k, ok := keys[string(by)[2:]]
	if !ok {
		return
	}
	sig, err := sshsig.Sign(k[w.hand()], remit.ReviewNamespace, c.Bytes())
	if err != nil {
		panic(err)
	}
	a := &authority.Answers{By: by, Statement: c.Bytes(), Signature: sig, Host: digest(pick(w, "a laptop", "another"))}
	_, err = w.do(a)
	if err == nil && w.one(4) { // a second time, which nothing comes of
		if _, err := w.do(a); err == nil {
			w.fail("R6: a statement answers an item twice")
		}
	}
}

// returns has people bring back what was taken away, and agents that ended by themselves.
func (w *World) returns() {
	var items []remit.ID
	var agents []string
	w.view(func(s *authority.State) {
		for _, id := range sorted(s.Items) {
			if x := s.Items[id]; x.Status == remit.ItemLapsed || x.Status == remit.ItemRemoved || x.Status == remit.ItemShrunk {
				items = append(items, id)
			}
		}
		for _, a := range w.set.Agents {
			if x := s.Agents[a.Name]; x != nil && x.Idle != 0 {
				agents = append(agents, a.Name)
			}
		}
	})
	back := func(make func(by, access remit.ID) authority.Command) {
		by := pick(w, remit.ID("p-ada"), "p-ada", "p-bob", "p-tom")
		res, err := w.do(make(by, ""))
		if err != nil || res.Decision.Verdict != remit.Hold {
			return
		}
		w.agree(res.Decision.Access)
		_, _ = w.do(make(by, res.Decision.Access))
	}
	if len(items) > 0 {
		id := pick(w, items...)
		back(func(by, access remit.ID) authority.Command {
			return &authority.Regrant{By: by, Item: id, Access: access}
		})
	}
	if len(agents) > 0 {
		name := pick(w, agents...)
		back(func(by, access remit.ID) authority.Command {
			return &authority.ReviveAgent{By: by, Agent: name, Access: access}
		})
	}
	if w.one(4) {
		w.odd(w.engine.Tick(context.Background()))
	}
}
