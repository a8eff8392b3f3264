//go:build interop && unix

package deploy_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
	"github.com/remit-dev/remit/internal/real"
)

type object = map[string]any

const realManifest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      initContainers:
      - {name: prepare, image: "${artifact:oci/web}"}
      containers:
      - {name: app, image: "${artifact:app}"}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: "${artifact:app}"}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: app}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: app}, maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec: {minAvailable: 1, selector: {matchLabels: {app: app}}}
`

// realCluster is an API server with a namespace, whose deployer may deploy and whose observer may look.
type realCluster struct {
	*real.Cluster
	t                  *testing.T
	deployer, observer string // tokens
}

func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	c := &realCluster{Cluster: real.Kubernetes(t), t: t}
	c.must("POST", "/api/v1/namespaces", object{"metadata": object{"name": "shop"}}, nil)
	c.deployer = c.account("deployer", "get", "create", "patch")
	c.observer = c.account("observer", "get")
	return c
}

func (c *realCluster) must(method, path string, in, out any) {
	c.t.Helper()
	if _, err := c.Do(c.t.Context(), method, path, in, out); err != nil {
		c.t.Fatal(err)
	}
}

func (c *realCluster) account(name string, verbs ...string) string {
	c.t.Helper()
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/"
	c.must("POST", "/api/v1/namespaces/shop/serviceaccounts", object{"metadata": object{"name": name}}, nil)
	c.must("POST", rbac+"roles", object{"metadata": object{"name": name}, "rules": []object{{"apiGroups": []string{"", "apps", "batch", "autoscaling", "policy"},
		"resources": []string{"deployments", "services", "configmaps", "cronjobs", "horizontalpodautoscalers", "poddisruptionbudgets"}, "verbs": verbs}}}, nil)
	c.must("POST", rbac+"rolebindings", object{"metadata": object{"name": name}, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
		"subjects": []object{{"kind": "ServiceAccount", "name": name, "namespace": "shop"}}}, nil)
	var r struct{ Status struct{ Token string } }
	c.must("POST", "/api/v1/namespaces/shop/serviceaccounts/"+name+"/token", object{"spec": object{"expirationSeconds": 3600}}, &r)
	return r.Status.Token
}

// gateway deploys a manifest to the cluster.
func (c *realCluster) gateway(manifest string) *deploy.Gateway {
	c.t.Helper()
	p := place(remit.KindKubernetes, remit.Target{Namespace: "shop", ServiceAccount: "deployer", Manifest: manifest})
	p.Upstream.Location, p.Upstream.CA = c.URL, c.CA
	return open(c.t, deploy.Config{Environments: p, Observer: func(context.Context, remit.Upstream) (func(*http.Request) error, error) {
		return token(c.observer).Apply, nil
	}})
}

func (c *realCluster) runs() string {
	c.t.Helper()
	var d struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	c.must("GET", appPath, nil, &d)
	return d.Spec.Template.Spec.Containers[0].Image
}

func outcome(t *testing.T, what string, r gateway.Result, want remit.Outcome, says string) {
	t.Helper()
	if r.Outcome != want || !strings.Contains(string(r.Receipt), says) {
		t.Fatalf("%s: %s %s, want %s and %q\n%s", what, r.Outcome, r.Code, want, says, r.Receipt)
	}
}

// TestInteropARealClusterHoldsWhatWasApproved: every kind of object that has defaults, fields of others' and finalizers of
// its own goes through server-side apply, and what is observed is what was asked.
func TestInteropARealClusterHoldsWhatWasApproved(t *testing.T) {
	c := newRealCluster(t)
	g, ctx := c.gateway(realManifest), t.Context()
	first := order("X-1", artifact("app", "a"), artifact("web", "b"))
	outcome(t, "before anything", g.Reconcile(ctx, first), remit.NotApplied, "nothing in the cluster is of this attempt")
	outcome(t, "the first", g.Forward(ctx, first, token(c.deployer), nil), remit.Done, `"rollout":"not observed: no controller has taken note of it"`)
	outcome(t, "it again, as after a crash", g.Forward(ctx, first, token(c.deployer), nil), remit.Done, "there already")
	outcome(t, "looking, as after a crash", g.Reconcile(ctx, first), remit.Done, `"there"`)

	// What others set stays theirs; an image that they set does not.
	var d object
	c.must("GET", appPath, nil, &d)
	d["metadata"].(object)["labels"] = object{"team": "shop"}
	d["spec"].(object)["template"].(object)["spec"].(object)["containers"].([]any)[0].(object)["image"] = "evil.example/app:latest"
	c.must("PUT", appPath+"?fieldManager=somebody", d, nil)
	outcome(t, "what somebody changed", g.Reconcile(ctx, first), remit.Ambiguous, "is evil.example/app:latest")
	second := order("X-2", artifact("app", "c"), artifact("web", "b"))
	outcome(t, "the second", g.Forward(ctx, second, token(c.deployer), nil), remit.Done, `"there"`)
	if got := c.runs(); got != "registry.example:5000/app@"+digest("c") {
		t.Errorf("it runs %s", got)
	}
	c.must("GET", appPath, nil, &d)
	if labels, _ := d["metadata"].(object)["labels"].(object); labels["team"] != "shop" {
		t.Errorf("somebody's label is gone: %v", labels)
	}
	outcome(t, "the first is over", g.Reconcile(ctx, first), remit.NotApplied, "nothing in the cluster is of this attempt")

	// A container beside the approved ones is seen.
	c.must("GET", appPath, nil, &d)
	pod := d["spec"].(object)["template"].(object)["spec"].(object)
	pod["containers"] = append(pod["containers"].([]any), object{"name": "side", "image": "evil.example/side"})
	c.must("PUT", appPath+"?fieldManager=somebody", d, nil)
	outcome(t, "a container beside", g.Reconcile(ctx, second), remit.Ambiguous, "side")
	third := order("X-3", artifact("app", "d"), artifact("web", "b"))
	outcome(t, "on top of a container beside", g.Forward(ctx, third, token(c.deployer), nil), remit.Ambiguous, "was added")
}

// TestInteropWhatARealClusterRefusesChangesNothing: the dry run finds it before the first object is touched.
func TestInteropWhatARealClusterRefusesChangesNothing(t *testing.T) {
	c := newRealCluster(t)
	o := order("X-1", artifact("app", "a"), artifact("web", "b"))
	for name, x := range map[string]struct{ manifest, token, says string }{
		"a field that there is not":  {strings.Replace(realManifest, "minAvailable", "minAvailabel", 1), c.deployer, "minAvailabel"},
		"a value that is none":       {strings.Replace(realManifest, "0 3 * * *", "often", 1), c.deployer, "schedule"},
		"what the deployer may not":  {realManifest, c.observer, "cannot patch"},
		"a token that is none":       {realManifest, "x.y.z", "401"},
		"an object that is not ours": {realManifest + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: app}\nspec: {defaultBackend: {service: {name: app, port: {number: 80}}}}\n", c.deployer, "ingresses"},
	} {
		r := c.gateway(x.manifest).Forward(t.Context(), o, token(x.token), nil)
		outcome(t, name, r, remit.NotApplied, x.says)
		if status, _ := c.Do(t.Context(), "GET", appPath, nil, nil); status != http.StatusNotFound {
			t.Fatalf("%s: something was applied: %d", name, status)
		}
		if strings.Contains(string(r.Receipt), c.deployer) || strings.Contains(string(r.Receipt), c.observer) {
			t.Errorf("%s: a token is in the receipt", name)
		}
	}
	// A namespace that is going away takes nothing new; the API server says so at the dry run already.
	c.must("DELETE", "/api/v1/namespaces/shop", nil, nil)
	outcome(t, "a namespace that ends", c.gateway(realManifest).Forward(t.Context(), o, token(c.deployer), nil), remit.NotApplied, "")
}

// A cluster with another certificate is not the declared one: nothing is sent to it.
func TestInteropAnotherCertificateIsAnotherCluster(t *testing.T) {
	c := newRealCluster(t)
	other := newRealCluster(t)
	if err := os.Chmod(other.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	c.CA = other.CA
	outcome(t, "another certificate", c.gateway(realManifest).Forward(t.Context(), order("X-1", artifact("app", "a"), artifact("web", "b")), token(c.deployer), nil), remit.NotApplied, "certificate")
}
