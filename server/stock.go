package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
)

// stock is the inventory while it is made.
type stock struct {
	assets    []remit.Asset
	keys      []string // under which the views know each asset; empty: they do not
	size      remit.EntryIndex
	forgotten bool

	names follow.Directory
	specs map[string]remit.Upstream
	given []given                        // entitlements
	used  map[remit.Resource]follow.Seen // tools
}

// given is an entitlement, and the asset that it is.
type given struct {
	agent  string
	scope  remit.Scope
	covers func(authority.Use) bool
	asset  int
}

// takeStock lists everything, in no order.
func (s *Server) takeStock(ctx context.Context) (*stock, error) {
	t := &stock{names: s.people(ctx), specs: map[string]remit.Upstream{}, used: map[remit.Resource]follow.Seen{}}
	specs := map[string]remit.Digest{}
	s.view(func(st *authority.State) {
		for name, u := range st.Upstreams {
			specs[name] = u.Spec
		}
	})
	for name, d := range specs {
		u, err := s.upstream(ctx, d)
		if err != nil {
			return nil, err
		}
		t.specs[name] = u
	}
	now := s.now().UnixNano()
	s.view(func(st *authority.State) {
		t.size = st.Next
		t.people(st, now)
		t.agents(st, now)
		t.running(st)
		t.credentials(st)
		t.declared(st)
	})
	if err := s.cfg.Follow.Inventory(ctx, t.look); err != nil {
		return nil, err
	}
	tools := map[string]int{}
	for i, x := range t.assets {
		if x.Kind == "tool" {
			tools[x.Name] = i
		}
	}
	s.view(func(st *authority.State) {
		for r, seen := range t.used {
			of := st.ToolOf(r)
			if of == nil {
				continue
			}
			if i, ok := tools[of.Name]; ok && seen.Last > t.assets[i].Last {
				t.assets[i].Last, t.assets[i].LastAt = seen.Last, timeOf(seen.LastAt)
			}
		}
	})
	return t, nil
}

// look puts times to things.
func (t *stock) look(v follow.Inventory) {
	t.forgotten = v.Forgotten()
	for i, key := range t.keys {
		x, seen := &t.assets[i], v.Of(key)
		x.Created, x.CreatedAt = seen.Created, timeOf(seen.CreatedAt)
		x.Last, x.LastAt = seen.Last, timeOf(seen.LastAt)
	}
	of := map[string][]given{} // by agent: there may be many, each with many ways
	for _, g := range t.given {
		x, seen := &t.assets[g.asset], v.Entitlement(g.agent, g.scope)
		x.Created, x.CreatedAt = seen.Created, timeOf(seen.CreatedAt)
		of[g.agent] = append(of[g.agent], g)
	}
	v.Ways(func(w follow.Way, times follow.Times) {
		if w.Resource.Type() == "tool" && times.Last > t.used[w.Resource].Last {
			t.used[w.Resource] = follow.Seen{Last: times.Last, LastAt: times.LastAt}
		}
		for _, g := range of[w.Agent] {
			// Paths and sizes are not in a leaf: this tells which entitlement it was by action, resource and ref.
			if x := &t.assets[g.asset]; times.Last > x.Last && g.covers(authority.Use{Step: remit.Step{Action: w.Action, Resource: w.Resource}, Ref: w.Ref}) {
				x.Last, x.LastAt = times.Last, timeOf(times.LastAt)
			}
		}
	})
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (t *stock) add(key string, x remit.Asset) {
	t.assets, t.keys = append(t.assets, x), append(t.keys, key)
}

// person says who answers for something, or why nobody does.
func (t *stock) person(st *authority.State, id remit.ID) (owner, unowned string) {
	p := st.People[id]
	switch {
	case id == "":
		return "", "no person is named"
	case p == nil:
		return "", "its owner " + string(id) + " is not declared"
	case p.Killed:
		return "", "the authority of its owner " + t.names.Name(id) + " was ended"
	case p.Removed:
		return "", "its owner " + t.names.Name(id) + " has left"
	}
	return t.names.Name(id), ""
}

// group says that a group answers for something, as long as somebody is in it: the first of its approvers, or those who
// declare things.
func (t *stock) group(st *authority.State, needs []remit.Need, now int64) (owner, unowned string) {
	names := []string{}
	for _, n := range needs {
		if n.Group != "" && !slices.Contains(names, n.Group) {
			names = append(names, n.Group)
		}
	}
	if len(names) == 0 {
		names = append(names, remit.Administrators)
	}
	for _, name := range names {
		for id, p := range st.People {
			if !p.Killed && !p.Removed && st.InGroup(name, id, now) {
				return "group " + name, ""
			}
		}
	}
	return "", "nobody is left in group " + strings.Join(names, ", nor in group ")
}

func (t *stock) people(st *authority.State, now int64) {
	for id, p := range st.People {
		if p.Removed {
			continue
		}
		name, state := t.names.Name(id), "active"
		if p.Killed {
			state = "ended"
		}
		var in []string
		for group := range st.Groups {
			if st.InGroup(group, id, now) {
				in = append(in, group)
			}
		}
		slices.Sort(in)
		t.add("person/"+string(id), remit.Asset{Kind: "person", Name: name, Owner: name, State: state, Text: strings.Join(in, ", ")})
		for _, k := range p.Keys {
			d, state := remit.Hash(k.Public), "in force"
			if !k.Confirmed && (k.Usable == 0 || now < k.Usable) {
				state = "waits to be confirmed"
			}
			if p.Killed {
				state = "ended with its person"
			}
			x := remit.Asset{Kind: "credential", Name: "key " + name + " SHA256:" + base64.RawStdEncoding.EncodeToString(d[:]), State: state, Text: "signs in and signs votes"}
			x.Owner, x.Unowned = t.person(st, id)
			t.add("key/"+d.String(), x)
		}
	}
}

func (t *stock) agents(st *authority.State, now int64) {
	for name, a := range st.Agents {
		x := remit.Asset{Kind: "agent", Name: name, State: string(a.Status), Text: "function " + string(a.Function)}
		x.Owner, x.Unowned = t.person(st, a.Owner)
		if a.Status == remit.AgentRetired {
			x.Owner, x.Unowned = t.names.Name(a.Owner), "" // there is nothing to answer for but what was
		} else if a.Expires != 0 && now/1e9 >= a.Expires {
			x.State = "expired"
		}
		t.add("agent/"+name, x)
		if a.Status == remit.AgentRetired {
			continue
		}
		for i, sc := range a.Entitlements {
			t.given = append(t.given, given{name, sc, authority.Entitled([]remit.Scope{sc}), len(t.assets)})
			t.add("", remit.Asset{Kind: "entitlement", Name: fmt.Sprintf("%s/%d", name, i+1), State: x.State, Owner: x.Owner, Unowned: x.Unowned, Text: sc.Line()})
		}
	}
}

// running is what lives for a while: grants, instances, leases.
func (t *stock) running(st *authority.State) {
	for id := range st.LiveTasks {
		task := st.Tasks[id]
		var may []string
		for _, sc := range task.Grant {
			may = append(may, sc.Line())
		}
		x := remit.Asset{Kind: "grant", Name: string(id), State: string(task.Status), Text: task.Agent + ": " + strings.Join(may, "; ")}
		x.Owner, x.Unowned = t.person(st, task.Requester)
		t.add("grant/"+string(id), x)
	}
	for id, i := range st.Instances {
		x := remit.Asset{Kind: "instance", Name: string(id), State: "running", Text: fmt.Sprintf("%s for %s, confinement %s", i.Agent, i.Task, i.Confinement)}
		if i.Launcher != "" {
			x.Owner, x.Unowned = t.person(st, i.Launcher)
		} else if a := st.Agents[i.Agent]; a != nil { // a CI job
			x.Owner, x.Unowned = t.person(st, a.Owner)
		}
		t.add("instance/"+string(id), x)
	}
	for id, l := range st.Leases {
		x := remit.Asset{Kind: "lease", Name: string(id), State: string(l.Status), Text: fmt.Sprintf("%s at %s, for %s", l.Target, l.Upstream, l.Task)}
		if task := st.Tasks[l.Task]; task != nil {
			x.Owner, x.Unowned = t.person(st, task.Requester)
		}
		t.add("lease/"+string(id), x)
	}
}

// credentials are those that Remit holds itself, and what proves who is calling. None of them is shown.
func (t *stock) credentials(st *authority.State) {
	owner, unowned := t.group(st, nil, st.Now)
	put := func(key, name, state, text string) {
		t.add(key, remit.Asset{Kind: "credential", Name: name, State: state, Text: text, Owner: owner, Unowned: unowned})
	}
	put("", "log key "+st.Verifier, "in force", "signs the head of the log")
	for name, u := range t.specs {
		state := "declared"
		if _, contained := st.Contained[name]; contained {
			state = "contained"
		}
		if u.Write.From != "" {
			put("upstream/"+name, "upstream "+name+" write", state, fmt.Sprintf("serves zone %s, from %s", u.Zone(), u.Write.From))
		}
		if u.Observer.From != "" {
			put("", "upstream "+name+" observer", state, "reads in Remit's own name, from "+u.Observer.From)
		}
		for variable, source := range u.Env {
			put("upstream/"+name, "upstream "+name+" env "+variable, state, "handed to its command, from "+source.From)
		}
	}
	for digest, until := range st.Jobs {
		put("", "job token "+digest.String()[:16], "used, until "+time.Unix(0, until).UTC().Format(time.RFC3339), "of a CI job; it starts no other instance")
	}
	for id, i := range st.Instances {
		x := remit.Asset{Kind: "credential", Name: "instance secret " + string(id), State: "in force", Text: "renews the tokens of " + string(id)}
		if x.Owner, x.Unowned = t.person(st, i.Launcher); i.Launcher == "" {
			if a := st.Agents[i.Agent]; a != nil {
				x.Owner, x.Unowned = t.person(st, a.Owner)
			}
		}
		t.add("instance/"+string(id), x)
	}
}

// declared is what agents act on.
func (t *stock) declared(st *authority.State) {
	put := func(kind, key, name, state, text string, needs []remit.Need) {
		x := remit.Asset{Kind: kind, Name: name, State: state, Text: text}
		x.Owner, x.Unowned = t.group(st, needs, st.Now)
		t.add(key, x)
	}
	pipelines := map[remit.Resource]bool{}
	for name, r := range st.Repositories {
		put("repository", "repo:"+name, name, "declared", "default branch "+r.DefaultBranch, r.Approvers)
		for _, e := range r.Effects {
			if e.On.Type() == "pipeline" && !pipelines[e.On] {
				pipelines[e.On] = true
				put("pipeline", string(e.On), e.On.Name(), "declared", fmt.Sprintf("%s of %s, secrets: %s", e.Causes, name, e.Secrets), r.Approvers)
			}
		}
	}
	for name, e := range st.Environments {
		put("environment", "environment:"+name, name, "declared", "tier "+e.Tier, e.Approvers)
	}
	for name, x := range st.Secrets {
		state := "empty"
		if x.Stored {
			state = fmt.Sprintf("version %d", x.Version)
		}
		put("secret", "secret:"+name, name, state, "zone "+string(x.Zone), x.Approvers)
	}
	for name, x := range st.Tools {
		put("tool", "tool/"+name, name, "declared", fmt.Sprintf("%s, zone %s", x.Impact, x.Zone), x.Approvers)
	}
	for name, p := range st.Artifacts {
		x := remit.Asset{Kind: "artifact", Name: name, State: "published", Text: fmt.Sprintf("by %s for %s", p.Agent, p.Task)}
		if a := st.Agents[p.Agent]; a != nil {
			x.Owner, x.Unowned = t.person(st, a.Owner)
		}
		t.add(p.String(), x)
	}
}
