// Package analysis works out what a change of authority would mean. Everything in it is a function of its arguments.
package analysis

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/remit-dev/remit"
)

// Draft is what a repository's own files say of its effects, for a person to confirm. It errs on the side of effects:
// what cannot be read counts as a pipeline that runs on every branch with secrets.
type Draft struct {
	Effects      []remit.Effect
	Environments []remit.Environment // that the files name, as names relative to the repository
	Notes        []string            // where in which file each effect was seen, and what could not be told
}

// maxFile bounds a workflow file that is read.
const maxFile = 1 << 20

// DraftEffects reads the workflow files of repository (UPSTREAM/PATH): files by their paths in the tree of the default
// branch. Paths that are no workflow files are passed over.
func DraftEffects(repository, defaultBranch string, files map[string][]byte) Draft {
	d := drafter{repo: path.Base(repository), main: remit.Pattern("refs/heads/" + defaultBranch)}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		body := files[name]
		switch dir := path.Dir(name); {
		case len(body) > maxFile:
			d.all(name, "larger than 1 MiB, so it was not read")
		case dir == ".github/workflows" || dir == ".gitea/workflows" || dir == ".forgejo/workflows":
			if ext := path.Ext(name); ext == ".yml" || ext == ".yaml" {
				d.actions(name, body)
			}
		case name == ".gitlab-ci.yml", name == "Jenkinsfile", name == "azure-pipelines.yml", name == ".drone.yml", name == ".travis.yml",
			name == "bitbucket-pipelines.yml", name == ".woodpecker.yml", name == ".circleci/config.yml", dir == ".woodpecker", dir == ".buildkite":
			d.all(name, "its triggers are not read yet, so every branch counts")
		}
	}
	return d.Draft
}

type drafter struct {
	Draft
	repo string
	main remit.Pattern
}

// workflow is what is read of a file of GitHub Actions and its relatives: the rest does not decide what a push causes.
type workflow struct {
	On   any                       `yaml:"on"`
	Jobs map[string]map[string]any `yaml:"jobs"`
}

// secretUse finds a secret other than the job's own token, which lives as long as the job.
var secretUse = regexp.MustCompile(`\bsecrets\s*(\.|\[|:)`)

func (d *drafter) actions(name string, body []byte) {
	var w workflow
	if err := yaml.Unmarshal(body, &w); err != nil {
		d.all(name, "it is not YAML that can be read, so every branch counts")
		return
	}
	refs, runs := pushRefs(w.On)
	if !runs {
		d.note(name, "no push starts it")
		return
	}
	pipeline := remit.Resource("pipeline:" + segment(d.repo) + "/" + segment(strings.TrimSuffix(path.Base(name), path.Ext(name))))
	secrets := "none"
	if secretUse.MatchString(strings.ReplaceAll(string(body), "secrets.GITHUB_TOKEN", "")) {
		secrets = "exposed"
	}
	for _, ref := range refs {
		d.add(remit.Effect{Refs: ref, Causes: "build.trigger", On: pipeline, Secrets: secrets, Runs: []remit.Pattern{remit.Pattern(name)}})
		d.note(name, fmt.Sprintf("a push to %s runs it, with secrets: %s", ref, secrets))
	}
	for _, job := range slices.Sorted(maps.Keys(w.Jobs)) {
		env := environmentOf(w.Jobs[job]["environment"])
		if env == "" {
			continue
		}
		full := segment(d.repo) + "/" + segment(env)
		if !slices.ContainsFunc(d.Environments, func(e remit.Environment) bool { return e.Name == full }) {
			d.Environments = append(d.Environments, remit.Environment{Name: full, Tier: tierOf(env)})
		}
		for _, ref := range refs {
			d.add(remit.Effect{Refs: ref, Causes: "deploy.promote", On: remit.Resource("environment:" + full)})
			d.note(name, fmt.Sprintf("job %s deploys to %s after a push to %s", job, env, ref))
		}
	}
}

// pushRefs is what of `on` a push starts. Filters that a prefix pattern cannot say become every branch: wider, never
// narrower.
func pushRefs(on any) (refs []remit.Pattern, runs bool) {
	every := []remit.Pattern{"refs/heads/**"}
	switch on := on.(type) {
	case string:
		return every, on == "push"
	case []any:
		return every, slices.Contains(on, any("push"))
	case map[string]any:
		push, ok := on["push"]
		if !ok {
			return nil, false
		}
		filter, _ := push.(map[string]any)
		branches, some := filter["branches"]
		tags, tagged := filter["tags"]
		if !some && !tagged {
			if _, ignoring := filter["branches-ignore"]; !ignoring {
				return []remit.Pattern{"refs/heads/**", "refs/tags/**"}, true
			}
			return every, true
		}
		refs = append(patternsOf(branches, "refs/heads/"), patternsOf(tags, "refs/tags/")...)
		return refs, len(refs) > 0
	}
	return nil, false
}

func patternsOf(list any, prefix string) []remit.Pattern {
	var out []remit.Pattern
	items, ok := list.([]any)
	if s, one := list.(string); one {
		items, ok = []any{s}, true
	}
	if !ok {
		return nil
	}
	for _, it := range items {
		s, _ := it.(string)
		if strings.HasPrefix(s, "!") {
			continue // an exclusion narrows; leaving it out is wider
		}
		p, err := remit.ParseRefPattern(prefix + s)
		if err != nil {
			p = remit.Pattern(prefix + "**")
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

func environmentOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		s, _ := v["name"].(string)
		return s
	}
	return ""
}

func tierOf(env string) string {
	e := strings.ToLower(env)
	for _, s := range []string{"stag", "dev", "test", "preview", "qa"} {
		if strings.Contains(e, s) {
			return "staging"
		}
	}
	return "production"
}

// all is the widest effect, for what cannot be told.
func (d *drafter) all(name, why string) {
	d.add(remit.Effect{Refs: "refs/heads/**", Causes: "build.trigger", On: remit.Resource("pipeline:" + segment(d.repo) + "/" + segment(path.Base(name))),
		Secrets: "exposed", Runs: []remit.Pattern{remit.Pattern(name)}})
	d.note(name, why)
}

func (d *drafter) add(e remit.Effect) {
	if !slices.ContainsFunc(d.Effects, func(o remit.Effect) bool { return o.Refs == e.Refs && o.Causes == e.Causes && o.On == e.On }) {
		d.Effects = append(d.Effects, e)
	}
}

func (d *drafter) note(name, what string) { d.Notes = append(d.Notes, name+": "+what) }

// segment writes any text as one segment of a resource name.
func segment(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	if out := b.String(); out != "" && out != "." && out != ".." {
		return out
	}
	return "unnamed"
}
