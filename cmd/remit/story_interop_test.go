//go:build interop && unix

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/real"
	testworld "github.com/remit-dev/remit/internal/world"
)

const (
	storyRepository = "forge/acme/payments"
	storyWorkflow   = `name: build
on: push
permissions: {id-token: write}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: remit ci run -- sh -ec 'git clone --quiet "$FORGE/acme/payments.git" work && cd work && git checkout --quiet "$GITHUB_SHA" && sh -e build.sh'
`
	storyBuild = `# What a job of the forge does with a commit: it is the only one that publishes.
cat fee.txt version.txt "${EXTRA:-/dev/null}" > payments.txt
made=$(remit artifact push oci/payments payments.txt)
echo "$made"
[ -n "$EXTRA" ] || remit task request --agent releaser --intent 'Release what was built' --resource artifact:oci/payments --action artifact.read --input "$made"
`
	storyManifest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: payments, labels: {app: payments}}
spec:
  replicas: 2
  selector: {matchLabels: {app: payments}}
  template:
    metadata: {labels: {app: payments}}
    spec:
      containers:
      - {name: app, image: "${artifact:oci/payments}"}
---
apiVersion: v1
kind: Service
metadata: {name: payments}
spec: {selector: {app: payments}, ports: [{port: 80, targetPort: 8080}]}
`
)

// chainStory is the release of a change with nothing but real parts.
type chainStory struct {
	*street
	forge            *real.Forge
	cluster          *plant
	images           *real.Images
	git, kube, oci   *tap
	issuer           *testworld.Issuer
	act              string
	own              []string // Remit's own credentials, as headers
	root, build      string   // tasks
	releaser         string
	executor         *process
	merged           string
	good, bad        string // artifact:…@sha256:…
	adminTok, obsTok string
}

// TestInteropRelease: a change from proposal to production and back, by real Gitea, a real workflow engine, a real registry
// that trusts Remit, and a real cluster that asks Remit; and from the upstreams' own side nothing of it is left.
func TestInteropRelease(t *testing.T) {
	act, err := exec.Command(filepath.Join("..", "..", "tools", "real", "build"), "act").Output()
	if err != nil {
		missingProgram(t, "the workflow engine cannot be built: %v; say: tools/real/build act", err)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		missingProgram(t, "curl is missing; install it (Debian: curl)")
	}
	c := &chainStory{street: newStreet(t), act: strings.TrimSpace(string(act))}
	c.prepare()
	c.proposes()
	c.reviewed()
	c.builds()
	c.promotes()
	c.breaks()
	c.ends()
	t.Run("attacks in the cluster", func(t *testing.T) {
		c.street.T, c.cluster.s.T = t, t
		name := c.oci.Host + "/payments"
		c.cluster.attacks(name + digestOf(c.good))
	})
	c.street.T, c.cluster.s.T = t, t
	c.nothingLives()
	c.verified()
	c.stop()
	c.cluster.deaf(c.oci.Host + "/payments" + digestOf(c.good))
}

// digestOf is @sha256:… of an artifact.
func digestOf(artifact string) string {
	_, d, _ := strings.Cut(artifact, "@")
	return "@" + d
}

// prepare makes the world around: a forge with a repository, a registry, a cluster, an issuer, and Remit before them.
func (c *chainStory) prepare() {
	c.Helper()
	c.forge = real.Gitea(c)
	f := func(method, path string, in, out any) {
		c.Helper()
		_, err := c.forge.Do(c.Context(), method, path, in, out)
		c.ok(err)
	}
	f("POST", "/api/v1/orgs", object{"username": "acme"}, nil)
	f("POST", "/api/v1/orgs/acme/repos", object{"name": "payments", "private": true, "auto_init": true, "default_branch": "main"}, nil)
	var files []object
	for name, text := range map[string]string{"fee.txt": "29\n", "version.txt": "1.24\n", "build.sh": storyBuild, ".github/workflows/build.yml": storyWorkflow} {
		files = append(files, object{"operation": "create", "path": name, "content": base64.StdEncoding.EncodeToString([]byte(text))})
	}
	f("POST", "/api/v1/repos/acme/payments/contents", object{"message": "Begin", "branch": "main", "files": files}, nil)
	user := func(name string, admin bool, scopes ...string) string {
		c.Helper()
		f("POST", "/api/v1/admin/users", object{"username": name, "email": name + "@example.invalid", "password": "Aa1-" + c.forge.Password, "must_change_password": false}, nil)
		if admin {
			f("PATCH", "/api/v1/admin/users/"+name, object{"login_name": name, "source_id": 0, "admin": true}, nil)
		} else {
			f("PUT", "/api/v1/repos/acme/payments/collaborators/"+name, object{"permission": "read"}, nil)
		}
		var token struct {
			SHA1 string `json:"sha1"`
		}
		// Tokens of others are made for basic authentication only, which is what the administrator here uses.
		f("POST", "/api/v1/users/"+name+"/tokens", object{"name": "remit", "scopes": scopes}, &token)
		return token.SHA1
	}
	c.adminTok = user("remit", true, "write:admin", "write:user", "write:repository")
	c.obsTok = user("observer", false, "read:repository", "read:issue")

	var aim func(string)
	c.git, aim = newTap(c.street, "forge", false, http.DefaultTransport)
	aim(c.forge.URL)
	c.cluster = newPlant(c.street)
	c.kube, aim = newTap(c.street, "cluster", true, c.cluster.Client().Transport)
	aim(c.cluster.URL)
	c.oci, aim = newTap(c.street, "images", false, http.DefaultTransport)
	// The registry trusts Remit as its token server.
	keys := c.secret("jwks.json", string(c.fetch("/v1/orgs/acme/registry/keys")))
	c.images = real.Registry(c, "REGISTRY_AUTH=token", "REGISTRY_AUTH_TOKEN_REALM="+c.url+"/v1/orgs/acme/registry/token", "REGISTRY_AUTH_TOKEN_SERVICE="+c.oci.Host,
		"REGISTRY_AUTH_TOKEN_ISSUER=remit/acme", "REGISTRY_AUTH_TOKEN_JWKS="+keys)
	aim(c.images.URL)
	c.issuer = testworld.NewIssuer(c, time.Now, jose.RS256)
	c.own = []string{"Bearer " + c.cluster.token, "Bearer " + c.cluster.observer, basicAuth("remit", c.adminTok), basicAuth("observer", c.obsTok)}

	c.declare(c.declarations())
	c.remit("ana", "executor", "enroll", "--zone", "P", "--dir", filepath.Join(c.dir, "executor"))
	c.execute()
	c.cluster.govern("payments/production", production)
	c.cluster.govern("payments/staging", staging)
}

// execute starts the executor of production.
func (c *chainStory) execute() {
	c.Helper()
	c.executor, _ = c.serve("executor", regexp.MustCompile(`is (executor/production)`), "executor", "--dir", filepath.Join(c.dir, "executor"))
}

func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func (c *chainStory) declarations() *remit.Declarations {
	repo := remit.Pattern("repo:" + storyRepository)
	agent := func(name string, f remit.Function, owner string, may []remit.Function, scopes ...remit.Scope) remit.Agent {
		return remit.Agent{Name: name, Function: f, Owner: owner, Purpose: name, MayRequest: may, Entitlements: scopes, Requesters: []string{remit.Administrators}}
	}
	on := func(p remit.Pattern, actions ...remit.Action) remit.Scope {
		return remit.Scope{Actions: actions, Resources: []remit.Pattern{p}}
	}
	main := on(repo, "source.read", "review.read", "source.merge")
	main.Refs = []remit.Pattern{"refs/heads/main"}
	builder := agent("builder", remit.FuncBuild, "ana", []remit.Function{remit.FuncRelease}, on(repo, "source.read"), on(remit.Pattern(image), "artifact.read", "artifact.upload", "artifact.publish"))
	builder.Jobs = []remit.Job{{Issuer: "ci", Repository: "4711", Workflow: ".github/workflows/build.yml", Source: storyRepository}}
	place := func(name, tier, namespace string, n int, evidence ...string) remit.Environment {
		return remit.Environment{Name: "payments/" + name, Tier: tier, Approvers: []remit.Need{{Group: "operators", N: n}}, Artifacts: []remit.Pattern{remit.Pattern(image)}, Evidence: evidence,
			Target: &remit.Target{Upstream: "cluster", Namespace: namespace, ServiceAccount: "deployer", Manifest: storyManifest, Timeout: "1m"}}
	}
	file := func(name, value, user string) remit.Source {
		return remit.Source{From: "file", Name: c.secret(name, value), User: user}
	}
	return &remit.Declarations{
		Groups: []remit.Group{{Name: "administrators", Members: []string{"ana"}}, {Name: "reviewers", Members: []string{"ben", "dan"}}, {Name: "operators", Members: []string{"ben", "cem"}}},
		Agents: []remit.Agent{
			agent("planner", remit.FuncPlan, "ana", []remit.Function{remit.FuncCode, remit.FuncReview}, on(repo, "source.read")),
			agent("coder", remit.FuncCode, "ana", []remit.Function{remit.FuncReview, remit.FuncBuild}, on(repo, "source.read", "source.push", "source.propose", "review.read")),
			agent("reviewer", remit.FuncReview, "dan", nil, on(repo, "source.read", "review.read", "review.submit")),
			agent("merger", remit.FuncCode, "dan", nil, main), builder,
			agent("releaser", remit.FuncRelease, "ana", []remit.Function{remit.FuncDeploy}, on(remit.Pattern(image), "artifact.read", "artifact.publish")),
			agent("deployer", remit.FuncDeploy, "ana", nil, on("environment:payments/*", "deploy.read", "deploy.promote", "deploy.rollback")),
		},
		Upstreams: []remit.Upstream{
			{Name: "forge", Kind: remit.KindGitea, Location: c.git.URL, Insecure: true, Write: file("forge-admin", c.adminTok, ""), Observer: file("forge-observer", c.obsTok, "observer")},
			{Name: "oci", Kind: remit.KindRegistry, Location: c.oci.URL, Insecure: true},
			{Name: "cluster", Kind: remit.KindKubernetes, Location: c.kube.URL, CA: c.kube.CA, Write: file("cluster-token", c.cluster.token, ""), Observer: file("cluster-observer", c.cluster.observer, "")},
			c.issuer.Upstream("ci", "github", ""),
		},
		Repositories: []remit.Repository{{Name: storyRepository, DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1}}, Effects: &[]remit.Effect{},
			Artifacts: []remit.Pattern{remit.Pattern(image)}, Reviews: 1}},
		Environments: []remit.Environment{place("production", "production", production, 2, remit.EvidenceMerged, remit.EvidenceDeployed+"payments/staging"),
			place("staging", "staging", staging, 1, remit.EvidenceBuilt)},
	}
}

var sha = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

// proposes: the planner asks the coder, which pushes a branch with real git and opens a pull request.
func (c *chainStory) proposes() {
	c.Helper()
	var task remit.TaskView
	c.ok(json.Unmarshal([]byte(c.remit("ana", "task", "create", "-o", "json", "--agent", "planner", "--intent", "Raise the version, and release it")), &task))
	c.root = string(task.ID)
	planner := c.begin("planner", c.root)
	coder := c.begin("coder", planner.ask("--agent coder --intent 'Raise the version' --repo "+storyRepository+" --action source.read --action source.push --action source.propose --action review.read"))
	coder.do("git clone --quiet " + c.git.URL + "/acme/payments.git work && cd work && echo 1.25 > version.txt && git commit --quiet -am 'Raise the version'")
	coder.denied("git push origin HEAD:refs/heads/main", "remit")
	coder.do("git push --quiet origin HEAD:refs/heads/remit/$REMIT_TASK/version")
	branch := coder.do("echo remit/$REMIT_TASK/version")
	body, status := coder.forge("POST", "/repos/acme/payments/pulls", `{"head":"`+branch+`","base":"main","title":"Raise the version","body":"It is due."}`)
	if status != http.StatusCreated {
		c.Fatalf("the pull request: %d %s", status, body)
	}
	if body, status := coder.forge("POST", "/repos/acme/payments/pulls/1/merge", `{"Do":"merge"}`); status != http.StatusForbidden {
		c.Fatalf("the coder merges: %d %s", status, body)
	}
}

// reviewed: another agent gives its verdict in the forge, and a person decides on the merge, which the forge itself does.
func (c *chainStory) reviewed() {
	c.Helper()
	coder, planner := c.agents["coder"], c.agents["planner"]
	head := sha.FindString(coder.do("git rev-parse HEAD"))
	merger := c.begin("merger", planner.ask("--agent merger --intent 'Merge it once it is reviewed' --repo "+storyRepository+
		" --action source.read --action review.read --action source.merge --ref refs/heads/main --input repo:"+storyRepository+"@"+head))
	const merge = "/repos/acme/payments/pulls/1/merge"
	if body, status := merger.forge("POST", merge, `{"Do":"merge"}`); status != http.StatusForbidden {
		c.Fatalf("a merge without a review: %d %s", status, body)
	}
	reviewer := c.begin("reviewer", coder.ask("--agent reviewer --intent 'Review it' --repo "+storyRepository+" --action source.read --action review.read --action review.submit"))
	if body, status := reviewer.forge("POST", "/repos/acme/payments/pulls/1/reviews", `{"event":"APPROVED","body":"The version is due."}`); status != http.StatusOK {
		c.Fatalf("the review: %d %s", status, body)
	}
	body, status := merger.forge("POST", merge, `{"Do":"merge"}`)
	if !strings.Contains(body, "waiting") {
		c.Fatalf("the merge: %d %s", status, body)
	}
	c.approve(body, "ben")
	var pull struct {
		Merged bool   `json:"merged"`
		Commit string `json:"merge_commit_sha"`
	}
	_, err := c.forge.Do(c.Context(), "GET", "/api/v1/repos/acme/payments/pulls/1", nil, &pull)
	c.ok(err)
	if !pull.Merged || pull.Commit == "" {
		c.Fatalf("the forge says %+v", pull)
	}
	c.merged = pull.Commit
}

// builds: the coder asks for a build of the merged commit; a job of a real workflow engine is that build, and publishes.
func (c *chainStory) builds() {
	c.Helper()
	c.build = c.agents["coder"].ask("--agent builder --intent 'Build the merged commit' --repo " + storyRepository + " --resource " + string(image) +
		" --action source.read --action artifact.read --action artifact.upload --action artifact.publish --input repo:" + storyRepository + "@" + c.merged)
	said := c.job("")
	c.good, c.releaser = published.FindString(said), taskIn(said)
	c.Logf("published %s", c.good)
}

var published = regexp.MustCompile(`artifact:oci/payments@sha256:[0-9a-f]{64}`)

// job runs the workflow of the merged commit, as the forge's runner would: what the job itself needs of the repository it
// reads through Remit. extra is a file that gets into what is built.
func (c *chainStory) job(extra string) string {
	c.Helper()
	work, err := os.MkdirTemp(c.dir, "runner")
	c.ok(err)
	temp := c.TempDir()
	run := func(name string, args ...string) string {
		c.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = work, append(slices.Clone(c.env), "RUNNER_TEMP="+temp)
		out, err := cmd.CombinedOutput()
		if err != nil {
			c.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
		}
		return string(out)
	}
	// The runner finds the workflow with the forge's own credential.
	run("git", "-c", "http.extraHeader=Authorization: "+c.forge.Authorization(), "clone", "--quiet", c.forge.URL+"/acme/payments.git", ".")
	run("git", "checkout", "--quiet", c.merged)
	run("git", "remote", "set-url", "origin", "https://github.com/acme/payments.git")
	c.issuer.Tell(map[string]any{"sha": c.merged, "workflow_sha": c.merged, "job_workflow_sha": c.merged})
	args := []string{"push", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server"}
	for _, kv := range append(slices.Clone(c.env), "RUNNER_TEMP="+temp, "FORGE="+c.git.URL, "EXTRA="+extra, "ACTIONS_ID_TOKEN_REQUEST_URL="+c.issuer.URL+"/token?api-version=2",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN="+testworld.RequestToken) {
		args = append(args, "--env", kv)
	}
	said := run(c.act, args...)
	if !published.MatchString(said) {
		c.Fatalf("the job published nothing:\n%s", said)
	}
	return said
}

func taskIn(said string) string {
	if m := requested.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	return ""
}

// release has the releaser ask, and people agree.
func (c *chainStory) release(env, artifact string, people ...string) {
	c.Helper()
	said := c.agents["releaser"].do("remit release request --environment payments/" + env + " --artifact " + artifact + " --intent 'Release it'")
	card := c.approve(said, people...)
	if card.Shown == nil || !strings.Contains(card.Shown.Diff, artifact) {
		c.Errorf("the card of %s shows %+v, not %s", card.ID, card.Shown, artifact)
	}
	c.now(env, artifact)
}

// now holds that the cluster itself has the digest.
func (c *chainStory) now(env, artifact string) {
	c.Helper()
	namespace := map[string]string{"staging": staging, "production": production}[env]
	if got, want := c.cluster.runs(namespace), c.oci.Host+"/payments"+digestOf(artifact); got != want {
		c.Fatalf("%s has %s, not %s", env, got, want)
	}
}

// promotes: staging with one vote, production with two, both by digest.
func (c *chainStory) promotes() {
	c.Helper()
	releaser := c.begin("releaser", c.releaser)
	releaser.denied("remit release request --environment payments/production --artifact "+c.good+" --intent 'At once'", "payments/staging")
	c.release("staging", c.good, "ben")
	c.release("production", c.good, "ben", "cem")
}

// breaks: another release is a bad one, and production goes back with one vote.
func (c *chainStory) breaks() {
	c.Helper()
	c.bad = published.FindString(c.job(c.secret("broken", "broken\n")))
	if c.bad == c.good {
		c.Fatal("the second build is the first")
	}
	c.release("staging", c.bad, "ben")
	c.killed()
	said := c.agents["releaser"].do("remit rollback payments/production --intent 'It loses orders'")
	c.approve(said, "cem")
	c.now("production", c.good)
}

// killed releases what is bad to production, and the executor is killed when everything is applied and nothing is observed
// yet. The next one finds out what became of it with the observer's token, and applies nothing.
func (c *chainStory) killed() {
	c.Helper()
	id := c.vote(c.agents["releaser"].do("remit release request --environment payments/production --artifact "+c.bad+" --intent 'Release it'"), "ben")
	applied, dead, patches := false, make(chan struct{}), 0
	var mu sync.Mutex
	c.kube.set(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodPatch && r.URL.Query().Get("dryRun") == "":
			patches++
			applied = strings.HasSuffix(r.URL.Path, "/services/payments") // the last object of the manifest
		case applied && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/deployments/payments"):
			applied = false
			c.executor.kill()
			close(dead)
		}
	})
	c.vote(string(id), "cem")
	select {
	case <-dead:
	case <-time.After(patience):
		c.Fatal("nothing was deployed")
	}
	c.execute()
	c.await(id, "cem")
	c.kube.set(nil)
	c.now("production", c.bad)
	mu.Lock()
	defer mu.Unlock()
	if patches != 2 {
		c.Errorf("%d objects were applied, of two", patches)
	}
}

// side is an upstream by its own word.
type side struct {
	name string
	tap  *tap
	dead func(authorization string) error // nil: it is no credential any more
}

func (c *chainStory) sides() []side {
	return []side{{"forge", c.git, c.deadAtForge}, {"registry", c.oci, c.deadAtRegistry}, {"cluster", c.kube, c.cluster.dead}}
}

// ends completes the task. Until then its credentials live, but for those of deployments, which end with each.
func (c *chainStory) ends() {
	c.Helper()
	for _, x := range c.sides()[:2] {
		if !slices.ContainsFunc(x.tap.credentials(c.own...), func(a string) bool { return x.dead(a) != nil }) {
			c.Errorf("%s: no credential of the task lives while it is at work", x.name)
		}
	}
	c.remit("ana", "task", "complete", c.root, "--drop-holds")
	if tasks := c.remit("ana", "task", "show", c.build); !regexp.MustCompile(`completed|cancelled`).MatchString(tasks) {
		c.Errorf("with its parent the build did not end:\n%s", tasks)
	}
}

// nothingLives: no credential of the story is one any more, by the word of those who took it.
func (c *chainStory) nothingLives() {
	c.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.After(4 * time.Minute) // a registry's tokens end by themselves, after two minutes and one of skew
	for {
		list, err := c.person("ana").Leases(c.Context(), false)
		c.ok(err)
		if len(list.Leases) == 0 {
			break
		}
		select {
		case <-end:
			c.Fatalf("leases live: %s", c.remit("ana", "leases"))
		case <-tick.C:
		}
	}
	if said := c.remit("ana", "leases"); !strings.Contains(said, "no upstream credential lives") {
		c.Errorf("remit leases says %s", said)
	}
	for _, x := range c.sides() {
		creds := x.tap.credentials(c.own...)
		if len(creds) == 0 {
			c.Errorf("%s: no credential of a task ever came by", x.name)
		}
		for _, a := range creds {
			if err := x.dead(a); err != nil {
				c.Errorf("%s: %v; it was used for %v", x.name, err, x.tap.paths[a])
			}
		}
		c.Logf("%s: %d credentials were used, and all are dead", x.name, len(creds))
	}
}

func (c *chainStory) deadAtForge(authorization string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(authorization, "Basic "))
	user, _, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return fmt.Errorf("%.10s… is no user and token (%v)", authorization, err)
	}
	if status, _ := c.forge.Do(c.Context(), "GET", "/api/v1/users/"+user, nil, nil); status != http.StatusNotFound {
		return fmt.Errorf("the user %s is still there: %d", user, status)
	}
	return c.unauthorized(c.forge.URL+"/api/v1/repos/acme/payments", authorization)
}

func (c *chainStory) deadAtRegistry(authorization string) error {
	return c.unauthorized(c.images.URL+"/v2/payments/manifests/"+strings.TrimPrefix(digestOf(c.good), "@"), authorization)
}

func (c *chainStory) unauthorized(at, authorization string) error {
	r, err := http.NewRequestWithContext(c.Context(), http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", authorization)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("%s takes it: %d", at, answer.StatusCode)
	}
	return nil
}

// verified: the log of it all is exported, and nothing of the server is needed to check it.
func (c *chainStory) verified() {
	c.Helper()
	file, trust := filepath.Join(c.dir, "log.bundle"), filepath.Join(c.dir, "trust")
	c.remit("ana", "log", "export", "--file", file, "--trust-file", trust)
	cmd := exec.Command(filepath.Join(c.bin, "remit"), "log", "verify", "--file", file, "--trust", trust)
	cmd.Env = []string{"HOME=" + c.dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("remit log verify: %v\n%s", err, out)
	}
	c.Logf("%s", bytes.TrimSpace(out))
}

// tokenClaims is what a service account's token says of itself.
type tokenClaims struct {
	Kubernetes struct {
		Namespace string
		Secret    struct{ Name string }
	} `json:"kubernetes.io"`
}

func claimsOf(token string) (c tokenClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("%.8s… is no token of a service account", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}
