package declare_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

const emergencies = `people:
  - {name: dan, keys: []}
groups:
  - name: oncall
    members: [dan]
    asks: {most: 20, hours: 24}
environments:
  - name: payments/production
    tier: production
    approvers:
      - {group: oncall, n: 1, evidence: "verdict:2+built", in_production: true}
break_glass:
  - name: fire
    who: [oncall]
    minutes: 30
    reviewers: oncall
    review_hours: 24
    scope:
      - {actions: [deploy.promote], resources: ["environment:payments/production"]}
`

func TestEmergenciesAreReadAndWritten(t *testing.T) {
	read := func(text string) (*remit.Declarations, error) {
		set, _, err := declare.Read(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
		return set, err
	}
	set, err := read(emergencies)
	if err != nil {
		t.Fatal(err)
	}
	g, n := set.BreakGlass[0], set.Environments[0].Approvers[0]
	if g.Name != "fire" || g.Minutes != 30 || g.Scope[0].Actions[0] != "deploy.promote" || set.Groups[0].Asks != (remit.Asks{Most: 20, Hours: 24}) || n.Evidence != "verdict:2+built" || !n.InProduction {
		t.Errorf("%+v %+v %+v", g, n, set.Groups)
	}
	files := fstest.MapFS{}
	for name, body := range declare.Write(set) {
		files[name] = &fstest.MapFile{Data: body}
	}
	again, _, err := declare.Read(files)
	if err != nil || !reflect.DeepEqual(set, again) {
		t.Errorf("%v: written and read again it is\n%+v, not\n%+v", err, again, set)
	}
	for from, to := range map[string]string{
		"most: 20": "most: 0", "hours: 24}": "hours: 169}", "verdict:2+built": "green", `evidence: "verdict:2+built", `: "", "name: fire": "name: Fire!", "who: [oncall]": "who: [nobody]",
		"    who: [oncall]\n": "", "minutes: 30": "minutes: 241", "reviewers: oncall": "reviewers: nobody", "review_hours: 24": "review_hours: 0", "deploy.promote]": "deploy.burn]",
	} {
		if _, err := read(strings.Replace(emergencies, from, to, 1)); err == nil {
			t.Errorf("%q in the place of %q is read", to, from)
		}
	}
}
