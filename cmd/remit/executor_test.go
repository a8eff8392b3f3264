//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
	"github.com/remit-dev/remit/identity"
	orgs "github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/sshsig"
)

// site is a world with a host that is deployed by a script, and a server that executors in other processes speak to.
type site struct {
	t     testing.TB
	w     *orgs.World
	url   string
	host  string // directory: what is there is in now, log has a line for each time something was applied
	dir   string // of the executor
	front func(http.Handler) http.Handler
	admit server.Admissions
}

const (
	applied = "echo once >> \"$0/log\"\necho \"$REMIT_ARTIFACTS\" | sed 's/.*@//' > \"$0/now\"\n"
	shows   = `cat "$0/now" 2>/dev/null || true`
)

type noLog struct{}

func (noLog) Head(context.Context) (remit.LogHead, error)       { return remit.LogHead{}, errors.New("none") }
func (noLog) Export(context.Context, io.Writer) error           { return errors.New("none") }
func (noLog) Tile(context.Context, ledger.Tile) ([]byte, error) { return nil, errors.New("none") }
func (noLog) Receipt(context.Context, remit.EntryIndex) ([]byte, error) {
	return nil, errors.New("none")
}

func newSite(t testing.TB, script string) *site {
	t.Helper()
	s := &site{t: t, w: orgs.New(t, orgs.Options{Profile: remit.Demo}), host: t.TempDir(), dir: filepath.Join(t.TempDir(), "executor")}
	d := s.w.Team()
	d.Upstreams = append(d.Upstreams, remit.Upstream{Name: "oci", Kind: remit.KindRegistry, Location: "https://registry.example:5000"},
		remit.Upstream{Name: "host", Kind: remit.KindCommand, Location: "/"})
	d.Environments = []remit.Environment{{Name: "shop/production", Tier: "staging", Approvers: []remit.Need{{Group: "administrators", N: 1}},
		Artifacts: []remit.Pattern{"artifact:oci/**"}, Target: &remit.Target{Upstream: "host", Apply: []string{"/bin/sh", "-c", script, s.host},
			Observe: []string{"/bin/sh", "-c", shows, s.host}}}}
	d.Agents = append(d.Agents,
		remit.Agent{Name: "shipper", Function: remit.FuncRelease, Owner: "cleo", Purpose: "releases", Requesters: []string{"developers"}, MayRequest: []remit.Function{remit.FuncDeploy},
			Entitlements: []remit.Scope{{Actions: []remit.Action{"artifact.read"}, Resources: []remit.Pattern{"artifact:oci/**"}}}},
		remit.Agent{Name: "pilot", Function: remit.FuncDeploy, Owner: "cleo", Purpose: "deploys",
			Entitlements: []remit.Scope{{Actions: []remit.Action{"deploy.promote", "deploy.rollback"}, Resources: []remit.Pattern{"environment:shop/production"}}}})
	s.w.Declare(d)
	ups := &upstreams{engine: s.w.Engine}
	authz := authorizer{s.w.Engine}
	far := newFar(s.w.Engine, places{s.w.Engine, ups}, credentials{engine: s.w.Engine}, authz)
	api := server.New(server.Config{Engine: s.w.Engine, Follow: s.w.Follow, CA: s.w.CA, Sessions: s.w.Sessions, Tokens: s.w.Tokens, Bundles: s.w.Bundles,
		Log: noLog{}, Base: "https://remit.example", Key: [32]byte{1}, Clock: s.w.Clock, Executors: far, Places: places{s.w.Engine, ups}})
	s.admit = server.Admissions{Server: api}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.front != nil {
			s.front(api).ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	config, err := s.w.CA.TLSConfig("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{*cert}
	front.TLS, front.EnableHTTP2 = config, true
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front.StartTLS()
	t.Cleanup(func() { api.Close(); front.CloseClientConnections(); front.Close() })
	s.url = front.URL
	return s
}

func (s *site) enroll(dir string, zone remit.Zone) *client.Executor {
	s.t.Helper()
	key := s.w.Key("ada")
	anon, err := client.New(s.url, orgs.Org, s.w.CA.PEM())
	if err != nil {
		s.t.Fatal(err)
	}
	c, _, err := anon.SignIn(s.t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) {
		return sshsig.Sign(key, identity.SignInNamespace, text)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.EnrolExecutor(s.t.Context(), s.url, dir, authority.ExecutorOf(zone), zone); err != nil {
		s.t.Fatal(err)
	}
	e, err := client.OpenExecutor(dir, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func shipped(c string) remit.Artifact {
	return remit.Artifact{Resource: "artifact:oci/app", Digest: "sha256:" + strings.Repeat(c, 64)}
}

// release has the release agent ask for a deployment; it waits for people then.
func (s *site) release(a remit.Artifact) remit.ID {
	s.t.Helper()
	ctx := s.t.Context()
	task, err := s.w.SignIn("cleo").CreateTask(ctx, remit.TaskRequest{Agent: "shipper", Intent: "ship it"})
	if err != nil {
		s.t.Fatal(err)
	}
	inst := s.w.Instance("cleo", task.ID)
	env := remit.Deploy{Environment: "shop/production", Artifacts: []remit.Artifact{a}}
	s.w.Engine.View(func(st *authority.State) {
		if r, ok := st.CurrentRelease(env.Environment); ok {
			env.From = r.Entry
		}
	})
	words, err := s.w.Engine.NewPayload([]byte("ship it"))
	if err != nil {
		s.t.Fatal(err)
	}
	child := remit.Child{Agent: "pilot", Intent: words.Commitment(), Inputs: []remit.Input{{Resource: a.Resource, ID: a.Digest}}, Deploy: &env,
		Scope: []remit.Scope{{Actions: []remit.Action{"deploy.promote"}, Resources: []remit.Pattern{"environment:shop/production"}}}}
	d, err := s.w.Engine.Authorize(ctx, remit.Request{Gateway: "task", Child: &child, Order: []byte("{}"), Caller: remit.Caller{Instance: inst.ID, Agent: "shipper", Task: task.ID},
		Steps: []remit.Step{{Action: "task.request", Resource: "task:pilot", Args: child.Digest()}}}, words)
	if err != nil || d.Verdict != remit.Allow {
		s.t.Fatalf("%+v %v", d, err)
	}
	attempt, err := s.w.Engine.Redeem(ctx, d.Permit)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := (children{s.w.Engine}).Create(ctx, attempt.ID, child)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.w.Engine.Record(ctx, attempt, remit.Done, "", nil, ""); err != nil {
		s.t.Fatal(err)
	}
	held, err := (children{s.w.Engine}).Open(ctx, id)
	if err != nil || held.Verdict != remit.Hold {
		s.t.Fatalf("%+v %v", held, err)
	}
	return held.Access
}

func (s *site) approve(id remit.ID) {
	s.t.Helper()
	v, err := s.w.SignIn("ben").Access(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	s.w.Cast("ben", v, true)
}

// run is an executor process; stop ends it and waits for it.
func (s *site) run(e *client.Executor) (stop func()) {
	s.t.Helper()
	g, err := deploy.New(deploy.Config{Environments: e, Secrets: e, Observer: observer, Dir: filepath.Join(s.dir, "notes")})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runExecutor(ctx, e, map[string]gateway.Protocol{deploy.Name: g}, slog.New(slog.NewTextHandler(s.t.Output(), nil)))
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// outcome waits for what came of the last deployment.
func (s *site) outcome(n int) (r authority.Release) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	if err := s.w.Engine.Wait(ctx, func(st *authority.State) bool {
		rs := st.Releases["shop/production"]
		if len(rs) >= n {
			r = rs[n-1]
		}
		return len(rs) >= n
	}); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(s.host, name))
	return string(b)
}

func TestAnExecutorElsewhereCarriesOutADeployment(t *testing.T) {
	s := newSite(t, applied)
	stop := s.run(s.enroll(s.dir, remit.ZoneProduction))
	defer stop()
	id := s.release(shipped("a"))
	s.approve(id)
	if r := s.outcome(1); r.Outcome != remit.Done || r.Access != id || s.read("log") != "once\n" || strings.TrimSpace(s.read("now")) != shipped("a").Digest {
		t.Fatalf("%+v, applied %q", r, s.read("log"))
	}
	allowed, err := s.admit.Allowed(t.Context(), "shop/production")
	if err != nil || len(allowed) != 1 || allowed[shipped("a").Digest] == 0 {
		t.Fatalf("%v %v", allowed, err)
	}
	for n, c := range []string{"b", "c"} {
		s.approve(s.release(shipped(c)))
		s.outcome(n + 2)
	}
	if allowed, err = s.admit.Allowed(t.Context(), "shop/production"); err != nil || len(allowed) != 2 || allowed[shipped("a").Digest] != 0 {
		t.Fatalf("the release and the one before it may run, and not %v %v", allowed, err)
	}
}

// TestAnExecutorIsKilledAtEachRequest cuts the executor off from the server at each of its requests, before and after the
// server has seen it, and starts it again. It is deployed exactly once, whatever was lost.
func TestAnExecutorIsKilledAtEachRequest(t *testing.T) {
	for _, path := range []string{"claim", "redeem", "lease", "environment", "record"} {
		for _, seen := range []bool{false, true} {
			name := path + " is not sent"
			if seen {
				name = path + " is not answered"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, applied)
				e := s.enroll(s.dir, remit.ZoneProduction)
				id := s.release(shipped("a"))
				s.approve(id)
				died := make(chan bool, 1)
				dead := false // everything after the cut fails as well: the process is gone
				guard := make(chan bool, 1)
				guard <- true
				s.front = func(api http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						<-guard
						hit := !dead && strings.HasSuffix(r.URL.Path, "/executor/"+path)
						dead = dead || hit
						now := dead
						guard <- true
						if !now {
							api.ServeHTTP(w, r)
							return
						}
						if hit && seen {
							api.ServeHTTP(httptest.NewRecorder(), r)
						}
						if hit {
							died <- true
						}
						panic(http.ErrAbortHandler)
					})
				}
				stop := s.run(e)
				<-died
				stop()
				s.front = nil
				again, err := client.OpenExecutor(s.dir, "")
				if err != nil {
					t.Fatal(err)
				}
				defer s.run(again)()
				// A claim whose answer was lost leaves a permit that nobody holds: it lapses, and the approval is good again.
				s.lapse(id)
				s.settled(id)
				if s.read("log") != "once\n" {
					t.Fatalf("applied %q", s.read("log"))
				}
			})
		}
	}
}

// lapse lets the permit of a lost claim run out.
func (s *site) lapse(id remit.ID) {
	stuck := false
	s.w.Engine.View(func(st *authority.State) {
		stuck = st.Accesses[id].Status == remit.AccessReserved && len(st.Attempts) == 0
	})
	if stuck {
		s.w.Clock.Advance(10 * time.Minute)
		if err := s.w.Engine.Tick(s.t.Context()); err != nil {
			s.t.Error(err)
		}
	}
}

// settled waits until a deployment is done.
func (s *site) settled(id remit.ID) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	var a authority.Access
	if err := s.w.Engine.Wait(ctx, func(st *authority.State) bool {
		a = *st.Accesses[id]
		return a.Status == remit.AccessUsed && a.Outcome == remit.Done && len(st.Attempts) == 0
	}); err != nil {
		s.t.Fatalf("%v: %s, %s", err, a.Status, a.Outcome)
	}
}

func TestAnExecutorSeesItsOwnZoneOnly(t *testing.T) {
	s := newSite(t, applied)
	id := s.release(shipped("a"))
	s.approve(id)
	build := s.enroll(filepath.Join(t.TempDir(), "b"), remit.ZoneBuild)
	if _, err := build.ClaimOrder(t.Context(), id); !isCode(err, remit.NotFound) {
		t.Fatalf("executor/build claims a deployment: %v", err)
	}
	if _, err := build.Environment(t.Context(), "shop/production"); !isCode(err, remit.Forbidden) {
		t.Fatalf("executor/build looks at production: %v", err)
	}
	prod := s.enroll(filepath.Join(t.TempDir(), "p"), remit.ZoneProduction)
	c, err := prod.ClaimOrder(t.Context(), id)
	if err != nil || c.Decision.Verdict != remit.Allow {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := build.RedeemPermit(t.Context(), *c.Permit); !isCode(err, remit.AlreadyUsed) {
		t.Fatalf("executor/build redeems a permit of another: %v", err)
	}
	a, err := prod.RedeemPermit(t.Context(), *c.Permit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prod.RedeemPermit(t.Context(), *c.Permit); err == nil {
		t.Fatal("a permit is redeemed twice")
	}
	if _, err := build.LeaseSecret(t.Context(), a); !isCode(err, remit.NotFound) {
		t.Fatalf("executor/build takes a credential of another: %v", err)
	}
	if err := build.RecordOutcome(t.Context(), remit.RecordRequest{Attempt: a.ID, Outcome: remit.Done}); !isCode(err, remit.NotFound) {
		t.Fatalf("executor/build says what came of another's attempt: %v", err)
	}
	if _, err := prod.Use(t.Context(), a.ID, "secret:other"); err == nil {
		t.Fatal("a secret that the target does not declare")
	}
	if list, err := build.UnfinishedOrders(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%v %v", list, err)
	}
	list, err := prod.UnfinishedOrders(t.Context())
	if err != nil || len(list) != 1 || list[0].Attempt != a.ID || list[0].Gateway != deploy.Name {
		t.Fatalf("%+v %v", list, err)
	}
	// Another process of the same zone would take it for what a crash left behind.
	other := s.enroll(filepath.Join(t.TempDir(), "q"), remit.ZoneProduction)
	if _, err := other.UnfinishedOrders(t.Context()); !isCode(err, remit.Conflict) {
		t.Fatalf("two processes are one executor: %v", err)
	}
	// Admission lets in what is being deployed.
	if allowed, err := s.admit.Allowed(t.Context(), "shop/production"); err != nil || allowed[shipped("a").Digest] == 0 {
		t.Fatalf("%v %v", allowed, err)
	}
}

func TestOnlyAnExecutorsCertificateIsAnExecutor(t *testing.T) {
	s := newSite(t, applied)
	e := s.enroll(s.dir, remit.ZoneProduction)
	anon, err := client.New(s.url, orgs.Org, s.w.CA.PEM())
	if err != nil {
		t.Fatal(err)
	}
	post := func(c *http.Client, path, auth string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/orgs/acme/"+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", auth)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.w.CA.Pool(), MinVersion: tls.VersionTLS13}}}
	if code := post(plain, "executor/unfinished", "Bearer x"); code != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d", code)
	}
	if _, err := anon.EnrolExecutor(t.Context(), s.url, filepath.Join(t.TempDir(), "x"), executor.Production, remit.ZoneProduction); !isCode(err, remit.Unauthenticated) {
		t.Errorf("enrolled by nobody: %v", err)
	}
	for name, wrong := range map[string]func(dir string) error{
		"a key that others can read": func(dir string) error { return os.Chmod(filepath.Join(dir, "executor.key"), 0o644) },
		"another key":                func(dir string) error { return os.WriteFile(filepath.Join(dir, "executor.key"), []byte("x"), 0o600) },
	} {
		if err := wrong(s.dir); err != nil {
			t.Fatal(err)
		}
		if _, err := client.OpenExecutor(s.dir, ""); err == nil {
			t.Errorf("%s is used", name)
		}
	}
	_ = e
}

func TestAnExecutorRenewsItsSVID(t *testing.T) {
	s := newSite(t, applied)
	e := s.enroll(s.dir, remit.ZoneProduction)
	first := e.NotAfter()
	if at, err := e.Renew(t.Context(), s.w.Clock.Now()); err != nil || !e.NotAfter().Equal(first) || at.Before(s.w.Clock.Now().Add(15*time.Hour)) {
		t.Fatalf("renewed too early, or %v: %s", err, at)
	}
	s.w.Clock.Advance(17 * time.Hour)
	if _, err := e.Renew(t.Context(), s.w.Clock.Now()); err != nil || !e.NotAfter().After(first) {
		t.Fatalf("not renewed: %v", err)
	}
	if again, err := client.OpenExecutor(s.dir, ""); err != nil || !again.NotAfter().Equal(e.NotAfter()) {
		t.Fatalf("the new one is not kept: %v", err)
	}
	s.w.Clock.Advance(25 * time.Hour)
	if _, err := e.UnfinishedOrders(t.Context()); err == nil {
		t.Fatal("an SVID that has expired is taken")
	}
}

func TestExecutorOfIsTheOneThatAuthorityNames(t *testing.T) {
	for step, want := range map[string]string{"probe.privileged": executor.Source, "source.push": executor.Source, "artifact.publish": executor.Build, "deploy.promote": executor.Production,
		"source.push deploy.promote": executor.Production, "nothing.known": executor.Production} {
		a := &authority.Access{}
		for _, action := range strings.Fields(step) {
			a.Steps = append(a.Steps, remit.StepFacts{Step: remit.Step{Action: remit.Action(action)}})
		}
		a.Steps = append(a.Steps, remit.StepFacts{Step: remit.Step{Action: "deploy.promote", Effect: true}})
		if got := authority.New().Executor(a); got != want {
			t.Errorf("%s: %s", step, got)
		}
	}
}
