package evidence

import (
	"maps"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// world is what the log declares, as it stands at the end of the period, each thing with the entry that says so. It is
// folded from declarations and from what happened to them, and from nothing else: whoever has the log gets the same.
type world struct {
	genesis  *remit.Genesis
	rules    at[remit.RulesActivated]
	policy   bundle
	tried    map[remit.Digest]trial // the newest trial of each bundle
	wanted   map[string]at[remit.ActivationDeclared]
	people   map[string]at[remit.PersonDeclared]
	groups   map[string]at[remit.GroupDeclared]
	agents   map[string]*agent
	ups      map[string]at[remit.UpstreamDeclared]
	repos    map[string]at[remit.RepositoryDeclared]
	envs     map[string]at[remit.EnvironmentDeclared]
	secrets  map[string]at[remit.SecretDeclared]
	tools    map[string]at[remit.ToolDeclared]
	bounds   map[string]at[remit.BoundaryDeclared]
	detects  map[string]at[remit.DetectionDeclared]
	glass    map[string]at[remit.BreakGlassDeclared]
	notify   at[remit.NotifyDeclared]
	camps    map[string]at[remit.CampaignDeclared]
	reviews  at[remit.ReviewsDeclared]
	items    map[remit.ID]*item                   // of reviews, that have not ended
	scanned  map[string]at[remit.UpstreamScanned] // the last scan of each upstream
	opened   map[remit.ID]*opened
	leases   map[remit.ID]*lease // that have not ended
	abandons []remit.EntryIndex
	kills    map[remit.ID]bool // people whose authority was ended
	contain  map[string]remit.EntryIndex
	forks    []remit.EntryIndex
}

// at is a thing with the entry that says so.
type at[T any] struct {
	entry remit.EntryIndex
	said  T
	there bool
}

type agent struct {
	at[remit.AgentDeclared]
	status  remit.AgentStatus
	changed remit.EntryIndex
	since   time.Time // of its first declaration
	used    time.Time // when an instance of it started last
}

// opened is break-glass that was opened.
type opened struct {
	entry    remit.EntryIndex
	due      int64
	reviewed bool
	wrong    bool
}

// lease is an upstream credential that has not ended.
type lease struct {
	entry  remit.EntryIndex
	event  remit.LeaseOpened
	ending time.Time
	stated int64
}

// due is by when it must be seen dead.
func (l *lease) due() int64 {
	end := max(l.event.NotAfter, l.stated)
	if l.event.Revocation == remit.RevokeExpiry {
		return end + int64(time.Minute) // between an upstream's clock and ours
	}
	if !l.ending.IsZero() {
		end = min(end, l.ending.UnixNano())
	}
	return end + l.event.Bound
}

func newWorld() *world {
	return &world{people: map[string]at[remit.PersonDeclared]{}, groups: map[string]at[remit.GroupDeclared]{}, agents: map[string]*agent{},
		ups: map[string]at[remit.UpstreamDeclared]{}, repos: map[string]at[remit.RepositoryDeclared]{}, envs: map[string]at[remit.EnvironmentDeclared]{},
		secrets: map[string]at[remit.SecretDeclared]{}, tools: map[string]at[remit.ToolDeclared]{}, bounds: map[string]at[remit.BoundaryDeclared]{},
		detects: map[string]at[remit.DetectionDeclared]{}, glass: map[string]at[remit.BreakGlassDeclared]{}, opened: map[remit.ID]*opened{},
		leases: map[remit.ID]*lease{}, kills: map[remit.ID]bool{}, contain: map[string]remit.EntryIndex{}, camps: map[string]at[remit.CampaignDeclared]{}, scanned: map[string]at[remit.UpstreamScanned]{},
		tried: map[remit.Digest]trial{}, wanted: map[string]at[remit.ActivationDeclared]{}, items: map[remit.ID]*item{}}
}

// fold takes the next entry.
func (w *world) fold(i remit.EntryIndex, t time.Time, e remit.Event) {
	switch e := e.(type) {
	case *remit.Genesis:
		w.genesis = e
		w.groups[remit.Administrators] = at[remit.GroupDeclared]{i, remit.GroupDeclared{Name: remit.Administrators, Members: e.Admins}, true}
	case *remit.RulesActivated:
		w.rules = at[remit.RulesActivated]{i, *e, true}
	case *remit.PolicyInstalled:
		w.policy = bundle{at[remit.PolicyInstalled]{i, *e, true}, t, w.tried[e.Bundle]}
	case *remit.PolicyTried:
		w.tried[e.Bundle] = trial{at[remit.PolicyTried]{i, *e, true}, t}
	case *remit.ActivationDeclared:
		put(w.wanted, e.Of, i, *e)
	case *remit.PersonDeclared:
		put(w.people, string(e.ID), i, *e)
	case *remit.PersonKilled:
		w.kills[e.Person] = true
	case *remit.GroupDeclared:
		put(w.groups, e.Name, i, *e)
	case *remit.AgentDeclared:
		a := w.agents[e.Name]
		if a == nil {
			a = &agent{status: remit.AgentActive, since: t}
			w.agents[e.Name] = a
		}
		a.at = at[remit.AgentDeclared]{i, *e, true}
	case *remit.AgentChanged:
		if a := w.agents[e.Agent]; a != nil {
			a.status, a.changed = e.Status, i
		}
	case *remit.InstanceStarted:
		if a := w.agents[e.Agent]; a != nil {
			a.used = t
		}
	case *remit.UpstreamDeclared:
		put(w.ups, e.Name, i, *e)
	case *remit.UpstreamContained:
		if delete(w.contain, e.Upstream); !e.Lifted {
			w.contain[e.Upstream] = i
		}
	case *remit.RepositoryDeclared:
		put(w.repos, e.Name, i, *e)
	case *remit.EnvironmentDeclared:
		put(w.envs, e.Name, i, *e)
	case *remit.SecretDeclared:
		put(w.secrets, e.Name, i, *e)
	case *remit.ToolDeclared:
		put(w.tools, e.Name, i, *e)
	case *remit.BoundaryDeclared:
		put(w.bounds, e.Name, i, *e)
	case *remit.DetectionDeclared:
		put(w.detects, e.Name, i, *e)
	case *remit.BreakGlassDeclared:
		put(w.glass, e.Name, i, *e)
	case *remit.NotifyDeclared:
		w.notify = at[remit.NotifyDeclared]{i, *e, !e.Spec.IsZero()}
	case *remit.UpstreamScanned:
		put(w.scanned, e.Upstream, i, *e)
	case *remit.CampaignDeclared:
		put(w.camps, e.Name, i, *e)
	case *remit.ReviewsDeclared:
		w.reviews = at[remit.ReviewsDeclared]{i, *e, true}
	case *remit.ReviewOpened, *remit.ReviewAnswered, *remit.ReviewRemoved, *remit.ReviewVoid:
		w.review(i, e)
	case *remit.Removed:
		w.remove(e)
	case *remit.BreakGlassOpened:
		w.opened[e.ID] = &opened{entry: i, due: e.Due}
	case *remit.BreakGlassReviewed:
		if o := w.opened[e.ID]; o != nil {
			o.reviewed, o.wrong = true, !e.Right
		}
	case *remit.LeaseOpened:
		w.leases[e.ID] = &lease{entry: i, event: *e}
	case *remit.LeaseMoved:
		w.lease(i, t, e)
	case *remit.LogForked:
		w.forks = append(w.forks, i)
	}
}

func put[T any](m map[string]at[T], name string, i remit.EntryIndex, v T) {
	m[name] = at[T]{i, v, true}
}

// remove takes what is declared out of force. An agent's name stays known.
func (w *world) remove(e *remit.Removed) {
	switch e.What {
	case "person":
		delete(w.people, e.Name)
	case "group":
		delete(w.groups, e.Name)
	case "agent":
		delete(w.agents, e.Name)
	case "upstream":
		delete(w.ups, e.Name)
	case "repository":
		delete(w.repos, e.Name)
	case "environment":
		delete(w.envs, e.Name)
	case "secret":
		delete(w.secrets, e.Name)
	case "tool":
		delete(w.tools, e.Name)
	case "boundary":
		delete(w.bounds, e.Name)
	case "detection":
		delete(w.detects, e.Name)
	case "break-glass":
		delete(w.glass, e.Name)
	case "campaign":
		delete(w.camps, e.Name)
	case "reviews":
		w.reviews = at[remit.ReviewsDeclared]{}
	case "activation":
		delete(w.wanted, e.Name)
	case "notify":
		w.notify = at[remit.NotifyDeclared]{}
	}
}

func (w *world) lease(i remit.EntryIndex, t time.Time, e *remit.LeaseMoved) {
	l := w.leases[e.Lease]
	if l == nil {
		return
	}
	l.stated = max(l.stated, e.NotAfter)
	if l.ending.IsZero() && (e.To == remit.LeaseRevoking || e.To == remit.LeaseQuarantined) {
		l.ending = t
	}
	if e.To == remit.LeaseAbandoned {
		w.abandons = append(w.abandons, i)
	}
	if e.To.Ended() {
		delete(w.leases, e.Lease)
	}
}

// each goes through a map in the order of its names.
func each[K ~string, T any](m map[K]T, yield func(name K, v T)) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		yield(name, m[name])
	}
}

// active are the agents that may have instances, by name.
func (w *world) active() (out []*agent) {
	each(w.agents, func(_ string, a *agent) {
		if a.status == remit.AgentActive {
			out = append(out, a)
		}
	})
	return out
}

// production are the environments of that tier, by name.
func (w *world) production() (out []at[remit.EnvironmentDeclared]) {
	each(w.envs, func(_ string, e at[remit.EnvironmentDeclared]) {
		if e.said.Tier == "production" {
			out = append(out, e)
		}
	})
	return out
}

// inProduction tells whether a step is on an environment of that tier.
func (w *world) inProduction(r remit.Resource) bool {
	return r.Type() == "environment" && w.envs[r.Name()].said.Tier == "production"
}

// admins are the administrators that are still there.
func (w *world) admins() (n int, entry remit.EntryIndex) {
	g := w.groups[remit.Administrators]
	for _, id := range g.said.Members {
		if !w.kills[id] {
			n++
		}
	}
	return n, g.entry
}
