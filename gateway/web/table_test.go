package web

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

// operation is a line of a forge's own list.
type operation struct{ method, path, query string }

func operations(t *testing.T) []operation {
	t.Helper()
	f, err := os.Open("testdata/gitea-1.26.2.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []operation
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		parts := append(strings.Fields(lines.Text()), "")
		out = append(out, operation{parts[0], parts[1], parts[2]})
	}
	if len(out) < 400 {
		t.Fatalf("the list has %d operations", len(out))
	}
	return out
}

// looked tells whether the table says something of an operation.
func looked(o operation) (rt *route, why string) {
	for i := range served {
		if served[i].method == o.method && served[i].path == o.path {
			return &served[i], ""
		}
	}
	for _, r := range refused {
		if r.covers(o.method, o.path) {
			return nil, r.why
		}
	}
	return nil, ""
}

func TestEveryDocumentedOperationIsServedOrRefused(t *testing.T) {
	known := map[string]operation{}
	for _, o := range operations(t) {
		known[o.method+" "+o.path] = o
		if rt, why := looked(o); rt == nil && why == "" && o.path != version {
			t.Errorf("%s %s is neither served nor refused with a reason", o.method, o.path)
		}
	}
	for _, rt := range served {
		o, ok := known[rt.method+" "+rt.path]
		if !ok {
			t.Errorf("%s %s is served, but no operation of the forge", rt.method, rt.path)
			continue
		}
		for name := range strings.FieldsSeq(rt.query) {
			if !strings.Contains(","+o.query+",", ","+name+",") {
				t.Errorf("%s %s passes %s on, which the forge does not document", rt.method, rt.path, name)
			}
		}
		if info, ok := remit.Lookup(rt.action); !ok || (info.Impact == remit.Read) != (rt.write == nil) || (rt.method == "GET") != (rt.write == nil) {
			t.Errorf("%s %s is %s", rt.method, rt.path, rt.action)
		}
	}
	isServed := map[string]bool{}
	for _, rt := range served {
		isServed[rt.method+" "+rt.path] = true
	}
	for _, r := range refused {
		covers := false
		for name, o := range known {
			if !r.covers(o.method, o.path) {
				continue
			}
			covers = true
			if isServed[name] {
				t.Errorf("%s %s is served and refused (%s)", o.method, o.path, r.why)
			}
		}
		if !covers {
			t.Errorf("%s %s refuses nothing that there is", r.methods, r.path)
		}
	}
}

// TestEachRouteIsFound makes sure that no route hides another: the first that fits is taken.
func TestEachRouteIsFound(t *testing.T) {
	for i := range served {
		path := strings.NewReplacer("{owner}", "acme", "{repo}", "app", "{index}.{diffType}", "7.diff", "{sha}.{diffType}", "abc1234.patch",
			"{index}", "7", "{id}", "8", "{run}", "9", "{job_id}", "10", "{attachment_id}", "11").Replace(served[i].path)
		path = regexp.MustCompile(`{[a-z_]+}`).ReplaceAllString(path, "name")
		at, err := parse("", httptest.NewRequest(served[i].method, "/forge/api/v1"+path, nil))
		if err != nil || at.route != &served[i] {
			t.Errorf("%s %s is taken for %+v (%v)", served[i].method, path, at.route, err)
		}
	}
}

// TestTheTableCoversWhatTheTestSays makes sure that the test above can fail.
func TestTheTableCoversWhatTheTestSays(t *testing.T) {
	for _, o := range []operation{
		{method: "POST", path: "/repos/{owner}/{repo}/new-thing"}, {method: "PUT", path: "/repos/{owner}/{repo}/pulls/{index}"},
		{method: "PUT", path: "/repos/{owner}/{repo}"}, {method: "GET", path: "/somewhere"},
	} {
		if rt, why := looked(o); rt != nil || why != "" {
			t.Errorf("%s %s passes: %v %q", o.method, o.path, rt, why)
		}
	}
}

func TestParse(t *testing.T) {
	const prefix = "/v1/orgs/acme/forge"
	for _, c := range []struct{ method, target, path, query string }{
		{"GET", "/repos/acme/app", "/repos/acme/app", ""},
		{"GET", "/repos/acme/app/branches/remit/T-1/x", "/repos/acme/app/branches/remit/T-1/x", ""},
		{"GET", "/repos/acme/app/branches/remit%2FT-1%2Fx", "/repos/acme/app/branches/remit/T-1/x", ""},
		{"GET", "/repos/acme/app/contents/a%20b/c%23d.go?ref=main", "/repos/acme/app/contents/a%20b/c%23d.go", "ref=main"},
		{"GET", "/repos/acme/app/contents/f%C3%BC.go", "/repos/acme/app/contents/f%C3%BC.go", ""},
		{"GET", "/repos/acme/app/pulls/12.diff?binary=false", "/repos/acme/app/pulls/12.diff", "binary=false"},
		{"GET", "/repos/acme/app/pulls/main/topic", "/repos/acme/app/pulls/main/topic", ""},
		{"GET", "/repos/acme/app/pulls?state=open&page=2&limit=10", "/repos/acme/app/pulls", "limit=10&page=2&state=open"},
		{"GET", "/repos/acme/app/commits/remit%2FT-1%2Fx/status", "/repos/acme/app/commits/remit%2FT-1%2Fx/status", ""},
		{"POST", "/repos/acme/app/pulls/12/merge", "/repos/acme/app/pulls/12/merge", ""},
	} {
		at, err := parse(prefix, httptest.NewRequest(c.method, prefix+"/forge/api/v1"+c.target, nil))
		if err != nil || at.path != c.path || at.query.Encode() != c.query {
			t.Errorf("%s %s: %q %q (%v)", c.method, c.target, at.path, at.query.Encode(), err)
		}
	}
	for _, c := range []struct{ method, target, says string }{
		{"GET", "/repos/acme/app/../../../admin/users", "a part that no name"},
		{"GET", "/repos/acme/app/%2e%2e/%2e%2e/admin/users", "a part that no name"},
		{"GET", "/repos/acme%2Fapp/x/branches", "none of the operations"},
		{"GET", "/repos/acme/app%2Fhooks", "is not served"},
		{"GET", "/repos/acme//branches", "a part that no name"},
		{"GET", "/repos/acme/app/contents/a%2F..%2F..%2Fb", "a part that no name"},
		{"GET", "/repos/acme/app/contents/a%252Fb", "a part that no name"},
		{"GET", "/repos/acme/app/contents/a%5Cb", "a part that no name"},
		{"GET", "/repos/acme/app/contents/a%00b", "a part that no name"},
		{"GET", "/repos/acme/app/contents/a%ffb", "a part that no name"},
		{"GET", "/repos/acme/app/branches/", "a part that no name"},
		{"GET", "/repos/acme/app?token=x", "Authorization: token"},
		{"GET", "/repos/acme/app?access_token=x", "Authorization: token"},
		{"GET", "/repos/acme/app?sudo=root", "Authorization: token"},
		{"GET", "/repos/acme/app?ref=x", "none of this operation's"},
		{"GET", "/repos/acme/app?", ""},
		{"GET", "/repos/acme/app/contents?ref=a&ref=b", "given once"},
		{"GET", "/repos/acme/app/contents?ref=a;b", "key=value"},
		{"GET", "/repos/acme/app/contents?ref=a%0Ab", "plain text"},
		{"GET", "/repos/acme/app/pulls?page%20limit=1", "none of this operation's"},
		{"PUT", "/repos/acme/app/pulls/12/merge", "none of the operations"},
		{"POST", "/repos/acme/app/pulls/12x/merge", "none of the operations"},
		{"POST", "/repos/acme/app/pulls/merge", "none of the operations"},
		{"HEAD", "/admin/users", "administers the forge"},
		{"POST", "/admin/users", "administers the forge"},
		{"GET", "/user/keys", "the forge's user"},
		{"POST", "/repos/acme/app/hooks", "what the forge calls"},
		{"DELETE", "/repos/acme/app", "the repository itself"},
		{"POST", "/repos/acme/app/merge-upstream", "another repository"},
		{"POST", "/repos/acme/app/statuses/" + strings.Repeat("a", 40), "a check's place"},
		{"PROPFIND", "/repos/acme/app", "none of the operations"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method = c.method
		u, err := r.URL.Parse("http://x" + prefix + "/forge/api/v1/")
		if err != nil {
			t.Fatal(err)
		}
		path, query, _ := strings.Cut(c.target, "?")
		u.RawPath, u.RawQuery = prefix+"/forge/api/v1"+path, query
		if u.Path, err = unescape(u.RawPath); err != nil {
			t.Fatal(err)
		}
		r.URL = u
		at, err := parse(prefix, r)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s %s: %v", c.method, c.target, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s is taken as %q: %v; want %q", c.method, c.target, at.path, err, c.says)
		}
	}
	for _, h := range []string{"Sudo", "X-HTTP-Method-Override", "X-Gitea-OTP"} {
		r := httptest.NewRequest("POST", prefix+"/forge/api/v1/repos/acme/app/issues", nil)
		r.Header.Set(h, "DELETE")
		if _, err := parse(prefix, r); err == nil || !strings.Contains(err.Error(), "is not taken here") {
			t.Errorf("%s: %v", h, err)
		}
	}
}

func unescape(s string) (string, error) { return url.PathUnescape(s) }

// FuzzParse holds what the decision rests on: a path that is served goes to the forge under the repository that it was
// judged by, and reads the same there.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/repos/acme/app", "/repos/acme/app/contents/a%2Fb?ref=x", "/repos/acme/app/../x", "/repos/a/b/pulls/1.diff", "/version", "/repos/a/b/commits/x%2Fy/status"} {
		f.Add("GET", s)
	}
	f.Add("DELETE", "/repos/acme/app/branches/x")
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.Parse("http://x/p/forge/api/v1" + target)
		if err != nil {
			return
		}
		at, err := parse("/p", &http.Request{Method: method, URL: u, Header: http.Header{}})
		if err != nil || at.version {
			return
		}
		sent, err := url.Parse("http://forge" + api + at.path)
		if err != nil {
			t.Fatalf("%q is no path: %v", at.path, err)
		}
		if want := "/repos/" + at.params["owner"] + "/" + at.params["repo"]; repoOf(at.path) != want || !strings.HasPrefix(sent.Path, api+want) {
			t.Fatalf("%q goes to %q", target, at.path)
		}
		if c := path.Clean(sent.Path); c != sent.Path || strings.Contains(at.path, "%25") || sent.RawQuery != "" || sent.Fragment != "" {
			t.Fatalf("%q is not one plain path: %q", target, at.path)
		}
		again, err := parse("/p", &http.Request{Method: method, URL: &url.URL{Path: "/p/forge" + sent.Path, RawPath: "/p/forge" + sent.EscapedPath()}, Header: http.Header{}})
		if err != nil || again.route != at.route || again.path != at.path {
			t.Fatalf("%q is read again as %q (%v)", at.path, again.path, err)
		}
	})
}
