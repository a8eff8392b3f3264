package gitea_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/broker/gitea"
)

var (
	_ broker.Provider = (*gitea.Provider)(nil)
	_ broker.Sweeper  = (*gitea.Provider)(nil)
)

const prefix = "remit-acme-0a1b2c3d-l-"

func keep(t testing.TB, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func asked(u remit.Upstream, write bool) broker.Asked {
	return broker.Asked{Lease: "L12", Name: prefix + "12", Upstream: u, Target: "repo:forge/acme/app", Write: write, NotAfter: time.Now().Add(time.Hour)}
}

func lease(t testing.TB, p broker.Provider, a broker.Asked) broker.Secret {
	t.Helper()
	if err := p.Anchor(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s, err := p.Mint(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func life(t testing.TB, p broker.Provider, a broker.Asked, s *broker.Secret, want broker.Life) {
	t.Helper()
	if got, err := p.Probe(t.Context(), a, s); got != want || err != nil {
		t.Fatalf("probe says %d, %v; want %d", got, err, want)
	}
}

func coded(t testing.TB, err error, want remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	for _, secret := range []string{keeper, "token-1"} {
		if strings.Contains(err.Error(), secret) {
			t.Fatalf("the error has a secret in it: %v", err)
		}
	}
}

func TestALeaseIsAUserOfOneRepository(t *testing.T) {
	for _, c := range []struct {
		write  bool
		mode   string
		scopes []string
	}{{true, "write", []string{"write:issue", "write:repository"}}, {false, "read", []string{"read:repository"}}} {
		f, u := newFake(t)
		p, a := gitea.New(prefix), asked(u, c.write)
		s := lease(t, p, a)
		user := f.users[a.Name]
		if s.Wider != "" || s.User != a.Name || !s.NotAfter.IsZero() || user.tokens[101] == nil || user.tokens[101].value != s.Value || s.Handle != "101" {
			t.Fatalf("%+v", s)
		}
		if !slices.Equal(user.tokens[101].scopes, c.scopes) || !user.restr || user.admin || f.repos["acme/app"].people[a.Name] != c.mode || len(f.repos["acme/other"].people) != 0 {
			t.Fatalf("%+v %v", user, f.repos["acme/app"])
		}
		life(t, p, a, &s, broker.Alive)
		life(t, p, a, nil, broker.Alive)
		for range 2 { // what is gone is gone
			if err := p.Revoke(t.Context(), a, &s); err != nil {
				t.Fatal(err)
			}
		}
		if f.users[a.Name] != nil {
			t.Fatal("the user is still there")
		}
		life(t, p, a, &s, broker.Dead)
		life(t, p, a, nil, broker.Dead)
		if i := slices.Index(f.calls, "DELETE /users/"+a.Name+"/tokens/101"); i < 0 || i > slices.Index(f.calls, "DELETE /admin/users/"+a.Name) {
			t.Fatalf("the token goes first: %v", f.calls)
		}
	}
}

func TestEveryStepMayBeRepeated(t *testing.T) {
	f, u := newFake(t)
	p, a := gitea.New(prefix), asked(u, true)
	first := lease(t, p, a)
	second, err := p.Mint(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	life(t, p, a, &first, broker.Dead)
	life(t, p, a, &second, broker.Alive)
	if err := p.Anchor(t.Context(), a); err != nil || len(f.users) != 2 {
		t.Fatal(err, len(f.users))
	}
	life(t, p, a, &second, broker.Alive)
	if err := p.Revoke(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
}

// Whoever registers the name of a lease to come must not find themselves in the repository.
func TestAUserThatSomebodyElseMadeIsMadeAnew(t *testing.T) {
	for _, login := range []string{"", prefix + "12", "remit:" + prefix + "13"} {
		f, u := newFake(t)
		p, a := gitea.New(prefix), asked(u, true)
		theirs := &fakeUser{name: a.Name, full: a.Name, login: login, owns: true, tokens: map[int64]*fakeToken{7: {name: "theirs", value: "theirs"}}}
		f.users[a.Name] = theirs
		if s := lease(t, p, a); s.Wider != "" || f.users[a.Name] == theirs || len(f.users[a.Name].tokens) != 1 {
			t.Fatalf("%+v", s)
		}
		life(t, p, a, &broker.Secret{Value: "theirs"}, broker.Dead)
	}
}

func TestWiderIsSeen(t *testing.T) {
	for _, c := range []struct {
		want  string
		write bool
		widen func(*fake, *fakeUser)
	}{
		{"", true, func(*fake, *fakeUser) {}},
		{"the scope write:admin", true, func(f *fake, _ *fakeUser) { f.scopes = []string{"write:admin", "write:repository"} }},
		{"the scope all", true, func(f *fake, _ *fakeUser) { f.scopes = []string{"all"} }},
		{"the scope write:repository", false, func(f *fake, _ *fakeUser) { f.scopes = []string{"write:repository"} }},
		{"is an administrator", true, func(_ *fake, u *fakeUser) { u.admin = true }},
		{"is not restricted", true, func(_ *fake, u *fakeUser) { u.restr = false }},
		{"also sees acme/other", true, func(f *fake, u *fakeUser) { f.repos["acme/other"].people[u.name] = "read" }},
		{"also writes acme/open", true, func(f *fake, u *fakeUser) { f.repos["acme/open"].people[u.name] = "write" }},
		{"administers the repository", true, func(f *fake, u *fakeUser) { f.repos["acme/app"].people[u.name] = "admin" }},
		{"writes the repository", false, func(f *fake, u *fakeUser) { f.repos["acme/app"].people[u.name] = "write" }},
		{"it could not be seen", true, func(f *fake, u *fakeUser) { delete(f.repos["acme/app"].people, u.name) }},
		{"it could not be seen", true, func(f *fake, _ *fakeUser) {
			f.answer = func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/repos/search") {
					return 500, "down"
				}
				return 0, ""
			}
		}},
		{"more than 2000", true, func(f *fake, _ *fakeUser) {
			f.answer = func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/repos/search") {
					return 200, `{"data":[{"full_name":"acme/app"}]}`
				}
				return 0, ""
			}
		}},
	} {
		f, u := newFake(t)
		p, a := gitea.New(prefix), asked(u, c.write)
		if err := p.Anchor(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		c.widen(f, f.users[a.Name])
		s, err := p.Mint(t.Context(), a)
		if err != nil || s.Value == "" || c.want == "" && s.Wider != "" || !strings.Contains(s.Wider, c.want) {
			t.Errorf("%v, wider %q, want %q", err, s.Wider, c.want)
		}
	}
}

func TestWhatIsNotItsOwnIsRefused(t *testing.T) {
	f, u := newFake(t)
	p := gitea.New(prefix)
	for _, name := range []string{"", "remit", "alice", "remit-acme-0a1b2c3d-", prefix, prefix + "l-12", "remit-acme-0A1B2C3D-l-12", "remit-acme-11111111-l-12",
		prefix + "12/../../admin", prefix + strings.Repeat("1", 60)} {
		a := asked(u, true)
		a.Name = name
		coded(t, p.Anchor(t.Context(), a), remit.BadRequest)
		coded(t, p.Revoke(t.Context(), a, nil), remit.BadRequest)
		_, err := p.Mint(t.Context(), a)
		coded(t, err, remit.BadRequest)
		_, err = p.Probe(t.Context(), a, nil)
		coded(t, err, remit.BadRequest)
	}
	for _, target := range []remit.Resource{"repo:other/acme/app", "repo:forge/app", "repo:forge/acme/app/more", "repo:forge/../app", "artifact:forge/acme/app", ""} {
		a := asked(u, true)
		a.Target = target
		coded(t, p.Anchor(t.Context(), a), remit.UnknownResource)
	}
	if len(f.calls) != 0 {
		t.Fatalf("the forge was asked: %v", f.calls)
	}
	a := asked(u, true)
	a.Target = "repo:forge/acme/none"
	coded(t, p.Anchor(t.Context(), a), remit.UnknownResource)
}

func TestARepositoryMayLieElsewhereThanItsName(t *testing.T) {
	f, u := newFake(t)
	p, a := gitea.New(prefix), asked(u, true)
	a.Target, a.Spec = "repo:forge/application", []byte(`{"name":"forge/application","path":"acme/app.git","default_branch":"main"}`)
	if s := lease(t, p, a); s.Wider != "" || f.repos["acme/app"].people[a.Name] != "write" {
		t.Fatalf("%+v", s)
	}
	a.Spec = []byte(`{"path":7}`)
	coded(t, p.Anchor(t.Context(), a), remit.BadRequest)
}

func TestSweepAndContainKnowTheirOwn(t *testing.T) {
	f, u := newFake(t)
	p, a, long := gitea.New(prefix), asked(u, true), asked(u, true)
	lease(t, p, a)
	long.Name = prefix + strings.Repeat("3", 30)
	lease(t, p, long)
	// Not ours: another organisation's, a person's, one who claims a full name.
	other := asked(u, true)
	other.Name = "remit-acme-11111111-l-1"
	lease(t, gitea.New("remit-acme-11111111-l-"), other)
	f.users["remitted"] = &fakeUser{name: "remitted", full: prefix + "99"}
	names, err := p.Sweep(t.Context(), u)
	if want := []string{a.Name, long.Name}; err != nil || !slices.Equal(names, want) {
		t.Fatalf("%v %v, want %v", names, err, want)
	}
	f.users[a.Name].owns = true
	if err := p.Contain(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if names, err := p.Sweep(t.Context(), u); err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}
	if f.users["remitted"] == nil || f.users[other.Name] == nil || f.users["remit"] == nil {
		t.Fatal("somebody else was deleted")
	}
}

// A 401 or a 404 means the end of a credential only if the same server takes Remit's own.
func TestDeadIsSaidOnlyBesideALiveAdministrator(t *testing.T) {
	f, u := newFake(t)
	p, a := gitea.New(prefix), asked(u, true)
	s := lease(t, p, a)
	for _, status := range []int{401, 403, 404, 302, 500, 502} {
		f.answer = func(*http.Request) (int, string) { return status, "no" }
		for _, secret := range []*broker.Secret{&s, nil} {
			got, err := p.Probe(t.Context(), a, secret)
			if got == broker.Dead || err == nil && !(status == 403 && secret != nil && got == broker.Alive) {
				t.Errorf("a server that says %d to everything: %d, %v", status, got, err)
			}
		}
	}
	f.answer, f.users["remit"].admin = nil, false
	delete(f.users, a.Name)
	for _, secret := range []*broker.Secret{&s, nil} {
		got, err := p.Probe(t.Context(), a, secret)
		if got != broker.Unknown {
			t.Errorf("an administrator that is none says %d", got)
		}
		coded(t, err, remit.Forbidden)
	}
	_, err := p.Sweep(t.Context(), u)
	coded(t, err, remit.Forbidden)
}

func TestAForgeThatFailsIsNotBelieved(t *testing.T) {
	f, u := newFake(t)
	p, a := gitea.New(prefix), asked(u, true)
	s := lease(t, p, a)
	for _, c := range []struct {
		what   string
		status int
		body   string
		code   remit.Code
	}{
		{"an error", 500, "token-101 is wrong", remit.UpstreamDown},
		{"another place", 301, "", remit.UpstreamDown},
		{"no permission", 403, keeper, remit.Forbidden},
		{"not JSON", 200, "<html>token-101</html>", remit.UpstreamDown},
		{"without end", 200, `{"x":"` + strings.Repeat("x", 9<<20), remit.UpstreamDown},
	} {
		t.Run(c.what, func(t *testing.T) {
			f.answer = func(r *http.Request) (int, string) { return c.status, c.body }
			_, err := p.Mint(t.Context(), a)
			coded(t, err, c.code)
			_, err = p.Sweep(t.Context(), u)
			coded(t, err, c.code)
			if c.status != 200 { // 200 is as good as 204: it is the probe that says that it is dead
				coded(t, p.Revoke(t.Context(), a, &s), c.code)
				coded(t, p.Contain(t.Context(), u), c.code)
			}
		})
	}
	f.answer = func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/admin/users") {
			return 200, "[" + strings.Repeat(" ", 9<<20) + "]"
		}
		return 0, ""
	}
	_, err := p.Sweep(t.Context(), u)
	coded(t, err, remit.UpstreamDown)
	f.answer = func(r *http.Request) (int, string) { // a repository that was renamed
		if r.URL.Path == "/api/v1/repos/acme/app" {
			return 307, "/api/v1/repos/acme/open"
		}
		return 0, ""
	}
	coded(t, p.Anchor(t.Context(), a), remit.UpstreamDown)
	f.answer = func(r *http.Request) (int, string) {
		if r.Method == http.MethodPost {
			return 201, `{"id":0,"sha1":""}`
		}
		return 0, ""
	}
	_, err = p.Mint(t.Context(), a)
	coded(t, err, remit.UpstreamDown)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Revoke(ctx, a, &s); !errors.Is(err, context.Canceled) {
		t.Fatalf("a call that was given up says %v", err)
	}
	f.Close()
	got, err := p.Probe(t.Context(), a, &s)
	if got != broker.Unknown {
		t.Fatalf("a forge that is gone says %d", got)
	}
	coded(t, err, remit.UpstreamDown)
}

func TestTheUpstreamMustBeDeclaredRight(t *testing.T) {
	f, good := newFake(t)
	p := gitea.New(prefix)
	for name, c := range map[string]struct {
		change func(*remit.Upstream)
		code   remit.Code
	}{
		"http that is not meant":    {func(u *remit.Upstream) { u.Insecure = false }, remit.BadRequest},
		"http to another host":      {func(u *remit.Upstream) { u.Location = "http://forge.example/" }, remit.BadRequest},
		"a credential in the place": {func(u *remit.Upstream) { u.Location = "https://a:b@forge.example/" }, remit.BadRequest},
		"no place":                  {func(u *remit.Upstream) { u.Location = "" }, remit.BadRequest},
		"no credential":             {func(u *remit.Upstream) { u.Write = remit.Source{} }, remit.BadRequest},
		"a credential that is gone": {func(u *remit.Upstream) { u.Write.Name += "x" }, remit.UpstreamDown},
		"no certificates":           {func(u *remit.Upstream) { u.CA = u.Write.Name }, remit.UpstreamDown},
		"another's credential":      {func(u *remit.Upstream) { u.Write.Name = keep(t, "wrong") }, remit.Forbidden},
	} {
		u := good
		c.change(&u)
		_, err := p.Sweep(t.Context(), u)
		t.Log(name)
		coded(t, err, c.code)
	}
	if len(f.calls) != 0 {
		t.Fatal(f.calls)
	}
}

func TestTheContractOfProviders(t *testing.T) {
	brokertest.Run(t, func(t *testing.T) brokertest.Subject {
		f, u := newFake(t)
		return brokertest.Subject{Provider: gitea.New("remit-suite-0a1b2c3d-l-"), Upstream: u, Target: "repo:forge/acme/app", Pause: func() {},
			Uses: func(_ context.Context, s broker.Secret) (bool, error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				for _, x := range f.users[s.User].tokensOf() {
					if x.value == s.Value {
						return true, nil
					}
				}
				return false, nil
			}}
	})
}
