package policy_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/policy"
)

const before = `package remit.source.push

import data.remit.lib

deny contains {"rule": "a", "text": "no"} if {
	some step in input.steps
	step.bytes == i
	lib.exposed
}

hold contains {"rule": "b", "text": "look", "votes": [{"group": "security", "n": 1}]} if {
	not helper
	input.bytes > 10
}

observe contains {"rule": "c", "text": "t", "verdict": "deny"} if input.bytes > 5

helper if input.bytes == 7

i := 3
`

const library = "package remit.lib\n\nexposed if input.instance.confinement == \"none\"\n"

func TestWhatShowsNoLessWidensNothing(t *testing.T) {
	base := strings.Replace(before, "step.bytes == i", "step.commits == i", 1)
	for name, c := range map[string]struct {
		change func(string) string
		widens bool
	}{
		"nothing":               {func(s string) string { return s }, false},
		"a comment":             {func(s string) string { return "# why\n" + s }, false},
		"another constant text": {func(s string) string { return strings.Replace(s, `"look"`, `"please look"`, 1) }, false},
		"a text that may be undefined": {func(s string) string {
			return strings.Replace(s, `"look"`, `input.deploy.environment`, 1)
		}, true},
		"one vote more": {func(s string) string { return strings.Replace(s, `"n": 1`, `"n": 2`, 1) }, false},
		"a group more":  {func(s string) string { return strings.Replace(s, `"n": 1}]`, `"n": 1}, {"group": "ops", "n": 1}]`, 1) }, false},
		"another group": {func(s string) string { return strings.Replace(s, `"security"`, `"ops"`, 1) }, true},
		"no votes":      {func(s string) string { return strings.Replace(s, `, "votes": [{"group": "security", "n": 1}]`, "", 1) }, true},
		"a rule more": {func(s string) string {
			return s + "\ndeny contains {\"rule\": \"z\", \"text\": \"no\"} if input.bytes > 100\n"
		}, false},
		"a rule less": {func(s string) string { return strings.Replace(s, "deny contains", "observe contains", 1) }, true},
		"a condition more": {func(s string) string {
			return strings.Replace(s, "	lib.exposed\n", "	lib.exposed\n	input.bytes > 1\n", 1)
		}, true},
		"a condition less":     {func(s string) string { return strings.Replace(s, "	lib.exposed\n", "", 1) }, true},
		"a helper's body more": {func(s string) string { return s + "\nhelper if input.bytes == 8\n" }, true},
		"a helper less": {func(s string) string {
			return strings.Replace(s, "helper if input.bytes == 7", "helper if input.bytes == 6", 1)
		}, true},
		"a helper of another name": {func(s string) string { return s + "\nanother if input.bytes == 8\n" }, false},
		"observe less": {func(s string) string {
			return strings.Replace(s, `observe contains {"rule": "c", "text": "t", "verdict": "deny"} if input.bytes > 5`, "", 1)
		}, false},
		"what was a variable becomes a rule": {func(s string) string { return s + "\nstep := 4\n" }, true},
		"a set is read": {func(s string) string {
			return s + "\nquiet if count(deny) > 0\n\ndeny contains {\"rule\": \"z\", \"text\": \"no\"} if input.bytes > 100\n"
		}, true},
		"a default": {func(s string) string { return s + "\ndefault helper := true\n" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			changed := c.change(base)
			if name != "nothing" && changed == base {
				t.Fatal("the change changes nothing")
			}
			old := []remit.PolicyFile{{Name: "a.rego", Text: base}, {Name: "lib.rego", Text: library}}
			now := []remit.PolicyFile{{Name: "b.rego", Text: changed}, {Name: "lib.rego", Text: library}}
			why := policy.Widens(old, now)
			if (why != "") != c.widens {
				t.Fatalf("widens: %q", why)
			}
		})
	}
	if why := policy.Widens(policy.Builtin(), policy.Builtin()); why != "" {
		t.Error(why)
	}
	if why := policy.Widens(policy.Builtin(), nil); why == "" {
		t.Error("nothing judges any more, and that widens nothing")
	}
	if why := policy.Widens(nil, policy.Builtin()); why != "" {
		t.Error(why)
	}
	if why := policy.Widens(nil, []remit.PolicyFile{{Name: "x.rego", Text: "package"}}); why == "" {
		t.Error("what cannot be read widens nothing")
	}
}
