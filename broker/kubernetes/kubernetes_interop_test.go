//go:build interop && unix

package kubernetes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/broker/kubernetes"
	"github.com/remit-dev/remit/internal/real"
)

type object = map[string]any

// cluster is a real API server with the roles of doc/kubernetes.md, a namespace to deploy to and its deployer.
type cluster struct {
	*real.Cluster
	upstream remit.Upstream
	token    string // Remit's own
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{Cluster: real.Kubernetes(t)}
	for _, ns := range []string{"payments", "billing"} {
		c.do(t, "POST", "/api/v1/namespaces", object{"metadata": object{"name": ns}}, nil)
		for _, account := range []string{"deployer", "other"} {
			c.do(t, "POST", "/api/v1/namespaces/"+ns+"/serviceaccounts", object{"metadata": object{"name": account}}, nil)
		}
	}
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/payments/"
	c.do(t, "POST", rbac+"roles", object{"metadata": object{"name": "deploy"}, "rules": []object{
		{"apiGroups": []string{""}, "resources": []string{"configmaps"}, "verbs": []string{"create", "get", "watch", "list"}}}}, nil)
	c.do(t, "POST", rbac+"rolebindings", object{"metadata": object{"name": "deploy"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deploy"},
		"subjects": []object{{"kind": "ServiceAccount", "name": "deployer", "namespace": "payments"}}}, nil)
	c.roles(t)
	var request struct{ Status struct{ Token string } }
	c.do(t, "POST", "/api/v1/namespaces/remit/serviceaccounts/remit/token", object{"spec": object{"expirationSeconds": 3600}}, &request)
	c.token = request.Status.Token
	c.upstream = remit.Upstream{Name: "prod", Kind: remit.KindKubernetes, Location: c.URL, CA: c.CA,
		Write: remit.Source{From: "file", Name: keep(t, c.token)}}
	return c
}

func (c *cluster) do(t testing.TB, method, path string, in, out any) {
	t.Helper()
	if _, err := c.Do(t.Context(), method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

// roles makes what the document says, and nothing else.
func (c *cluster) roles(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile("../../doc/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(part))
		if err != nil {
			t.Fatal(err)
		}
		var o struct {
			APIVersion, Kind string
			Metadata         struct{ Namespace string }
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		path := "/apis/" + o.APIVersion
		if o.APIVersion == "v1" {
			path = "/api/v1"
		}
		if o.Metadata.Namespace != "" {
			path += "/namespaces/" + o.Metadata.Namespace
		}
		plural := strings.Replace(strings.ToLower(o.Kind)+"s", "policys", "policies", 1)
		c.do(t, "POST", path+"/"+plural, json.RawMessage(raw), nil)
	}
}

func (c *cluster) asked(n int) broker.Asked {
	return broker.Asked{Lease: remit.ID(fmt.Sprintf("L-%d", n)), Name: fmt.Sprintf("%s%d", prefix, n), Upstream: c.upstream, Write: true,
		Target: "environment:payments/production", Spec: []byte(spec), NotAfter: time.Now().Add(30 * time.Minute)}
}

// dead polls until the probe says so, and gives how long that took.
func dead(t testing.TB, p broker.Provider, a broker.Asked, s *broker.Secret) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := p.Probe(ctx, a, s)
		if err != nil {
			t.Fatal(err)
		}
		if got == broker.Dead {
			return time.Since(start)
		}
		<-tick.C
	}
}

func TestInteropATokenIsGoodForItsServiceAccountUntilItIsRevoked(t *testing.T) {
	c := newCluster(t)
	p, a := kubernetes.New(prefix, time.Now), c.asked(1)
	s := lease(t, p, a)
	if left := time.Until(s.NotAfter); s.Wider != "" || s.User != "" || s.Handle == "" || left > 31*time.Minute || left < 29*time.Minute {
		t.Fatalf("wider %q, user %q, handle %q, for %v", s.Wider, s.User, s.Handle, left)
	}
	life(t, p, a, &s, broker.Alive)
	life(t, p, a, nil, broker.Alive)
	for _, x := range []struct {
		what, method, path string
		in                 any
		want               int
	}{
		{"what the deployer may", "POST", "/api/v1/namespaces/payments/configmaps", object{"metadata": object{"name": "app"}}, 201},
		{"another namespace", "GET", "/api/v1/namespaces/billing/configmaps", nil, 403},
		{"the anchors", "GET", "/api/v1/namespaces/payments/secrets", nil, 403},
		{"a token of its own", "POST", "/api/v1/namespaces/payments/serviceaccounts/deployer/token", object{}, 403},
	} {
		if got, _ := c.As(t.Context(), s.Value, x.method, x.path, x.in, nil); got != x.want {
			t.Errorf("%s: %d, want %d", x.what, got, x.want)
		}
	}
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatal(err)
	}
	t.Logf("seen dead after %v", dead(t, p, a, &s))
	// From the cluster's own side.
	var review struct{ Status struct{ Authenticated bool } }
	c.do(t, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", object{"spec": object{"token": s.Value}}, &review)
	if review.Status.Authenticated {
		t.Error("the cluster's own review takes the token")
	}
	if got, _ := c.As(t.Context(), s.Value, "GET", "/api/v1/namespaces/payments/configmaps/app", nil, nil); got != 401 {
		t.Errorf("a dead token gets %d", got)
	}
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	for _, path := range []string{"/api/v1/namespaces/payments/secrets/", "/api/v1/namespaces/remit/configmaps/"} {
		if got, _ := c.Do(t.Context(), "GET", path+a.Name, nil, nil); got != 404 {
			t.Errorf("%s is still there: %d", path+a.Name, got)
		}
	}
}

func TestInteropRemitItselfMayDoNoMoreThanTheDocumentSays(t *testing.T) {
	c := newCluster(t)
	c.do(t, "POST", "/api/v1/namespaces/payments/secrets", object{"metadata": object{"name": "database"}, "stringData": object{"password": "x"}}, nil)
	const secrets = "/api/v1/namespaces/payments/secrets"
	filled := object{"metadata": object{"name": prefix + "9"}, "stringData": object{"x": "y"}}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for got := 0; got != 422; <-tick.C { // a policy is in force some time after it was made
		got, _ = c.As(t.Context(), c.token, "POST", secrets+"?dryRun=All", filled, nil)
	}
	for _, x := range []struct {
		what, method, path string
		in                 any
		want               int
	}{
		{"list Secrets", "GET", secrets, nil, 403},
		{"read a Secret", "GET", secrets + "/database", nil, 403},
		{"delete another's Secret", "DELETE", secrets + "/database", nil, 422},
		{"fill a Secret", "POST", secrets, filled, 422},
		{"make another Secret", "POST", secrets, object{"metadata": object{"name": "x"}}, 422},
		{"make a Secret elsewhere", "POST", "/api/v1/namespaces/billing/secrets", object{"metadata": object{"name": prefix + "9"}}, 403},
		{"be another service account", "POST", "/api/v1/namespaces/payments/serviceaccounts/other/token", object{}, 403},
		{"be another namespace's", "POST", "/api/v1/namespaces/billing/serviceaccounts/deployer/token", object{}, 403},
		{"be itself again", "POST", "/api/v1/namespaces/remit/serviceaccounts/remit/token", object{}, 403},
		{"see pods", "GET", "/api/v1/namespaces/payments/pods", nil, 403},
		{"make a role", "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/payments/roles", object{"metadata": object{"name": "x"}}, 403},
	} {
		if got, err := c.As(t.Context(), c.token, x.method, x.path, x.in, nil); got != x.want {
			t.Errorf("%s: %d, want %d (%v)", x.what, got, x.want, err)
		}
	}
	// And with the policy in force a lease is still made and ended.
	p, a := kubernetes.New(prefix, time.Now), c.asked(2)
	s := lease(t, p, a)
	life(t, p, a, &s, broker.Alive)
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatal(err)
	}
	dead(t, p, a, &s)
}

func TestInteropWhatACrashLeavesIsSwept(t *testing.T) {
	c := newCluster(t)
	now := time.Now()
	p := kubernetes.New(prefix, func() time.Time { return now })
	anchored, minted := c.asked(3), c.asked(4)
	if err := p.Anchor(t.Context(), anchored); err != nil {
		t.Fatal(err)
	}
	lost := lease(t, p, minted)
	again, err := p.Mint(t.Context(), minted) // both hang on the same Secret
	if err != nil || again.Wider != "" {
		t.Fatal(err, again.Wider)
	}
	names, err := p.Sweep(t.Context(), c.upstream)
	if err != nil || !slices.Equal(names, []string{anchored.Name, minted.Name}) {
		t.Fatal(names, err)
	}
	if other, err := kubernetes.New("remit-acme-", time.Now).Sweep(t.Context(), c.upstream); err != nil || len(other) != 0 {
		t.Fatalf("another organisation's sweep: %v %v", other, err)
	}
	if err := p.Revoke(t.Context(), minted, nil); err != nil {
		t.Fatal(err)
	}
	life(t, p, minted, nil, broker.Unknown) // a token that nobody knows may be in a cache
	now = now.Add(11 * time.Second)
	life(t, p, minted, nil, broker.Dead)
	dead(t, p, minted, &lost)
	dead(t, p, minted, &again)
	if err := p.Contain(t.Context(), c.upstream); err != nil {
		t.Fatal(err)
	}
	life(t, p, anchored, nil, broker.Unknown)
	now = now.Add(11 * time.Second)
	life(t, p, bare(anchored), nil, broker.Dead) // its name is enough
	if names, err := p.Sweep(t.Context(), c.upstream); err != nil || len(names) != 0 {
		t.Fatalf("after containment: %v %v", names, err)
	}
	if got, _ := c.Do(t.Context(), "GET", "/api/v1/namespaces/payments/secrets/"+anchored.Name, nil, nil); got != 404 {
		t.Fatalf("the anchor is still there: %d", got)
	}
}

func TestInteropASecretThatWasThereBeforeIsMadeAnew(t *testing.T) {
	c := newCluster(t)
	p, a, held := kubernetes.New(prefix, time.Now), c.asked(5), c.asked(6)
	var before struct{ Metadata struct{ UID string } }
	c.do(t, "POST", "/api/v1/namespaces/payments/secrets", object{"metadata": object{"name": a.Name}}, &before)
	if s := lease(t, p, a); s.Wider != "" || s.Handle == before.Metadata.UID {
		t.Fatalf("the token hangs on what was there before: %+v", s.Wider)
	}
	c.do(t, "POST", "/api/v1/namespaces/payments/secrets", object{"metadata": object{"name": held.Name, "finalizers": []string{"example.com/stay"}}}, nil)
	coded(t, p.Anchor(t.Context(), held), remit.Conflict)
}

// What was let in before the end goes on: this is what Traits.Survive says.
func TestInteropAWatchUnderWaySurvives(t *testing.T) {
	c := newCluster(t)
	p, a := kubernetes.New(prefix, time.Now), c.asked(7)
	s := lease(t, p, a)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c.do(t, "POST", "/api/v1/namespaces/payments/configmaps", object{"metadata": object{"name": "early"}}, nil)
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if _, err := c.As(ctx, s.Value, "GET", "/api/v1/namespaces/payments/configmaps", nil, &list); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/api/v1/namespaces/payments/configmaps?watch=true&resourceVersion="+list.Metadata.ResourceVersion, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Value)
	answer, err := c.Client().Do(r)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(err, answer)
	}
	defer answer.Body.Close()
	if err := p.Revoke(ctx, a, &s); err != nil {
		t.Fatal(err)
	}
	dead(t, p, a, &s)
	c.do(t, "POST", "/api/v1/namespaces/payments/configmaps", object{"metadata": object{"name": "late"}}, nil)
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	survived := err == nil && strings.Contains(line, `"late"`)
	if survived != p.Traits().Survive {
		t.Fatalf("a watch under way survives: %v (%v, %.200s); the traits say %v", survived, err, line, p.Traits().Survive)
	}
}

func TestInteropAClusterThatIsGoneSaysNothing(t *testing.T) {
	c := newCluster(t)
	p, a := kubernetes.New(prefix, time.Now), c.asked(8)
	s := lease(t, p, a)
	a.Upstream.Location = "https://127.0.0.1:1"
	got, err := p.Probe(t.Context(), a, &s)
	var e *remit.Error
	if got != broker.Unknown || !errors.As(err, &e) || e.Code != remit.UpstreamDown {
		t.Fatal(got, err)
	}
}

func TestInteropTheContractOfProviders(t *testing.T) {
	c := newCluster(t)
	brokertest.Run(t, func(*testing.T) brokertest.Subject {
		return brokertest.Subject{Provider: kubernetes.New("remit-suite-0a1b2c3d-l-", time.Now), Upstream: c.upstream, Target: "environment:payments/production", Spec: []byte(spec),
			Uses: func(ctx context.Context, s broker.Secret) (bool, error) {
				status, err := c.As(ctx, s.Value, "GET", "/api/v1/namespaces/payments/configmaps", nil, nil)
				if status == http.StatusUnauthorized {
					err = nil
				}
				return status == http.StatusOK, err
			}}
	})
}
