package scan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/scan"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// answers are what a fake upstream says, by path; what is not there is 404.
type answers map[string]json.RawMessage

func load(t testing.TB, file string) answers {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	a := answers{}
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	w.Header().Set("Content-Type", "application/json")
	body, ok := a[path]
	switch {
	case ok:
		w.Write(body)
	case strings.HasSuffix(path, "/protection"):
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"message": "Branch not protected"}`))
	default:
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"message": "Not Found"}`))
	}
}

// readOnly fails a test when anything but GET is sent, or a body.
type readOnly struct {
	t    testing.TB
	next http.RoundTripper
	sent int
}

func (o *readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	o.sent++
	if r.Method != http.MethodGet || r.Body != nil {
		o.t.Errorf("a scan sent %s %s", r.Method, r.URL.Path)
	}
	return o.next.RoundTrip(r)
}

func target(t testing.TB, kind string, upstream http.Handler) scan.Target {
	t.Helper()
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	return scan.Target{Name: "forge", Kind: kind, URL: s.URL, Transport: &readOnly{t: t, next: s.Client().Transport},
		Auth: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer observing"); return nil },
		Repositories: []scan.Repository{{Name: "forge/acme/payments", Path: "acme/payments", DefaultBranch: "main"},
			{Name: "forge/acme/tools", Path: "acme/tools", DefaultBranch: "main"}}[:map[bool]int{true: 2, false: 1}[kind == scan.Gitea]],
		Environments: []scan.Environment{{Name: "payments/production", Namespace: "payments", ServiceAccount: "deployer"}},
		Answers:      map[string]string{"ada": "person:ada", "system:serviceaccount:payments:deployer": "environment:payments/production"},
		Own:          []string{"remit-acme-l-12", "remit-acme", "system:serviceaccount:remit:observer"},
		Hosts:        []string{"remit.acme.example"},
		Now:          func() time.Time { return now },
		Sleep:        func(context.Context, time.Duration) error { return nil },
	}
}

// found are the findings of a report as the planted lists have them, each once.
func found(r remit.ScanReport) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.Rule+" "+f.Subject)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Every planted thing is found, and nothing else: the lists stand apart from the code.
func TestPlanted(t *testing.T) {
	for _, kind := range []string{scan.Gitea, scan.GitHub, scan.Kubernetes} {
		t.Run(kind, func(t *testing.T) {
			var planted []string
			raw, err := os.ReadFile("testdata/planted-" + kind + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &planted); err != nil {
				t.Fatal(err)
			}
			slices.Sort(planted)
			planted = slices.Compact(planted)
			r := scan.Look(t.Context(), target(t, kind, load(t, kind+".json")))
			got := found(r)
			for _, p := range planted {
				if !slices.Contains(got, p) {
					t.Errorf("not found: %s", p)
				}
			}
			for _, g := range got {
				if !slices.Contains(planted, g) {
					t.Errorf("not planted: %s", g)
				}
			}
			for _, g := range r.Unseen {
				if g.Code != "unsupported" {
					t.Errorf("unseen: %+v", g)
				}
			}
			out, _ := json.Marshal(r)
			for _, secret := range []string{"not for a report", "bm90IGZvciBhIHJlcG9ydA", "hidden"} {
				if strings.Contains(string(out), secret) {
					t.Errorf("the report has %q", secret)
				}
			}
			if t.Failed() {
				for _, f := range r.Findings {
					t.Logf("%s: %s", f.Rule, f.Text)
				}
			}
		})
	}
}

// Whatever one request is refused, a gap says so, and the report is never complete and never has more findings of others.
func TestWhatIsRefusedIsSaid(t *testing.T) {
	for _, kind := range []string{scan.Gitea, scan.GitHub, scan.Kubernetes} {
		full := load(t, kind+".json")
		whole := scan.Look(t.Context(), target(t, kind, full))
		for _, path := range slices.Sorted(maps.Keys(full)) {
			for _, status := range []int{401, 403, 404, 500, 302, 200} {
				if status == 404 && (strings.HasSuffix(path, "/protection") || strings.HasPrefix(path, "/api/v1/orgs/acme") || path == "/orgs/acme") {
					continue // a 404 means something there: see below
				}
				t.Run(fmt.Sprint(kind, path, status), func(t *testing.T) {
					r := scan.Look(t.Context(), target(t, kind, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						if strings.TrimPrefix(q.URL.Path, "/api/v3") == path {
							if status == 302 {
								w.Header().Set("Location", "https://elsewhere.example/")
							}
							w.WriteHeader(status)
							w.Write([]byte(`"half`))
							return
						}
						full.ServeHTTP(w, q)
					})))
					if len(r.Unseen) <= countOf(whole, "unsupported") {
						t.Errorf("nothing is said to be unseen: %v", r.Unseen)
					}
					if r.Complete() {
						t.Error("the report is complete")
					}
				})
			}
		}
	}
}

func countOf(r remit.ScanReport, code string) (n int) {
	for _, g := range r.Unseen {
		if g.Code == code {
			n++
		}
	}
	return n
}
