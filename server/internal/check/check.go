// Package check says of names and patterns in declarations whether they are what they have to be.
package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// Declarations refuses names and patterns that are not what they have to be. Who reads declarations from files has
// said so before, and better; whoever speaks the API directly hears it here. What the parts mean together is checked by
// package authority.
func Declarations(in remit.Declarations) error {
	k := &checker{}
	seen := func(kind string) func(path, name string) {
		had := map[string]bool{}
		return func(path, name string) {
			if had[name] {
				k.wrong(path, "%s %q is declared twice", kind, name)
			}
			had[name] = true
		}
	}
	once := seen("person")
	for i, p := range in.People {
		k.personName(fmt.Sprintf("people[%d].name", i), p.Name)
		once(fmt.Sprintf("people[%d].name", i), p.Name)
	}
	once = seen("group")
	for i, g := range in.Groups {
		k.name(fmt.Sprintf("groups[%d].name", i), g.Name)
		once(fmt.Sprintf("groups[%d].name", i), g.Name)
	}
	once = seen("agent")
	for i, a := range in.Agents {
		at := fmt.Sprintf("agents[%d]", i)
		k.name(at+".name", a.Name)
		once(at+".name", a.Name)
		k.size(at+".purpose", a.Purpose)
		k.functions(at+".function", []remit.Function{a.Function})
		k.functions(at+".may_request", a.MayRequest)
		for j, e := range a.Entitlements {
			k.scope(fmt.Sprintf("%s.entitlements[%d]", at, j), e)
		}
	}
	once = seen("upstream")
	upstreams, zones, serves := map[string]bool{}, map[string]remit.Zone{}, remit.UpstreamZones(in)
	for i, u := range in.Upstreams {
		at := fmt.Sprintf("upstreams[%d]", i)
		k.name(at+".name", u.Name)
		once(at+".name", u.Name)
		upstreams[u.Name] = true
		if !slices.Contains(kinds, u.Kind) {
			k.wrong(at+".kind", "an upstream is of kind %s, not %q", strings.Join(kinds, ", "), u.Kind)
		}
		sources := map[string]remit.Source{"write": u.Write, "observer": u.Observer}
		for name, src := range u.Env {
			sources["env."+name] = src
		}
		if u.Kind == remit.KindMCP && (u.Location == "") == (len(u.Command) == 0) {
			k.wrong(at, "a server of tools has a location, an https URL, or a command that starts it; one of the two")
		}
		if u.Kind == remit.KindMCP && (u.Name == remit.LocalTools || u.Name == remit.OwnTools) {
			k.wrong(at+".name", "%s and %s are servers of Remit's own; choose another name", remit.LocalTools, remit.OwnTools)
		}
		if u.Kind != remit.KindMCP && (len(u.Command) > 0 || len(u.Env) > 0) {
			k.wrong(at, "command and env are for kind %s only", remit.KindMCP)
		}
		if u.Location == "" && u.Kind != remit.KindMCP {
			k.wrong(at+".location", "an upstream lies somewhere: a directory, or an https URL")
		}
		for where, src := range sources {
			if src.From != "" && src.From != "file" && src.From != "env" && src.From != "exec" {
				k.wrong(at+"."+where+".from", "a credential comes from a file, env or exec, not %q", src.From)
			}
			if src.From == "" {
				continue
			}
			key := fmt.Sprint(src.From, "\x00", src.Name, "\x00", strings.Join(src.Argv, "\x00"))
			if z, used := zones[key]; used && z != serves[u.Name] { // R4d
				k.wrong(at+"."+where, "this credential is declared for another zone too (%s and %s); one credential serves one zone", z, serves[u.Name])
			}
			zones[key] = serves[u.Name]
		}
	}
	once = seen("repository")
	for i, r := range in.Repositories {
		at := fmt.Sprintf("repositories[%d]", i)
		k.resource(at+".name", "repo:"+r.Name)
		once(at+".name", r.Name)
		up, path, _ := strings.Cut(r.Name, "/")
		if !upstreams[up] || path == "" {
			k.wrong(at+".name", "a repository is UPSTREAM/PATH, and no upstream %q is declared", up)
		}
		if _, err := remit.ParseRefPattern("refs/heads/" + r.DefaultBranch); err != nil || strings.Contains(r.DefaultBranch, "*") {
			k.wrong(at+".default_branch", "a default branch is one branch's name, such as main, not %q", r.DefaultBranch)
		}
		k.patterns(at+".protected", r.Protected, remit.ParsePathPattern)
		k.patterns(at+".artifacts", r.Artifacts, remit.ParsePattern)
		if r.Effects != nil {
			for j, e := range *r.Effects {
				k.patterns(fmt.Sprintf("%s.effects[%d].refs", at, j), []remit.Pattern{e.Refs}, remit.ParseRefPattern)
				k.resource(fmt.Sprintf("%s.effects[%d].on", at, j), string(e.On))
				k.patterns(fmt.Sprintf("%s.effects[%d].runs", at, j), e.Runs, remit.ParsePathPattern)
			}
		}
	}
	once = seen("environment")
	for i, e := range in.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		k.resource(at+".name", "environment:"+e.Name)
		once(at+".name", e.Name)
		if e.Tier != "staging" && e.Tier != "production" {
			k.wrong(at+".tier", "an environment is staging or production, not %q", e.Tier)
		}
		k.patterns(at+".artifacts", e.Artifacts, remit.ParsePattern)
		if e.Target != nil && !upstreams[e.Target.Upstream] {
			k.wrong(at+".target.upstream", "no upstream %q is declared", e.Target.Upstream)
		}
	}
	once = seen("secret")
	for i, x := range in.Secrets {
		at := fmt.Sprintf("secrets[%d]", i)
		k.resource(at+".name", "secret:"+x.Name)
		once(at+".name", x.Name)
		if z := remit.Zone(x.Zone); z != remit.ZoneSource && z != remit.ZoneBuild && z != remit.ZoneProduction {
			k.wrong(at+".zone", "a secret lies in zone S, B or P, not %q", x.Zone)
		}
	}
	once = seen("tool")
	for i, t := range in.Tools {
		once(fmt.Sprintf("tools[%d].name", i), t.Name)
		remit.CheckProbe(in.Tools, i, k.wrong)
	}
	once = seen("boundary")
	for i, b := range in.Boundaries {
		at := fmt.Sprintf("boundaries[%d]", i)
		k.name(at+".name", b.Name)
		once(at+".name", b.Name)
		k.patterns(at+".seal", b.Seal, remit.ParsePattern)
		k.functions(at+".functions", b.Functions)
	}
	once = seen("channel")
	for i, c := range in.Notify {
		k.name(fmt.Sprintf("notify[%d].name", i), c.Name)
		once(fmt.Sprintf("notify[%d].name", i), c.Name)
	}
	once = seen("escalation")
	for i, e := range in.Escalations {
		k.name(fmt.Sprintf("escalations[%d].name", i), e.Name)
		once(fmt.Sprintf("escalations[%d].name", i), e.Name)
	}
	remit.CheckNotify(in, k.wrong)
	once = seen("activation")
	for i, a := range in.Activation {
		at := fmt.Sprintf("activation[%d]", i)
		if a.Name != "policy" && a.Name != "declarations" {
			k.wrong(at+".name", "a trial is wanted of policy or of declarations, not of %.40q", a.Name)
		}
		if q := a.MaxMoreQuestions; q != nil && *q < 0 {
			k.wrong(at+".max_more_questions", "a bound on questions is 0 or more; leave it out for none")
		}
		once(at+".name", a.Name)
	}
	once = seen("detection")
	for i, d := range in.Detections {
		at := fmt.Sprintf("detections[%d].name", i)
		if names := remit.DetectionNames(); !slices.Contains(names, d.Name) {
			k.wrong(at, "%.80q is no detection; one of %s", d.Name, strings.Join(names, ", "))
		}
		once(at, d.Name)
	}
	return k.err
}

var kinds = []string{remit.KindLocal, remit.KindHTTP, remit.KindGitea, remit.KindRegistry, remit.KindKubernetes, remit.KindCommand, remit.KindOIDC, remit.KindMCP}

// checker keeps the first thing that is wrong.
type checker struct{ err error }

func (k *checker) wrong(path, format string, args ...any) {
	if k.err == nil {
		k.err = &remit.DeclarationError{Path: path, Sentence: fmt.Sprintf(format, args...)}
	}
}

var plainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

func (k *checker) name(path, name string) {
	if !plainName.MatchString(name) {
		k.wrong(path, "a name is 1 to 64 of a-z, 0-9 and -, and begins and ends with a letter or digit, not %.80q", name)
	}
}

// personID is how ids of people look; a name that does could be taken for one.
var personID = regexp.MustCompile(`\bp-[0-9a-f]{12}\b`)

// blanks are letters to Unicode, and nothing to a reader.
const blanks = "\u115F\u1160\u3164\uFFA0\u2800\u034F\u17B4\u17B5"

// personName takes names as people write them, without what makes one look like another.
func (k *checker) personName(path, name string) {
	bad := strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(blanks, r) })
	if name == "" || len(name) > 128 || name != strings.TrimSpace(name) || !utf8.ValidString(name) || bad {
		k.wrong(path, "a person's name is 1 to 128 bytes of printable text, not %.140q", name)
	}
	if personID.MatchString(name) {
		k.wrong(path, "%q looks like the id of a person; write their name", name)
	}
}

func (k *checker) size(path, text string) {
	if len(text) > remit.MaxPayload {
		k.wrong(path, "a text of %d bytes; at most %d", len(text), remit.MaxPayload)
	}
}

func (k *checker) functions(path string, list []remit.Function) {
	for _, f := range list {
		if !f.Valid() {
			k.wrong(path, "%q is no function; one of plan, code, review, build, release, deploy, operate", f)
		}
	}
}

func (k *checker) resource(path, name string) {
	if _, err := remit.ParseResource(name); err != nil {
		k.wrong(path, "%v", err)
	}
}

func (k *checker) patterns(path string, list []remit.Pattern, parse func(string) (remit.Pattern, error)) {
	for i, p := range list {
		if _, err := parse(string(p)); err != nil {
			k.wrong(fmt.Sprintf("%s[%d]", path, i), "%v", err)
		}
	}
}

func (k *checker) scope(path string, sc remit.Scope) {
	if len(sc.Actions) == 0 || len(sc.Resources) == 0 {
		k.wrong(path, "an entitlement names at least one action and one resource")
	}
	for i, a := range sc.Actions {
		if _, ok := remit.Lookup(a); !ok {
			k.wrong(fmt.Sprintf("%s.actions[%d]", path, i), "the catalogue has no action %q", a)
		}
	}
	k.patterns(path+".resources", sc.Resources, remit.ParsePattern)
	k.patterns(path+".refs", sc.Refs, remit.ParseRefPattern)
	k.patterns(path+".paths", sc.Paths, remit.ParsePathPattern)
	if sc.MaxBytes < 0 || sc.MaxCommits < 0 {
		k.wrong(path, "a limit is not negative; 0 is none")
	}
}
