package follow

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// maxSeen bounds the memory of the inventory, in things and in ways of using them: names of tools and branches are of
// others' choosing. What comes beyond is not remembered, and that is said.
const maxSeen = 200_000

// Seen is when a thing came to be and when it was used last, by entries of the log. An entry that nobody remembers has no
// time.
type Seen struct {
	Created   remit.EntryIndex
	CreatedAt time.Time
	Last      remit.EntryIndex
	LastAt    time.Time
}

// Way is how an agent used what it may: an action on a resource, and at which refs. The id of its task stands as {task}.
type Way struct {
	Agent    string
	Action   remit.Action
	Resource remit.Resource
	Ref      string
}

// Times is how often something was let through, and in which entries first and last.
type Times struct {
	Count       int
	First, Last remit.EntryIndex
	LastAt      time.Time
}

// inventory knows of things by their keys when they came and were used: KIND/NAME, or the resource. What has ended leaves
// it, so it is as large as what there is.
type inventory struct {
	seen   map[string]*Seen
	ways   map[Way]*Times
	tasks  map[remit.ID]worker // live ones
	scopes map[string][]string // keys of the entitlements of each agent
	days   []day               // first entries of days
	full   bool
}

type worker struct {
	agent string
	own   remit.ID // the task whose branches it works on
}

type day struct {
	at    time.Time
	entry remit.EntryIndex
}

func newInventory() inventory {
	return inventory{seen: map[string]*Seen{}, ways: map[Way]*Times{}, tasks: map[remit.ID]worker{}, scopes: map[string][]string{}}
}

func (v *inventory) get(key string) *Seen {
	x := v.seen[key]
	if x == nil {
		if len(v.seen) >= maxSeen {
			v.full = true
			return nil
		}
		x = &Seen{}
		v.seen[key] = x
	}
	return x
}

func (v *inventory) made(i remit.EntryIndex, at time.Time, key string) {
	if x := v.get(key); x != nil && x.CreatedAt.IsZero() {
		x.Created, x.CreatedAt = i, at
	}
}

func (v *inventory) used(i remit.EntryIndex, at time.Time, key string) {
	if x := v.get(key); x != nil {
		x.Last, x.LastAt = i, at
	}
}

// usedLive notes the use of what leaves when it ends: if it has left, it is gone.
func (v *inventory) usedLive(i remit.EntryIndex, at time.Time, key string) {
	if v.seen[key] != nil {
		v.used(i, at, key)
	}
}

func (v *inventory) fold(i remit.EntryIndex, at time.Time, event remit.Event) {
	if n := len(v.days); n == 0 || at.Sub(v.days[n-1].at) >= 24*time.Hour {
		v.days = append(v.days, day{at, i})
	}
	switch e := event.(type) {
	case *remit.PersonDeclared:
		v.made(i, at, "person/"+string(e.ID))
		v.keys(i, at, e.Keys)
	case *remit.KeyEnrolled:
		v.keys(i, at, []remit.Key{e.Key})
	case *remit.Applied:
		v.used(i, at, "person/"+string(e.By))
	case *remit.AgentDeclared:
		v.made(i, at, "agent/"+e.Name)
		v.entitled(i, at, e.Name, e.Entitlements)
	case *remit.UpstreamDeclared:
		v.made(i, at, "upstream/"+e.Name)
	case *remit.RepositoryDeclared:
		v.made(i, at, "repo:"+e.Name)
		for _, x := range e.Effects {
			v.made(i, at, string(x.On))
		}
	case *remit.EnvironmentDeclared:
		v.made(i, at, "environment:"+e.Name)
	case *remit.SecretDeclared:
		v.made(i, at, "secret:"+e.Name)
	case *remit.ToolDeclared:
		v.made(i, at, "tool/"+e.Name)
	case *remit.Removed:
		v.removed(e)
	case *remit.TaskCreated:
		own := e.ID
		if e.Delegated {
			own = v.tasks[e.Parent].own
		}
		v.tasks[e.ID] = worker{e.Agent, own}
		v.made(i, at, "grant/"+string(e.ID))
		if e.By == "" {
			v.used(i, at, "person/"+string(e.Requester))
		}
	case *remit.TaskEnded:
		delete(v.tasks, e.Task)
		delete(v.seen, "grant/"+string(e.Task))
	case *remit.InstanceStarted:
		v.made(i, at, "instance/"+string(e.ID))
		if e.Launcher != "" {
			v.used(i, at, "person/"+string(e.Launcher))
		}
	case *remit.InstanceEnded:
		delete(v.seen, "instance/"+string(e.Instance))
	case *remit.VoteCast:
		v.used(i, at, "person/"+string(e.Person))
		v.used(i, at, "key/"+e.Key.String())
	case *remit.LeaseOpened:
		v.made(i, at, "lease/"+string(e.ID))
		v.used(i, at, "lease/"+string(e.ID))
		v.used(i, at, "upstream/"+e.Upstream)
	case *remit.LeaseMoved:
		if e.To.Ended() {
			delete(v.seen, "lease/"+string(e.Lease))
		}
	case *remit.Decided:
		v.decided(i, at, e)
	}
}

func (v *inventory) keys(i remit.EntryIndex, at time.Time, keys []remit.Key) {
	for _, k := range keys {
		v.made(i, at, "key/"+remit.Hash(k.Public).String())
	}
}

// removed forgets a thing: what is declared under its name later is another one. Agents and people stay who they were.
func (v *inventory) removed(e *remit.Removed) {
	switch e.What {
	case "upstream":
		delete(v.seen, "upstream/"+e.Name)
	case "repository":
		delete(v.seen, "repo:"+e.Name)
	case "environment", "secret":
		delete(v.seen, e.What+":"+e.Name)
	case "tool":
		delete(v.seen, "tool/"+e.Name)
	}
}

// decided notes what was let through. What was refused was not used.
func (v *inventory) decided(i remit.EntryIndex, at time.Time, e *remit.Decided) {
	w := v.tasks[e.Task]
	if w.agent == "" {
		w.agent = e.Agent
	}
	if w.agent != "" {
		v.used(i, at, "agent/"+w.agent)
	}
	v.usedLive(i, at, "instance/"+string(e.Instance))
	v.usedLive(i, at, "grant/"+string(e.Task))
	if e.Verdict != remit.Allow {
		return
	}
	for _, x := range append(e.Artifacts, e.Deploy.Artifacts...) {
		v.used(i, at, x.String())
	}
	for _, f := range e.Steps {
		v.used(i, at, string(f.Step.Resource))
		if w.agent == "" || f.Step.Effect {
			continue
		}
		way := Way{w.agent, f.Step.Action, f.Step.Resource, OwnRef(f.Ref, w.own)}
		t := v.ways[way]
		if t == nil {
			if len(v.ways) >= maxSeen {
				v.full = true
				continue
			}
			t = &Times{First: i}
			v.ways[way] = t
		}
		t.Count, t.Last, t.LastAt = t.Count+1, i, at
	}
}

// OwnRef is a ref with {task} for the id of the task whose branch it is, as entitlements have it.
func OwnRef(ref string, own remit.ID) string {
	if own == "" || ref == "" {
		return ref
	}
	segments := strings.Split(ref, "/")
	for i, s := range segments {
		if s == string(own) {
			segments[i] = "{task}"
		}
	}
	return strings.Join(segments, "/")
}

// Inventory is what is known of things, as it was at one entry. It is good while it is being looked at.
type Inventory struct{ of *inventory }

// Inventory has look see what came when, and was used when. Nothing is folded meanwhile, so look does not take long.
func (f *Follower) Inventory(ctx context.Context, look func(Inventory)) error {
	if err := f.CatchUp(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	look(Inventory{&f.inventory})
	return nil
}

// Forgotten tells that more was used than is remembered.
func (v Inventory) Forgotten() bool { return v.of.full }

// Of tells of a thing: agent/NAME, person/ID, instance/ID, grant/TASK, lease/ID, upstream/NAME, key/DIGEST, tool/NAME,
// RESOURCE@DIGEST of an artifact, or a resource.
func (v Inventory) Of(key string) Seen {
	if x := v.of.seen[key]; x != nil {
		return *x
	}
	return Seen{}
}

// Entitlement tells since when an agent has an entitlement just like this one.
func (v Inventory) Entitlement(agent string, sc remit.Scope) Seen { return v.Of(scopeKey(agent, sc)) }

// Ways visits how things were used, in no order.
func (v Inventory) Ways(visit func(Way, Times)) {
	for w, t := range v.of.ways {
		visit(w, *t)
	}
}

// scopeKey names an entitlement by what it says: its number changes when another one goes.
func scopeKey(agent string, sc remit.Scope) string {
	b, err := json.Marshal(sc)
	if err != nil {
		panic("follow: a scope is JSON: " + err.Error())
	}
	return "entitlement/" + agent + "/" + remit.Hash(b).String()
}

// entitled notes the entitlements of an agent, and forgets those that it has no more.
func (v *inventory) entitled(i remit.EntryIndex, at time.Time, agent string, list []remit.Scope) {
	var keys []string
	for _, sc := range list {
		keys = append(keys, scopeKey(agent, sc))
	}
	for _, k := range v.scopes[agent] {
		if !slices.Contains(keys, k) {
			delete(v.seen, k)
		}
	}
	v.scopes[agent] = keys
	for _, k := range keys {
		v.made(i, at, k)
	}
}

// Since is an entry from which on all of what happened at or after a time is read, and what happened within a day before it
// besides.
func (f *Follower) Since(ctx context.Context, at time.Time) (remit.EntryIndex, error) {
	if err := f.CatchUp(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	days := f.inventory.days
	i := sort.Search(len(days), func(i int) bool { return days[i].at.After(at) })
	if i == 0 {
		return 0, nil
	}
	return days[i-1].entry, nil
}
