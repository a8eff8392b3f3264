package declare

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
)

// check finds what is wrong with a set whatever is in force: everything here needs the set alone. What needs the state
// (a retired name, a function that changes) the server says.
func check(r *reader) {
	c := checker{reader: r, people: map[string]bool{}, groups: map[string]int{remit.Administrators: -1}, owners: map[string]string{}, identities: map[remit.Identity]string{}}
	for _, p := range r.set.People {
		c.people[p.Name] = true
	}
	for _, g := range r.set.Groups {
		if c.groups[g.Name] = len(g.Members); len(g.From) > 0 {
			c.groups[g.Name] = -1
		}
	}
	for i := range r.set.People {
		c.person(fmt.Sprintf("people[%d]", i), &r.set.People[i])
	}
	for i := range r.set.Groups {
		c.group(fmt.Sprintf("groups[%d]", i), &r.set.Groups[i])
	}
	for i := range r.set.Agents {
		c.agent(fmt.Sprintf("agents[%d]", i), &r.set.Agents[i])
	}
	for i := range r.set.Upstreams {
		c.upstream(fmt.Sprintf("upstreams[%d]", i), &r.set.Upstreams[i])
	}
	c.credentials()
	c.tools()
	for i := range r.set.Repositories {
		c.repository(fmt.Sprintf("repositories[%d]", i), &r.set.Repositories[i])
	}
	for i := range r.set.Environments {
		at, e := fmt.Sprintf("environments[%d]", i), &r.set.Environments[i]
		if _, err := remit.ParseResource("environment:" + e.Name); err != nil {
			c.wrong(at+".name", "%v", err)
		}
		c.oneOf(at+".tier", e.Tier, "staging", "production")
		c.needs(at+".approvers", e.Approvers)
		c.environment(at, e)
	}
	for i := range r.set.Secrets {
		at, s := fmt.Sprintf("secrets[%d]", i), &r.set.Secrets[i]
		if _, err := remit.ParseResource("secret:" + s.Name); err != nil {
			c.wrong(at+".name", "%v", err)
		}
		c.oneOf(at+".zone", s.Zone, string(remit.ZoneSource), string(remit.ZoneBuild), string(remit.ZoneProduction))
		c.needs(at+".approvers", s.Approvers)
		c.sender(at+".send", s.Send)
	}
	for i := range r.set.Boundaries {
		at, b := fmt.Sprintf("boundaries[%d]", i), &r.set.Boundaries[i]
		c.name(at+".name", b.Name)
		c.patterns(at+".seal", b.Seal, remit.ParsePattern)
		c.functions(at+".functions", b.Functions)
	}
	c.told()
	c.asks()
	c.glass()
	c.reviews()
	c.activations()
	for i := range r.set.Detections {
		c.oneOf(fmt.Sprintf("detections[%d].name", i), r.set.Detections[i].Name, remit.DetectionNames()...)
	}
}

type checker struct {
	*reader
	people map[string]bool
	groups map[string]int    // members; -1: not known here
	owners map[string]string // key: path at which it is declared
	// identities: the path at which each is declared
	identities map[remit.Identity]string
}

const maxName = 40

// name is a declared name other than a resource's: it is a segment of ids and paths.
func (c *checker) name(at, s string) {
	ok := s != "" && len(s) <= maxName
	for _, b := range []byte(s) {
		ok = ok && (b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-')
	}
	if !ok {
		c.wrong(at, "%q: a name is 1 to %d of a-z 0-9 -", s, maxName)
	}
}

func (c *checker) oneOf(at, s string, values ...string) bool {
	if slices.Contains(values, s) {
		return true
	}
	hint := ""
	if n := nearest(s, values); n != "" {
		hint = fmt.Sprintf("; %q is meant, perhaps", n)
	}
	last := len(values) - 1
	c.wrong(at, "%q: write %s or %s%s", s, strings.Join(values[:last], ", "), values[last], hint)
	return false
}

func (c *checker) person(at string, p *remit.Person) {
	ok := len(p.Name) <= 64
	for _, b := range []byte(p.Name) {
		ok = ok && (b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte(".-_@+", b) >= 0)
	}
	if !ok {
		c.wrong(at+".name", "%q: a person's name is 1 to 64 of A-Z a-z 0-9 . - _ @ +", p.Name)
	}
	for i, line := range p.Keys {
		c.key(fmt.Sprintf("%s.keys[%d]", at, i), line)
	}
	if len(p.Identities) > remit.MaxIdentities {
		c.wrong(at+".identities", "%d identities; a person has at most %d", len(p.Identities), remit.MaxIdentities)
	}
	for i, x := range p.Identities {
		c.identity(fmt.Sprintf("%s.identities[%d]", at, i), x)
	}
}

// identity checks who somebody is at a provider. One identity is one person.
func (c *checker) identity(at string, x remit.Identity) {
	if why := x.Wrong(); why != "" {
		c.wrong(at, "%s", why)
		return
	}
	if first, taken := c.identities[x]; taken {
		file, n, _ := c.pos.Locate(first)
		c.wrong(at, "this identity is declared already, at %s:%d; one identity is one person", file, n)
		return
	}
	c.identities[x] = at
}

// key checks one authorized_keys line. One key belongs to one person.
func (c *checker) key(at, line string) {
	const right = "write one line as in an .pub file: ssh-ed25519 AAAA…, without options"
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(bytes.TrimSpace(rest)) > 0 || len(options) > 0 || strings.ContainsAny(line, "\r\n") {
		c.wrong(at, "not a public SSH key; %s", right)
		return
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
	case ssh.KeyAlgoRSA:
		if k, ok := key.(ssh.CryptoPublicKey); ok {
			if n, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && n.N.BitLen() >= 3072 {
				break
			}
		}
		c.wrong(at, "an RSA key of less than 3,072 bits; use ssh-ed25519")
	default:
		c.wrong(at, "a key of type %s; use ssh-ed25519, ecdsa-sha2-*, sk-* or ssh-rsa", key.Type())
		return
	}
	blob := string(key.Marshal())
	if first, taken := c.owners[blob]; taken {
		file, n, _ := c.pos.Locate(first)
		c.wrong(at, "this key is declared already, at %s:%d; one key belongs to one person", file, n)
		return
	}
	c.owners[blob] = at
}

func (c *checker) group(at string, g *remit.Group) {
	c.name(at+".name", g.Name)
	for i, m := range g.Members {
		member := fmt.Sprintf("%s.members[%d]", at, i)
		c.isPerson(member, m)
		if slices.Contains(g.Members[:i], m) {
			c.wrong(member, "%q stands twice", m)
		}
	}
	if len(g.Members) == 0 && len(g.From) == 0 {
		c.wrong(at+".members", "empty; it needs a value, or the group takes members `from` a provider")
	}
	if g.Name == remit.Administrators && len(g.From) > 0 {
		c.wrong(at+".from", "administrators are declared one by one; a provider makes nobody one")
	}
	if len(g.From) > remit.MaxSources {
		c.wrong(at+".from", "%d sources; a group takes members from at most %d groups of providers", len(g.From), remit.MaxSources)
	}
	for i, f := range g.From {
		source := fmt.Sprintf("%s.from[%d]", at, i)
		if why := f.Wrong(); why != "" {
			c.wrong(source, "%s", why)
		} else if slices.Contains(g.From[:i], f) {
			c.wrong(source, "this source stands twice")
		}
	}
}

func (c *checker) isPerson(at, name string) {
	if c.people[name] {
		return
	}
	c.wrong(at, "no person %q is declared%s", name, c.near(name, c.people))
}

func (c *checker) isGroup(at, name string) bool {
	if _, ok := c.groups[name]; ok {
		return true
	}
	c.wrong(at, "no group %q is declared%s", name, c.near(name, c.groups))
	return false
}

// near suggests one of the keys of set.
func (c *checker) near(name string, set any) string {
	var names []string
	for _, k := range reflect.ValueOf(set).MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	if n := nearest(name, names); n != "" {
		return fmt.Sprintf("; %q is meant, perhaps", n)
	}
	return ""
}

func (c *checker) needs(at string, needs []remit.Need) {
	for i, n := range needs {
		line := fmt.Sprintf("%s[%d]", at, i)
		if slices.ContainsFunc(needs[:i], func(m remit.Need) bool { return m.Group == n.Group }) {
			c.wrong(line+".group", "group %q stands twice; write one line with the larger n", n.Group)
		}
		if !c.isGroup(line+".group", n.Group) {
			continue
		}
		if err := n.CheckEvidence(); err != nil {
			c.wrong(line+".evidence", "%v", err)
		}
		if err := n.StepUp.Check(); err != nil {
			c.wrong(line+".step_up", "%v", err)
		}
		if members := c.groups[n.Group]; n.N < 1 {
			c.wrong(line+".n", "n is at least 1")
		} else if members >= 0 && n.N > members {
			c.wrong(line+".n", "n is %d, and group %q has %d; nobody could ever approve", n.N, n.Group, members)
		}
	}
}

func (c *checker) patterns(at string, list []remit.Pattern, parse func(string) (remit.Pattern, error)) {
	for i, p := range list {
		if _, err := parse(string(p)); err != nil {
			c.wrong(fmt.Sprintf("%s[%d]", at, i), "%v", err)
		}
	}
}

func (c *checker) functions(at string, list []remit.Function) {
	for i, f := range list {
		c.function(fmt.Sprintf("%s[%d]", at, i), f)
	}
}

func (c *checker) function(at string, f remit.Function) bool {
	return c.oneOf(at, string(f), "plan", "code", "review", "build", "release", "deploy", "operate")
}

func (c *checker) agent(at string, a *remit.Agent) {
	c.name(at+".name", a.Name)
	known := c.function(at+".function", a.Function)
	c.isPerson(at+".owner", a.Owner)
	if len(a.Purpose) > 1024 {
		c.wrong(at+".purpose", "a purpose has at most 1,024 bytes")
	}
	for i, g := range a.Requesters {
		c.isGroup(fmt.Sprintf("%s.requesters[%d]", at, i), g)
	}
	c.date(at+".expires", a.Expires)
	c.date(at+".review", a.Review)
	for i := range a.Entitlements {
		c.scope(fmt.Sprintf("%s.entitlements[%d]", at, i), &a.Entitlements[i], a.Function, known)
	}
	c.functions(at+".may_request", a.MayRequest)
	for i := range a.Jobs {
		c.job(fmt.Sprintf("%s.jobs[%d]", at, i), &a.Jobs[i], a.Function)
	}
}

func (c *checker) date(at, s string) {
	if _, err := time.Parse(time.DateOnly, s); s != "" && err != nil {
		c.wrong(at, "%q: write a date as 2027-01-31", s)
	}
}

func (c *checker) scope(at string, s *remit.Scope, f remit.Function, known bool) {
	types := map[string]bool{}
	for i, a := range s.Actions {
		here := fmt.Sprintf("%s.actions[%d]", at, i)
		info, ok := c.action(here, a)
		if !ok {
			continue
		}
		types[info.Resource] = true
		switch {
		case info.Stage == remit.StageControl:
			c.wrong(here, "%s is for people; no agent is entitled to it", a)
		case known && info.Impact != remit.Read && info.Stage != remit.StageSecret && info.Stage != remit.StageTool &&
			!slices.Contains(remit.FunctionStages(f), info.Stage):
			c.wrong(here, "%s is not for an agent of function %s; declare an agent of another function, and let this one request its tasks (may_request)", a, f)
		}
	}
	used := map[string]bool{}
	for i, p := range s.Resources {
		here := fmt.Sprintf("%s.resources[%d]", at, i)
		if _, err := remit.ParsePattern(string(p)); err != nil {
			c.wrong(here, "%v", err)
			continue
		}
		typ := remit.Resource(p).Type()
		if used[typ] = true; len(types) > 0 && !types[typ] {
			c.wrong(here, "no action here acts on a resource of type %s; there is %s", typ, strings.Join(sorted(types), ", "))
		}
	}
	for i, a := range s.Actions {
		if info, ok := remit.Lookup(a); ok && len(used) > 0 && !used[info.Resource] {
			c.wrong(fmt.Sprintf("%s.actions[%d]", at, i), "%s acts on a resource of type %s, and none is named here", a, info.Resource)
		}
	}
	c.patterns(at+".refs", s.Refs, remit.ParseRefPattern)
	for i, p := range s.Paths {
		here := fmt.Sprintf("%s.paths[%d]", at, i)
		if _, err := remit.ParsePathPattern(string(p)); err != nil {
			c.wrong(here, "%v", err)
		} else if strings.HasPrefix(string(p), "**/") {
			c.wrong(here, "%q: a pattern that begins with **/ protects; it does not grant", p)
		}
	}
	if s.MaxBytes < 0 || s.MaxCommits < 0 {
		c.wrong(at, "a limit is not negative; leave it out for none")
	}
}

func (c *checker) action(at string, a remit.Action) (remit.ActionInfo, bool) {
	info, ok := remit.Lookup(a)
	if !ok {
		names := map[string]bool{}
		for _, l := range remit.Catalogue() {
			names[string(l.Action)] = true
		}
		c.wrong(at, "the catalogue has no action %q%s", a, c.near(string(a), names))
	}
	return info, ok
}

func sorted(set map[string]bool) []string {
	var list []string
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func (c *checker) upstream(at string, u *remit.Upstream) {
	c.name(at+".name", u.Name)
	if u.Kind != remit.KindMCP && (len(u.Command) > 0 || len(u.Env) > 0) {
		c.wrong(at, "command and env are for kind: mcp only")
	}
	if u.Kind != remit.KindOIDC && (u.Claims != "" || u.Audience != "") {
		c.wrong(at, "claims and audience are for kind: oidc only")
	}
	if u.Forge != "" && u.Kind != remit.KindHTTP {
		c.wrong(at+".forge", "it is for kind: http only")
	} else if u.Forge != "" {
		c.oneOf(at+".forge", u.Forge, "github")
	}
	switch u.Kind {
	case remit.KindLocal:
		if !path.IsAbs(u.Location) || path.Clean(u.Location) != u.Location {
			c.wrong(at+".location", "%q: write the full path of a directory of bare repositories", u.Location)
		}
		if u.CA != "" || u.Insecure || !reflect.ValueOf(u.Write).IsZero() || !reflect.ValueOf(u.Observer).IsZero() {
			c.wrong(at, "a local upstream has no ca, insecure, write or observer")
		}
	case remit.KindHTTP, remit.KindGitea, remit.KindRegistry, remit.KindKubernetes:
		c.location(at, u)
		c.source(at+".write", u.Write)
		c.source(at+".observer", u.Observer)
		if u.Kind != remit.KindHTTP && u.Kind != remit.KindRegistry && u.Write.From == "" {
			c.wrong(at+".write", "missing; it is what Remit makes and ends its credentials with there")
		}
	case remit.KindCommand:
		if u.Location != "" && u.Location != "local" || u.CA != "" || u.Insecure || !reflect.ValueOf(u.Write).IsZero() || !reflect.ValueOf(u.Observer).IsZero() {
			c.wrong(at, "a command upstream is the host of the executor: location is local, and there is no ca, insecure, write or observer")
		}
	case remit.KindMCP:
		c.server(at, u)
	case remit.KindOIDC:
		c.location(at, u)
		c.oneOf(at+".claims", u.Claims, "github", "gitlab")
		if !reflect.ValueOf(u.Write).IsZero() || !reflect.ValueOf(u.Observer).IsZero() {
			c.wrong(at, "an issuer of identities takes no credential: remove write and observer")
		}
	default:
		c.oneOf(at+".kind", u.Kind, kinds...)
	}
}

var kinds = []string{remit.KindLocal, remit.KindHTTP, remit.KindGitea, remit.KindRegistry, remit.KindKubernetes, remit.KindCommand, remit.KindOIDC, remit.KindMCP}

// sender is where a secret may be sent.
func (c *checker) sender(at string, s *remit.Sender) {
	if s == nil {
		return
	}
	c.location(at, &remit.Upstream{Location: s.Location, Insecure: s.Insecure})
	for _, b := range []byte(s.Header) {
		if (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			c.wrong(at+".header", "%q: write the name of a header, such as Authorization or X-Api-Key", s.Header)
			return
		}
	}
	if strings.ContainsFunc(s.Prefix, func(r rune) bool { return r < ' ' || r > '~' }) || len(s.Prefix) > 64 {
		c.wrong(at+".prefix", "a prefix is at most 64 printable characters, such as \"Bearer \"")
	}
}

// location never repeats the URL: what is wrong with it may be a password.
func (c *checker) location(at string, u *remit.Upstream) {
	l, err := url.Parse(u.Location)
	switch {
	case err != nil || l.Host == "" || l.Hostname() == "" || l.Opaque != "":
		c.wrong(at+".location", "not a URL with a host; write https://HOST/PATH")
	case l.User != nil:
		c.wrong(at+".location", "a URL here has no user or password; write them as a source in write and observer")
	case l.RawQuery != "" || l.Fragment != "" || l.ForceQuery:
		c.wrong(at+".location", "a URL here ends with its path; remove what follows ? or #")
	case l.Scheme == "http" && !u.Insecure:
		c.wrong(at+".location", "http:// sends credentials in the clear; write https://, or insecure: true for a loopback address")
	case l.Scheme == "http" && !loopback(l.Hostname()):
		c.wrong(at+".location", "insecure: true is for a loopback address only; write https://")
	case l.Scheme == "http":
	case l.Scheme != "https":
		c.wrong(at+".location", "write https://")
	case u.Insecure:
		c.wrong(at+".insecure", "insecure is for http:// only; remove it")
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// source never repeats what it was given: it may be the secret itself.
func (c *checker) source(at string, s remit.Source) {
	if reflect.ValueOf(s).IsZero() {
		return
	}
	switch {
	case s.From == "file":
		if !path.IsAbs(s.Name) {
			c.wrong(at, "a source from a file has its full path as name")
		}
	case s.From == "env":
		if !variable(s.Name) {
			c.wrong(at, "a source from the environment has the name of a variable as name: A-Z 0-9 _")
		}
	case s.From == "exec":
		if len(s.Argv) == 0 || s.Argv[0] == "" || s.Name != "" {
			c.wrong(at, "a source from a command has argv, and no name")
		}
	default:
		c.wrong(at+".from", "write file, env or exec; a credential is never written in a declaration")
	}
	if s.From != "exec" && len(s.Argv) > 0 {
		c.wrong(at+".argv", "argv is for from: exec only")
	}
	if strings.ContainsAny(s.User, ":\r\n") {
		c.wrong(at+".user", "a user name has no colon; the password comes from the source")
	}
}

func variable(s string) bool {
	for i, b := range []byte(s) {
		if (b < 'A' || b > 'Z') && b != '_' && (i == 0 || b < '0' || b > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// credentials refuses one source for two purposes: a credential serves one zone (R4d), and what Remit reads in its own
// name has a credential of its own, which cannot write.
func (c *checker) credentials() {
	type use struct {
		at, kind string
		source   remit.Source
		zone     remit.Zone
	}
	var uses []use
	zones := remit.UpstreamZones(c.set)
	for i, u := range c.set.Upstreams {
		at, zone := fmt.Sprintf("upstreams[%d]", i), zones[u.Name]
		own := []use{{at + ".write", "write", u.Write, zone}, {at + ".observer", "observer", u.Observer, zone}}
		for _, name := range slices.Sorted(maps.Keys(u.Env)) {
			own = append(own, use{at + ".env." + name, "write", u.Env[name], zone})
		}
		for _, s := range own {
			if s.source.From == "" {
				continue
			}
			s.source.User = ""
			for _, o := range uses {
				if !reflect.DeepEqual(o.source, s.source) {
					continue
				}
				file, line, _ := c.pos.Locate(o.at)
				switch {
				case o.zone != s.zone:
					c.wrong(s.at, "the same credential as %s at %s:%d; one credential serves one zone, and these are %s and %s", o.at, file, line, o.zone, s.zone)
				case o.kind != s.kind:
					c.wrong(s.at, "the same credential as %s at %s:%d; what observes has a credential that can only read", o.at, file, line)
				}
			}
			uses = append(uses, s)
		}
	}
}

func (c *checker) repository(at string, r *remit.Repository) {
	upstream, rest, _ := strings.Cut(r.Name, "/")
	upstreams := map[string]bool{}
	for _, u := range c.set.Upstreams {
		upstreams[u.Name] = true
	}
	if _, err := remit.ParseResource("repo:" + r.Name); err != nil {
		c.wrong(at+".name", "%v", err)
	} else if rest == "" || !upstreams[upstream] {
		c.wrong(at+".name", "%q: write UPSTREAM/PATH with a declared upstream%s", r.Name, c.near(upstream, upstreams))
	}
	if p := r.Path; p != "" && (path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || strings.ContainsAny(p, "\\?#%")) {
		c.wrong(at+".path", "%q: write the path at the upstream, such as team/name.git", p)
	}
	if _, err := remit.ParseRefPattern("refs/heads/" + r.DefaultBranch); err != nil || strings.HasPrefix(r.DefaultBranch, "refs/") || strings.ContainsAny(r.DefaultBranch, "* ~^:") {
		c.wrong(at+".default_branch", "%q: write the short name of a branch, such as main", r.DefaultBranch)
	}
	c.needs(at+".approvers", r.Approvers)
	c.patterns(at+".protected", r.Protected, remit.ParsePathPattern)
	c.artifacts(at+".artifacts", r.Artifacts)
	if r.Reviews < 0 || r.Reviews > 8 {
		c.wrong(at+".reviews", "a merge needs between 0 and 8 verdicts, not %d", r.Reviews)
	}
	if r.Effects == nil { // Read has said so
		return
	}
	for i := range *r.Effects {
		c.effect(fmt.Sprintf("%s.effects[%d]", at, i), &(*r.Effects)[i])
	}
}

func (c *checker) effect(at string, e *remit.Effect) {
	if _, err := remit.ParseRefPattern(string(e.Refs)); err != nil {
		c.wrong(at+".refs", "%v", err)
	}
	info, ok := c.action(at+".causes", e.Causes)
	if ok && (info.Impact == remit.Read || info.Stage == remit.StageControl || info.Stage == remit.StagePlan) {
		c.wrong(at+".causes", "%s is nothing that a push sets off; build.trigger and deploy.promote are", e.Causes)
	}
	if _, err := remit.ParseResource(string(e.On)); err != nil {
		c.wrong(at+".on", "%v", err)
	} else if ok && e.On.Type() != info.Resource {
		c.wrong(at+".on", "%s acts on a resource of type %s, not %s", e.Causes, info.Resource, e.On.Type())
	} else if e.On.Type() == "environment" && !slices.ContainsFunc(c.set.Environments, func(v remit.Environment) bool { return v.Name == e.On.Name() }) {
		c.wrong(at+".on", "no environment %q is declared", e.On.Name())
	}
	switch {
	case e.Causes == "build.trigger" && e.Secrets == "":
		c.wrong(at+".secrets", "missing; write `none`, or `exposed` if the build that a push starts can read secrets")
	case e.Causes == "build.trigger":
		c.oneOf(at+".secrets", e.Secrets, "none", "exposed")
	case e.Secrets != "" || len(e.Runs) > 0:
		c.wrong(at, "secrets and runs are for build.trigger only")
	}
	c.patterns(at+".runs", e.Runs, remit.ParsePathPattern)
}
