package server

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/ledger"
)

// maxItems is how many items are listed.
const maxItems = 500

// listItems are the items that wait, those of the caller first.
func listItems(s *Server, c *call) (out remit.ReviewList, err error) {
	all, err := c.flag("all")
	if err != nil {
		return out, err
	}
	d, now := s.people(c.r.Context()), s.now().UnixNano()
	out.Items, out.Runs = []remit.ItemView{}, []remit.RunView{}
	s.view(func(st *authority.State) {
		out.Size = st.Next
		for _, x := range st.Items {
			open := x.Status == remit.ItemOpen
			if !open && !all {
				continue
			}
			v := itemView(st, x, c.person, now, d)
			if open {
				out.Open++
			}
			if v.YouMay {
				out.Yours++
			}
			out.Items = append(out.Items, v)
		}
		for _, r := range st.Runs {
			if r.Closed == 0 {
				out.Runs = append(out.Runs, runView(st, r))
			}
		}
	})
	slices.SortFunc(out.Items, byUrgency)
	out.Items = out.Items[:min(len(out.Items), maxItems)]
	slices.SortFunc(out.Runs, func(a, b remit.RunView) int { return cmp.Compare(a.Entry, b.Entry) })
	return out, nil
}

// byUrgency has first what the caller may answer, then what waits, by when it ends, then what ended last.
func byUrgency(a, b remit.ItemView) int {
	rank := func(v remit.ItemView) int {
		switch {
		case v.YouMay:
			return 0
		case v.Status == remit.ItemOpen:
			return 1
		}
		return 2
	}
	if rank(a) == 2 && rank(b) == 2 {
		return cmp.Compare(b.Ended, a.Ended)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Ends.Compare(b.Ends), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.ID, b.ID))
}

func oneItem(s *Server, c *call) (remit.ItemView, error) { return s.item(c, c.id()) }

func (s *Server) item(c *call, id remit.ID) (v remit.ItemView, err error) {
	d, now := s.people(c.r.Context()), s.now().UnixNano()
	err = remit.Errorf(remit.NotFound, "there is no item %.64s of a review; what ended more than 90 days ago is in the log only", id)
	s.view(func(st *authority.State) {
		if x := st.Items[id]; x != nil {
			v, err = itemView(st, x, c.person, now, d), nil
		}
	})
	return v, err
}

// ItemOf is an item as it is now, for nobody in particular.
func (s *Server) ItemOf(ctx context.Context, id remit.ID) (remit.ItemView, error) {
	return s.item(&call{r: new(http.Request).WithContext(ctx), person: nobody}, id)
}

// itemView is an item for a person. Of what nobody has answered yet, nothing says whether it is a canary: everything here
// follows from what its entry says and from what is declared.
func itemView(st *authority.State, x *authority.Item, person remit.ID, now int64, d follow.Directory) remit.ItemView {
	e := x.ReviewOpened
	v := remit.ItemView{ID: e.ID, Status: x.Status, Cause: e.Cause, Run: e.Run, Agent: e.Agent, MayRequest: e.Function, Granted: e.Evidence.Granted, Alone: e.Evidence.Alone,
		Tasks: e.Evidence.Tasks, Uses: e.Evidence.Uses, LastEntry: e.Evidence.Last, LastUse: dateTime(e.Evidence.LastAt), KeptBefore: e.Evidence.Kept, Used: slices.Clone(e.Evidence.Actions),
		Targets: e.Evidence.Targets, Advice: e.Advice, Why: whyAdvised(e), Opened: time.Unix(0, x.At).UTC(), Entry: x.Entry, Deadline: time.Unix(0, e.Deadline).UTC(),
		Ends: time.Unix(0, max(e.Deadline, x.Ends())).UTC(), Reviewers: []string{}, Shown: e.Shown, Fixed: remit.FixedItem{Origin: st.Origin, Item: *e}.Text(), Ended: x.Ended}
	if r := st.Runs[e.Run]; r != nil {
		v.Campaign = r.Campaign
	}
	if a := st.Agents[e.Agent]; a != nil {
		v.Function, v.Owner, v.AgentStatus = a.Function, d.Name(a.Owner), a.Status
	}
	if e.Evidence.By != "" {
		v.GrantedBy = d.Name(e.Evidence.By)
	}
	if e.Function == "" {
		sc := scopes([]remit.Scope{e.Scope})[0]
		v.Entitlement = &sc
		v.Unused = slices.DeleteFunc(slices.Clone(sc.Actions), func(a remit.Action) bool { return slices.Contains(v.Used, a) })
		v.Reach, v.MoreReach = reach(st, sc)
	}
	switch x.Status {
	case remit.ItemOpen:
		if h := st.HoldingOf(x); h != nil && h.Uses > 0 && e.Function == "" {
			v.Leaves = scopes(h.Shrunk())
		}
		may, _, _ := st.ReviewersOf(x.ID, now)
		v.Reviewers = namesOf(d, may)
		slices.Sort(v.Reviewers)
		v.WhyNot = st.MayAnswer(x.ID, person, remit.Keep, now)
		v.YouMay, v.YouMayRemove = v.WhyNot == "", st.MayAnswer(x.ID, person, remit.Remove, now) == ""
		if v.WhyNot != "" {
			v.WhyNot = d.Name(person) + " " + named(d, v.WhyNot)
		}
	case remit.ItemShrunk:
		v.Leaves = scopes(x.Left)
	}
	if x.By != "" {
		v.Answered = &remit.AnsweredItem{By: d.Name(x.By), Answer: answerOf(x), Entry: x.Answered, Canary: x.Canary}
	}
	if until := x.EndedAt + int64(authority.RegrantFor); !x.Canary && until > now && (x.Status == remit.ItemRemoved || x.Status == remit.ItemLapsed || x.Status == remit.ItemShrunk) {
		v.RegrantUntil = dateTime(until)
	}
	return v
}

// answerOf is what somebody said to an item, which is what it came to.
func answerOf(x *authority.Item) remit.Answer {
	switch {
	case x.Status == remit.ItemKept:
		return remit.Keep
	case len(x.Left) > 0:
		return remit.Shrink
	}
	return remit.Remove
}

// whyAdvised says what a recommendation rests on.
func whyAdvised(e *remit.ReviewOpened) string {
	switch {
	case e.Advice == remit.Remove:
		return "it was never used since it was granted"
	case e.Advice == remit.Shrink:
		return "it was used, and not all of it"
	case e.Evidence.Uses == 0:
		return "it was never used, and is new"
	}
	return "all of it was used"
}

// reach names declared resources that an entitlement covers, and says how many more there are.
func reach(st *authority.State, sc remit.Scope) (out []remit.Resource, more int) {
	var all []remit.Resource
	add := func(r remit.Resource) {
		if slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(r) }) {
			all = append(all, r)
		}
	}
	for name := range st.Repositories {
		add(remit.Resource("repo:" + name))
	}
	for name := range st.Environments {
		add(remit.Resource("environment:" + name))
	}
	for name := range st.Secrets {
		add(remit.Resource("secret:" + name))
	}
	for name := range st.Tools {
		add(remit.Resource("tool:" + name))
	}
	slices.Sort(all)
	n := min(len(all), remit.MaxReach)
	return all[:n], len(all) - n
}

// certify hands signed answers to the authority, which alone says what they are worth.
func certify(s *Server, c *call, in remit.CertifyRequest) (out remit.CertifyAnswer, err error) {
	said, err := remit.ParseCertification(in.Statement)
	if err != nil {
		return out, err
	}
	sig, err := s.signedAs(c, remit.ReviewNamespace, "answer", in.Statement, in.Signature, in.Credential)
	if err != nil {
		return out, err
	}
	host, loopback := s.host(c.r)
	if _, err := s.do(c, &authority.Answers{By: c.person, Statement: in.Statement, Signature: sig, Host: host, Loopback: loopback}); err != nil {
		return out, s.inNames(c, err)
	}
	for _, a := range said.Answers {
		v, err := s.item(c, a.Item)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

// regrant gives back what an item took away, or has people asked.
func regrant(s *Server, c *call, _ none) (out remit.RegrantAnswer, err error) {
	res, err := s.do(c, &authority.Regrant{By: c.person, Item: c.id()})
	return remit.RegrantAnswer{Decision: res.Decision}, s.inNames(c, err)
}

// revive brings back an agent that suspended or retired itself, or has people asked.
func revive(s *Server, c *call, _ none) (out remit.RegrantAnswer, err error) {
	res, err := s.do(c, &authority.ReviveAgent{By: c.person, Agent: c.r.PathValue("name")})
	return remit.RegrantAnswer{Decision: res.Decision}, s.inNames(c, err)
}

// backCard says on a card what comes back, with what it may do: that is what is decided on.
func (s *Server) backCard(v *remit.AccessView, cmd authority.Command, x *engine.Explanation) {
	v.Steps = append(v.Steps, remit.Step{Action: "control.apply", Resource: "control:reviews"})
	v.Sentence = x.Result.Decision.Sentence
	s.view(func(st *authority.State) {
		switch c := cmd.(type) {
		case *authority.Regrant:
			if i := st.Items[c.Item]; i != nil {
				what := "may request work of " + string(i.Function) + " again"
				if i.Function == "" {
					what = "gets back " + scopeText(i.Scope)
				}
				v.Changes = append(v.Changes, remit.Change{Kind: "agent", Name: i.Agent, Op: "change", Widens: what})
			}
		case *authority.ReviveAgent:
			if a := st.Agents[c.Agent]; a != nil {
				may := []string{}
				for _, sc := range a.Entitlements {
					may = append(may, scopeText(sc))
				}
				v.Changes = append(v.Changes, remit.Change{Kind: "agent", Name: a.Name, Op: "change", Widens: "comes back, and may " + cmp.Or(strings.Join(may, "; "), "nothing")})
			}
		}
	})
}

// scopeText is an entitlement on one line.
func scopeText(sc remit.Scope) string {
	text := joined(sc.Actions) + " on " + joined(sc.Resources)
	if len(sc.Refs) > 0 {
		text += ", refs " + joined(sc.Refs)
	}
	if len(sc.Paths) > 0 {
		text += ", paths " + joined(sc.Paths)
	}
	return text
}

func joined[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return strings.Join(out, ", ")
}

// openRun opens a run of a campaign before its time.
func openRun(s *Server, c *call, _ none) (v remit.RunView, err error) {
	res, err := s.do(c, &authority.OpenRun{By: c.person, Campaign: c.r.PathValue("name"), Seed: s.secretOnce(c)})
	if err != nil {
		return v, s.inNames(c, err)
	}
	s.view(func(st *authority.State) {
		if r := st.Runs[res.ID]; r != nil {
			v = runView(st, r)
		}
	})
	return v, nil
}

// listCampaigns are the declared campaigns, and those that are not declared any more and had runs.
func listCampaigns(s *Server, c *call) ([]remit.CampaignView, error) {
	d, now := s.people(c.r.Context()), s.now().UnixNano()
	out := []remit.CampaignView{}
	s.view(func(st *authority.State) {
		known := map[string]*remit.CampaignView{}
		for name, x := range st.Campaigns {
			known[name] = &remit.CampaignView{Name: name, Agents: some(x.Agents), Functions: some(x.Functions), Owners: some(namesOf(d, x.Owners)), Cadence: x.Cadence, Due: remit.FormatSpan(x.Due),
				Reviewers: some(x.Reviewers), Fallback: x.Fallback, Next: dateTime(x.Next(now)), Runs: []remit.RunView{}}
		}
		for _, r := range st.Runs {
			v := known[r.Campaign]
			if v == nil {
				v = &remit.CampaignView{Name: r.Campaign, Fallback: r.Fallback, Reviewers: some(r.Reviewers), Runs: []remit.RunView{}}
				known[r.Campaign] = v
			}
			v.Runs = append(v.Runs, runView(st, r))
		}
		for _, v := range known {
			slices.SortFunc(v.Runs, func(a, b remit.RunView) int { return cmp.Compare(b.Entry, a.Entry) })
			v.Runs = v.Runs[:min(len(v.Runs), maxRuns)]
			out = append(out, *v)
		}
	})
	slices.SortFunc(out, func(a, b remit.CampaignView) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// maxRuns is how many runs of a campaign are listed.
const maxRuns = 50

// runView is how far a run is. What its canaries say is in its report, once nobody can answer any more.
func runView(st *authority.State, r *authority.Run) remit.RunView {
	v := remit.RunView{ID: r.ID, Campaign: r.Campaign, Entry: r.Entry, Opened: time.Unix(0, r.At).UTC(), Deadline: time.Unix(0, r.Deadline).UTC(), Closed: dateTime(r.Closed),
		Agents: r.Agents, Opening: len(r.Pending), Open: r.Open, Counts: r.Counts}
	if r.Closed != 0 {
		if n := r.Counts.Canaries; n > 0 {
			looked := 100 * (n - r.Counts.Fooled) / n
			v.Looked = &looked
		}
		return v
	}
	// Until then a canary counts as any other item, so that the figures do not say how many there are.
	v.Open, v.Counts = 0, remit.RunCount{}
	for _, x := range st.Items {
		if x.Run != r.ID {
			continue
		}
		v.Counts.Items++
		switch x.Status {
		case remit.ItemOpen:
			v.Open++
		case remit.ItemKept:
			v.Counts.Kept++
		case remit.ItemShrunk:
			v.Counts.Shrunk++
		case remit.ItemRemoved, remit.ItemRegranted:
			v.Counts.Removed++
		case remit.ItemLapsed:
			v.Counts.Lapsed++
		case remit.ItemVoid:
			v.Counts.Void++
		}
	}
	return v
}

// oneRun is the report on a run, read from the log: it says what it said when it closed, however long ago.
func oneRun(s *Server, c *call) (v remit.RunView, err error) {
	ctx := c.r.Context()
	d, now := s.people(ctx), s.now().UnixNano()
	err = remit.Errorf(remit.NotFound, "there is no run %.64s of a campaign; remit review report lists them", c.id())
	kept := map[remit.ID]remit.ItemView{}
	s.view(func(st *authority.State) {
		r := st.Runs[c.id()]
		if r == nil {
			return
		}
		v, err = runView(st, r), nil
		for _, x := range st.Items {
			if x.Run == r.ID {
				kept[x.ID] = itemView(st, x, c.person, now, d)
			}
		}
	})
	if err != nil {
		return v, err
	}
	v.Items, err = s.itemsOf(c, v, kept)
	return v, err
}

// itemsOf is the items of a run: as the state has them, and those that it has forgotten as the log has them.
func (s *Server) itemsOf(c *call, r remit.RunView, kept map[remit.ID]remit.ItemView) ([]remit.ItemView, error) {
	items := make([]remit.ItemView, 0, len(kept))
	for _, v := range kept {
		items = append(items, v)
	}
	slices.SortFunc(items, func(a, b remit.ItemView) int { return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.ID, b.ID)) })
	if r.Closed == nil || len(items) >= r.Counts.Items+r.Counts.Canaries+r.Counts.Unseen {
		return items, nil
	}
	ctx := c.r.Context()
	done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d, origin := s.people(ctx), ""
	s.view(func(st *authority.State) { origin = st.Origin })
	past := map[remit.ID]*remit.ItemView{}
	var order []remit.ID
	err = s.leaseEntries(ctx, r.Entry, func(i remit.EntryIndex, l ledger.Leaf) bool {
		switch e := l.Event.(type) {
		case *remit.ReviewOpened:
			if e.Run == r.ID {
				past[e.ID] = pastItem(e, i, l.At, origin, d)
				order = append(order, e.ID)
			}
		case *remit.ReviewAnswered:
			if v := past[e.Item]; v != nil {
				v.Answered, v.Ended = &remit.AnsweredItem{By: d.Name(e.By), Answer: e.Answer, Entry: i, Canary: e.Canary}, i
				if v.Status = remit.ItemKept; e.Canary && e.Answer != remit.Keep {
					v.Status = remit.ItemRemoved
				}
			}
		case *remit.ReviewRemoved:
			if v := past[e.Item]; v != nil {
				v.Ended, v.Leaves = i, scopes(e.Left)
				switch {
				case e.Lapsed:
					v.Status = remit.ItemLapsed
				case len(e.Left) > 0:
					v.Status = remit.ItemShrunk
				default:
					v.Status = remit.ItemRemoved
				}
			}
		case *remit.ReviewVoid:
			if v := past[e.Item]; v != nil {
				v.Status, v.Ended = remit.ItemVoid, i
			}
		case *remit.ReviewRegranted:
			if v := past[e.Item]; v != nil {
				v.Status = remit.ItemRegranted
			}
		case *remit.CampaignClosed:
			return e.ID != r.ID
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	items = items[:0]
	for _, id := range order {
		if v, ok := kept[id]; ok {
			items = append(items, v)
			continue
		}
		items = append(items, *past[id])
	}
	return items, nil
}

// pastItem is an item as its entry has it.
func pastItem(e *remit.ReviewOpened, i remit.EntryIndex, at time.Time, origin string, d follow.Directory) *remit.ItemView {
	v := &remit.ItemView{ID: e.ID, Status: remit.ItemOpen, Cause: e.Cause, Run: e.Run, Agent: e.Agent, MayRequest: e.Function, Granted: e.Evidence.Granted, Alone: e.Evidence.Alone,
		Tasks: e.Evidence.Tasks, Uses: e.Evidence.Uses, LastEntry: e.Evidence.Last, LastUse: dateTime(e.Evidence.LastAt), KeptBefore: e.Evidence.Kept, Used: slices.Clone(e.Evidence.Actions),
		Targets: e.Evidence.Targets, Advice: e.Advice, Why: whyAdvised(e), Opened: at.UTC(), Entry: i, Deadline: time.Unix(0, e.Deadline).UTC(), Ends: time.Unix(0, e.Deadline).UTC(),
		Reviewers: []string{}, WhyNot: "it has ended", Shown: e.Shown, Fixed: remit.FixedItem{Origin: origin, Item: *e}.Text()}
	if e.Evidence.By != "" {
		v.GrantedBy = d.Name(e.Evidence.By)
	}
	if e.Function == "" {
		sc := scopes([]remit.Scope{e.Scope})[0]
		v.Entitlement = &sc
	}
	return v
}
