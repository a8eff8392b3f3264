package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/deploy"
)

// released is what may run: digests by entry.
type released map[string]remit.EntryIndex

func (r released) Allowed(context.Context, string) (map[string]remit.EntryIndex, error) {
	if r == nil {
		return nil, errors.New("the log is down")
	}
	return r, nil
}

func admission(r released) *deploy.Admission {
	return &deploy.Admission{Releases: r,
		Known:     func(environment, token string) bool { return environment == "shop/production" && token == "t0ken" },
		Namespace: func(context.Context, string) (string, error) { return "shop", nil }}
}

const (
	imageA = "registry.example/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	imageB = "registry.example/app@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	old    = "registry.example/app@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// golden is Kubernetes' own AdmissionReview with every member set; the members of request are replaced by those given.
func golden(t testing.TB, members map[string]any) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/admission.k8s.io.v1.AdmissionReview.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	req := doc["request"].(map[string]any)
	req["namespace"], req["subResource"] = "shop", ""
	for k, v := range members {
		if s, ok := v.(string); ok && (k == "object" || k == "oldObject") {
			var o any
			if err := json.Unmarshal([]byte(s), &o); err != nil {
				t.Fatal(err, s)
			}
			v = o
		}
		req[k] = v
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type verdict struct {
	UID              string
	Allowed          bool
	Status           struct{ Message string }
	AuditAnnotations map[string]string
}

func ask(t *testing.T, a *deploy.Admission, body []byte) verdict {
	t.Helper()
	var out struct {
		APIVersion, Kind string
		Response         *verdict
	}
	b := a.Review(t.Context(), "shop/production", body)
	if err := json.Unmarshal(b, &out); err != nil || out.Response == nil || out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" {
		t.Fatalf("%s: %v", b, err)
	}
	if out.Response.UID != "uidValue" {
		t.Fatalf("the answer is to %q", out.Response.UID)
	}
	return *out.Response
}

func resource(group, name string) map[string]string {
	return map[string]string{"group": group, "version": "v1", "resource": name}
}

func pod(image string) string {
	return `{"spec":{"containers":[{"name":"app","image":"` + image + `"}]}}`
}

func workload(image string) string { return `{"spec":{"replicas":1,"template":` + pod(image) + `}}` }

func cron(image string) string { return `{"spec":{"jobTemplate":` + workload(image) + `}}` }

func TestOnlyReleasedDigestsAreLetIn(t *testing.T) {
	a := admission(released{digest("a"): 12, digest("b"): 7})
	containers := func(list string) string {
		return `{"spec":{"containers":[{"name":"app","image":"` + imageA + `"}],` + list + `}}`
	}
	for name, c := range map[string]struct {
		group, resource, sub, op string
		object, before           string
		allowed                  bool
		says                     string
	}{
		"a pod of the release":          {"", "pods", "", "CREATE", pod(imageA), "null", true, "12"},
		"a pod of the release before":   {"", "pods", "", "CREATE", pod(imageB), "null", true, "7"},
		"a pod of something else":       {"", "pods", "", "CREATE", pod(old), "null", false, "no release names"},
		"a pod by tag":                  {"", "pods", "", "CREATE", pod("registry.example/app:v1"), "null", false, "a tag moves"},
		"a second digest":               {"", "pods", "", "CREATE", pod("app@sha256:" + strings.Repeat("a", 64) + "@x"), "null", false, "a tag moves"},
		"a tag beside the digest":       {"", "pods", "", "CREATE", pod("app:v1@sha256:" + strings.Repeat("a", 64)), "null", false, "a tag moves"},
		"a tag of a host's":             {"", "pods", "", "CREATE", pod("127.0.0.1:5000/team/app:5000@sha256:" + strings.Repeat("a", 64)), "null", false, "a tag moves"},
		"a host with a port":            {"", "pods", "", "CREATE", pod("127.0.0.1:5000/team/app@sha256:" + strings.Repeat("a", 64)), "null", true, "12"},
		"no image":                      {"", "pods", "", "CREATE", `{"spec":{"containers":[{"name":"app"}]}}`, "null", false, "is no text"},
		"no containers":                 {"", "pods", "", "CREATE", `{"spec":{"containers":[]}}`, "null", false, "no containers"},
		"containers that are no list":   {"", "pods", "", "CREATE", `{"spec":{"containers":{}}}`, "null", false, "is no list"},
		"a null object":                 {"", "pods", "", "CREATE", `null`, "null", false, "is no object"},
		"an init container":             {"", "pods", "", "CREATE", containers(`"initContainers":[{"name":"i","image":"` + old + `"}]`), "null", false, "initContainers[i]"},
		"an ephemeral container":        {"", "pods", "", "CREATE", containers(`"ephemeralContainers":[{"name":"e","image":"` + old + `"}]`), "null", false, "ephemeralContainers[e]"},
		"a volume that is an image":     {"", "pods", "", "CREATE", containers(`"volumes":[{"name":"v","image":{"reference":"` + old + `"}}]`), "null", false, "volumes[v]"},
		"a released volume":             {"", "pods", "", "CREATE", containers(`"volumes":[{"name":"v","image":{"reference":"` + imageB + `"}},{"name":"w"}]`), "null", true, "7,12"},
		"a debug container":             {"", "pods", "ephemeralcontainers", "UPDATE", pod(imageA), pod(imageA), false, "remit release request"},
		"exec":                          {"", "pods", "exec", "CONNECT", `{"kind":"PodExecOptions","command":["sh"]}`, "null", false, "exec would run"},
		"attach":                        {"", "pods", "attach", "CONNECT", `{"kind":"PodAttachOptions"}`, "null", false, "attach would run"},
		"a deployment":                  {"apps", "deployments", "", "CREATE", workload(imageA), "null", true, "12"},
		"kubectl patch to a tag":        {"apps", "deployments", "", "UPDATE", workload("app:evil"), workload(imageA), false, "a tag moves"},
		"kubectl patch to a digest":     {"apps", "deployments", "", "UPDATE", workload(old), workload(imageA), false, "no release names"},
		"rolling back to before":        {"apps", "deployments", "", "UPDATE", workload(imageB), workload(imageA), true, "7"},
		"an old ReplicaSet scaled down": {"apps", "replicasets", "", "UPDATE", workload(old), workload(old), true, ""},
		"an old ReplicaSet made again":  {"apps", "replicasets", "", "CREATE", workload(old), "null", false, "no release names"},
		"an update without what was":    {"apps", "replicasets", "", "UPDATE", workload(old), "null", false, "cannot be read"},
		"a StatefulSet":                 {"apps", "statefulsets", "", "CREATE", workload(old), "null", false, "no release names"},
		"a DaemonSet":                   {"apps", "daemonsets", "", "CREATE", workload(old), "null", false, "no release names"},
		"a Job":                         {"batch", "jobs", "", "CREATE", workload(old), "null", false, "no release names"},
		"a CronJob":                     {"batch", "cronjobs", "", "CREATE", cron(old), "null", false, "no release names"},
		"a CronJob of the release":      {"batch", "cronjobs", "", "UPDATE", cron(imageA), cron(old), true, "12"},
		"a replication controller":      {"", "replicationcontrollers", "", "CREATE", workload(old), "null", false, "no release names"},
		"an unknown resource":           {"evil", "deployments", "", "CREATE", workload(imageA), "null", false, "is not among"},
		"an unknown operation":          {"apps", "deployments", "", "CONNECT", workload(imageA), "null", false, "is not among"},
		"an unknown subresource":        {"apps", "deployments", "rollback", "CREATE", workload(imageA), "null", false, "is not among"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, a, golden(t, map[string]any{"resource": resource(c.group, c.resource), "subResource": c.sub, "operation": c.op, "object": c.object, "oldObject": c.before}))
			if got.Allowed != c.allowed {
				t.Fatalf("%+v", got)
			}
			if c.allowed && (got.AuditAnnotations["release"] != c.says || got.Status.Message != "") || !c.allowed && !strings.Contains(got.Status.Message, c.says) {
				t.Fatalf("%+v", got)
			}
		})
	}
}

// TestGoldenPodsAreReadWhole: Kubernetes' own objects, with every member that it has set, name exactly these images. A
// new way to name an image shows here when the files are renewed.
func TestGoldenPodsAreReadWhole(t *testing.T) {
	for file, resource := range map[string]map[string]string{"core.v1.Pod.json": resource("", "pods"), "batch.v1.CronJob.json": resource("batch", "cronjobs")} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if file == "core.v1.Pod.json" {
			b = cutStatus(t, b) // it only reports
		}
		// A Ceph block device has a name that is called image.
		if i := bytes.Index(b, []byte(`"rbd": {`)); i > 0 {
			b = append(b[:i:i], bytes.Replace(b[i:], []byte(`"image": "imageValue"`), []byte(`"image": "device"`), 1)...)
		}
		places := bytes.Count(b, []byte(`"image": "imageValue"`)) + bytes.Count(b, []byte(`"reference": "referenceValue"`))
		if places != 4 {
			t.Fatalf("%s names %d images", file, places)
		}
		for n := range places {
			// All but the n-th image are of the release.
			text, at := string(b), 0
			text = strings.ReplaceAll(text, `"reference": "referenceValue"`, `"reference": "imageValue"`)
			parts := strings.Split(text, `"imageValue"`)
			var out strings.Builder
			for i, p := range parts {
				out.WriteString(p)
				if i == len(parts)-1 {
					break
				}
				if at == n {
					out.WriteString(`"` + old + `"`)
				} else {
					out.WriteString(`"` + imageA + `"`)
				}
				at++
			}
			if at != places {
				t.Fatalf("%s: %d of %d", file, at, places)
			}
			if got := ask(t, admission(released{digest("a"): 1}), golden(t, map[string]any{"resource": resource, "operation": "CREATE", "object": out.String(), "oldObject": nil})); got.Allowed || !strings.Contains(got.Status.Message, "no release names") {
				t.Fatalf("%s, image %d: %+v", file, n, got)
			}
		}
	}
}

func cutStatus(t *testing.T, b []byte) []byte {
	t.Helper()
	i := bytes.Index(b, []byte("\n  \"status\":"))
	if i < 0 {
		t.Fatal("no status")
	}
	return append(bytes.TrimSuffix(bytes.TrimSpace(b[:i]), []byte(",")), '}')
}

func TestTheGovernedNamespaceStaysGoverned(t *testing.T) {
	a := admission(released{})
	ns := func(name, labels string) string {
		return `{"metadata":{"name":"` + name + `","labels":` + labels + `}}`
	}
	for name, c := range map[string]struct {
		op, of, object string
		allowed        bool
	}{
		"another label":        {"UPDATE", "shop", ns("shop", `{"kubernetes.io/metadata.name":"shop","team":"x"}`), true},
		"the label is removed": {"UPDATE", "shop", ns("shop", `{}`), false},
		"the label is changed": {"UPDATE", "shop", ns("shop", `{"kubernetes.io/metadata.name":"other"}`), false},
		"it is deleted":        {"DELETE", "shop", "null", false},
		"another namespace":    {"UPDATE", "other", ns("other", `{"kubernetes.io/metadata.name":"other"}`), false},
		"no object":            {"UPDATE", "shop", "null", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, a, golden(t, map[string]any{"resource": resource("", "namespaces"), "operation": c.op, "name": c.of, "namespace": c.of, "object": c.object}))
			if got.Allowed != c.allowed {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestWhatCannotBeToldIsDenied(t *testing.T) {
	create := map[string]any{"resource": resource("", "pods"), "operation": "CREATE", "object": pod(imageA)}
	if got := ask(t, admission(nil), golden(t, create)); got.Allowed {
		t.Fatal("allowed without a log")
	}
	lost := admission(released{digest("a"): 1})
	lost.Namespace = func(context.Context, string) (string, error) { return "", errors.New("erased") }
	if got := ask(t, lost, golden(t, create)); got.Allowed {
		t.Fatal("allowed without a declaration")
	}
	create["namespace"] = "other"
	if got := ask(t, admission(released{digest("a"): 1}), golden(t, create)); got.Allowed {
		t.Fatal("allowed in another namespace")
	}
	for _, body := range []string{"", "null", "{}", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`,
		`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}`} {
		if b := admission(released{}).Review(t.Context(), "shop/production", []byte(body)); b != nil {
			t.Errorf("%s: %s", body, b)
		}
	}
}

func TestOnlyTheClusterOfAnEnvironmentIsAnswered(t *testing.T) {
	a := admission(released{digest("a"): 1})
	body := golden(t, map[string]any{"resource": resource("", "pods"), "operation": "CREATE", "object": pod(imageA)})
	for path, want := range map[string]int{
		"/v1/orgs/acme/admission/t0ken/shop/production":  200,
		"/v1/orgs/acme/admission/other/shop/production":  404,
		"/v1/orgs/acme/admission/t0ken/shop/staging":     404,
		"/v1/orgs/acme/admission//shop/production":       404,
		"/v1/orgs/acme/admission/t0ken":                  404,
		"/v1/orgs/acme/admission/t0ken/shop/production/": 404,
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/admission/t0ken/shop/production", strings.NewReader(strings.Repeat(" ", 3<<20)+string(body))))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", w.Code)
	}
}

func TestTheWebhookFailsClosedAndCannotBeLabelledAway(t *testing.T) {
	b, err := deploy.Webhook(remit.AdmissionView{Environment: "shop/production", Namespace: "shop", URL: "https://remit.example/x", CA: []byte("PEM")})
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Webhooks []struct {
			FailurePolicy, MatchPolicy, SideEffects string
			TimeoutSeconds                          int
			NamespaceSelector                       struct{ MatchLabels map[string]string }
			ClientConfig                            struct {
				URL      string
				CABundle []byte
			}
			Rules []struct {
				Operations, APIGroups, Resources []string
			}
		}
	}
	if err := yaml.Unmarshal(b, &c); err != nil || len(c.Webhooks) != 1 {
		t.Fatal(err, string(b))
	}
	h := c.Webhooks[0]
	if h.FailurePolicy != "Fail" || h.MatchPolicy != "Equivalent" || h.SideEffects != "None" || h.TimeoutSeconds != 5 || string(h.ClientConfig.CABundle) != "PEM" ||
		len(h.NamespaceSelector.MatchLabels) != 1 || h.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "shop" {
		t.Fatalf("%s", b)
	}
	asked := fmt.Sprint(h.Rules)
	for _, want := range []string{"pods", "pods/exec", "pods/attach", "pods/ephemeralcontainers", "replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers", "namespaces"} {
		if !strings.Contains(asked, want) {
			t.Errorf("%s is not asked about", want)
		}
	}
}

func FuzzReview(f *testing.F) {
	for _, object := range []string{pod(imageA), pod(old), workload(imageA), cron(imageA), "null"} {
		f.Add(golden(f, map[string]any{"resource": resource("", "pods"), "operation": "CREATE", "object": object}))
	}
	a := admission(released{digest("a"): 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := a.Review(t.Context(), "shop/production", body)
		if b == nil {
			return
		}
		var in struct{ Request struct{ UID string } }
		var out struct {
			Response struct {
				UID     string
				Allowed bool
			}
		}
		if json.Unmarshal(body, &in) != nil || json.Unmarshal(b, &out) != nil || in.Request.UID != out.Response.UID {
			t.Fatalf("%s", b)
		}
		if out.Response.Allowed && !bytes.Contains(body, []byte("aaaaaaaa")) && !bytes.Contains(body, []byte("UPDATE")) {
			t.Fatalf("let in: %s", body)
		}
	})
}

func BenchmarkReview(b *testing.B) {
	body := golden(b, map[string]any{"resource": resource("apps", "deployments"), "operation": "CREATE", "object": workload(imageA)})
	a := admission(released{digest("a"): 1})
	for b.Loop() {
		a.Review(b.Context(), "shop/production", body)
	}
}
