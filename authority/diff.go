package authority

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

func wrong(path, format string, args ...any) error {
	return &remit.DeclarationError{Path: path, Sentence: fmt.Sprintf(format, args...)}
}

// diff checks a set against the state and lists its changes.
func (s *State) diff(by remit.ID, set *Set) ([]change, error) {
	d := &differ{s: s, by: by, set: set}
	for _, step := range []func() error{d.people, d.groups, d.upstreams, d.environments, d.repositories, d.secrets, d.tools, d.boundaries, d.detections, d.activations, d.glasses, d.notify, d.campaigns, d.agents, d.policy} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, c := range d.out {
		if _, n, large := tooLarge([]remit.Event{c.event}); large {
			return nil, wrong(c.Kind+" "+c.Name, "its declaration takes %d bytes, and an entry of the log holds at most %d; make it shorter, or two of it", n, maxEvent)
		}
	}
	return d.out, nil
}

type differ struct {
	s   *State
	by  remit.ID
	set *Set
	out []change

	then *State // the tools of set
}

func (d *differ) add(kind, name, op, widens string, e remit.Event) {
	d.out = append(d.out, change{remit.Change{Kind: kind, Name: name, Op: op, Widens: widens}, e})
}

// back is why a thing that is declared again widens: what it was asked for before may now be missing.
func (d *differ) back(kind, name string) string {
	if len(d.s.Gone[kind+"/"+name]) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s was removed and comes back, perhaps as another one", kind, name)
}

// covered is why a new repository or secret widens: what an agent is entitled to by a pattern reaches it.
func (d *differ) covered(resource remit.Resource, why string) string {
	for _, name := range sorted(d.s.Agents) {
		a := d.s.Agents[name]
		for _, e := range a.Entitlements {
			if why == "" && a.Status != remit.AgentRetired && slices.ContainsFunc(e.Resources, func(p remit.Pattern) bool { return p.Match(resource) }) {
				why = fmt.Sprintf("agent %s is already entitled to %s by a pattern", name, resource.Name())
			}
		}
	}
	return why
}

// twice tells whether the name of the i-th of all stands earlier as well.
func twice[T any](all []T, i int, name func(T) string) bool {
	return slices.ContainsFunc(all[:i], func(o T) bool { return name(o) == name(all[i]) })
}

func checkPaths(paths []remit.Pattern) error {
	for _, p := range paths {
		if _, err := remit.ParsePathPattern(string(p)); err != nil {
			return err
		}
	}
	return nil
}

// equal compares two declarations. No list and an empty list are one thing: an entry of the log does not tell them
// apart.
func equal(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

func (d *differ) remove(kind, name, widens string) {
	d.add(kind, name, "remove", widens, &remit.Removed{What: kind, Name: name, By: d.by})
}

func (d *differ) people() error {
	owner, identity := map[string]int{}, map[remit.Digest]int{}
	declared := map[remit.ID]bool{}
	for i, p := range d.set.People {
		path := fmt.Sprintf("people[%d]", i)
		if err := d.identities(path, i, p, identity); err != nil {
			return err
		}
		if declared[p.ID] {
			return wrong(path, "this person is declared twice")
		}
		declared[p.ID] = true
		for j, k := range p.Keys {
			if _, err := sshsig.ParseKey(k.Public); err != nil {
				return wrong(fmt.Sprintf("%s.keys[%d]", path, j), "%v", err)
			}
			fp := hex.EncodeToString(k.Public)
			if o, taken := owner[fp]; taken {
				return wrong(fmt.Sprintf("%s.keys[%d]", path, j), "this key is also people[%d]'s; one person is one record", o)
			}
			owner[fp] = i
			if id := d.s.keyOwner(k.Public, p.ID); id != "" {
				return wrong(fmt.Sprintf("%s.keys[%d]", path, j), "this key belongs to another person (%s); one person is one record", id)
			}
		}
		p.By = d.by
		old := d.s.People[p.ID]
		switch {
		case old == nil:
			d.add("person", string(p.ID), "add", "", &p)
		case old.Removed:
			d.add("person", string(p.ID), "add", "a person comes back", &p)
		case !sameKeys(old.declared(), p.Keys) || !sameIdentities(old.Identities, p.Identities):
			widens := ""
			switch {
			case slices.ContainsFunc(p.Keys, func(k remit.Key) bool { return !hasKey(old.Keys, k) }):
				widens = "a person gets a new key"
			case slices.ContainsFunc(p.Identities, func(x remit.Digest) bool { return !slices.Contains(old.Identities, x) }):
				widens = "a person gets an identity, and whoever proves it signs in as them"
			}
			d.add("person", string(p.ID), "change", widens, &p)
		}
	}
	for _, id := range sorted(d.s.People) {
		if p := d.s.People[id]; !p.Removed && !declared[id] {
			if d.s.IsAdmin(id) && !d.leavesAdmins(id) {
				return wrong("people", "the set leaves out %s, an administrator; take them out of group %s first", id, remit.Administrators)
			}
			d.remove("person", string(id), "")
		}
	}
	return nil
}

// leavesAdmins tells whether the set itself takes the person out of the administrators.
func (d *differ) leavesAdmins(id remit.ID) bool {
	return slices.ContainsFunc(d.set.Groups, func(g remit.GroupDeclared) bool {
		return g.Name == remit.Administrators && !slices.Contains(g.Members, id)
	})
}

func hasKey(keys []remit.Key, k remit.Key) bool {
	return slices.ContainsFunc(keys, func(o remit.Key) bool { return bytes.Equal(o.Public, k.Public) })
}

func sameKeys(a, b []remit.Key) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(k remit.Key) bool { return !hasKey(a, k) })
}

func (d *differ) groups() error {
	declared, groups := map[string]bool{remit.Administrators: true}, map[string]bool{}
	for i, g := range d.set.Groups {
		path := fmt.Sprintf("groups[%d]", i)
		if groups[g.Name] {
			return wrong(path+".name", "group %q is declared twice", g.Name)
		}
		groups[g.Name] = true
		for j, m := range g.Members {
			if !slices.ContainsFunc(d.set.People, func(p remit.PersonDeclared) bool { return p.ID == m }) {
				return wrong(fmt.Sprintf("%s.members[%d]", path, j), "no such person is declared")
			}
		}
		if g.Name == remit.Administrators && !slices.ContainsFunc(g.Members, d.governs) {
			return wrong(path+".members", "at least one living administrator stays, who has a key")
		}
		if err := d.sources(path, g); err != nil {
			return err
		}
		if a := g.Asks; a != (remit.Asks{}) && (a.Most < 1 || a.Most > 1000 || a.Hours < 1 || a.Hours > 168) {
			return wrong(path+".asks", "a group is asked at most 1 to 1,000 times in 1 to 168 hours")
		}
		declared[g.Name] = true
		g.Members = add(nil, g.Members...)
		g.By = d.by
		old := d.s.Groups[g.Name]
		switch {
		case old == nil:
			widens := ""
			if len(g.Members)+len(g.From) > 0 {
				widens = fmt.Sprintf("group %s is new: where a policy names it, its members decide", g.Name)
			}
			d.add("group", g.Name, "add", widens, &g)
		case !slices.Equal(old.Members, g.Members) || !equal(old.From, g.From) || old.Asks != g.Asks:
			widens := ""
			switch {
			case slices.ContainsFunc(g.Members, func(m remit.ID) bool { return !slices.Contains(old.Members, m) }):
				widens = fmt.Sprintf("group %s gets a member, who may then decide with it", g.Name)
			case slices.ContainsFunc(g.From, func(f remit.GroupSource) bool { return !slices.Contains(old.From, f) }):
				widens = fmt.Sprintf("group %s takes members from a provider, who may then decide with it", g.Name)
			}
			d.add("group", g.Name, "change", widens, &g)
		}
	}
	for _, name := range sorted(d.s.Groups) {
		if g := d.s.Groups[name]; !declared[name] && len(g.Members)+len(g.From) > 0 {
			d.remove("group", name, "")
		}
	}
	return nil
}

func (d *differ) needs(path string, needs []remit.Need) error {
	for i, n := range needs {
		if slices.ContainsFunc(needs[:i], func(o remit.Need) bool { return o.Group == n.Group }) {
			return wrong(fmt.Sprintf("%s[%d].group", path, i), "group %q stands twice; ask for more of its people at one place", n.Group)
		}
		if n.N < 1 || n.N > 10 {
			return wrong(fmt.Sprintf("%s[%d].n", path, i), "a quorum asks for 1 to 10 people")
		}
		if err := n.CheckEvidence(); err != nil {
			return wrong(fmt.Sprintf("%s[%d].evidence", path, i), "%v", err)
		}
		if err := n.StepUp.Check(); err != nil {
			return wrong(fmt.Sprintf("%s[%d].step_up", path, i), "%v", err)
		}
		if n.Group != remit.Administrators && !slices.ContainsFunc(d.set.Groups, func(g remit.GroupDeclared) bool { return g.Name == n.Group }) {
			return wrong(fmt.Sprintf("%s[%d].group", path, i), "no group %q is declared", n.Group)
		}
	}
	return nil
}

// loosens tells whether a quorum asks for less than it did.
func loosens(old, now []remit.Need) bool {
	return slices.ContainsFunc(old, func(o remit.Need) bool {
		return !slices.ContainsFunc(now, func(n remit.Need) bool {
			return n.Group == o.Group && n.N >= o.N && (n.Evidence == "" || n.Evidence == o.Evidence) && (o.InProduction || !n.InProduction) && n.StepUp.AtLeast(o.StepUp)
		})
	})
}

func (d *differ) upstreams() error {
	for i, u := range d.set.Upstreams {
		if twice(d.set.Upstreams, i, func(o remit.UpstreamDeclared) string { return o.Name }) {
			return wrong(fmt.Sprintf("upstreams[%d].name", i), "upstream %q is declared twice", u.Name)
		}
		u.By = d.by
		old := d.s.Upstreams[u.Name]
		switch {
		case old == nil:
			d.add("upstream", u.Name, "add", d.back("upstream", u.Name), &u)
		case old.Spec != u.Spec:
			d.add("upstream", u.Name, "change", fmt.Sprintf("upstream %s moves, or is reached otherwise", u.Name), &u)
		}
	}
	for _, name := range sorted(d.s.Upstreams) {
		if !slices.ContainsFunc(d.set.Upstreams, func(u remit.UpstreamDeclared) bool { return u.Name == name }) {
			d.remove("upstream", name, "")
		}
	}
	return nil
}

func (d *differ) environments() error {
	for i, v := range d.set.Environments {
		if twice(d.set.Environments, i, func(o remit.EnvironmentDeclared) string { return o.Name }) {
			return wrong(fmt.Sprintf("environments[%d].name", i), "environment %q is declared twice", v.Name)
		}
		if v.Tier != "staging" && v.Tier != "production" {
			return wrong(fmt.Sprintf("environments[%d].tier", i), "an environment is staging or production, not %q", v.Tier)
		}
		if err := d.target(fmt.Sprintf("environments[%d]", i), v); err != nil {
			return err
		}
		if err := d.needs(fmt.Sprintf("environments[%d].approvers", i), v.Approvers); err != nil {
			return err
		}
		v.By = d.by
		old := d.s.Environments[v.Name]
		if old == nil {
			d.add("environment", v.Name, "add", d.back("environment", v.Name), &v)
			continue
		}
		v.By = old.By
		if !equal(old.EnvironmentDeclared, v) {
			v.By = d.by
			d.add("environment", v.Name, "change", environmentWidens(old.EnvironmentDeclared, v), &v)
		}
	}
	for _, name := range sorted(d.s.Environments) {
		if !slices.ContainsFunc(d.set.Environments, func(v remit.EnvironmentDeclared) bool { return v.Name == name }) {
			d.remove("environment", name, "")
		}
	}
	return nil
}

func (d *differ) repositories() error {
	for i, r := range d.set.Repositories {
		path := fmt.Sprintf("repositories[%d]", i)
		if twice(d.set.Repositories, i, func(o remit.RepositoryDeclared) string { return o.Name }) {
			return wrong(path+".name", "repository %q is declared twice", r.Name)
		}
		if _, err := remit.ParseResource("repo:" + r.Name); err != nil {
			return wrong(path+".name", "%v", err)
		}
		if err := d.needs(path+".approvers", r.Approvers); err != nil {
			return err
		}
		if err := checkPaths(r.Protected); err != nil {
			return wrong(path+".protected", "%v", err)
		}
		if err := d.publishing(path, r); err != nil {
			return err
		}
		for j, e := range r.Effects {
			at := fmt.Sprintf("%s.effects[%d]", path, j)
			info, ok := remit.Lookup(e.Causes)
			if !ok {
				return wrong(at+".causes", "the catalogue has no action %q", e.Causes)
			}
			if _, err := remit.ParseRefPattern(string(e.Refs)); err != nil {
				return wrong(at+".refs", "%v", err)
			}
			if err := checkPaths(e.Runs); err != nil {
				return wrong(at+".runs", "%v", err)
			}
			if _, err := remit.ParseResource(string(e.On)); err != nil {
				return wrong(at+".on", "%v", err)
			}
			if e.On.Type() != info.Resource {
				return wrong(at+".on", "%s acts on a resource of type %s, not on %q", e.Causes, info.Resource, e.On)
			}
			if e.On.Type() == "environment" && !slices.ContainsFunc(d.set.Environments, func(v remit.EnvironmentDeclared) bool { return v.Name == e.On.Name() }) {
				return wrong(at+".on", "no environment %q is declared", e.On.Name())
			}
			if e.On.Type() == "secret" && !slices.ContainsFunc(d.set.Secrets, func(x remit.SecretDeclared) bool { return x.Name == e.On.Name() }) {
				return wrong(at+".on", "no secret %q is declared", e.On.Name())
			}
			if e.Causes == "build.trigger" && e.Secrets != "none" && e.Secrets != "exposed" {
				return wrong(at+".secrets", "a build says `secrets: none` or `secrets: exposed`")
			}
		}
		r.By = d.by
		old := d.s.Repositories[r.Name]
		if old == nil {
			d.add("repository", r.Name, "add", publishes(r, d.covered(remit.Resource("repo:"+r.Name), d.back("repository", r.Name))), &r)
			continue
		}
		r.By = old.By
		if !equal(old.RepositoryDeclared, r) {
			r.By = d.by
			d.add("repository", r.Name, "change", repositoryWidens(old.RepositoryDeclared, r), &r)
		}
	}
	for _, name := range sorted(d.s.Repositories) {
		if !slices.ContainsFunc(d.set.Repositories, func(r remit.RepositoryDeclared) bool { return r.Name == name }) {
			d.remove("repository", name, "")
		}
	}
	return nil
}

func repositoryWidens(old, now remit.RepositoryDeclared) string {
	switch {
	case old.Path != now.Path || old.DefaultBranch != now.DefaultBranch:
		return fmt.Sprintf("repository %s is another one, or trusts another branch", now.Name)
	case loosens(repositoryApprovers(old), repositoryApprovers(now)):
		return fmt.Sprintf("repository %s asks for fewer approvers", now.Name)
	case !listCovers(now.Protected, old.Protected):
		return fmt.Sprintf("repository %s protects fewer paths", now.Name)
	case slices.ContainsFunc(old.Effects, func(e remit.Effect) bool {
		return !slices.ContainsFunc(now.Effects, func(n remit.Effect) bool { return equal(e, n) })
	}):
		return fmt.Sprintf("repository %s drops or changes an effect, which is then no longer judged", now.Name)
	case now.Reviews < old.Reviews:
		return fmt.Sprintf("repository %s asks for fewer reviews", now.Name)
	case !listCovers(old.Artifacts, now.Artifacts):
		return publishes(now, "")
	}
	return ""
}

// listCovers tells whether every pattern of less lies in one of more.
func listCovers(more, less []remit.Pattern) bool {
	return !slices.ContainsFunc(less, func(p remit.Pattern) bool { return !covers(more, p) })
}

func (d *differ) boundaries() error {
	for i, b := range d.set.Boundaries {
		if twice(d.set.Boundaries, i, func(o remit.BoundaryDeclared) string { return o.Name }) {
			return wrong(fmt.Sprintf("boundaries[%d].name", i), "boundary %q is declared twice", b.Name)
		}
		for j, p := range b.Seal {
			if _, err := remit.ParsePattern(string(p)); err != nil {
				return wrong(fmt.Sprintf("boundaries[%d].seal[%d]", i, j), "%v", err)
			}
		}
		b.By = d.by
		old := d.s.Boundaries[b.Name]
		if old == nil {
			d.add("boundary", b.Name, "add", d.back("boundary", b.Name), &b)
			continue
		}
		b.By = old.By
		if !equal(old.BoundaryDeclared, b) {
			b.By = d.by
			widens := ""
			if !listCovers(b.Seal, old.Seal) || len(b.Functions) > 0 && (len(old.Functions) == 0 || slices.ContainsFunc(old.Functions, func(f remit.Function) bool { return !slices.Contains(b.Functions, f) })) {
				widens = fmt.Sprintf("boundary %s seals less", b.Name)
			}
			d.add("boundary", b.Name, "change", widens, &b)
		}
	}
	for _, name := range sorted(d.s.Boundaries) {
		if !slices.ContainsFunc(d.set.Boundaries, func(b remit.BoundaryDeclared) bool { return b.Name == name }) {
			d.remove("boundary", name, fmt.Sprintf("boundary %s is removed", name))
		}
	}
	return nil
}

func (d *differ) agents() error {
	for i, a := range d.set.Agents {
		path := fmt.Sprintf("agents[%d]", i)
		if twice(d.set.Agents, i, func(o remit.AgentDeclared) string { return o.Name }) {
			return wrong(path+".name", "agent %q is declared twice", a.Name)
		}
		if err := d.checkAgent(path, a); err != nil {
			return err
		}
		a.By = d.by
		old := d.s.Agents[a.Name]
		if old == nil {
			d.add("agent", a.Name, "add", "a new agent gets entitlements", &a)
			continue
		}
		if old.Status == remit.AgentRetired && old.Idle != 0 {
			continue // it retired itself: that it still stands in the set changes nothing, until somebody brings it back
		}
		if old.Status == remit.AgentRetired {
			return wrong(path+".name", "agent %s is retired, and names are never used again; choose another", a.Name)
		}
		if old.Function != a.Function {
			return wrong(path+".function", "agent %s has function %s, which never changes; retire it and register a new one", a.Name, old.Function)
		}
		was := old.AgentDeclared
		a.By = was.By
		if !equal(was, a) {
			a.By = d.by
			widens := agentWidens(was, a)
			if back := d.s.takenAway(a); back != "" {
				widens = back
			}
			d.add("agent", a.Name, "change", widens, &a)
		}
	}
	for _, name := range sorted(d.s.Agents) {
		if d.s.Agents[name].Status != remit.AgentRetired &&
			!slices.ContainsFunc(d.set.Agents, func(a remit.AgentDeclared) bool { return a.Name == name }) {
			d.remove("agent", name, "")
		}
	}
	return nil
}

func (d *differ) checkAgent(path string, a remit.AgentDeclared) error {
	if !plain(a.Name, 64) || strings.Trim(a.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return wrong(path+".name", "the name of an agent is of a-z, 0-9 and -, not %q", a.Name)
	}
	if !a.Function.Valid() {
		return wrong(path+".function", "%q is no function; one of plan, code, review, build, release, deploy, operate", a.Function)
	}
	if !slices.ContainsFunc(d.set.People, func(p remit.PersonDeclared) bool { return p.ID == a.Owner }) {
		return wrong(path+".owner", "the owner is not a declared person")
	}
	for i, g := range a.Requesters {
		if err := d.needs(path, []remit.Need{{Group: g, N: 1}}); err != nil {
			return wrong(fmt.Sprintf("%s.requesters[%d]", path, i), "no group %q is declared", g)
		}
	}
	seals := map[string][]remit.Pattern{}
	for _, b := range d.set.Boundaries {
		if len(b.Functions) == 0 || slices.Contains(b.Functions, a.Function) {
			seals[b.Name] = b.Seal
		}
	}
	for i, e := range a.Entitlements {
		if err := checkScope(e); err != nil {
			return wrong(fmt.Sprintf("%s.entitlements[%d]", path, i), "%v", err)
		}
		if err := checkBoundary(a.Function, []remit.Scope{e}, seals, d); err != nil {
			return wrong(fmt.Sprintf("%s.entitlements[%d]", path, i), "%v", err)
		}
		if err := d.reviewable(fmt.Sprintf("%s.entitlements[%d]", path, i), a, e); err != nil {
			return err
		}
	}
	for i, f := range a.MayRequest {
		if !f.Valid() {
			return wrong(fmt.Sprintf("%s.may_request[%d]", path, i), "%q is no function; one of plan, code, review, build, release, deploy, operate", f)
		}
	}
	return d.jobs(path, a)
}

func agentWidens(old, now remit.AgentDeclared) string {
	switch {
	case old.Owner != now.Owner:
		return fmt.Sprintf("agent %s gets another owner", now.Name)
	case slices.ContainsFunc(now.Entitlements, func(e remit.Scope) bool { return !contained(e, old.Entitlements) }):
		return fmt.Sprintf("agent %s may do more", now.Name)
	case slices.ContainsFunc(now.Requesters, func(g string) bool { return !slices.Contains(old.Requesters, g) }):
		return fmt.Sprintf("more people may request tasks of agent %s", now.Name)
	case slices.ContainsFunc(now.MayRequest, func(f remit.Function) bool { return !slices.Contains(old.MayRequest, f) }):
		return fmt.Sprintf("agent %s may request work of another function", now.Name)
	case slices.ContainsFunc(now.Jobs, func(j remit.Job) bool { return !slices.Contains(old.Jobs, j) }):
		return fmt.Sprintf("other CI jobs become agent %s", now.Name)
	case old.Expires != 0 && (now.Expires == 0 || now.Expires > old.Expires):
		return fmt.Sprintf("agent %s lives longer", now.Name)
	}
	return ""
}

func (d *differ) policy() error {
	if !d.set.Policy.IsZero() && d.set.Policy != d.s.Policy {
		d.add("policy", d.set.Policy.String()[:12], "change", d.set.PolicyWidens, &remit.PolicyInstalled{Bundle: d.set.Policy, By: d.by})
	}
	return nil
}
