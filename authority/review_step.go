package authority

import (
	"reflect"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/cadence"
)

// What one StepReviews writes at most, save that the items of one agent are opened together. More comes with the next one,
// and what others ask is decided in between.
const (
	reviewsAtOnce  = 256
	remindedAtOnce = 100 // items in one entry
	lastReminder   = 24 * time.Hour
	youngFor       = 7 * 24 * time.Hour // what was granted since then is not called unused
	shrinkLargest  = 2 << 10            // bytes of what a shrink leaves; beyond that it only leaves actions out
	fakeLargest    = 4 << 10            // bytes of a canary
)

// ReviewsDue tells whether a StepReviews at now would change anything.
func (s *State) ReviewsDue(now int64) bool { return len(stepReviews(s, now, remit.Digest{}, 1)) > 0 }

// grace is how long people have after the last reminder, at least.
func (x *Item) grace() int64 { return min(int64(lastReminder), (x.Deadline-x.At)/4) }

// LastDue is when people are reminded of an item for the last time: a little more than grace before its deadline, so that
// who looks a little late does not move that.
func (x *Item) LastDue() int64 { return x.Deadline - x.grace() - x.grace()/24 }

// Ends is when an open item is decided by silence: at its deadline, and never sooner than people had its last reminder for a
// while. 0: that reminder did not go out yet.
func (x *Item) Ends() int64 {
	if x.Last == 0 {
		return 0
	}
	return max(x.Deadline, x.Last+x.grace())
}

func (x *Item) over(now int64) bool { return x.Last != 0 && now >= x.Ends() }

// stepReviews is what time alone has made true: what is taken away before what is asked. It stops at most events, or a few
// later.
func stepReviews(s *State, now int64, seed remit.Digest, most int) []remit.Event {
	st := reviewStep{s: s, now: now, seed: seed, most: most, ended: map[remit.ID]bool{}, opened: map[string]bool{}}
	for _, part := range []func(){st.lapse, st.idle, st.remind, st.runs, st.open, st.micro} {
		if part(); st.full() {
			break
		}
	}
	return st.events
}

type reviewStep struct {
	s      *State
	now    int64
	seed   remit.Digest
	most   int
	events []remit.Event
	ended  map[remit.ID]bool // items
	opened map[string]bool   // AGENT KEY of items
}

func (st *reviewStep) full() bool { return len(st.events) >= st.most }

func (st *reviewStep) add(e remit.Event) { st.events = append(st.events, e) }

// lapse removes what nobody certified, of items whose time is over, and ends those that have nothing to take away.
func (st *reviewStep) lapse() {
	for _, id := range st.s.OpenItems.IDs {
		x := st.s.Items[id]
		if st.full() {
			return
		}
		if x.Status != remit.ItemOpen {
			continue
		}
		switch a := st.s.Agents[x.Agent]; {
		case !x.Canary && (a.Status == remit.AgentRetired || !st.s.there(x)):
			st.add(&remit.ReviewVoid{Item: id})
		case !x.over(st.now):
			continue
		case x.Canary:
			st.add(&remit.ReviewVoid{Item: id, Canary: true})
		default:
			st.add(&remit.ReviewRemoved{Item: id, Agent: x.Agent, Lapsed: true})
		}
		st.ended[id] = true
	}
}

// there tells whether an agent still has what an item is about, or a part of it that has no item of its own.
func (s *State) there(x *Item) bool {
	a := s.Agents[x.Agent]
	if x.Function != "" {
		return slices.Contains(a.MayRequest, x.Function)
	}
	if a.Holds[x.Key] != nil {
		return true
	}
	return slices.ContainsFunc(a.Entitlements, func(sc remit.Scope) bool {
		return contained(sc, []remit.Scope{x.Scope}) && !s.ownItem(a.Holds[HoldingKey(sc, "")], x)
	})
}

// idleSince is the last sign of life of an agent: a decision, a task, its declaration, or that somebody resumed it. Nobody
// is idle for longer than reviews are in force.
func (s *State) idleSince(a *Agent) int64 { return max(a.LastUse, a.Seen, s.Settings.Since) }

// idle suspends agents that did nothing for a while, and retires those that did nothing since. One with a task that has
// not ended is not idle, and one that a person suspended is a person's business.
func (st *reviewStep) idle() {
	set := st.s.Settings
	if set == nil || set.SuspendAfter == 0 {
		return
	}
	for _, name := range sorted(st.s.Agents) {
		if st.full() {
			return
		}
		a := st.s.Agents[name]
		since := st.s.idleSince(a)
		switch {
		case a.Status == remit.AgentActive && st.now-since >= set.SuspendAfter && !slices.ContainsFunc(a.Tasks.IDs, st.s.taskOpen):
			st.add(&remit.AgentChanged{Agent: name, Status: remit.AgentSuspended, Cause: remit.CauseIdle})
		case a.Status == remit.AgentSuspended && a.Idle != 0 && set.RetireAfter != 0 && st.now-since >= set.RetireAfter && st.now-a.Idle >= set.RetireAfter-set.SuspendAfter:
			st.add(&remit.AgentChanged{Agent: name, Status: remit.AgentRetired, Cause: remit.CauseIdle})
		}
	}
}

// remind says half-way and near the end whose time is running out.
func (st *reviewStep) remind() {
	for _, last := range []bool{false, true} {
		var items []remit.ID
		for _, id := range st.s.OpenItems.IDs {
			x := st.s.Items[id]
			due := x.At + (x.Deadline-x.At)/2
			if last {
				due = x.LastDue()
			}
			if x.Status != remit.ItemOpen || st.ended[id] || st.now < due || last && x.Last != 0 || !last && (x.Half != 0 || st.now >= x.LastDue()) {
				continue
			}
			if items = append(items, id); len(items) == remindedAtOnce {
				st.add(&remit.ReviewReminded{Items: items, Last: last})
				if items = nil; st.full() {
					return
				}
			}
		}
		if len(items) > 0 {
			st.add(&remit.ReviewReminded{Items: items, Last: last})
		}
	}
}

// runs opens the items of runs, agent by agent, and closes those of which every item has ended.
func (st *reviewStep) runs() {
	for _, id := range sorted(st.s.Runs) {
		r := st.s.Runs[id]
		if r.Closed != 0 {
			continue
		}
		canaries, pending := r.Canaries-r.Canary, false
		for i, name := range r.Pending {
			if st.full() {
				return
			}
			if !st.asks(name) {
				continue
			}
			pending = true
			left := len(r.Pending) - i
			n := canaries / left
			if canaries%left > int(st.draw("canaries", name)%uint64(left)) {
				n++
			}
			canaries -= st.items(r, st.s.Agents[name], n)
		}
		if r.Open == 0 && !pending { // what ends with this command, the next one sees
			st.add(&remit.CampaignClosed{ID: id, Counts: r.Counts})
		}
	}
}

// count adds an item that has ended; of a canary, void is that nobody answered it, and open that somebody saw through it.
func count(c *remit.RunCount, to remit.ItemStatus, canary bool) {
	switch {
	case canary && to == remit.ItemVoid:
		c.Unseen++
	case canary:
		c.Canaries++
		if to == remit.ItemKept {
			c.Fooled++
		}
	case to == remit.ItemKept:
		c.Kept++
	case to == remit.ItemShrunk:
		c.Shrunk++
	case to == remit.ItemRemoved:
		c.Removed++
	case to == remit.ItemLapsed:
		c.Lapsed++
	case to == remit.ItemVoid:
		c.Void++
	}
}

// unasked are the keys of what an agent holds that no open item is about.
func (st *reviewStep) unasked(a *Agent) (out []string) {
	for _, key := range sorted(a.Holds) {
		if !st.s.itemOpen(a.Holds[key].Item) && !st.opened[a.Name+" "+key] {
			out = append(out, key)
		}
	}
	return out
}

// asks tells whether there is something of an agent to open an item about.
func (st *reviewStep) asks(agent string) bool {
	a := st.s.Agents[agent]
	return a.Status != remit.AgentRetired && len(st.unasked(a)) > 0
}

// Opening tells whether a run still has items to be opened.
func (s *State) Opening(run remit.ID) bool {
	r, st := s.Runs[run], reviewStep{s: s}
	return r != nil && r.Closed == 0 && slices.ContainsFunc(r.Pending, st.asks)
}

// items opens all items of one agent in a run, with n canaries among them, and tells how many there are.
func (st *reviewStep) items(r *Run, a *Agent, n int) int {
	type asked struct {
		h      *Holding
		canary bool
	}
	var all []asked
	for _, key := range st.unasked(a) {
		st.opened[a.Name+" "+key] = true
		all = append(all, asked{h: a.Holds[key]})
	}
	fakes := st.fakes(a, n, all[int(st.draw("like", a.Name)%uint64(len(all)))].h)
	for i, f := range fakes {
		all = slices.Insert(all, int(st.draw("place", a.Name, string(rune('a'+i)))%uint64(len(all)+1)), asked{f, true})
	}
	deadline, due := r.Deadline, r.Deadline-r.At
	if st.now-r.At > due/4 { // the server was away, or something else asked about all of it until now
		deadline = st.now + due
	}
	for _, x := range all {
		st.item(r.ID, remit.CauseCampaign, deadline, a, x.h)
	}
	return len(fakes)
}

func (st *reviewStep) item(run remit.ID, cause string, deadline int64, a *Agent, h *Holding) {
	id := newID(st.s, "R", len(st.events))
	e := &remit.ReviewOpened{ID: id, Run: run, Cause: cause, Agent: a.Name, Scope: h.Scope, Function: h.Function, Deadline: deadline, Evidence: h.Evidence(), Advice: h.advice(st.now)}
	e.Shown = ItemDigest(st.s.Origin, e)
	st.add(e)
}

// ItemDigest is what an answer to an item binds: all that its entry says, of this log.
func ItemDigest(origin string, e *remit.ReviewOpened) remit.Digest {
	x := *e
	x.Shown = remit.Digest{}
	return digestJSON("review item", struct {
		Origin string
		Item   remit.ReviewOpened
	}{origin, x})
}

// Evidence is how h was used so far.
func (h *Holding) Evidence() remit.Evidence {
	e := remit.Evidence{Granted: h.Granted, By: h.By, Alone: h.Alone, Tasks: h.Tasks, Uses: h.Uses, Last: h.Last, LastAt: h.LastAt, Kept: h.Kept}
	var targets []remit.Resource
	e.Actions = union(e.Actions, h.More)
	for _, u := range h.Used {
		e.Actions = union(e.Actions, []remit.Action{u.Action})
		targets = union(targets, []remit.Resource{u.Resource})
	}
	if e.Targets = len(targets); len(h.More) > 0 {
		e.Targets++ // at least
	}
	return e
}

// advice is what the log recommends: to remove what was never used, unless it is new; to cut down to what was used; else
// to keep.
func (h *Holding) advice(now int64) remit.Answer {
	switch {
	case h.Uses == 0 && now-h.GrantedAt >= int64(youngFor):
		return remit.Remove
	case h.Uses > 0 && h.shrinks():
		return remit.Shrink
	}
	return remit.Keep
}

// shrinks tells whether something of an entitlement was not used.
func (h *Holding) shrinks() bool {
	return h.Function == "" && !contained(h.Scope, h.Shrunk())
}

// Shrunk is what was used of an entitlement, as entitlements: the actions that were used, each on the resources that it was
// used on, with the same refs, paths and limits. Where those are too many to name, the resources stay as they are. It never
// is more than the entitlement.
func (h *Holding) Shrunk() []remit.Scope {
	var out []remit.Scope
	size := 0
	for _, act := range h.Scope.Actions {
		sc := h.Scope
		sc.Actions, sc.Resources = []remit.Action{act}, nil
		for _, u := range h.Used {
			if u.Action == act {
				sc.Resources = append(sc.Resources, remit.Pattern(u.Resource))
			}
		}
		if len(sc.Resources) == 0 && !slices.Contains(h.More, act) {
			continue
		}
		if slices.Contains(h.More, act) {
			sc.Resources = h.Scope.Resources
		}
		if i := slices.IndexFunc(out, func(o remit.Scope) bool { return slices.Equal(o.Resources, sc.Resources) }); i >= 0 {
			out[i].Actions = append(slices.Clone(out[i].Actions), act)
			continue
		}
		for _, ps := range [][]remit.Pattern{sc.Resources, sc.Refs, sc.Paths} {
			for _, p := range ps {
				size += len(p) + 2
			}
		}
		out = append(out, sc)
	}
	if size <= shrinkLargest {
		return out
	}
	all := h.Scope
	all.Actions = nil
	for _, sc := range out {
		all.Actions = append(all.Actions, sc.Actions...)
	}
	slices.Sort(all.Actions)
	return []remit.Scope{all}
}

// open begins runs of campaigns whose time has come. A campaign has one run at a time: a time that comes while one is open is
// had after its end, all of those together.
func (st *reviewStep) open() {
	for _, name := range sorted(st.s.Campaigns) {
		c := st.s.Campaigns[name]
		if st.full() {
			return
		}
		if at := cadence.Slot(c.Cadence, c.Last, st.now); c.Open == "" && at != 0 {
			st.add(st.s.openRun(c, len(st.events), at, st.now))
		}
	}
}

func (s *State) openRun(c *Campaign, n int, at, now int64) *remit.CampaignOpened {
	return &remit.CampaignOpened{ID: newID(s, "C", n), Campaign: c.Name, Slot: at, Deadline: now + c.Due, Agents: len(s.inCampaign(c))}
}

// inCampaign lists the agents that a run of c asks about.
func (s *State) inCampaign(c *Campaign) (out []string) {
	for _, name := range sorted(s.Agents) {
		if a := s.Agents[name]; c.covers(a) && len(a.Holds) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// micro opens an item for what an event has made doubtful.
func (st *reviewStep) micro() {
	set := st.s.Settings
	if set == nil || len(set.Micro) == 0 {
		return
	}
	for _, name := range sorted(st.s.Agents) {
		if st.full() {
			return
		}
		a := st.s.Agents[name]
		if a.Status == remit.AgentRetired {
			continue
		}
		for _, key := range st.unasked(a) {
			if cause := st.s.doubt(a, a.Holds[key], st.now); cause != "" && slices.Contains(set.Micro, cause) {
				st.opened[name+" "+key] = true
				st.item("", cause, st.now+set.Due, a, a.Holds[key])
			}
		}
	}
}

// doubt is the first event, of those that are declared, that nobody has answered since.
func (s *State) doubt(a *Agent, h *Holding, now int64) string {
	set := s.Settings
	micro := func(cause string) bool { return slices.Contains(set.Micro, cause) }
	owner := s.People[a.Owner]
	switch {
	case micro(remit.CauseOwnerLeft) && !s.personLive(a.Owner) && (owner == nil || h.Kept < owner.Ended.Entry):
		return remit.CauseOwnerLeft
	case micro(remit.CauseNewFunction) && h.Function != "" && h.First != 0 && h.Kept < h.First:
		return remit.CauseNewFunction
	case micro(remit.CauseWide) && h.Kept == 0 && h.GrantedAt >= set.Since && slices.ContainsFunc(h.Scope.Resources, wide):
		return remit.CauseWide
	case micro(remit.CauseUnused) && now-max(h.GrantedAt, h.LastAt, h.KeptAt, set.Since) >= set.UnusedAfter:
		return remit.CauseUnused
	}
	return ""
}

// wide tells whether a pattern covers any number of segments.
func wide(p remit.Pattern) bool { return len(p) > 3 && p[len(p)-3:] == "/**" }

// draw is a number that hangs on the seed and on what it is for.
func (st *reviewStep) draw(what ...string) uint64 {
	parts := [][]byte{st.seed[:]}
	for _, w := range what {
		parts = append(parts, []byte(w), []byte{0})
	}
	d := remit.Hash(parts...)
	n := uint64(0)
	for _, b := range d[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}

// lookedAt is how many other agents are looked at for a canary.
const lookedAt = 200

// fakes makes up to n entitlements that an agent does not have, and could: of other agents of its function, or with one more
// action on what it has. What an item says of the grant of one is what it says of another of the same agent that was never
// used.
func (st *reviewStep) fakes(a *Agent, n int, like *Holding) []*Holding {
	if n < 1 {
		return nil
	}
	var found []remit.Scope
	known := map[string]bool{}
	take := func(sc remit.Scope) {
		if sizeOf(reflect.ValueOf(sc)) > fakeLargest || contained(sc, a.Entitlements) || known[HoldingKey(sc, "")] || st.s.checkBoundary(a.Function, []remit.Scope{sc}) != nil {
			return
		}
		known[HoldingKey(sc, "")] = true
		found = append(found, sc)
	}
	names := sorted(st.s.Agents)
	from := int(st.draw("from", a.Name) % uint64(len(names)))
	for i := range min(len(names), lookedAt) {
		if o := st.s.Agents[names[(from+i)%len(names)]]; o.Name != a.Name && o.Function == a.Function && o.Status != remit.AgentRetired {
			for _, sc := range o.Entitlements {
				take(sc)
			}
		}
	}
	for _, sc := range a.Entitlements {
		for _, info := range remit.Catalogue() {
			more := sc
			more.Actions = []remit.Action{info.Action}
			if slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return remit.Resource(p).Type() == info.Resource }) && info.Impact != remit.Read {
				take(more)
			}
		}
	}
	var out []*Holding
	for i := 0; i < n && len(found) > 0; i++ {
		k := int(st.draw("fake", a.Name, string(rune('a'+i))) % uint64(len(found)))
		out = append(out, &Holding{Scope: found[k], Granted: like.Granted, GrantedAt: like.GrantedAt, By: like.By, Alone: like.Alone, Tasks: like.Tasks})
		found = slices.Delete(found, k, k+1)
	}
	return out
}
