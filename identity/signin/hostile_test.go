package signin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// A provider that hangs, grows or moves is a provider that does not answer: nobody signs in, and nobody waits for long.
func TestProvidersThatDoNotAnswer(t *testing.T) {
	for what, h := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"stops in the middle": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"issuer":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"has no end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"x":"%s"}`, strings.Repeat("x", 2<<20))
		},
		"sends elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example"+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"fails":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hunter2", http.StatusInternalServerError) },
		"says no JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hunter2") },
	} {
		for _, path := range []string{"/.well-known/openid-configuration", "/token", "/keys"} {
			t.Run(path+" "+what, func(t *testing.T) {
				t.Parallel()
				c := newClock()
				f := newFake(t, c)
				f.route[path] = func(w http.ResponseWriter, r *http.Request) {
					_ = r.ParseForm() // a server sees that its client is gone once the body is read
					h(w, r)
				}
				p := newProviders(t, c, f.provider())
				p.list[0].client.Timeout = 200 * time.Millisecond // what a hanging provider costs in production is in IssuerClient
				_, _, err := p.Begin(t.Context(), "corp", "", false)
				code := remit.UpstreamDown
				if path != "/.well-known/openid-configuration" {
					if err != nil {
						t.Fatal(err)
					}
					_, _, _, err = p.Finish("corp", begin(t, p, f, false))
				}
				if path == "/keys" {
					code = remit.Unauthenticated
				}
				refused(t, err, code, "")
				if strings.Contains(err.Error(), "hunter2") {
					t.Fatal("the error tells what the provider wrote: ", err)
				}
			})
		}
	}
}

// Discovery is not believed where it leads away from the issuer, and strangers do not have a broken one hammered.
func TestDiscoveryIsTheIssuers(t *testing.T) {
	for name, doc := range map[string]map[string]any{
		"another issuer":              {"issuer": "https://evil.example"},
		"no authorization endpoint":   {"authorization_endpoint": ""},
		"one that is no address":      {"authorization_endpoint": "javascript:alert(1)"},
		"a token endpoint elsewhere":  {"token_endpoint": "https://evil.example/token"},
		"keys at another host":        {"jwks_uri": "https://evil.example/keys"},
		"keys at the machine's cloud": {"jwks_uri": "http://169.254.169.254/keys"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			f := newFake(t, c)
			f.doc = doc
			p := newProviders(t, c, f.provider())
			_, _, err := p.Begin(t.Context(), "corp", "", false)
			if err == nil {
				_, _, _, err = p.Finish("corp", begin(t, p, f, false))
			}
			if err == nil {
				t.Fatal("believed")
			}
		})
	}
	c := newClock()
	f := newFake(t, c)
	asked := 0
	f.route["/.well-known/openid-configuration"] = func(w http.ResponseWriter, _ *http.Request) { asked++; http.Error(w, "", 500) }
	p := newProviders(t, c, f.provider())
	for range 100 {
		_, _, err := p.Begin(t.Context(), "corp", "", false)
		refused(t, err, remit.UpstreamDown, "cannot be asked")
	}
	if asked != 1 {
		t.Fatalf("a provider that fails was asked %d times at once", asked)
	}
	c.Advance(retryPause)
	f.route = nil
	if _, _, err := p.Begin(t.Context(), "corp", "", false); err != nil {
		t.Fatal(err)
	}
}

func TestProvidersAreChecked(t *testing.T) {
	good := Provider{Name: "corp", Issuer: "https://id.example", ClientID: "x"}
	for name, change := range map[string]func(*Provider){
		"a name for addresses":      func(p *Provider) { p.Name = "../x" },
		"no name":                   func(p *Provider) { p.Name = "" },
		"no client":                 func(p *Provider) { p.ClientID = "" },
		"no TLS":                    func(p *Provider) { p.Issuer = "http://id.example" },
		"no TLS, and not loopback":  func(p *Provider) { p.Issuer, p.Insecure = "http://id.example", true },
		"a password in the address": func(p *Provider) { p.Issuer = "https://a:b@id.example" },
		"certificates that are not": func(p *Provider) { p.CA = "provider_test.go" },
	} {
		p := good
		change(&p)
		if _, err := NewProviders(base, []Provider{p}, time.Now); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := NewProviders(base, []Provider{good, good}, time.Now); err == nil {
		t.Error("one name twice is accepted")
	}
	p, err := NewProviders(base, []Provider{good}, time.Now)
	if err != nil || len(p.List()) != 1 || p.List()[0].Title != "corp" {
		t.Fatal(p, err)
	}
	if _, _, err := p.Begin(t.Context(), "other", "", false); err == nil {
		t.Error("a provider that is not there")
	}
}

func FuzzFinish(f *testing.F) {
	f.Add("code=a&state=b", "AAAA")
	f.Add("error=x", "")
	p, err := NewProviders(base, []Provider{{Name: "corp", Issuer: "http://127.0.0.1:1", Insecure: true, ClientID: "x"}}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, cookie string) {
		r := &http.Request{Method: "GET", URL: &url.URL{RawQuery: query}, Header: http.Header{"Cookie": {FlowCookie + "=" + cookie}}}
		if _, _, _, err := p.Finish("corp", r); err == nil {
			t.Fatal("somebody was proved")
		}
	})
}
