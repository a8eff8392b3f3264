package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// breach is the house of the release story after its first good release in production, with everything on record that
// anybody was told.
type breach struct {
	t    *testing.T
	ctx  context.Context
	q    *quickstart
	c    *chainOf
	http *http.Client
	base string // https://HOST:PORT/v1/orgs/quickstart

	next string   // a second artifact, good in staging
	head string   // a second proposal, reviewed
	raw  string   // a third, which nobody has seen
	open remit.ID // a request that waits for two people
	used remit.ID // the request that had a secret used
	rows []reached

	mu     sync.Mutex
	heard  bytes.Buffer    // every answer that anybody got
	argv   map[string]bool // every command line seen while it all happened
	leases map[string]bool // tokens that the registry saw
	flowed map[string]bool // values that arrived where they were to arrive
	values map[string]string
	tokens []string // that Remit gave to instances, and sessions of people
}

// reached is one move: what became of it.
type reached struct{ who, move, how string }

const (
	robotSecret  = "secret robot, zone B"
	deploySecret = "secret deploy, zone P"
	mirrorWrite  = "static credential from a file"
	mirrorRead   = "static credential from a variable"
	personsOwn   = "a person's own variable"
)

// newBreach plays the story.
func newBreach(t *testing.T) *breach {
	dir, err := os.MkdirTemp("", "rb") // short: names of sockets have at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &breach{t: t, ctx: t.Context(), argv: map[string]bool{}, leases: map[string]bool{}, flowed: map[string]bool{}, values: map[string]string{}}
	for _, name := range []string{robotSecret, deploySecret, mirrorWrite, mirrorRead, personsOwn} {
		var v [20]byte
		_, _ = rand.Read(v[:])
		b.values[name] = "Zq" + hex.EncodeToString(v[:])
	}
	t.Setenv("MIRROR_TOKEN", b.values[mirrorRead])
	t.Setenv("AWS_SECRET_ACCESS_KEY", b.values[personsOwn])
	b.q = &quickstart{a: testApp(t, nil), plays: "release", exit: true, dir: filepath.Join(dir, "h")}
	b.q.say = newNarrator(b.q.a, false)
	b.must(b.q.prepare(b.ctx))
	b.must(b.q.open(b.ctx))
	ctx, stop := context.WithCancel(b.ctx)
	served := make(chan error, 1)
	go func() { served <- b.q.house.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		b.q.house.Close()
	})
	b.watchProcesses(ctx)
	b.http = b.client()
	b.base = b.q.house.URL + "/v1/orgs/quickstart"
	b.must(b.q.makeTargets(b.ctx))
	b.guardTargets()
	credential := filepath.Join(dir, "mirror.credential")
	b.must(os.WriteFile(credential, []byte(b.values[mirrorWrite]+"\n"), 0o600))
	b.declare(b.declarations(credential))
	b.story()
	return b
}

func (b *breach) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// client trusts the house, shows certs, and follows nothing.
func (b *breach) client(certs ...tls.Certificate) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.q.house.CA.Pool(), MinVersion: tls.VersionTLS13, Certificates: certs}}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// watchProcesses collects the command lines of everything that runs, as any process of an agent could.
func (b *breach) watchProcesses(ctx context.Context) {
	go func() {
		for ctx.Err() == nil {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, f := range files {
				if line, err := os.ReadFile(f); err == nil {
					b.mu.Lock()
					b.argv[string(line)] = true
					b.mu.Unlock()
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
		}
	}()
}

// guardTargets has production's command log in with a secret, and say so where it must not be seen: a careless script.
func (b *breach) guardTargets() {
	deploy, _ := b.q.target("production")
	body, err := os.ReadFile(deploy)
	b.must(err)
	careless := `set -e
[ -n "$DEPLOY_KEY" ] || exit 3
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' || :
echo "logged in with $DEPLOY_KEY, Basic $(printf 'robo:%s' "$DEPLOY_KEY" | base64 -w0 2>/dev/null || :)"
printf %s "$DEPLOY_KEY" | base64
printf %s "$DEPLOY_KEY" | od -An -v -tx1 | tr -d ' \n'
printf %s "$DEPLOY_KEY" | cksum > ` + quote(filepath.Join(filepath.Dir(deploy), "used")) + "\n"
	b.must(os.WriteFile(deploy, []byte(strings.Replace(string(body), "set -e\n", careless, 1)), 0o700))
}

// declarations are the story's, with more that there is to reach: two secrets, and a registry with a static credential.
func (b *breach) declarations(credential string) *remit.Declarations {
	q := b.q
	trusting := httptest.NewServer(b.checked(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	b.t.Cleanup(trusting.Close)
	q.registry = strings.TrimPrefix(trusting.URL, "http://")
	mirror := httptest.NewServer(b.guarded(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	b.t.Cleanup(mirror.Close)
	// A service that answers with all that it was sent.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.saw(robotSecret, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		h := r.Header.Get("Authorization")
		value := []byte(strings.TrimPrefix(h, "Bearer "))
		fmt.Fprintf(w, "you sent %s: %s %x %s %s", h, value, value, base64.StdEncoding.EncodeToString(value), base64.StdEncoding.EncodeToString([]byte("robo:"+string(value))))
	}))
	b.t.Cleanup(echo.Close)

	set := q.declarations()
	set.Upstreams = append(set.Upstreams, remit.Upstream{Name: "mirror", Kind: remit.KindRegistry, Location: mirror.URL, Insecure: true,
		Write: remit.Source{From: "file", Name: credential, User: "robot"}, Observer: remit.Source{From: "env", Name: "MIRROR_TOKEN"}})
	one := []remit.Need{{Group: "operators", N: 1}}
	set.Secrets = []remit.Secret{{Name: "robot", Zone: "B", Approvers: one, Send: &remit.Sender{Location: echo.URL, Insecure: true}},
		{Name: "deploy", Zone: "P", Approvers: []remit.Need{{Group: "operators", N: 2}}}}
	for i := range set.Agents {
		if a := &set.Agents[i]; a.Name == "builder" {
			a.Entitlements[1].Resources = append(a.Entitlements[1].Resources, "artifact:mirror/payments")
			a.Entitlements = append(a.Entitlements, remit.Scope{Actions: []remit.Action{"secret.use"}, Resources: []remit.Pattern{"secret:robot"}})
		}
	}
	set.Repositories[0].Artifacts = append(set.Repositories[0].Artifacts, "artifact:mirror/payments")
	set.Environments[0].Target.Secrets = map[string]remit.Resource{"DEPLOY_KEY": "secret:deploy"}
	return set
}

func (b *breach) saw(what, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if value == b.values[what] {
		b.flowed[what] = true
	}
}

// guarded is a registry with one static credential that writes and one that reads.
func (b *breach) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		b.saw(mirrorWrite, password)
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		b.saw(mirrorRead, bearer)
		if password != b.values[mirrorWrite] && (bearer != b.values[mirrorRead] || r.Method != http.MethodGet && r.Method != http.MethodHead) {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checked is a registry that trusts Remit as its token server, and checks tokens as distribution does.
func (b *breach) checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if err := b.checkToken(r, raw); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		b.mu.Lock()
		b.leases[raw] = true
		b.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (b *breach) checkToken(r *http.Request, raw string) error {
	tok, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return err
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b.keys(), &set); err != nil {
		return err
	}
	var claims struct {
		jwt.Claims
		Access []struct {
			Name    string   `json:"name"`
			Actions []string `json:"actions"`
		} `json:"access"`
	}
	if keys := set.Key(tok.Headers[0].KeyID); len(keys) != 1 {
		return fmt.Errorf("no such key")
	} else if err := tok.Claims(keys[0].Key, &claims); err != nil {
		return err
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "remit/quickstart", AnyAudience: jwt.Audience{b.q.registry}, Time: time.Now()}, time.Minute); err != nil {
		return err
	}
	need := map[string]string{http.MethodGet: "pull", http.MethodHead: "pull", http.MethodDelete: "delete"}[r.Method]
	if need == "" {
		need = "push"
	}
	for _, a := range claims.Access {
		if strings.HasPrefix(r.URL.Path, "/v2/"+a.Name+"/") && slices.Contains(a.Actions, need) {
			return nil
		}
	}
	return fmt.Errorf("the token does not say %s on %s", need, r.URL.Path)
}

func (b *breach) keys() []byte {
	resp, err := b.http.Get(b.base + "/registry/keys")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	k, _ := io.ReadAll(resp.Body)
	return k
}

func (b *breach) declare(set *remit.Declarations) {
	b.t.Helper()
	ana, err := b.q.as(b.ctx, "ana")
	b.must(err)
	answer, err := ana.Apply(b.ctx, remit.ApplyRequest{Declarations: *set})
	b.must(err)
	if answer.Decision.Verdict != remit.Allow {
		b.t.Fatalf("the declarations are not in force: %+v", answer.Decision)
	}
}

// in runs a line in the name of an agent of the story.
func (b *breach) in(agent, line string) string {
	b.t.Helper()
	out, err := b.c.agents[agent].must(line, true)
	b.hear([]byte(out))
	b.must(err)
	return out
}

func (b *breach) hear(text []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard.Write(text)
	b.heard.WriteByte('\n')
}

// story plays the chain up to production, and begins a second change.
func (b *breach) story() {
	q := b.q
	ana, err := q.as(b.ctx, "ana")
	b.must(err)
	for name, value := range map[string]string{"robot": robotSecret, "deploy": deploySecret} {
		_, err := ana.PutSecret(b.ctx, remit.SecretValue{Name: name, Value: []byte(b.values[value])})
		b.must(err)
	}
	t := &chainOf{telling: &telling{q: q, c: ana}, agents: map[string]*telling{}}
	b.c = t
	b.t.Cleanup(func() {
		for _, a := range t.agents {
			a.sh.in.Close()
		}
	})
	for _, act := range []func(context.Context, *chainOf) error{q.plans, q.proposes, q.reviewed, b.builds, q.stages, q.promotes} {
		b.must(act(b.ctx, t))
	}
	b.flowed[deploySecret] = b.exists(filepath.Join(q.dir, "targets", "production", "used"))
	b.next, err = t.publish(b.ctx, "echo next > next && tar -cf payments.tar next")
	b.must(err)
	b.must(t.deploy(b.ctx, "staging", b.next, "The next release", "ben"))
	b.in("coder", "echo more >> README.md && git commit --quiet -am 'Say more' && git push --quiet origin HEAD:refs/heads/remit/$REMIT_TASK/more")
	b.head = commitLine.FindString(b.in("coder", "git rev-parse HEAD"))
	b.in("coder", "echo again >> README.md && git commit --quiet -am 'Say it again' && git push --quiet origin HEAD:refs/heads/remit/$REMIT_TASK/again")
	b.raw = commitLine.FindString(b.in("coder", "git rev-parse HEAD"))
	b.in("reviewer", "remit review approve --repo "+q.name+" --head "+b.head)
}

func (b *breach) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// builds is the story's, by a builder that also has a secret used and pushes where a static credential is needed.
func (b *breach) builds(ctx context.Context, t *chainOf) error {
	if err := t.ask(ctx, "coder", "builder", "--intent 'Build the merged commit' --repo "+b.q.name+" --resource "+string(image)+
		" --resource artifact:mirror/payments --resource secret:robot --action source.read --action artifact.read --action artifact.upload"+
		" --action artifact.publish --action secret.use --input repo:"+b.q.name+"@"+t.merged); err != nil {
		return err
	}
	var err error
	if t.good, err = t.publish(ctx, "git clone --quiet "+quote(b.q.upstream)+" work && cd work && git archive --format=tar -o ../payments.tar HEAD && cd .."); err != nil {
		return err
	}
	b.in("builder", "remit artifact push mirror/payments payments.tar")
	token := b.in("builder", "remit token secret")
	_, held := b.do(b.http, bearer(token), http.MethodPost, "/secret/use/robot/-/echo", nil)
	var d remit.Decision
	if err := json.Unmarshal(held, &d); err != nil || d.Verdict != remit.Hold {
		return fmt.Errorf("using a secret: %s", held)
	}
	b.used = d.Access
	if err := t.approve(ctx, "held as "+string(d.Access), "ben"); err != nil {
		return err
	}
	status, echoed := b.do(b.http, bearer(token), http.MethodGet, "/secret/answer/"+string(d.Access), nil)
	if status != http.StatusOK || !bytes.Contains(echoed, []byte("[secret robot]")) {
		return fmt.Errorf("collecting what came of the secret's use: %d %s", status, echoed)
	}
	return t.ask(ctx, "builder", "releaser", "--intent 'Release what was built' --resource "+string(image)+" --action artifact.read --input "+t.good)
}

func bearer(token string) string { return "Bearer " + strings.TrimSpace(token) }

// do makes one request to the house and keeps the answer. Requests that would wait are given up soon.
func (b *breach) do(c *http.Client, auth, method, path string, in any) (int, []byte) {
	b.t.Helper()
	wait := 10 * time.Second
	if strings.HasSuffix(path, "/wait") || strings.HasSuffix(path, "/next") || strings.HasSuffix(path, "/revoked") {
		wait = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case blob:
		body, kind = bytes.NewReader(v.body), v.kind
	default:
		raw, err := json.Marshal(in)
		b.must(err)
		body = bytes.NewReader(raw)
	}
	at := b.base + path
	if strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "https://") {
		at = strings.TrimPrefix(path, b.q.house.URL)
		at = b.q.house.URL + at
	}
	r, err := http.NewRequestWithContext(ctx, method, at, body)
	b.must(err)
	if body != nil {
		r.Header.Set("Content-Type", kind)
	}
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	resp, err := c.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			b.t.Fatalf("%s %s: %v", method, path, err)
		}
		return http.StatusGatewayTimeout, nil // it waits for what does not come
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	b.hear(fmt.Appendf(nil, "%s %s: %d %v %s", method, path, resp.StatusCode, resp.Header, out))
	if l := resp.Header.Get("Location"); l != "" && len(out) == 0 {
		out = []byte(l)
	}
	return resp.StatusCode, out
}

// blob is a body that is not JSON.
type blob struct {
	kind string
	body []byte
}

// ground is what no single identity may change, by name. What the task own published as a build is left out: to say
// what was built is what a builder is for.
func (b *breach) ground(own remit.ID) map[string]string {
	b.t.Helper()
	g := map[string]string{}
	for _, env := range []string{"staging", "production"} {
		runs, err := b.q.runs(env)
		b.must(err)
		g["what runs in "+env] = runs
	}
	for name, repo := range map[string]string{"payments": b.q.upstream, "handbook": filepath.Join(filepath.Dir(b.q.upstream), otherRepository+".git")} {
		refs, err := b.q.git.run(b.ctx, filepath.Dir(b.q.dir), "--git-dir="+repo, "-c", "safe.directory=*", "for-each-ref", "--format=%(refname) %(objectname)")
		b.must(err)
		for line := range strings.Lines(refs) {
			if !strings.HasPrefix(line, "refs/heads/remit/"+string(own)+"/") {
				g["refs of "+name] += line
			}
		}
	}
	b.q.house.Engine.View(func(s *authority.State) {
		g["declarations"], g["policy"] = s.Set.String(), s.Policy.String()
		for id, p := range s.People {
			g["person "+string(id)] = fmt.Sprint(len(p.Keys), p.Killed, p.Removed)
		}
		for name, a := range s.Agents {
			g["agent "+name] = string(a.Status)
		}
		for name, x := range s.Secrets {
			g["secret "+name] = fmt.Sprint(x.Version, x.Stored)
		}
		for env, r := range s.Releases {
			g["releases to "+env] = fmt.Sprint(len(r))
		}
		g["merged commits"] = fmt.Sprint(slices.Sorted(maps.Keys(s.Merged)))
		var proven []string
		for name, p := range s.Artifacts {
			if (p.Task != own || s.Agents[p.Agent].Function != remit.FuncBuild) && builtOf(s, p) {
				proven = append(proven, name)
			}
		}
		slices.Sort(proven)
		g["built artifacts"] = fmt.Sprint(proven)
		for id, a := range s.Accesses {
			if a.Status != remit.AccessOpen && a.Status != remit.AccessVoid {
				g["request "+string(id)] = "decided"
			}
		}
		for id := range s.Instances {
			g["instance "+string(id)] = "runs"
		}
	})
	return g
}

// harm lists what is not as it was, once all that was approved is carried out.
func (b *breach) harm(before map[string]string, own remit.ID) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 15*time.Second)
	defer cancel()
	var out []string
	if err := b.q.house.Engine.Wait(ctx, func(s *authority.State) bool {
		for id := range s.OpenHolds {
			if st := s.Accesses[id].Status; st != remit.AccessOpen {
				return false
			}
		}
		return len(s.Attempts) == 0
	}); err != nil {
		out = append(out, "something that was approved is not carried out: "+err.Error())
	}
	now := b.ground(own)
	for name := range now {
		if _, ok := before[name]; !ok {
			out = append(out, name+" is new: "+now[name])
		}
	}
	for name, was := range before {
		if now[name] != was {
			out = append(out, fmt.Sprintf("%s was %q and is %q", name, was, now[name]))
		}
	}
	slices.Sort(out)
	return out
}

// git runs git with an instance's token, which stands in no command line.
func (b *breach) git(token string, args ...string) (string, error) {
	cmd := exec.CommandContext(b.ctx, "git", args...)
	cmd.Dir = filepath.Join(b.q.dir, "stolen")
	auth := base64.StdEncoding.EncodeToString([]byte("remit:" + token))
	cmd.Env = append(b.q.git.env(), "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic "+auth,
		"GIT_CONFIG_KEY_1=http.sslCAInfo", "GIT_CONFIG_VALUE_1="+layout(filepath.Join(b.q.dir, "data")).roots())
	out, err := cmd.CombinedOutput()
	b.hear(out)
	return string(out), err
}

// needsProcesses skips where the story cannot be played.
func needsProcesses(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it plays the whole release story; leave out -short")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the scripts of agents are shell scripts")
	}
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("git is missing; install it (Debian: apt-get install git)")
		}
		t.Skip("git is missing; install it (Debian: apt-get install git)")
	}
}
