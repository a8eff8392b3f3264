package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadProviders(t *testing.T) {
	const good = "providers:\n- {name: corp, title: Corp, issuer: \"https://id.example\", client_id: remit, secret: {from: file, name: /etc/remit/corp}, groups: groups, acr: [phr]}\n"
	for name, c := range map[string]struct{ text, says string }{
		"one":                      {good, ""},
		"none":                     {"providers: []\n", ""},
		"a secret that is written": {strings.Replace(good, "{from: file, name: /etc/remit/corp}", "hunter2", 1), "list of providers"},
		"a secret from nowhere":    {strings.Replace(good, "from: file", "from: hunter2", 1), "never written down"},
		"a member that is none":    {strings.Replace(good, "title:", "tittle:", 1), "tittle"},
		"no TLS":                   {strings.Replace(good, "https:", "http:", 1), "not https"},
		"no client":                {strings.Replace(good, "client_id: remit", "client_id: \"\"", 1), "client_id"},
		"the same twice":           {good + strings.TrimPrefix(good, "providers:\n"), "twice"},
		"too many":                 {"providers:\n" + strings.Repeat("- {name: a}\n", maxProviders+1), "at most 16"},
		"no YAML":                  {"[", "list of providers"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "providers.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := readProviders(path, "https://remit.example/v1/orgs/acme")
			if c.says == "" {
				if err != nil || len(p.List()) != strings.Count(c.text, "name: corp") {
					t.Fatal(p, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v; wanted %s", err, c.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the error repeats what may be a secret: %v", err)
			}
		})
	}
	if p, err := readProviders("", "https://remit.example"); err != nil || len(p.List()) != 0 {
		t.Fatal(p, err)
	}
	if _, err := readProviders(filepath.Join(t.TempDir(), "none"), "x"); err == nil {
		t.Fatal("a file that is not there")
	}
}
