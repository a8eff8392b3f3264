//go:build interop && unix

package real

import (
	"net/http"
	"testing"
)

func TestInteropGitea(t *testing.T) {
	f := Gitea(t)
	var v struct{ Version string }
	if _, err := f.Do(t.Context(), http.MethodGet, "/api/v1/version", nil, &v); err != nil || v.Version == "" {
		t.Fatalf("%v %v", v, err)
	}
}

func TestInteropKubernetes(t *testing.T) {
	c := Kubernetes(t)
	if _, err := c.Do(t.Context(), http.MethodPost, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": "payments"}}, nil); err != nil {
		t.Fatal(err)
	}
	if status, _ := c.As(t.Context(), "nobody", http.MethodGet, "/api/v1/namespaces", nil, nil); status != http.StatusUnauthorized {
		t.Fatalf("anybody gets %d", status)
	}
}

func TestInteropRegistry(t *testing.T) {
	i := Registry(t)
	var v struct{ Repositories []string }
	if _, err := call(t.Context(), http.DefaultClient, http.MethodGet, i.URL+"/v2/_catalog", "", nil, &v); err != nil || len(v.Repositories) != 0 {
		t.Fatalf("%v %v", v, err)
	}
}
