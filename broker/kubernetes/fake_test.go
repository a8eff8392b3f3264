package kubernetes_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// fake is as much of an API server as the provider speaks to, with the objects and Status of the API reference. Its knobs
// make it fail and lie.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	nextUID int
	objects map[string]map[string]any // resource/namespace/name
	tokens  map[string]string         // token: the uid of its Secret
	who     string                    // whom Remit's credential is taken for
	claims  func(map[string]any)      // changes what a token says before it is made
	stated  func(time.Time) time.Time // changes the end that TokenRequest states
	answer  func(r *http.Request) (status int, body string)
	calls   []string
}

func newFake(t testing.TB) (*fake, remit.Upstream) {
	f := &fake{objects: map[string]map[string]any{}, tokens: map[string]string{}, who: "system:serviceaccount:remit:remit"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", f.self)
	mux.HandleFunc("POST /api/v1/namespaces/{ns}/serviceaccounts/{sa}/token", f.token)
	mux.HandleFunc("POST /api/v1/namespaces/{ns}/{resource}", f.create)
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/configmaps", f.list)
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/configmaps/{name}", f.one)
	mux.HandleFunc("PUT /api/v1/namespaces/{ns}/configmaps/{name}", f.one)
	mux.HandleFunc("DELETE /api/v1/namespaces/{ns}/{resource}/{name}", f.one)
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.answer != nil {
			if status, body := f.answer(r); status != 0 {
				w.Header().Set("Location", "https://elsewhere.example/")
				w.Header().Set("Retry-After", "60")
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				fmt.Fprint(w, body)
				return
			}
		}
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != keeper && !strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
			f.fail(w, 401, "Unauthorized", "")
			return
		}
		f.calls = append(f.calls, r.Method+" "+r.URL.RequestURI())
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return f, remit.Upstream{Name: "prod", Kind: remit.KindKubernetes, Location: f.URL, CA: ca, Write: remit.Source{From: "file", Name: keep(t, keeper)}}
}

func (f *fake) say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) fail(w http.ResponseWriter, status int, reason, name string) {
	f.say(w, status, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status,
		"message": "no, " + keeper, "details": map[string]any{"name": name}})
}

func (f *fake) self(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	who := f.who
	if token != keeper {
		alive := false
		for key, o := range f.objects {
			if strings.HasPrefix(key, "secrets/") && o["metadata"].(map[string]any)["uid"] == f.tokens[token] {
				alive = true
			}
		}
		if !alive {
			f.fail(w, 401, "Unauthorized", "")
			return
		}
		who = "system:serviceaccount:payments:deployer"
	}
	f.say(w, 201, map[string]any{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "status": map[string]any{"userInfo": map[string]any{"username": who}}})
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	var o map[string]any
	if json.NewDecoder(r.Body).Decode(&o) != nil {
		f.fail(w, 400, "BadRequest", "")
		return
	}
	m := o["metadata"].(map[string]any)
	key := r.PathValue("resource") + "/" + r.PathValue("ns") + "/" + m["name"].(string)
	if f.objects[key] != nil {
		f.fail(w, 409, "AlreadyExists", m["name"].(string))
		return
	}
	f.nextUID++
	m["uid"] = fmt.Sprintf("uid-%d", f.nextUID)
	if r.FormValue("dryRun") != "All" {
		f.objects[key] = o
	}
	f.say(w, 201, o)
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	items := []any{}
	for key, o := range f.objects {
		labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
		if strings.HasPrefix(key, "configmaps/"+r.PathValue("ns")+"/") && labels[r.FormValue("labelSelector")] != nil {
			items = append(items, o)
		}
	}
	f.say(w, 200, map[string]any{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": map[string]any{}, "items": items})
}

// one gets, changes or deletes one object.
func (f *fake) one(w http.ResponseWriter, r *http.Request) {
	resource := r.PathValue("resource")
	if resource == "" {
		resource = "configmaps"
	}
	key := resource + "/" + r.PathValue("ns") + "/" + r.PathValue("name")
	o := f.objects[key]
	if o == nil {
		f.fail(w, 404, "NotFound", r.PathValue("name"))
		return
	}
	switch r.Method {
	case http.MethodPut:
		var in map[string]any
		_ = json.NewDecoder(r.Body).Decode(&in)
		f.objects[key], o = in, in
	case http.MethodDelete:
		var in struct{ Preconditions struct{ UID string } }
		_ = json.NewDecoder(r.Body).Decode(&in)
		m := o["metadata"].(map[string]any)
		if in.Preconditions.UID != "" && in.Preconditions.UID != m["uid"] {
			f.fail(w, 409, "Conflict", r.PathValue("name"))
			return
		}
		if m["finalizers"] == nil {
			delete(f.objects, key)
		}
	}
	f.say(w, 200, o)
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Spec struct {
			ExpirationSeconds int64
			BoundObjectRef    struct{ Kind, Name string }
		}
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	secret := f.objects["secrets/"+r.PathValue("ns")+"/"+in.Spec.BoundObjectRef.Name]
	if in.Spec.BoundObjectRef.Kind != "Secret" || secret == nil {
		f.fail(w, 404, "NotFound", in.Spec.BoundObjectRef.Name)
		return
	}
	if in.Spec.ExpirationSeconds < 600 {
		f.fail(w, 422, "Invalid", "")
		return
	}
	end := time.Now().Add(time.Duration(in.Spec.ExpirationSeconds) * time.Second)
	uid := secret["metadata"].(map[string]any)["uid"].(string)
	claims := map[string]any{"sub": "system:serviceaccount:" + r.PathValue("ns") + ":" + r.PathValue("sa"), "exp": end.Unix(), "jti": fmt.Sprint(len(f.tokens)),
		"kubernetes.io": map[string]any{"namespace": r.PathValue("ns"), "serviceaccount": map[string]any{"name": r.PathValue("sa"), "uid": "x"},
			"secret": map[string]any{"name": in.Spec.BoundObjectRef.Name, "uid": uid}}}
	if f.claims != nil {
		f.claims(claims)
	}
	if f.stated != nil {
		end = f.stated(end)
	}
	raw, _ := json.Marshal(claims)
	token := "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln"
	f.tokens[token] = uid
	f.say(w, 201, map[string]any{"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"status": map[string]any{"token": token, "expirationTimestamp": end.UTC().Format(time.RFC3339)}})
}
