package signin

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/remit-dev/remit"
)

// The provider of another house: zitadel/oidc, which is certified, with its example of a store and of a login page. A
// browser with cookies goes from our redirect through its login to our callback.
func TestForeignProvider(t *testing.T) {
	for name, client := range map[string]*storage.Client{
		"with a secret":           storage.WebClient("remit", "s3cret", base+"/sign-in/providers/corp/callback"),
		"with PKCE and no secret": storage.NativeClient("remit", base+"/sign-in/providers/corp/callback"),
	} {
		t.Run(name, func(t *testing.T) {
			var handler http.Handler
			site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
			defer site.Close()
			users := storage.NewUserStore(site.URL)
			quiet := slog.New(slog.DiscardHandler)
			before := slog.Default()
			handler = exampleop.SetupServer(site.URL, storage.NewStorageWithClients(users, map[string]*storage.Client{"remit": client}), quiet, false)
			defer slog.SetDefault(before)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			provider := Provider{Name: "corp", Issuer: site.URL, CA: ca, ClientID: "remit", Scopes: []string{"profile"}}
			if name == "with a secret" {
				provider.Secret = func(context.Context) (string, error) { return "s3cret", nil }
			}
			p, err := NewProviders(base, []Provider{provider}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			in := func(fresh bool) (*http.Request, error) {
				to, cookie, err := p.Begin(t.Context(), "corp", "", fresh)
				if err != nil {
					t.Fatal(err)
				}
				r := httptest.NewRequest("GET", walk(t, site, to), nil)
				r.AddCookie(cookie)
				got, at, back, err := p.Finish("corp", r)
				if err == nil && (got.Identity != (remit.Identity{Issuer: site.URL, Subject: "id1"}) || time.Since(at) > time.Minute || back != "/console/") {
					t.Fatalf("%+v at %s, back to %s", got, at, back)
				}
				return r, err
			}
			r, err := in(false)
			if err != nil {
				t.Fatal(err)
			}
			// The same answer again: a provider gives a token for a code once.
			_, _, _, err = p.Finish("corp", r)
			refused(t, err, remit.Unauthenticated, "does not take the code")
			if _, err := in(true); err != nil {
				t.Fatalf("a proof of now: %v", err)
			}
		})
	}
}

var hidden = regexp.MustCompile(`name="id" value="([^"]+)"`)

// walk is a person in a browser who signs in at the site, and gives where the site sends them back to.
func walk(t *testing.T, site *httptest.Server, to string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	back := ""
	browser := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Host == "remit.example:8443" {
				back = r.URL.String()
				return http.ErrUseLastResponse
			}
			return nil
		}}
	read := func(resp *http.Response, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	page := read(browser.Get(to))
	id := hidden.FindStringSubmatch(page)
	if id == nil {
		t.Fatalf("this is no login: %s", page)
	}
	page = read(browser.PostForm(site.URL+"/login/username", url.Values{"id": {id[1]}, "username": {"test-user@127.0.0.1"}, "password": {"verysecure"}}))
	if back == "" {
		t.Fatalf("the provider does not send back: %s", page)
	}
	return back
}
