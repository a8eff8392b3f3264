package front

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit/identity"
)

// foreignCA is a root that signed nothing here.
func foreignCA(t *testing.T) []byte {
	t.Helper()
	ca, err := identity.CreateCA(filepath.Join(t.TempDir(), "ca"), "other", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return ca.PEM()
}

func TestGuard(t *testing.T) {
	bearer := NewBearer()
	if len(bearer) < 43 || bearer == NewBearer() {
		t.Fatalf("%q is no secret", bearer)
	}
	passed := 0
	var port string
	s := local(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { passed++; fmt.Fprint(w, "in") }), bearer, port).ServeHTTP(w, r)
	}))
	port = s.URL[strings.LastIndex(s.URL, ":")+1:]
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"the bearer":                       {[]string{"Authorization", "Bearer " + bearer}, 200},
		"the scheme is any case":           {[]string{"Authorization", "bEARER " + bearer}, 200},
		"the password of git":              {[]string{"Authorization", basic("remit", bearer)}, 200},
		"by name":                          {[]string{"Authorization", "Bearer " + bearer, "Host", "localhost:" + port}, 200},
		"nothing":                          {nil, 401},
		"another bearer":                   {[]string{"Authorization", "Bearer " + NewBearer()}, 401},
		"an empty one":                     {[]string{"Authorization", "Bearer "}, 401},
		"a beginning of it":                {[]string{"Authorization", "Bearer " + bearer[:42]}, 401},
		"another scheme":                   {[]string{"Authorization", "Token " + bearer}, 401},
		"as a user name":                   {[]string{"Authorization", basic(bearer, "")}, 401},
		"a name that was made to point":    {[]string{"Authorization", "Bearer " + bearer, "Host", "evil.example:" + port}, 403},
		"without the port":                 {[]string{"Authorization", "Bearer " + bearer, "Host", "127.0.0.1"}, 403},
		"another port":                     {[]string{"Authorization", "Bearer " + bearer, "Host", "127.0.0.1:1"}, 403},
		"a page":                           {[]string{"Authorization", "Bearer " + bearer, "Origin", "https://evil.example"}, 403},
		"a page of this machine":           {[]string{"Authorization", "Bearer " + bearer, "Origin", "http://127.0.0.1:" + port}, 403},
		"a page without a name":            {[]string{"Authorization", "Bearer " + bearer, "Origin", "null"}, 403},
		"a name that ends as it should do": {[]string{"Authorization", "Bearer " + bearer, "Host", "evil.127.0.0.1:" + port}, 403},
	} {
		passed = 0
		resp, body := send(t, "GET", s.URL+"/v1/orgs/acme/mcp", "", c.header...)
		if resp.StatusCode != c.want || (passed == 1) != (c.want == 200) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		if strings.Contains(body, bearer) {
			t.Errorf("%s: the answer tells the bearer", name)
		}
	}
}
