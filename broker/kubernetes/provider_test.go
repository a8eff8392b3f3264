package kubernetes_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/broker/kubernetes"
)

func asked(u remit.Upstream) broker.Asked {
	return broker.Asked{Lease: "L-12", Name: prefix + "12", Upstream: u, Target: "environment:payments/production", Spec: []byte(spec),
		Write: true, NotAfter: time.Now().Add(time.Hour)}
}

func TestALeaseIsATokenThatHangsOnASecret(t *testing.T) {
	f, u := newFake(t)
	now := time.Now()
	p, a := kubernetes.New(prefix, func() time.Time { return now }), asked(u)
	s := lease(t, p, a)
	secret, entry := f.objects["secrets/payments/"+a.Name], f.objects["configmaps/remit/"+a.Name]
	if s.Wider != "" || s.User != "" || secret == nil || entry == nil || s.Handle != secret["metadata"].(map[string]any)["uid"] || secret["data"] != nil {
		t.Fatalf("%+v %v %v", s, secret, entry)
	}
	if left := s.NotAfter.Sub(now); left < 59*time.Minute || left > 61*time.Minute {
		t.Fatalf("it lives for %v", left)
	}
	life(t, p, a, &s, broker.Alive)
	life(t, p, a, nil, broker.Alive)
	for range 2 { // what is gone is gone
		if err := p.Revoke(t.Context(), a, &s); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := p.Sweep(t.Context(), u); err != nil || len(names) != 1 {
		t.Fatalf("it was not seen dead, and the index has %v (%v)", names, err)
	}
	life(t, p, a, nil, broker.Unknown)
	life(t, p, a, &s, broker.Dead)
	life(t, p, a, nil, broker.Dead)
	if len(f.objects) != 0 {
		t.Fatalf("something is left: %v", f.objects)
	}
	for _, call := range f.calls {
		if strings.HasPrefix(call, "GET ") && strings.Contains(call, "/secrets") {
			t.Errorf("it reads Secrets: %s", call)
		}
	}
}

func TestWhatACrashLeftIsEndedByItsName(t *testing.T) {
	f, u := newFake(t)
	now := time.Now()
	p, a := kubernetes.New(prefix, func() time.Time { return now }), asked(u)
	s := lease(t, p, a)
	if err := p.Anchor(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	life(t, p, a, &s, broker.Alive) // an anchor that is known is kept
	if err := p.Revoke(t.Context(), bare(a), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		want  broker.Life
	}{{0, broker.Unknown}, {10 * time.Second, broker.Unknown}, {time.Second, broker.Dead}, {0, broker.Dead}} {
		now = now.Add(c.after)
		life(t, p, bare(a), nil, c.want)
	}
	if len(f.objects) != 0 {
		t.Fatalf("something is left: %v", f.objects)
	}
	// A second time does not put off the end.
	lease(t, p, a)
	for range 2 {
		if err := p.Revoke(t.Context(), bare(a), nil); err != nil {
			t.Fatal(err)
		}
		now = now.Add(6 * time.Second)
	}
	life(t, p, bare(a), nil, broker.Dead)
	// A crash between the Secret's end and the note of it.
	lease(t, p, a)
	delete(f.objects, "secrets/payments/"+a.Name)
	life(t, p, bare(a), nil, broker.Unknown)
	if err := p.Revoke(t.Context(), bare(a), nil); err != nil {
		t.Fatal(err)
	}
	now = now.Add(11 * time.Second)
	life(t, p, bare(a), nil, broker.Dead)
	f.objects["configmaps/remit/"+a.Name] = map[string]any{"metadata": map[string]any{"name": a.Name}, "data": map[string]any{"namespace": "../kube-system"}}
	coded(t, p.Revoke(t.Context(), bare(a), nil), remit.Conflict)
}

func TestASecretThatTheIndexDoesNotKnowIsMadeAnew(t *testing.T) {
	f, u := newFake(t)
	p, a := kubernetes.New(prefix, time.Now), asked(u)
	squat := func(finalizers any) {
		f.objects["secrets/payments/"+a.Name] = map[string]any{"metadata": map[string]any{"name": a.Name, "uid": "theirs", "finalizers": finalizers}}
	}
	squat(nil)
	if s := lease(t, p, a); s.Wider != "" || s.Handle == "theirs" {
		t.Fatalf("%+v", s)
	}
	// Deleted and put there again by somebody: the token's own Secret is gone, and theirs goes too.
	squat(nil)
	if err := p.Revoke(t.Context(), a, &broker.Secret{Handle: "ours"}); err != nil || f.objects["secrets/payments/"+a.Name] != nil {
		t.Fatal(err, f.objects)
	}
	clear(f.objects)
	squat([]any{"example.com/stay"})
	coded(t, p.Anchor(t.Context(), a), remit.Conflict)
}

func TestWiderAndLongerIsSeen(t *testing.T) {
	inner := func(name, member string, v any) func(map[string]any) {
		return func(c map[string]any) { c["kubernetes.io"].(map[string]any)[name].(map[string]any)[member] = v }
	}
	for _, c := range []struct {
		want   string
		claims func(map[string]any)
		stated func(time.Time) time.Time
	}{
		{"", nil, nil},
		{"", func(c map[string]any) { c["exp"] = c["exp"].(int64) + 50 }, nil},
		{"", func(c map[string]any) { c["exp"] = c["exp"].(int64) - 3000 }, func(t time.Time) time.Time { return t.Add(-50 * time.Minute) }},
		{"for namespace \"kube-system\"", func(c map[string]any) { c["kubernetes.io"].(map[string]any)["namespace"] = "kube-system" }, nil},
		{"is for", inner("serviceaccount", "name", "admin"), nil},
		{"is for \"system:serviceaccount:payments:admin\"", func(c map[string]any) { c["sub"] = "system:serviceaccount:payments:admin" }, nil},
		{"does not hang on", inner("secret", "name", "another"), nil},
		{"does not hang on", inner("secret", "uid", ""), nil},
		{"does not hang on", func(c map[string]any) { delete(c["kubernetes.io"].(map[string]any), "secret") }, nil},
		{"no end", func(c map[string]any) { delete(c, "exp") }, nil},
		{"lives until", func(c map[string]any) { c["exp"] = c["exp"].(int64) + 62 }, nil},
		{"lives until 9999", func(c map[string]any) { c["exp"] = 1e300 }, nil},
		{"lives until", nil, func(t time.Time) time.Time { return t.Add(62 * time.Second) }},
	} {
		f, u := newFake(t)
		f.claims, f.stated = c.claims, c.stated
		p, a := kubernetes.New(prefix, time.Now), asked(u)
		s := lease(t, p, a)
		if s.Value == "" || c.want == "" && s.Wider != "" || !strings.Contains(s.Wider, c.want) {
			t.Errorf("wider %q, want %q", s.Wider, c.want)
		}
	}
}

func TestATokenLivesAsLongAsTheLeaseAndTenMinutesAtLeast(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{time.Second: 10 * time.Minute, 90 * time.Minute: 90 * time.Minute, 48 * time.Hour: 24 * time.Hour} {
		_, u := newFake(t)
		p, a := kubernetes.New(prefix, time.Now), asked(u)
		a.NotAfter = time.Now().Add(left)
		s := lease(t, p, a)
		if got := time.Until(s.NotAfter).Round(10 * time.Second); got != want || s.Wider != "" {
			t.Errorf("with %v left it lives for %v, want %v (%s)", left, got, want, s.Wider)
		}
	}
	_, u := newFake(t)
	p, a := kubernetes.New(prefix, time.Now), asked(u)
	a.NotAfter = time.Now().Add(-time.Second)
	_, err := p.Mint(t.Context(), a)
	coded(t, err, remit.Expired)
}

func TestWhatIsNotItsOwnIsRefused(t *testing.T) {
	f, u := newFake(t)
	p := kubernetes.New(prefix, time.Now)
	for _, change := range []func(*broker.Asked){
		func(a *broker.Asked) { a.Name = "database" },
		func(a *broker.Asked) { a.Name = prefix },
		func(a *broker.Asked) { a.Name = prefix + "1/../database" },
		func(a *broker.Asked) { a.Name = "remit-acme-11111111-l-12" },
		func(a *broker.Asked) { a.Name = prefix + strings.Repeat("1", 60) },
		func(a *broker.Asked) { a.Spec = []byte("{") },
		func(a *broker.Asked) { a.Spec = []byte(`{"namespace":"../kube-system","service_account":"deployer"}`) },
		func(a *broker.Asked) { a.Spec = []byte(`{"namespace":"payments"}`) },
	} {
		a := asked(u)
		change(&a)
		coded(t, p.Anchor(t.Context(), a), remit.BadRequest)
		coded(t, p.Revoke(t.Context(), a, nil), remit.BadRequest)
	}
	a := asked(u)
	a.Target = "repo:prod/app"
	coded(t, p.Anchor(t.Context(), a), remit.UnknownResource)
	a = asked(u)
	a.Spec = []byte(`{"upstream":"other","namespace":"payments","service_account":"deployer"}`)
	coded(t, p.Anchor(t.Context(), a), remit.CrossesBoundary)
	if len(f.calls) != 0 {
		t.Fatalf("the cluster was asked: %v", f.calls)
	}
	f.who = "system:admin"
	coded(t, p.Anchor(t.Context(), asked(u)), remit.BadRequest)
}

func TestSweepAndContainKnowTheirOwn(t *testing.T) {
	f, u := newFake(t)
	now := time.Now()
	p, a := kubernetes.New(prefix, func() time.Time { return now }), asked(u)
	s := lease(t, p, a)
	other := asked(u)
	other.Name = "remit-acme-11111111-l-1"
	lease(t, kubernetes.New("remit-acme-11111111-l-", time.Now), other)
	f.objects["configmaps/remit/"+prefix+"99"] = map[string]any{"metadata": map[string]any{"name": prefix + "99"}} // without the label
	if names, err := p.Sweep(t.Context(), u); err != nil || !slices.Equal(names, []string{a.Name}) {
		t.Fatalf("%v %v", names, err)
	}
	for range 2 {
		if err := p.Contain(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	life(t, p, a, &s, broker.Dead)
	if f.objects["secrets/payments/"+other.Name] == nil {
		t.Fatal("another's anchor is gone")
	}
}

// A 401 means the end of a token only if its Secret is gone as well.
func TestDeadIsSaidOnlyOfWhatHangsOnNothing(t *testing.T) {
	f, u := newFake(t)
	p, a := kubernetes.New(prefix, time.Now), asked(u)
	s := lease(t, p, a)
	token := s.Value
	f.answer = func(r *http.Request) (int, string) {
		if r.Header.Get("Authorization") == "Bearer "+token {
			return 401, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`
		}
		return 0, ""
	}
	life(t, p, a, &s, broker.Unknown)
	for _, status := range []int{302, 401, 403, 404, 429, 500, 503} {
		f.answer = func(*http.Request) (int, string) { return status, "no, " + token }
		for _, secret := range []*broker.Secret{&s, nil} {
			got, err := p.Probe(t.Context(), a, secret)
			if got == broker.Dead || got != broker.Alive && err == nil {
				t.Errorf("a cluster that says %d to everything: %v, %v", status, got, err)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error has the token in it")
			}
		}
	}
}

func TestAClusterThatFailsIsNotBelieved(t *testing.T) {
	f, u := newFake(t)
	p, a := kubernetes.New(prefix, time.Now), asked(u)
	s := lease(t, p, a)
	for _, c := range []struct {
		what   string
		status int
		body   string
		code   remit.Code
	}{
		{"an error", 500, s.Value, remit.UpstreamDown},
		{"another place", 301, "", remit.UpstreamDown},
		{"too much to do", 429, "", remit.UpstreamDown},
		{"no permission", 403, keeper, remit.Forbidden},
		{"not there, says something before it", 404, "<html>", remit.UpstreamDown},
		{"not JSON", 200, "<html>" + s.Value, remit.UpstreamDown},
		{"without end", 200, `{"kind":"` + strings.Repeat("x", 9<<20), remit.UpstreamDown},
		{"too much", 200, `{"kind":"ConfigMapList","apiVersion":"v1","items":[` + strings.Repeat(" ", 9<<20) + `]}`, remit.UpstreamDown},
	} {
		t.Run(c.what, func(t *testing.T) {
			// Who Remit is there it still says.
			f.answer = func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
					return 0, ""
				}
				return c.status, c.body
			}
			_, err := p.Sweep(t.Context(), u)
			coded(t, err, c.code)
			_, err = p.Mint(t.Context(), a)
			coded(t, err, c.code)
			coded(t, p.Revoke(t.Context(), a, &s), c.code)
			coded(t, p.Contain(t.Context(), u), c.code)
			f.answer = func(r *http.Request) (int, string) { return c.status, c.body }
			coded(t, p.Anchor(t.Context(), a), c.code)
		})
	}
	for _, token := range []string{"", "abc", "a.b.c", "e30.bm8.c2ln", "e30." + strings.Repeat("e30", 10_000) + ".c2ln"} {
		f.answer = func(r *http.Request) (int, string) {
			return 201, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"` + token + `"}}`
		}
		_, err := p.Mint(t.Context(), a)
		coded(t, err, remit.UpstreamDown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Revoke(ctx, a, &s); !errors.Is(err, context.Canceled) {
		t.Fatalf("a call that was given up says %v", err)
	}
	f.Close()
	got, err := p.Probe(t.Context(), a, &s)
	if got != broker.Unknown {
		t.Fatalf("a cluster that is gone says %v", got)
	}
	coded(t, err, remit.UpstreamDown)
}

func TestTheUpstreamMustBeDeclaredRight(t *testing.T) {
	f, good := newFake(t)
	p := kubernetes.New(prefix, time.Now)
	for name, c := range map[string]struct {
		change func(*remit.Upstream)
		code   remit.Code
	}{
		"http":                      {func(u *remit.Upstream) { u.Location = "http://cluster.example" }, remit.BadRequest},
		"a credential in the place": {func(u *remit.Upstream) { u.Location = "https://a:b@cluster.example" }, remit.BadRequest},
		"no place":                  {func(u *remit.Upstream) { u.Location = "" }, remit.BadRequest},
		"no credential":             {func(u *remit.Upstream) { u.Write = remit.Source{} }, remit.BadRequest},
		"a password":                {func(u *remit.Upstream) { u.Write.User = "remit" }, remit.BadRequest},
		"another's certificates":    {func(u *remit.Upstream) { u.CA = "" }, remit.UpstreamDown},
		"no certificates":           {func(u *remit.Upstream) { u.CA = u.Write.Name }, remit.UpstreamDown},
		"another's credential":      {func(u *remit.Upstream) { u.Write.Name = keep(t, "wrong") }, remit.Forbidden},
	} {
		u := good
		c.change(&u)
		_, err := p.Sweep(t.Context(), u)
		t.Log(name)
		coded(t, err, c.code)
	}
	if len(f.objects) != 0 {
		t.Fatal(f.objects)
	}
}

func TestTheContractOfProviders(t *testing.T) {
	brokertest.Run(t, func(t *testing.T) brokertest.Subject {
		_, u := newFake(t)
		now := time.Now()
		clock := func() time.Time { return now }
		return brokertest.Subject{Provider: kubernetes.New("remit-suite-0a1b2c3d-l-", clock), Upstream: u, Target: "environment:payments/production", Spec: []byte(spec),
			Now: clock, Pause: func() { now = now.Add(time.Second) }}
	})
}
