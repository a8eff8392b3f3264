package judge

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// What the log must show of reviews: who may answer, that nothing is removed of which nobody was reminded, that nothing
// outlives a run that nobody certified, and that what an item says of use is what the log says.

type (
	reviews struct {
		campaigns map[string]remit.CampaignDeclared
		settings  *remit.ReviewsDeclared
		since     int64
		runs      map[remit.ID]*campaignRun
		items     map[remit.ID]*item
		newest    map[string]*item // by AGENT KEY
		granted   map[string]int   // by AGENT KEY: the entry since which the agent has it
		from      map[string]remit.EntryIndex
		uses      []usage
		answer    *remit.ReviewAnswered // that the entry before gave, and that takes something away
	}
	campaignRun struct {
		remit.CampaignOpened
		entry    int
		closed   bool
		campaign remit.CampaignDeclared
		asked    map[string]bool // AGENT KEY of all that was there
		counts   remit.RunCount
		open     int
	}
	item struct {
		remit.ReviewOpened
		entry  int
		at     int64
		last   int64
		fake   bool
		status remit.ItemStatus
		ended  int
		left   []remit.Scope
		done   int64
	}
	usage struct {
		entry  int
		agent  string
		branch remit.ID
		steps  []remit.StepFacts
		asks   remit.Function
	}
)

func newReviews() reviews {
	return reviews{campaigns: map[string]remit.CampaignDeclared{}, runs: map[remit.ID]*campaignRun{}, items: map[remit.ID]*item{}, newest: map[string]*item{}, granted: map[string]int{}, from: map[string]remit.EntryIndex{}}
}

func nameOf(sc remit.Scope, f remit.Function) string {
	if f != "" {
		return string(f)
	}
	for _, l := range []*[]remit.Pattern{&sc.Refs, &sc.Paths} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	b, _ := json.Marshal(sc)
	return string(b)
}

// holds are the names of all that an agent has.
func (a *agent) holds() (names []string) {
	for _, sc := range a.Entitlements {
		names = append(names, a.Name+" "+nameOf(sc, ""))
	}
	for _, f := range a.MayRequest {
		names = append(names, a.Name+" "+nameOf(remit.Scope{}, f))
	}
	return names
}

// regranted notes what of an agent is new with an entry.
func (j *Judge) regranted(n int, a *agent) {
	r, has := &j.reviews, a.holds()
	for _, h := range has {
		if _, had := r.granted[h]; !had {
			r.granted[h], r.from[h] = n, remit.EntryIndex(n)
		}
	}
	for h := range r.granted {
		if strings.HasPrefix(h, a.Name+" ") && !slices.Contains(has, h) {
			delete(r.granted, h)
			delete(r.from, h)
		}
	}
}

// used notes what was redeemed, or was allowed in an agent's own process.
func (j *Judge) used(n int, task remit.ID, steps []remit.StepFacts, asks remit.Function) {
	t := j.tasks[task]
	if t == nil || len(steps) == 0 {
		return
	}
	own := t
	for own.Delegated {
		own = j.tasks[own.Parent]
	}
	j.reviews.uses = append(j.reviews.uses, usage{n, t.Agent, own.ID, steps, asks})
}

// signs notes what shows that an agent is used.
func (j *Judge) signs(n int, at int64, event remit.Event) {
	name := ""
	switch e := event.(type) {
	case *remit.TaskCreated:
		name = e.Agent
	case *remit.Decided:
		name = e.Agent
		if o := j.access[e.Access]; o != nil && e.Executor != "" {
			name = o.agent
		}
		if e.Advice && e.Verdict == remit.Allow {
			j.used(n, e.Task, slices.DeleteFunc(slices.Clone(e.Steps), func(f remit.StepFacts) bool { return !strings.HasPrefix(string(f.Step.Resource), "tool:local/") }), "")
		}
	}
	if a := j.agents[name]; a != nil {
		a.seen = at
	}
}

func (u usage) of(x *item) bool {
	return slices.ContainsFunc(u.steps, func(f remit.StepFacts) bool {
		switch {
		case f.Step.Effect:
			return false
		case x.Function != "":
			return f.Step.Action == "task.request" && u.asks == x.Function
		case !slices.Contains(x.Scope.Actions, f.Step.Action) || !inside(remit.Pattern(f.Step.Resource), x.Scope.Resources):
			return false
		case f.Ref == "":
			return true
		}
		return inside(remit.Pattern(f.Ref), refsOf(x.Scope, u.branch))
	})
}

// refsOf are the refs of an entitlement for a task's branches.
func refsOf(sc remit.Scope, branch remit.ID) (refs []remit.Pattern) {
	for _, r := range sc.Refs {
		refs = append(refs, remit.Pattern(strings.ReplaceAll(string(r), "{task}", string(branch))))
	}
	if len(refs) == 0 {
		refs = []remit.Pattern{remit.Pattern("refs/heads/remit/" + string(branch) + "/**")}
	}
	return refs
}

// grace is how long people have after the last reminder.
func (x *item) grace() int64 { return min(int64(day), (x.Deadline-x.at)/4) }

// over: it is decided by silence.
func (x *item) over(at int64) bool { return x.last != 0 && at >= x.Deadline && at >= x.last+x.grace() }

// certifies judges entries of reviews; ok is false for others.
func (j *Judge) certifies(n int, at int64, event remit.Event) (wrong string, ok bool) {
	r := &j.reviews
	answer := r.answer
	r.answer = nil
	if e, ok := event.(*remit.ReviewRemoved); ok {
		return j.takes(n, at, e, answer), true
	}
	if answer != nil {
		return "reviews: somebody took something away, and it is still there", true
	}
	switch e := event.(type) {
	case *remit.CampaignDeclared:
		r.campaigns[e.Name] = *e
	case *remit.ReviewsDeclared:
		if r.settings == nil {
			r.since = at
		}
		r.settings = e
	case *remit.CampaignOpened:
		return j.begins(n, at, e), true
	case *remit.CampaignClosed:
		return j.closes(e), true
	case *remit.ReviewOpened:
		return j.itemOpens(n, at, e), true
	case *remit.ReviewReminded:
		for _, id := range e.Items {
			x := r.items[id]
			if x == nil || x.status != remit.ItemOpen {
				return "reviews: people are reminded of an item that is not open", true
			}
			if e.Last {
				x.last = at
			}
		}
	case *remit.ReviewAnswered:
		return j.itemAnswered(n, at, e), true
	case *remit.ReviewVoid:
		x := r.items[e.Item]
		switch {
		case x == nil || x.status != remit.ItemOpen:
			return "reviews: an item ends that is not open", true
		case x.fake != e.Canary:
			return "reviews: an item is said to be a canary that is none, or none that is one", true
		case !x.fake && j.agents[x.Agent].status != remit.AgentRetired && r.granted[x.Agent+" "+nameOf(x.Scope, x.Function)] != 0:
			return "reviews: an item ends without an answer, and what it is about is there", true
		case x.fake && !x.over(at):
			return "reviews: an item ends before its time", true
		}
		j.ends(n, x, remit.ItemVoid)
	case *remit.ReviewRegranted:
		return j.givesBack(n, at, e), true
	default:
		return "", false
	}
	return "", true
}

func (j *Judge) begins(n int, at int64, e *remit.CampaignOpened) string {
	r := &j.reviews
	c, declared := r.campaigns[e.Campaign]
	if wrong := j.once(e.ID); wrong != "" {
		return wrong
	}
	switch {
	case !declared || e.Deadline != at+c.Due || e.Slot > at:
		return "reviews: a run of a campaign that is not declared, or with another deadline"
	case e.By != "" && !j.admin(e.By):
		return "reviews: a run is opened before its time by somebody who is no administrator"
	}
	for _, o := range r.runs {
		if o.Campaign == e.Campaign && !o.closed {
			return "reviews: a campaign has two runs at once"
		}
	}
	o := &campaignRun{CampaignOpened: *e, entry: n, campaign: c, asked: map[string]bool{}}
	for _, a := range j.agents {
		named := len(c.Agents) == 0
		for _, p := range c.Agents {
			begin, star := strings.CutSuffix(p, "*")
			named = named || p == a.Name || star && strings.HasPrefix(a.Name, begin)
		}
		if named && a.status != remit.AgentRetired && (len(c.Functions) == 0 || slices.Contains(c.Functions, a.Function)) && (len(c.Owners) == 0 || slices.Contains(c.Owners, a.Owner)) {
			for _, h := range a.holds() {
				o.asked[h] = true
			}
		}
	}
	r.runs[e.ID] = o
	return ""
}

// closes: every item of a run has ended, the figures are true, and what the run asked about was certified, or is gone.
func (j *Judge) closes(e *remit.CampaignClosed) string {
	r := &j.reviews
	o := r.runs[e.ID]
	switch {
	case o == nil || o.closed || o.open != 0:
		return "reviews: a run ends that is not open, or of which an item is"
	case o.counts != e.Counts:
		return "reviews: a run says of itself what is not so"
	}
	o.closed = true
	for h := range o.asked {
		name, _, _ := strings.Cut(h, " ")
		since, has := r.granted[h]
		x := r.newest[h]
		switch {
		case !has || since > o.entry || j.agents[name].status == remit.AgentRetired: // it is gone, or another
		case x != nil && (x.status == remit.ItemOpen || x.ended > o.entry):
		default:
			return "reviews: a run is over, and agent " + name + " has what nobody certified"
		}
	}
	return ""
}

func (j *Judge) itemOpens(n int, at int64, e *remit.ReviewOpened) string {
	r := &j.reviews
	if wrong := j.once(e.ID); wrong != "" {
		return wrong
	}
	a, o := j.agents[e.Agent], r.runs[e.Run]
	if a == nil {
		return "log: there is no agent " + e.Agent
	}
	key := e.Agent + " " + nameOf(e.Scope, e.Function)
	granted, has := r.granted[key]
	x := &item{ReviewOpened: *e, entry: n, at: at, status: remit.ItemOpen, fake: !has}
	deadline := int64(0)
	if o != nil { // whoever is asked late has the whole time
		if deadline = o.Deadline; at-(o.Deadline-o.campaign.Due) > o.campaign.Due/4 {
			deadline = at + o.campaign.Due
		}
	}
	switch {
	case e.Run != "" && (o == nil || o.closed || e.Deadline != deadline || e.Cause != remit.CauseCampaign):
		return "reviews: an item of a run that is not open, or with another deadline"
	case e.Run == "" && (r.settings == nil || e.Deadline != at+r.settings.Due || !slices.Contains(r.settings.Micro, e.Cause)):
		return "reviews: an item that no event opens"
	case x.fake && (e.Run == "" || o.campaign.Canaries == 0):
		return "reviews: an item about what the agent does not have"
	case has && r.newest[key] != nil && r.newest[key].status == remit.ItemOpen:
		return "reviews: two items are about the same at once"
	}
	if has {
		r.newest[key] = x
		uses := 0
		for _, u := range r.uses {
			if u.agent == e.Agent && u.entry > int(e.Evidence.Granted) && u.of(x) {
				uses++
			}
		}
		if uses != e.Evidence.Uses || e.Evidence.Granted != r.from[key] || int(e.Evidence.Granted) > granted {
			return "reviews: an item says of the use of an entitlement what is not so"
		}
	}
	if r.items[e.ID] = x; o != nil {
		if o.open++; !x.fake {
			o.counts.Items++
		}
	}
	return ""
}

// production tells whether agents of a function reach it.
func production(f remit.Function) bool { return f == remit.FuncDeploy || f == remit.FuncOperate }

// could tells whether somebody could keep an item, as far as they are concerned.
func (j *Judge) could(x *item, p remit.ID) bool {
	if j.dead[p] || x.Evidence.Alone && x.Evidence.By == p && (j.profile != remit.Solo || production(j.agents[x.Agent].Function)) {
		return false
	}
	return slices.ContainsFunc(j.keys[p], func(k remit.Key) bool {
		return int(k.Since) < x.entry && (k.Confirmed || k.Usable != 0 && x.at >= k.Usable)
	})
}

func (j *Judge) itemAnswered(n int, at int64, e *remit.ReviewAnswered) string {
	r := &j.reviews
	x := r.items[e.Item]
	if x == nil || x.status != remit.ItemOpen || x.over(at) {
		return "reviews: an answer to an item that is not open, or whose time is over"
	}
	a := j.agents[x.Agent]
	groups, fallback := []string(nil), remit.Administrators
	switch o := r.runs[x.Run]; {
	case o != nil:
		groups, fallback = o.campaign.Reviewers, o.campaign.Fallback
	case r.settings != nil:
		fallback = r.settings.Fallback
	}
	first := e.By == a.Owner && len(groups) == 0 || slices.ContainsFunc(groups, func(g string) bool { return j.in(g, e.By, at, n) })
	instead := j.in(fallback, e.By, at, n) && (x.last != 0 || len(groups) > 0 || !j.could(x, a.Owner) || production(a.Function))
	gives := e.Answer == remit.Remove && (e.By == a.Owner || j.admin(e.By))
	switch {
	case x.fake != e.Canary:
		return "reviews: an item is said to be a canary that is none, or none that is one"
	case j.dead[e.By] || !first && !instead && !gives:
		return "R3: an item is answered by somebody who is not asked"
	case e.Answer != remit.Remove && !j.could(x, e.By):
		return "R3: somebody certifies what they gave themselves, or with a key of later"
	case e.Answer != remit.Remove && production(a.Function) && e.Assurance != remit.AssuranceTouch && j.profile != remit.Demo:
		return "R6: what reaches production is certified without a touch"
	case e.Answer != remit.Remove && e.Assurance == remit.AssuranceSelf && j.profile != remit.Solo:
		return "R3: somebody certifies what they gave themselves"
	}
	switch {
	case e.Answer == remit.Keep:
		j.ends(n, x, remit.ItemKept)
	case x.fake:
		j.ends(n, x, remit.ItemRemoved)
	default:
		r.answer = e
	}
	return ""
}

func (j *Judge) ends(n int, x *item, to remit.ItemStatus) {
	x.status, x.ended, x.done = to, n, j.at
	o := j.reviews.runs[x.Run]
	if o == nil {
		return
	}
	o.open--
	c := &o.counts
	switch {
	case x.fake && to == remit.ItemVoid:
		c.Unseen++
	case x.fake:
		if c.Canaries++; to == remit.ItemKept {
			c.Fooled++
		}
	default:
		*map[remit.ItemStatus]*int{remit.ItemKept: &c.Kept, remit.ItemShrunk: &c.Shrunk, remit.ItemRemoved: &c.Removed, remit.ItemLapsed: &c.Lapsed, remit.ItemVoid: &c.Void}[to]++
	}
}

// takes judges a removal, and ends what rests on what is taken.
func (j *Judge) takes(n int, at int64, e *remit.ReviewRemoved, answer *remit.ReviewAnswered) string {
	r := &j.reviews
	x := r.items[e.Item]
	if x == nil || x.status != remit.ItemOpen || x.fake || x.Agent != e.Agent {
		return "reviews: something is removed by an item that is not open, or not about it"
	}
	status := remit.ItemRemoved
	if answer == nil {
		status = remit.ItemLapsed
		if !e.Lapsed || e.By != "" || len(e.Left) > 0 {
			return "reviews: something is removed, and nobody said so"
		}
		if !x.over(at) {
			return "reviews: something is removed by silence before its time, or before a last reminder"
		}
	} else {
		if e.Lapsed || answer.Item != e.Item || answer.By != e.By || (answer.Answer == remit.Shrink) != (len(e.Left) > 0) {
			return "reviews: something else is removed than somebody said"
		}
		if len(e.Left) > 0 {
			status = remit.ItemShrunk
		}
	}
	a := j.agents[e.Agent]
	for _, sc := range e.Left {
		if !inScope(sc, []remit.Scope{x.Scope}) {
			return "R5: a shrink leaves more than there was"
		}
	}
	was := slices.Clone(a.Entitlements)
	key := nameOf(x.Scope, x.Function)
	from := r.from[x.Agent+" "+key]
	j.ends(n, x, status)
	x.left = e.Left
	if x.Function != "" {
		a.MayRequest = slices.DeleteFunc(slices.Clone(a.MayRequest), func(f remit.Function) bool { return f == x.Function })
		for _, t := range j.tasks {
			if p := j.tasks[t.Parent]; p != nil && p.Agent == a.Name && !t.Delegated && j.agents[t.Agent].Function == x.Function && !t.ended {
				t.cut = n
			}
		}
		j.regranted(n, a)
		return ""
	}
	var left []remit.Scope
	for _, sc := range was {
		own := r.newest[x.Agent+" "+nameOf(sc, "")]
		apart := own != nil && own != x && (own.status == remit.ItemOpen || (own.status == remit.ItemKept || own.status == remit.ItemShrunk) && own.ended > x.entry)
		if nameOf(sc, "") != key && (!inScope(sc, []remit.Scope{x.Scope}) || apart) {
			left = append(left, sc)
		}
	}
	for _, sc := range e.Left {
		if !slices.ContainsFunc(left, func(o remit.Scope) bool { return nameOf(o, "") == nameOf(sc, "") }) {
			left = append(left, sc)
		}
	}
	a.Entitlements = left
	j.regranted(n, a)
	if len(e.Left) == 1 && from != 0 {
		r.from[x.Agent+" "+nameOf(e.Left[0], "")] = from // its uses are those of what it was
	}
	for _, sc := range e.Left { // it was certified with the rest gone
		r.newest[x.Agent+" "+nameOf(sc, "")] = x
	}
	before := &agent{AgentDeclared: remit.AgentDeclared{Entitlements: was}}
	for _, t := range j.tasks {
		if t.Agent != a.Name || t.ended || t.cut != 0 {
			continue
		}
		for _, g := range t.Grant {
			for _, act := range g.Actions {
				for _, res := range g.Resources {
					g.Actions, g.Resources = []remit.Action{act}, []remit.Pattern{res}
					one := &remit.TaskCreated{Grant: []remit.Scope{g}}
					if j.entitled(one, before, j.branch(t)) == "" && j.entitled(one, a, j.branch(t)) != "" {
						t.cut = n
					}
				}
			}
		}
	}
	return ""
}

func (j *Judge) branch(t *task) remit.ID {
	for t.Delegated {
		t = j.tasks[t.Parent]
	}
	return t.ID
}

// inScope tells whether a scope is within others, refs and all.
func inScope(sc remit.Scope, in []remit.Scope) bool {
	refs := func(s remit.Scope) []remit.Pattern {
		if len(s.Refs) == 0 {
			return []remit.Pattern{"refs/heads/remit/{task}/**"}
		}
		return s.Refs
	}
	for _, act := range sc.Actions {
		for _, res := range sc.Resources {
			if !slices.ContainsFunc(in, func(o remit.Scope) bool {
				return slices.Contains(o.Actions, act) && inside(res, o.Resources) && allInside(refs(sc), refs(o)) && (len(o.Paths) == 0 || len(sc.Paths) > 0 && allInside(sc.Paths, o.Paths)) &&
					(o.MaxBytes == 0 || sc.MaxBytes > 0 && sc.MaxBytes <= o.MaxBytes) && (o.MaxCommits == 0 || sc.MaxCommits > 0 && sc.MaxCommits <= o.MaxCommits)
			}) {
				return false
			}
		}
	}
	return true
}

// givesBack: what comes back was taken away a month ago at most, and somebody else agreed where there is one.
func (j *Judge) givesBack(n int, at int64, e *remit.ReviewRegranted) string {
	x := j.reviews.items[e.Item]
	if x == nil || x.fake || x.Agent != e.Agent || x.status != remit.ItemRemoved && x.status != remit.ItemLapsed && x.status != remit.ItemShrunk || at-x.done > 30*day {
		return "reviews: something is given back that was not taken away, or too long ago"
	}
	a := j.agents[e.Agent]
	if why := j.widens(at, a, e.By, e.Access); why != "" {
		return why
	}
	x.status = remit.ItemRegranted
	if x.Function != "" {
		if !slices.Contains(a.MayRequest, x.Function) {
			a.MayRequest = append(slices.Clone(a.MayRequest), x.Function)
		}
	} else {
		a.Entitlements = append(slices.DeleteFunc(slices.Clone(a.Entitlements), func(sc remit.Scope) bool {
			return slices.ContainsFunc(x.left, func(l remit.Scope) bool { return nameOf(l, "") == nameOf(sc, "") })
		}), x.Scope)
	}
	j.regranted(n, a)
	return ""
}

// widens: its owner or an administrator asks, and another administrator agrees where there is one.
func (j *Judge) widens(at int64, a *agent, by, access remit.ID) string {
	if !j.admin(by) && (by != a.Owner || j.dead[by]) {
		return "control: authority comes back by somebody who neither owns the agent nor is an administrator"
	}
	if access == "" {
		if !j.admin(by) || slices.ContainsFunc(j.groups[remit.Administrators], func(p remit.ID) bool { return p != by && !j.dead[p] }) {
			return "control: authority comes back by one person, and there is another administrator"
		}
		return ""
	}
	o := j.access[access]
	if o == nil || o.Task != "" || o.By != by || at >= o.NotAfter || o.status != remit.AccessMet || o.entry < j.forked || !j.met(o, at, o.Needs) {
		return "R6: authority comes back without the votes that this needs"
	}
	return ""
}

// idles judges an agent that suspends or retires itself, or comes back; ok is false for other changes.
func (j *Judge) idles(at int64, a *agent, e *remit.AgentChanged) (wrong string, ok bool) {
	set := j.reviews.settings
	idle := at
	if set != nil {
		idle = at - max(a.seen, j.reviews.since)
	}
	switch {
	case e.Cause == remit.CauseRevived:
		if a.idle == 0 || e.Status != remit.AgentActive {
			return "R2: an agent comes back that had not ended by itself", true
		}
		if a.status == remit.AgentRetired && at-a.idle > 30*day {
			return "R2: an agent that was retired comes back too late", true
		}
		if !j.admin(e.By) && (e.By != a.Owner || j.dead[e.By]) {
			return "control: an agent is changed by somebody who neither owns it nor is an administrator", true
		}
		return "", true
	case e.Cause != remit.CauseIdle:
		return "", false
	case set == nil || e.By != "":
		return "control: an agent ends by itself, and reviews are not declared", true
	case e.Status == remit.AgentSuspended && a.status == remit.AgentActive && set.SuspendAfter != 0 && idle >= set.SuspendAfter:
	case e.Status == remit.AgentRetired && a.status == remit.AgentSuspended && a.idle != 0 && set.RetireAfter != 0 && idle >= set.RetireAfter:
	default:
		return "control: an agent ends by itself that was used, or too soon", true
	}
	for _, t := range j.tasks {
		if t.Agent == e.Agent && !t.ended {
			return "control: an agent ends by itself that has a task", true
		}
	}
	return "", true
}
