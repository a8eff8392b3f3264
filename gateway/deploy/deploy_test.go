package deploy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
)

// digest is a content digest of one repeated byte.
func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func artifact(name, c string) remit.Artifact {
	return remit.Artifact{Resource: remit.Resource("artifact:oci/" + name), Digest: digest(c)}
}

// places is one declared environment.
type places struct{ remit.Place }

func (p places) Environment(context.Context, string) (remit.Place, error) { return p.Place, nil }

func place(kind string, t remit.Target) places {
	t.Upstream = "target"
	return places{remit.Place{
		Environment: remit.Environment{Name: "shop/production", Tier: "production", Target: &t},
		Upstream:    remit.Upstream{Name: "target", Kind: kind, Location: "https://cluster.example:6443"},
		Registries:  map[string]string{"oci": "registry.example:5000"},
	}}
}

func order(attempt remit.ID, artifacts ...remit.Artifact) remit.Order {
	d := remit.Deploy{Environment: "shop/production", Artifacts: artifacts}
	return remit.Order{Caller: remit.Caller{Task: "T-9", Executor: "executor/production"}, Steps: []remit.Step{d.Step()}, Deploy: &d, Attempt: attempt}
}

func open(t *testing.T, c deploy.Config) *deploy.Gateway {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	g, err := deploy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func receipt(t *testing.T, r gateway.Result) (out deploy.Receipt) {
	t.Helper()
	if err := json.Unmarshal(r.Receipt, &out); err != nil || len(r.Receipt) > remit.MaxPayload {
		t.Fatalf("receipt of %d bytes: %v", len(r.Receipt), err)
	}
	return out
}

// token is a credential.
type token string

func (t token) Apply(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(t))
	return nil
}
func (token) End(context.Context) error { return nil }

func TestNobodyDeploysOverHTTP(t *testing.T) {
	g := open(t, deploy.Config{Environments: place(remit.KindCommand, remit.Target{})})
	if _, _, err := g.Classify(t.Context(), remit.Caller{}, nil); err == nil {
		t.Fatal("classified")
	}
}

func TestAnOrderThatIsNotOneDeploymentIsNotBegun(t *testing.T) {
	good := order("X-1", artifact("app", "a"))
	for name, change := range map[string]func(o *remit.Order){
		"no deployment":           func(o *remit.Order) { o.Deploy = nil },
		"no attempt":              func(o *remit.Order) { o.Attempt = "" },
		"another environment":     func(o *remit.Order) { o.Steps[0].Resource = "environment:shop/staging" },
		"a rollback as promotion": func(o *remit.Order) { o.Deploy.Rollback = true },
		"two steps":               func(o *remit.Order) { o.Steps = append(o.Steps, o.Steps[0]) },
		"no artifact":             func(o *remit.Order) { o.Deploy.Artifacts = nil },
		"a tag":                   func(o *remit.Order) { o.Deploy.Artifacts[0].Digest = "latest" },
		"a foreign registry":      func(o *remit.Order) { o.Deploy.Artifacts[0].Resource = "artifact:evil/app" },
		"an artifact twice":       func(o *remit.Order) { o.Deploy.Artifacts = append(o.Deploy.Artifacts, artifact("app", "b")) },
		"undeclared environment":  func(o *remit.Order) { o.Deploy.Environment = "x"; o.Steps[0].Resource = "environment:x" },
	} {
		t.Run(name, func(t *testing.T) {
			o := order("X-1", artifact("app", "a"))
			change(&o)
			g := open(t, deploy.Config{Environments: place(remit.KindCommand, remit.Target{Apply: []string{"/bin/false"}, Observe: []string{"/bin/false"}})})
			if r := g.Forward(t.Context(), o, token("t"), nil); r.Outcome != remit.NotApplied || receipt(t, r).Why == "" || strings.Contains(receipt(t, r).Why, "observed") {
				t.Fatalf("%+v %s", r, r.Receipt)
			}
			if r := g.Reconcile(t.Context(), o); r.Outcome != remit.Ambiguous {
				t.Fatalf("%+v", r)
			}
		})
	}
	g := open(t, deploy.Config{Environments: place(remit.KindCommand, remit.Target{Apply: []string{"/bin/true"}, Observe: []string{"/bin/echo", digest("a")}})})
	if r := g.Forward(t.Context(), good, token("t"), nil); r.Outcome != remit.Done {
		t.Fatalf("%+v %s", r, r.Receipt)
	}
}
