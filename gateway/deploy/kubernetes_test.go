package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
)

const manifest = `# the shop
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: shop}
spec:
  replicas: 2
  template:
    spec:
      initContainers:
      - {name: prepare, image: "${artifact:oci/web}"}
      containers:
      - {name: app, image: "${artifact:app}"}
---
apiVersion: v1
kind: Service
metadata: {name: app}
`

// api is as much of an API server as a deployment sees. Each request passes through trouble first, which may answer it.
type api struct {
	objects map[string]map[string]any
	trouble func(n int, r *http.Request, dry bool) error // *answer, or a broken connection
	after   func(a *api, path string)                    // something else changes what was just applied
	n, puts int
	rollout map[string]any // what controllers write into status
}

type said struct {
	code    int
	message string
}

func (s *said) Error() string { return s.message }

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	a.n++
	dry := r.URL.Query().Get("dryRun") == "All"
	reply := func(code int, v any) (*http.Response, error) {
		b, _ := json.Marshal(v)
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(b))}, nil
	}
	if r.Header.Get("Authorization") != "Bearer leased" {
		return reply(401, map[string]any{"reason": "Unauthorized"})
	}
	if a.trouble != nil {
		if err := a.trouble(a.n, r, dry); err != nil {
			var s *said
			if errors.As(err, &s) {
				return reply(s.code, map[string]any{"kind": "Status", "reason": "Because", "message": s.message})
			}
			return nil, err
		}
	}
	path := r.URL.Path
	switch r.Method {
	case http.MethodGet:
		if o := a.objects[path]; o != nil {
			return reply(200, o)
		}
		return reply(404, map[string]any{"reason": "NotFound", "message": "there is none"})
	case http.MethodPatch:
		var o map[string]any
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil || r.URL.Query().Get("force") != "true" || r.URL.Query().Get("fieldManager") != "remit" ||
			r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
			return reply(400, map[string]any{"message": "bad apply"})
		}
		if !dry {
			a.puts++
			if a.rollout != nil {
				o["status"] = a.rollout
			}
			a.objects[path] = o
			if a.after != nil {
				a.after(a, path)
			}
		}
		return reply(200, o)
	}
	return reply(405, nil)
}

func (a *api) image(path string) string {
	b, _ := json.Marshal(a.objects[path])
	return string(b)
}

const appPath = "/apis/apps/v1/namespaces/shop/deployments/app"

func cluster(text string) (deploy.Config, *api) {
	a := &api{objects: map[string]map[string]any{}}
	return deploy.Config{
		Environments: place(remit.KindKubernetes, remit.Target{Namespace: "shop", ServiceAccount: "deployer", Manifest: text, Timeout: "1m"}),
		Transport:    func(remit.Upstream) (http.RoundTripper, error) { return a, nil },
		Observer: func(context.Context, remit.Upstream) (func(*http.Request) error, error) {
			return func(r *http.Request) error { return token("leased").Apply(r) }, nil
		},
	}, a
}

func release(attempt remit.ID) remit.Order {
	return order(attempt, artifact("app", "a"), artifact("web", "b"))
}

func TestAManifestIsAppliedWithTheDigestsOfTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a := cluster(manifest)
		g := open(t, c)
		r := g.Forward(t.Context(), release("X-1"), token("leased"), nil)
		if r.Outcome != remit.Done || a.puts != 3 {
			t.Fatalf("%s, %d applied: %s", r.Outcome, a.puts, r.Receipt)
		}
		got := a.image(appPath)
		for _, want := range []string{"registry.example:5000/app@" + digest("a"), "registry.example:5000/web@" + digest("b"), `"remit.dev/attempt":"X-1"`, `"namespace":"shop"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not in %s", want, got)
			}
		}
		// The same attempt after a crash is not applied a second time; another one is.
		if r := g.Forward(t.Context(), release("X-1"), token("leased"), nil); r.Outcome != remit.Done || a.puts != 3 {
			t.Fatalf("%s, %d applied", r.Outcome, a.puts)
		}
		if r := g.Forward(t.Context(), release("X-2"), token("leased"), nil); r.Outcome != remit.Done || a.puts != 6 {
			t.Fatalf("%s, %d applied", r.Outcome, a.puts)
		}
	})
}

func TestAManifestThatIsNotWhatWasApprovedIsRefusedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"an image by tag":            {`"${artifact:app}"`, "nginx:latest", "containers[app].image: the image is nginx:latest"},
		"an image by its digest":     {`"${artifact:app}"`, "nginx@" + digest("c"), "containers[app].image"},
		"half a placeholder":         {`"${artifact:app}"`, `"evil/${artifact:app}"`, "containers[app].image"},
		"no image":                   {`, image: "${artifact:app}"`, "", "containers[app].image: the image is <nil>"},
		"an unknown artifact":        {"artifact:app", "artifact:other", "not among what the release ships"},
		"an artifact that is unused": {"artifact:app", "artifact:web", "no image is ${artifact:oci/app}"},
		"a placeholder elsewhere":    {"colour: blue", `colour: "${artifact:app}"`, "data.colour"},
		"a foreign namespace":        {"namespace: shop", "namespace: kube-system", "metadata.namespace is kube-system"},
		"a role":                     {"apiVersion: v1\nkind: Service", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role", "is not deployed"},
		"a bare pod":                 {"kind: Service", "kind: Pod", "is not deployed"},
		"another API group":          {"apps/v1", "evil/v1", "is not deployed"},
		"a generated name":           {"{name: app}", "{name: app, generateName: x}", "metadata.generateName"},
		"an owner":                   {"{name: app}", "{name: app, ownerReferences: []}", "metadata.ownerReferences"},
		"a path as name":             {"{name: settings}", `{name: "../../x"}`, "is no name"},
		"the same object twice":      {"kind: Service", "kind: ConfigMap\nmetadata: {name: settings}\n---\napiVersion: v1\nkind: Service", "document 3 (ConfigMap/settings): it stands twice"},
		"a member twice":             {"data: {colour: blue}", "data: {}\ndata: {}", "document 1"},
		"a hidden document":          {"data: {colour: blue}", "data: {}\n...\nkind: X", "end marks"},
		"an ephemeral container":     {"      containers:", "      ephemeralContainers: [{name: x, image: y}]\n      containers:", "ephemeralContainers[x]"},
		"a volume that is an image":  {"      containers:", "      volumes: [{name: x, image: {reference: 'y:z'}}]\n      containers:", "volumes[x].image.reference"},
		"containers that are none":   {"initContainers:\n      - ", "initContainers: ", "initContainers is no list"},
		"no template":                {"  template:", "  tmpl:", "spec.template is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(manifest, c.old) {
				t.Fatalf("%q is not in the manifest", c.old)
			}
			cfg, a := cluster(strings.ReplaceAll(manifest, c.old, c.new))
			r := open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil)
			if got := receipt(t, r); r.Outcome != remit.NotApplied || a.n != 0 || !strings.Contains(got.Why, c.want) {
				t.Fatalf("%s after %d requests: %s", r.Outcome, a.n, got.Why)
			}
		})
	}
}

func TestHalfAppliedIsAmbiguousAndSaysWhatIsLeft(t *testing.T) {
	patch := func(path string, dry bool, err error) func(int, *http.Request, bool) error {
		return func(_ int, r *http.Request, isDry bool) error {
			if r.Method == http.MethodPatch && isDry == dry && strings.HasSuffix(r.URL.Path, path) {
				return err
			}
			return nil
		}
	}
	denied, broken := &said{403, "denied by a webhook"}, errors.New("connection reset")
	for name, c := range map[string]struct {
		trouble func(int, *http.Request, bool) error
		after   func(a *api, path string)
		want    remit.Outcome
		puts    int
		object  int
		state   string
	}{
		"one would be refused":        {patch("/services/app", true, denied), nil, remit.NotApplied, 0, 2, "refused"},
		"the first is refused":        {patch("/settings", false, denied), nil, remit.NotApplied, 0, 0, "refused"},
		"the second is refused":       {patch("/deployments/app", false, denied), nil, remit.Ambiguous, 1, 1, "refused"},
		"the connection breaks":       {patch("/deployments/app", false, broken), nil, remit.Ambiguous, 1, 1, "unknown"},
		"the first time, it breaks":   {patch("/settings", false, broken), nil, remit.Ambiguous, 0, 0, "unknown"},
		"the cluster is down":         {func(int, *http.Request, bool) error { return broken }, nil, remit.NotApplied, 0, 0, "refused"},
		"the cluster has a fault":     {patch("/services/app", false, &said{500, "etcd"}), nil, remit.Ambiguous, 2, 2, "unknown"},
		"somebody changes it at once": {nil, func(a *api, path string) { a.objects[appPath] = map[string]any{} }, remit.Ambiguous, 3, 1, "differs"},
		"it is gone at once":          {nil, func(a *api, path string) { delete(a.objects, appPath) }, remit.Ambiguous, 3, 1, "not applied"},
		"nobody can look afterwards": {func(n int, r *http.Request, _ bool) error {
			if n > 9 {
				return broken
			}
			return nil
		}, nil, remit.Ambiguous, 3, 1, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, a := cluster(manifest)
				a.trouble, a.after = c.trouble, c.after
				r := open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil)
				got := receipt(t, r)
				if r.Outcome != c.want || a.puts != c.puts || got.Objects[c.object].State != c.state || len(got.Objects) != 3 {
					t.Fatalf("%s, %d applied: %s", r.Outcome, a.puts, r.Receipt)
				}
				if r.Outcome == remit.Ambiguous && got.Next == "" {
					t.Fatalf("nothing says what a person does: %s", r.Receipt)
				}
			})
		})
	}
}

// TestAShortTroubleIsSatOut: server-side apply may be repeated.
func TestAShortTroubleIsSatOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, a := cluster(manifest)
		failed := 0
		a.trouble = func(_ int, r *http.Request, dry bool) error {
			if r.Method == http.MethodPatch && !dry && failed < 2 {
				failed++
				return &said{503, "leader election"}
			}
			return nil
		}
		if r := open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil); r.Outcome != remit.Done || failed != 2 {
			t.Fatalf("%s after %d: %s", r.Outcome, failed, r.Receipt)
		}
	})
}

func TestTheRolloutIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		status map[string]any
		want   string
	}{
		"without a controller": {nil, "not observed"},
		"complete":             {map[string]any{"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, "complete"},
		"too slow":             {map[string]any{"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, "progressing"},
		"old pods are left":    {map[string]any{"observedGeneration": 1, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}, "progressing"},
		"failed":               {map[string]any{"observedGeneration": 1, "conditions": []any{map[string]any{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}}, "failed: ProgressDeadlineExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, a := cluster(manifest)
				a.rollout = c.status
				r := open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil)
				if got := receipt(t, r); r.Outcome != remit.Done || !strings.HasPrefix(got.Objects[1].Rollout, c.want) {
					t.Fatalf("%s %s", r.Outcome, r.Receipt)
				}
			})
		})
	}
}

func TestReconcilingLooksAndChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		left func(a *api)
		want remit.Outcome
	}{
		"nothing was applied": {func(a *api) { clear(a.objects) }, remit.NotApplied},
		"all of it":           {func(*api) {}, remit.Done},
		"all but one":         {func(a *api) { delete(a.objects, appPath) }, remit.Ambiguous},
		"applied, and changed": {func(a *api) {
			for path, o := range a.objects {
				if path != appPath {
					delete(a.objects, path)
				}
				delete(o, "spec")
			}
		}, remit.Ambiguous},
		"the cluster is down": {func(a *api) { a.trouble = func(int, *http.Request, bool) error { return errors.New("down") } }, remit.Ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, a := cluster(manifest)
				g := open(t, cfg)
				g.Forward(t.Context(), release("X-1"), token("leased"), nil)
				c.left(a)
				puts := a.puts
				if r := g.Reconcile(t.Context(), release("X-1")); r.Outcome != c.want || a.puts != puts {
					t.Fatalf("%s: %s", r.Outcome, r.Receipt)
				}
				if r := g.Reconcile(t.Context(), release("X-9")); c.want == remit.Done && r.Outcome != remit.NotApplied {
					t.Fatalf("another attempt: %s: %s", r.Outcome, r.Receipt)
				}
			})
		})
	}
	cfg, _ := cluster(manifest)
	cfg.Observer = nil
	if r := open(t, cfg).Reconcile(t.Context(), release("X-1")); r.Outcome != remit.Ambiguous {
		t.Fatalf("without an observer: %s", r.Outcome)
	}
}

// TestTheCredentialGoesToTheClusterOnly: a redirect is not followed, and receipts show no credential.
func TestTheCredentialGoesToTheClusterOnly(t *testing.T) {
	cfg, _ := cluster(manifest)
	var hosts []string
	cfg.Transport = func(remit.Upstream) (http.RoundTripper, error) {
		return tripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://evil.example/"}}, Body: http.NoBody}, nil
		}), nil
	}
	var r gateway.Result
	synctest.Test(t, func(t *testing.T) { r = open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil) })
	for _, h := range hosts {
		if h != "cluster.example:6443" {
			t.Fatalf("asked %s", h)
		}
	}
	if r.Outcome != remit.NotApplied || bytes.Contains(r.Receipt, []byte("leased")) {
		t.Fatalf("%s %s", r.Outcome, r.Receipt)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzManifest(f *testing.F) {
	f.Add(manifest)
	f.Add("a: &a [*a]")
	f.Add("--- {kind: Service}\n--- x\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, a := cluster(text)
		a.trouble = func(_ int, r *http.Request, _ bool) error {
			if r.Method == http.MethodPatch {
				if !strings.Contains(r.URL.Path, "/namespaces/shop/") || strings.Contains(r.URL.Path, "..") {
					t.Errorf("asked %s", r.URL.Path)
				}
				return &said{403, "no"}
			}
			return nil
		}
		if r := open(t, cfg).Forward(t.Context(), release("X-1"), token("leased"), nil); r.Outcome == remit.Ambiguous {
			t.Errorf("%s", r.Receipt)
		}
	})
}
