package analysis

import (
	"testing"

	"github.com/remit-dev/remit"
)

func TestDraftEffects(t *testing.T) {
	for name, c := range map[string]struct {
		file, body string
		want       []remit.Effect
	}{
		"a push to any branch runs it": {".github/workflows/ci.yml", "on: push\njobs:\n  t:\n    steps: []\n", []remit.Effect{
			{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "none", Runs: []remit.Pattern{".github/workflows/ci.yml"}}}},
		"a secret exposes": {".github/workflows/ci.yml", "on:\n  push:\n    branches: [main]\njobs:\n  t:\n    env: {A: '${{ secrets.NPM }}'}\n", []remit.Effect{
			{Refs: "refs/heads/main", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "exposed", Runs: []remit.Pattern{".github/workflows/ci.yml"}}}},
		"the job's own token is no secret of the repository": {".github/workflows/ci.yml", "on: [push]\njobs:\n  t:\n    env: {A: '${{ secrets.GITHUB_TOKEN }}'}\n", []remit.Effect{
			{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "none", Runs: []remit.Pattern{".github/workflows/ci.yml"}}}},
		"an environment is a deployment": {".github/workflows/d.yml", "on: {push: {branches: [main]}}\njobs:\n  d:\n    environment: {name: production}\n", []remit.Effect{
			{Refs: "refs/heads/main", Causes: "build.trigger", On: "pipeline:payments/d", Secrets: "none", Runs: []remit.Pattern{".github/workflows/d.yml"}},
			{Refs: "refs/heads/main", Causes: "deploy.promote", On: "environment:payments/production"}}},
		"a glob that no pattern says becomes every branch": {".github/workflows/ci.yml", "on: {push: {branches: ['rel-*']}}\njobs: {}\n", []remit.Effect{
			{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "none", Runs: []remit.Pattern{".github/workflows/ci.yml"}}}},
		"what cannot be read counts as the widest": {".github/workflows/ci.yml", "on: [push\n\t:", []remit.Effect{
			{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci.yml", Secrets: "exposed", Runs: []remit.Pattern{".github/workflows/ci.yml"}}}},
		"a schedule is no push":       {".github/workflows/n.yml", "on: {schedule: [{cron: '0 0 * * *'}]}\njobs: {}\n", nil},
		"other files are passed over": {"src/ci.yml", "on: push\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := DraftEffects("forge/acme/payments", "main", map[string][]byte{c.file: []byte(c.body)})
			if len(d.Effects) != len(c.want) {
				t.Fatalf("effects %+v, want %+v", d.Effects, c.want)
			}
			for i, e := range d.Effects {
				w := c.want[i]
				if e.Refs != w.Refs || e.Causes != w.Causes || e.On != w.On || e.Secrets != w.Secrets || len(e.Runs) != len(w.Runs) {
					t.Errorf("effect %d is %+v, want %+v", i, e, w)
				}
			}
		})
	}
}

func FuzzDraftEffects(f *testing.F) {
	f.Add("on: push\njobs: {a: {environment: x}}\n")
	f.Fuzz(func(t *testing.T, body string) {
		for _, e := range DraftEffects("forge/a/b", "main", map[string][]byte{".github/workflows/x.yml": []byte(body)}).Effects {
			if _, err := remit.ParseRefPattern(string(e.Refs)); err != nil {
				t.Errorf("drafted refs: %v", err)
			}
			if _, err := remit.ParseResource(string(e.On)); err != nil {
				t.Errorf("drafted resource: %v", err)
			}
		}
	})
}
