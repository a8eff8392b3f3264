package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// image is the artifact of the story.
const image remit.Resource = "artifact:oci/payments"

// releaseDeclarations are the agents of a whole chain, each of one function, and what each may ask of others.
func (q *quickstart) releaseDeclarations(set *remit.Declarations) *remit.Declarations {
	repo := remit.Pattern("repo:" + q.name)
	set.Groups = []remit.Group{{Name: "reviewers", Members: []string{"ben", "dan"}}, {Name: "operators", Members: []string{"ben", "cem"}}}
	agent := func(name string, f remit.Function, owner, purpose string, may []remit.Function, scopes ...remit.Scope) remit.Agent {
		return remit.Agent{Name: name, Function: f, Owner: owner, Purpose: purpose, MayRequest: may, Entitlements: scopes, Requesters: []string{remit.Administrators}}
	}
	on := func(p remit.Pattern, actions ...remit.Action) remit.Scope {
		return remit.Scope{Actions: actions, Resources: []remit.Pattern{p}}
	}
	main := on(repo, "source.read", "source.merge")
	main.Refs = []remit.Pattern{remit.Pattern("refs/heads/" + q.branch)}
	set.Agents = []remit.Agent{
		agent("planner", remit.FuncPlan, "ana", "Turns issues into work for others", []remit.Function{remit.FuncCode, remit.FuncReview}, on(repo, "source.read")),
		agent("coder", remit.FuncCode, "ana", "Changes code on branches of its own", []remit.Function{remit.FuncReview, remit.FuncBuild}, on(repo, "source.read", "source.push")),
		agent("reviewer", remit.FuncReview, "dan", "Reviews what others wrote", nil, on(repo, "source.read", "review.read", "review.submit")),
		agent("merger", remit.FuncCode, "dan", "Merges what was reviewed", nil, main),
		agent("builder", remit.FuncBuild, "ana", "Builds merged commits", []remit.Function{remit.FuncRelease},
			on(repo, "source.read"), on(remit.Pattern(image), "artifact.read", "artifact.upload", "artifact.publish")),
		agent("releaser", remit.FuncRelease, "ana", "Has artifacts deployed", []remit.Function{remit.FuncDeploy}, on(remit.Pattern(image), "artifact.read", "artifact.publish")),
		agent("deployer", remit.FuncDeploy, "ana", "Puts approved artifacts where they belong", nil, on("environment:payments/*", "deploy.read", "deploy.promote", "deploy.rollback")),
	}
	set.Upstreams = []remit.Upstream{{Name: "local", Kind: remit.KindLocal, Location: filepath.Dir(q.upstream)},
		{Name: "oci", Kind: remit.KindRegistry, Location: "http://" + q.registry, Insecure: true},
		{Name: "host", Kind: remit.KindCommand, Location: "local"}}
	set.Repositories = []remit.Repository{
		{Name: q.name, DefaultBranch: q.branch, Approvers: []remit.Need{{Group: "reviewers", N: 1}}, Effects: &[]remit.Effect{}, Artifacts: []remit.Pattern{remit.Pattern(image)}, Reviews: 1},
		{Name: "local/" + otherRepository, DefaultBranch: "main", Effects: &[]remit.Effect{}}}
	environment := func(name, tier string, n int, evidence ...string) remit.Environment {
		deploy, observe := q.target(name)
		return remit.Environment{Name: "payments/" + name, Tier: tier, Approvers: []remit.Need{{Group: "operators", N: n}}, Artifacts: []remit.Pattern{remit.Pattern(image)},
			Evidence: evidence, Target: &remit.Target{Upstream: "host", Apply: []string{deploy}, Observe: []string{observe}}}
	}
	set.Environments = []remit.Environment{environment("production", "production", 2, remit.EvidenceMerged, remit.EvidenceDeployed+"payments/staging"),
		environment("staging", "staging", 1, remit.EvidenceBuilt)}
	q.draft.Effects = nil
	return set
}

// target are the two commands of an environment: a deployment is a file that names what runs.
func (q *quickstart) target(name string) (deploy, observe string) {
	dir := filepath.Join(q.dir, "targets", name)
	return filepath.Join(dir, "deploy"), filepath.Join(dir, "observe")
}

// running is what an environment's target says of itself.
func (q *quickstart) runs(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(q.dir, "targets", name, "running"))
	return strings.TrimSpace(string(b)), err
}

// makeTargets writes the commands, and starts a registry that knows nothing of Remit.
func (q *quickstart) makeTargets(ctx context.Context) error {
	for _, name := range []string{"staging", "production"} {
		deploy, observe := q.target(name)
		at := filepath.Dir(deploy)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		for path, script := range map[string]string{
			deploy:  "#!/bin/sh\nset -e\nprintf '%s\\n' \"$REMIT_ARTIFACTS\" > " + quote(at) + "/next\nmv " + quote(at) + "/next " + quote(at) + "/running\n",
			observe: "#!/bin/sh\n[ ! -e " + quote(at) + "/running ] || sed 's/.*@//' " + quote(at) + "/running\n",
		} {
			if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
				return err
			}
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	q.registry = ln.Addr().String()
	s := &http.Server{Handler: registry.New(registry.Logger(log.New(discard{}, "", 0)))}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(ln) }() // until ctx ends
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// chainOf is the story of a release: the task at its root, and where its agents work.
type chainOf struct {
	*telling
	agents map[string]*telling
	head   string // the commit that was proposed
	merged string
	good   string // RESOURCE@DIGEST of the first release
	bad    string
}

// release is the whole chain; an error says which step went otherwise than it must.
func (q *quickstart) release(ctx context.Context) error {
	ana, err := q.as(ctx, "ana")
	if err != nil {
		return err
	}
	t := &chainOf{telling: &telling{q: q, c: ana}, agents: map[string]*telling{}}
	defer func() {
		for _, a := range t.agents {
			a.sh.in.Close()
		}
	}()
	for _, act := range []func(context.Context, *chainOf) error{q.plans, q.proposes, q.reviewed, q.builds, q.stages, q.promotes, q.breaks, q.rollsBack, q.closes} {
		if err := act(ctx, t); err != nil {
			return err
		}
	}
	return q.proves(ctx, t.telling)
}

// begin starts an agent on a task.
func (t *chainOf) begin(ctx context.Context, agent string, task remit.ID) error {
	dir := filepath.Join(t.q.dir, agent) // beside it lies its socket, whose path is to be short
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sh, err := startShell(ctx, t.c, task, dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(t.q.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(self, filepath.Join(bin, "remit")); err != nil && !os.IsExist(err) {
		return err
	}
	a := &telling{q: t.q, c: t.c, task: task, sh: sh}
	t.agents[agent] = a
	_, err = a.must("PATH="+quote(bin)+":$PATH; git config --global --list >/dev/null 2>&1; export GIT_AUTHOR_NAME="+agent+" GIT_AUTHOR_EMAIL="+agent+"@localhost GIT_COMMITTER_NAME="+agent+" GIT_COMMITTER_EMAIL="+agent+"@localhost", true)
	return err
}

var (
	taskMade     = regexp.MustCompile(`task (T-[0-9]+) is made`)
	heldAs       = regexp.MustCompile(`held as (A-[0-9]+)`)
	artifactLine = regexp.MustCompile(`artifact:\S+@sha256:[0-9a-f]{64}`)
	commitLine   = regexp.MustCompile(`\b[0-9a-f]{40}\b`)
)

// ask has an agent ask for work of another, and starts that one.
func (t *chainOf) ask(ctx context.Context, from, agent, flags string) error {
	a := t.agents[from]
	said, err := a.must("remit task request --agent "+agent+" "+flags, true)
	if err != nil {
		return err
	}
	m := taskMade.FindStringSubmatch(said)
	if m == nil {
		return fmt.Errorf("step %d went otherwise: no task of %s was made:\n%s", t.q.say.step, agent, said)
	}
	if _, err := a.tell(ctx, "task.request", remit.Allow, ""); err != nil {
		return err
	}
	return t.begin(ctx, agent, remit.ID(m[1]))
}

// approve has people vote on a request; the first of them also sees that ana, who asked for all of it, may not.
func (t *chainOf) approve(ctx context.Context, said string, people ...string) error {
	m := heldAs.FindStringSubmatch(said)
	if m == nil {
		return fmt.Errorf("step %d went otherwise: nothing was held:\n%s", t.q.say.step, said)
	}
	id := remit.ID(m[1])
	if _, err := castVote(ctx, t.c, id, t.q.people["ana"], true); err == nil {
		return fmt.Errorf("step %d went otherwise: ana, who requested the work, could approve %s", t.q.say.step, id)
	}
	var c *client.Client
	for _, p := range people {
		var err error
		if c, err = t.q.as(ctx, p); err != nil {
			return err
		}
		if _, err := castVote(ctx, c, id, t.q.people[p], true); err != nil {
			return fmt.Errorf("step %d went otherwise: %s could not approve %s: %w", t.q.say.step, p, id, err)
		}
		t.q.say.note("%s approves %s", p, id)
	}
	_, err := t.q.await(ctx, c, id)
	return err
}

func (q *quickstart) plans(ctx context.Context, t *chainOf) error {
	q.say.scene("ana asks the planner, which may ask others and do nothing itself")
	task, err := t.c.CreateTask(ctx, remit.TaskRequest{Agent: "planner", Intent: "Raise the language version of payments, and release it"})
	if err != nil {
		return err
	}
	t.task = task.ID
	if err := t.begin(ctx, "planner", task.ID); err != nil {
		return err
	}
	return t.ask(ctx, "planner", "coder", "--intent 'Raise the language version' --repo "+q.name)
}

func (q *quickstart) proposes(ctx context.Context, t *chainOf) error {
	q.say.scene("the coder proposes the change on a branch of its own; it can neither merge nor build it")
	c := t.agents["coder"]
	if _, err := c.must("git clone --quiet "+quote(q.upstream)+" work && cd work && sed -i.bak 's/^go .*/go 1.25/' go.mod && rm -f go.mod.bak && git commit --quiet -am 'Raise the language version' && git push --quiet origin HEAD:refs/heads/remit/$REMIT_TASK/version", true); err != nil {
		return err
	}
	said, err := c.must("git rev-parse HEAD", true)
	if err != nil {
		return err
	}
	t.head = commitLine.FindString(said)
	if _, err := c.tell(ctx, "source.push", remit.Allow, ""); err != nil {
		return err
	}
	if _, err := c.must("remit merge --repo "+q.name+" --head "+t.head, false); err != nil {
		return err
	}
	_, err = c.tell(ctx, "source.merge", remit.Deny, "")
	return err
}

func (q *quickstart) reviewed(ctx context.Context, t *chainOf) error {
	q.say.scene("an agent of another owner reviews it, and a person has it merged")
	if err := t.ask(ctx, "coder", "reviewer", "--intent 'Review the version' --repo "+q.name+" --action source.read --action review.submit"); err != nil {
		return err
	}
	if err := t.ask(ctx, "planner", "merger", "--intent 'Merge it once it is reviewed' --repo "+q.name+" --action source.read --action source.merge --ref refs/heads/"+q.branch+
		" --input repo:"+q.name+"@"+t.head); err != nil {
		return err
	}
	m := t.agents["merger"]
	if _, err := m.must("remit merge --repo "+q.name+" --head "+t.head, false); err != nil {
		return err
	}
	if _, err := m.tell(ctx, "source.merge", remit.Deny, "not without a verdict on exactly this change"); err != nil {
		return err
	}
	r := t.agents["reviewer"]
	if _, err := r.must("remit review approve --repo "+q.name+" --head "+t.head, true); err != nil {
		return err
	}
	if _, err := r.tell(ctx, "review.submit", remit.Allow, ""); err != nil {
		return err
	}
	said, err := m.must("remit merge --repo "+q.name+" --head "+t.head, false)
	if err != nil {
		return err
	}
	if _, err := m.tell(ctx, "source.merge", remit.Hold, ""); err != nil {
		return err
	}
	if err := t.approve(ctx, said, "ben"); err != nil {
		return err
	}
	t.merged, err = q.git.run(ctx, q.upstream, "rev-parse", "refs/heads/"+q.branch)
	q.say.note("%s is at %s", q.branch, t.merged)
	return err
}

func (q *quickstart) builds(ctx context.Context, t *chainOf) error {
	q.say.scene("a builder publishes what it built of the merged commit; the digest is what counts from here on")
	if err := t.ask(ctx, "coder", "builder", "--intent 'Build the merged commit' --repo "+q.name+" --resource "+string(image)+
		" --action source.read --action artifact.read --action artifact.upload --action artifact.publish --input repo:"+q.name+"@"+t.merged); err != nil {
		return err
	}
	var err error
	if t.good, err = t.publish(ctx, "git clone --quiet "+quote(q.upstream)+" work && cd work && git checkout --quiet "+t.merged+" && git archive --format=tar -o ../payments.tar HEAD && cd .."); err != nil {
		return err
	}
	return t.ask(ctx, "builder", "releaser", "--intent 'Release what was built' --resource "+string(image)+" --action artifact.read --input "+t.good)
}

// publish has the builder make something and push it.
func (t *chainOf) publish(ctx context.Context, make string) (string, error) {
	b := t.agents["builder"]
	said, err := b.must(make+" && remit artifact push "+image.Name()+" payments.tar", true)
	if err != nil {
		return "", err
	}
	if _, err := b.tell(ctx, "artifact.publish", remit.Allow, ""); err != nil {
		return "", err
	}
	found := artifactLine.FindString(said)
	if found == "" {
		return "", fmt.Errorf("step %d went otherwise: no digest was printed:\n%s", t.q.say.step, said)
	}
	t.q.say.note("%s", found)
	return found, nil
}

// deploy has the releaser ask for a deployment, people agree, and looks at the target itself.
func (t *chainOf) deploy(ctx context.Context, env, artifact, intent string, people ...string) error {
	said, err := t.agents["releaser"].must("remit release request --environment payments/"+env+" --artifact "+artifact+" --intent "+quote(intent), true)
	if err != nil {
		return err
	}
	if err := t.approve(ctx, said, people...); err != nil {
		return err
	}
	return t.now(env, artifact)
}

// now tells what runs, and fails if it is something else.
func (t *chainOf) now(env, artifact string) error {
	runs, err := t.q.runs(env)
	if err != nil {
		return err
	}
	_, digest, _ := strings.Cut(artifact, "@")
	if !strings.HasSuffix(runs, "@"+digest) {
		return fmt.Errorf("step %d went otherwise: %s runs %s, not %s", t.q.say.step, env, runs, digest)
	}
	t.q.say.note("%s runs %s", env, runs)
	return nil
}

func (q *quickstart) stages(ctx context.Context, t *chainOf) error {
	q.say.scene("production first? It asks for what ran in staging. One person for staging")
	if _, err := t.agents["releaser"].must("remit release request --environment payments/production --artifact "+t.good+" --intent 'At once'", false); err != nil {
		return err
	}
	q.say.note("payments/production requires that these digests were good in payments/staging: denied")
	return t.deploy(ctx, "staging", t.good, "Release to staging", "ben")
}

func (q *quickstart) promotes(ctx context.Context, t *chainOf) error {
	q.say.scene("two people for production, on exactly that digest")
	return t.deploy(ctx, "production", t.good, "Release to production", "ben", "cem")
}

func (q *quickstart) breaks(ctx context.Context, t *chainOf) error {
	q.say.scene("another release follows, and it is a bad one")
	var err error
	if t.bad, err = t.publish(ctx, "echo broken > broken && tar -cf payments.tar broken"); err != nil {
		return err
	}
	if err := t.deploy(ctx, "staging", t.bad, "Another release", "ben"); err != nil {
		return err
	}
	return t.deploy(ctx, "production", t.bad, "Another release", "ben", "cem")
}

func (q *quickstart) rollsBack(ctx context.Context, t *chainOf) error {
	q.say.scene("production goes back to the last good release, with one vote")
	said, err := t.agents["releaser"].must("remit rollback payments/production --intent 'It loses orders'", true)
	if err != nil {
		return err
	}
	if err := t.approve(ctx, said, "cem"); err != nil {
		return err
	}
	return t.now("production", t.good)
}

func (q *quickstart) closes(ctx context.Context, t *chainOf) error {
	q.say.scene("the task ends, and with it every task and credential that came of it")
	if err := t.c.EndTask(ctx, t.task, "complete", remit.EndRequest{DropHolds: true}); err != nil {
		return err
	}
	trace, err := t.c.Trace(ctx, t.task)
	if err != nil {
		return err
	}
	if !q.json {
		q.tree(trace, "   ")
	}
	for _, e := range trace.Steps {
		if e.Verdict == remit.Allow.String() {
			t.lesson = e.Entry
		}
	}
	return nil
}

// tree draws who asked whom.
func (q *quickstart) tree(t remit.Trace, in string) {
	what := ""
	if t.Task.Deploy != nil {
		what = string(t.Task.Deploy.Step().Action) + " " + t.Task.Deploy.Environment + ": "
	}
	q.say.printf("%s%s %s (%s) %s%s, %s\n", in, t.Task.ID, t.Task.Agent, t.Task.Function, what, visible(t.Task.Intent), t.Task.Status)
	for _, c := range t.Children {
		q.tree(c, in+"  ")
	}
}
