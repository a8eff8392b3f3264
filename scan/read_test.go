package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sarif"
	"github.com/remit-dev/remit/scan"
)

const deployKeys = "/api/v1/repos/acme/payments/keys"

// with answers one path otherwise.
func (a answers) with(path string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			h(w, r)
			return
		}
		a.ServeHTTP(w, r)
	})
}

// keysFrom writes n deploy keys, numbered from first.
func keysFrom(w io.Writer, first, n int) {
	list := []string{}
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id": %d, "title": "k", "fingerprint": "SHA256:%d", "read_only": false, "created_at": "2025-12-31T00:00:00Z"}`, first+i, first+i))
	}
	fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
}

// of are the findings of a rule on subjects that begin so.
func of(r remit.ScanReport, rule, prefix string) (n int) {
	for _, f := range r.Findings {
		if f.Rule == rule && strings.HasPrefix(f.Subject, prefix) {
			n++
		}
	}
	return n
}

// why gives what is said about a thing that was not seen; empty: it was.
func why(r remit.ScanReport, what string) string {
	for _, g := range r.Unseen {
		if g.What == what {
			return g.Code + ": " + g.Why
		}
	}
	return ""
}

const keysOf = "deploy keys of acme/payments"

// A list is read to its end, however a Gitea parts it; one that stops early is said to be half an answer.
func TestPagesOfGitea(t *testing.T) {
	full := load(t, "gitea.json")
	for _, c := range []struct {
		name         string
		all, page    int
		total        string // X-Total-Count; empty: none
		found        int
		said, ignore string
	}{
		{name: "as many as fit", all: 120, page: 50, total: "120", found: 120},
		{name: "smaller pages than asked for", all: 70, page: 30, total: "70", found: 70},
		{name: "without a count", all: 120, page: 50, found: 120},
		{name: "none", all: 0, page: 50, total: "0", found: 0},
		{name: "fewer than it says", all: 60, page: 50, total: "100", found: 60, said: "malformed: the upstream says that there are 100, and gave 60"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := scan.Look(t.Context(), target(t, scan.Gitea, full.with(deployKeys, func(w http.ResponseWriter, q *http.Request) {
				page, _ := strconv.Atoi(q.URL.Query().Get("page"))
				if c.total != "" {
					w.Header().Set("X-Total-Count", c.total)
				}
				first := (page - 1) * c.page
				keysFrom(w, first, max(min(c.page, c.all-first), 0))
			})))
			if n := of(r, "write-outside", "gitea:deploy_key/acme/payments/"); n != c.found {
				t.Errorf("%d keys were found, not %d", n, c.found)
			}
			if said := why(r, keysOf); said != c.said {
				t.Errorf("said is %q, not %q", said, c.said)
			}
		})
	}
}

// What was read before an answer failed is judged, and the rest is said to be unseen.
func TestAListBreaksOff(t *testing.T) {
	full := load(t, "gitea.json")
	r := scan.Look(t.Context(), target(t, scan.Gitea, full.with(deployKeys, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Query().Get("page") != "1" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Total-Count", "100")
		keysFrom(w, 0, 50)
	})))
	if n := of(r, "write-outside", "gitea:deploy_key/acme/payments/"); n != 50 {
		t.Errorf("%d keys were found, not 50", n)
	}
	if said := why(r, keysOf); !strings.Contains(said, "only the first 50 are here") {
		t.Errorf("said is %q", said)
	}
}

// GitHub's pages are followed by the query of the link alone: no other address is ever asked.
func TestPagesOfGitHub(t *testing.T) {
	full := load(t, "github.json")
	const path = "/repos/acme/payments/keys"
	for name, link := range map[string]string{
		"its own":      `<%s/repos/acme/payments/keys?page=%d>; rel="next", <https://x/?page=9>; rel="last"`,
		"another host": `<https://elsewhere.example/steal?page=%[2]d>; rel="next"%.0[1]s`,
	} {
		t.Run(name, func(t *testing.T) {
			var up scan.Target
			up = target(t, scan.GitHub, full.with(path, func(w http.ResponseWriter, q *http.Request) {
				page := max(atoi(q.URL.Query().Get("page")), 1)
				if page < 3 {
					w.Header().Set("Link", fmt.Sprintf(link, up.URL, page+1))
				}
				keysFrom(w, page*100, 2)
			}))
			r := scan.Look(t.Context(), up)
			if n := of(r, "write-outside", "github:deploy_key/acme/payments/"); n != 6 {
				t.Errorf("%d keys were found, not 6", n)
			}
			if said := why(r, keysOf); said != "" {
				t.Errorf("said is %q", said)
			}
		})
	}
	t.Run("in a circle", func(t *testing.T) {
		r := scan.Look(t.Context(), target(t, scan.GitHub, full.with(path, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`<https://x/?page=%d>; rel="next"`, atoi(q.URL.Query().Get("page"))%2+1))
			keysFrom(w, 0, 1)
		})))
		if said := why(r, keysOf); !strings.Contains(said, "same page again and again") {
			t.Errorf("said is %q", said)
		}
	})
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

// A cluster gives lists in parts.
func TestPagesOfKubernetes(t *testing.T) {
	full := load(t, "kubernetes.json")
	const path = "/api/v1/secrets"
	r := scan.Look(t.Context(), target(t, scan.Kubernetes, full.with(path, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Query().Get("fieldSelector") != "type=kubernetes.io/service-account-token" {
			t.Error("all secrets are asked for")
		}
		page, next := q.URL.Query().Get("continue"), ""
		if page != "cc" {
			next = page + "c"
		}
		fmt.Fprintf(w, `{"metadata": {"continue": %q}, "items": [{"metadata": {"name": "t%s", "namespace": "x"}, "type": "kubernetes.io/service-account-token"}]}`, next, page)
	})))
	if n := of(r, "endless-token", "kubernetes:secret/x/"); n != 3 {
		t.Errorf("%d tokens were found, not 3", n)
	}
}

// An upstream that asks for patience has it, up to a bound; then nothing more is asked, and all of the rest is unseen.
func TestPatience(t *testing.T) {
	full := load(t, "gitea.json")
	for _, c := range []struct {
		name   string
		status int
		header http.Header
		times  int // that it asks for patience
		said   string
		waited time.Duration
	}{
		{"a moment", 429, http.Header{"Retry-After": {"2"}}, 2, "", 4 * time.Second},
		{"a date", 503, http.Header{"Retry-After": {now.Add(3 * time.Second).Format(http.TimeFormat)}}, 1, "", 3 * time.Second},
		{"a limit of GitHub's", 403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {strconv.FormatInt(now.Unix()+5, 10)}}, 1, "", 5 * time.Second},
		{"too often", 429, http.Header{"Retry-After": {"1"}}, 100, "limit: the upstream asks for patience", 3 * time.Second},
		{"too long", 429, http.Header{"Retry-After": {"3600"}}, 1, "limit: the upstream asks for patience", 0},
		{"forever", 429, http.Header{"Retry-After": {"99999999999999999999"}}, 100, "limit: the upstream asks for patience", 6 * time.Second},
		{"in the past", 429, http.Header{"Retry-After": {"-5"}}, 1, "", time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			times, after := 0, 0
			var waited time.Duration
			up := target(t, scan.Gitea, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == deployKeys && times < c.times {
					times++
					for k, v := range c.header {
						w.Header()[k] = v
					}
					w.WriteHeader(c.status)
					return
				}
				after++
				full.ServeHTTP(w, q)
			}))
			up.Sleep = func(_ context.Context, d time.Duration) error { waited += d; return nil }
			r := scan.Look(t.Context(), up)
			said := why(r, keysOf)
			if !strings.HasPrefix(said, c.said) || (said == "") != (c.said == "") {
				t.Errorf("said is %q, not %q", said, c.said)
			}
			if waited != c.waited {
				t.Errorf("it waited for %s, not %s", waited, c.waited)
			}
			if c.said != "" && (why(r, "accounts") == "" || after > 10) {
				t.Errorf("it went on asking (%d) or is silent about the rest: %v", after, r.Unseen)
			}
		})
	}
}

// Whatever an upstream sends, a scan ends within its limits and says so.
func TestHostileAnswers(t *testing.T) {
	full := load(t, "gitea.json")
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		said string
	}{
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for b := bytes.Repeat([]byte("[{},"), 1<<14); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, "limit: the answer is larger than"},
		"a list without end": {func(w http.ResponseWriter, q *http.Request) { keysFrom(w, atoi(q.URL.Query().Get("page"))*100, 100) }, "limit: the list does not end"},
		"no JSON":            {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>Sign in</html>") }, "malformed: "},
		"an object":          {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"message": "no"}`) }, "malformed: "},
		"null":               {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `null`) }, "malformed: "},
		"a list of null":     {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[null]`) }, "malformed: "},
		"numbers as texts":   {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[{"id": "one"}]`) }, "malformed: "},
		"deep":               {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("[", 1<<20)) }, "malformed: "},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			io.WriteString(w, `[`)
		}, "unreachable: the answer broke off"},
		"elsewhere": {func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}, "unreachable: the upstream redirects (status 307)"},
		"nothing": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "unreachable: the upstream cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			r := scan.Look(t.Context(), target(t, scan.Gitea, full.with(deployKeys, c.h)))
			if said := why(r, keysOf); !strings.HasPrefix(said, c.said) {
				t.Errorf("said is %.200q, not %q", said, c.said)
			}
		})
	}
}

// A text of the upstream is bounded and never a control of a terminal's own in what is stored as UTF-8.
func TestTextsAreBounded(t *testing.T) {
	full := load(t, "gitea.json")
	r := scan.Look(t.Context(), target(t, scan.Gitea, full.with(deployKeys, func(w http.ResponseWriter, _ *http.Request) {
		b, _ := json.Marshal([]map[string]any{{"id": 1, "title": strings.Repeat("\u00e9\x1b[2J", 1<<16)}})
		w.Write(b)
	})))
	for _, f := range r.Findings {
		if len(f.Text) > 2000 {
			t.Errorf("a sentence of %d bytes", len(f.Text))
		}
	}
}

// Without an answer in time the scan ends, and all of it is unseen.
func TestTheTimeOfAScanIsBounded(t *testing.T) {
	full := load(t, "gitea.json")
	ctx, cancel := context.WithCancel(t.Context())
	r := scan.Look(ctx, target(t, scan.Gitea, full.with(deployKeys, func(_ http.ResponseWriter, q *http.Request) {
		cancel()
		<-q.Context().Done()
	})))
	if said := why(r, keysOf); said != "limit: the time of the scan was over" {
		t.Errorf("said is %q", said)
	}
	if why(r, "accounts") == "" {
		t.Error("it is silent about the rest")
	}
}

// A credential that cannot be had is no reason to look as a stranger and call it clean.
func TestNoCredential(t *testing.T) {
	up := target(t, scan.Kubernetes, load(t, "kubernetes.json"))
	up.Auth = func(*http.Request) error { return fmt.Errorf("the file s3cret is gone") }
	r := scan.Look(t.Context(), up)
	if len(r.Findings) > 0 || r.Complete() || len(r.Unseen) < 8 {
		t.Errorf("%+v", r)
	}
	if b, _ := json.Marshal(r); bytes.Contains(b, []byte("s3cret")) {
		t.Error("the report quotes why")
	}
	if sent := up.Transport.(*readOnly).sent; sent != 0 {
		t.Errorf("%d requests were sent", sent)
	}
}

// An upstream that a scan cannot look at is not clean.
func TestOtherKinds(t *testing.T) {
	for _, kind := range []string{remit.KindLocal, remit.KindHTTP, remit.KindMCP, remit.KindOIDC, remit.KindCommand, "ssh", ""} {
		up := target(t, kind, answers{})
		if r := scan.Look(t.Context(), up); r.Complete() || len(r.Unseen) != 1 || up.Transport.(*readOnly).sent != 0 {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}

// A registry is looked at as a stranger does.
func TestRegistry(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want []string
	}{
		{"open", func(w http.ResponseWriter, q *http.Request) {
			switch q.URL.Path {
			case "/v2/":
			case "/v2/_catalog":
				if q.URL.Query().Get("last") == "" {
					w.Header().Set("Link", `</v2/_catalog?last=a&n=1000>; rel="next"`)
				}
				io.WriteString(w, `{"repositories": ["a"]}`)
			default:
				io.WriteString(w, `{"name": "acme/payments", "tags": null}`)
			}
		}, []string{"anonymous registry:anonymous"}},
		{"closed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://remit.acme.example/token",service="x"`)
			w.WriteHeader(401)
		}, nil},
		{"tokens of others", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer service="x",realm="http://auth.elsewhere.example/token"`)
			w.WriteHeader(401)
		}, []string{"hook-outside registry:realm", "insecure-hook registry:realm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := scan.Look(t.Context(), target(t, scan.Registry, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Header.Get("Authorization") != "" {
					t.Error("a stranger has a credential")
				}
				c.h(w, q)
			})))
			if got := found(r); !slices.Equal(got, c.want) {
				t.Errorf("found %v, not %v", got, c.want)
			}
			if r.Complete() || why(r, "robots, users and keys of the registry") == "" {
				t.Errorf("a registry tells all: %+v", r.Unseen)
			}
			for _, g := range r.Unseen {
				if g.Code != "unsupported" && c.name != "open" {
					t.Errorf("unseen: %+v", g)
				}
			}
		})
	}
}

// A report as SARIF has a result for each finding, and its run fails if anything was not seen.
func TestSARIF(t *testing.T) {
	for _, kind := range []string{scan.Gitea, scan.GitHub, scan.Kubernetes} {
		r := scan.Look(t.Context(), target(t, kind, load(t, kind+".json")))
		var out bytes.Buffer
		if err := sarif.Write(&out, scan.SARIF(r, "test", nil)); err != nil {
			t.Fatal(err)
		}
		var log struct {
			Runs []struct {
				Invocations []struct{ ExecutionSuccessful bool }
				Results     []struct{ PartialFingerprints map[string]string }
			}
		}
		if err := json.Unmarshal(out.Bytes(), &log); err != nil {
			t.Fatal(err)
		}
		if run := log.Runs[0]; len(run.Results) != len(r.Findings) || run.Invocations[0].ExecutionSuccessful {
			t.Errorf("%s: %d results of %d findings, successful %t", kind, len(run.Results), len(r.Findings), run.Invocations[0].ExecutionSuccessful)
		}
	}
}

// FuzzLook: no answer makes a scan fall over, or go on forever, or be silent about what it did not understand.
func FuzzLook(f *testing.F) {
	for i, kind := range []string{scan.Gitea, scan.GitHub, scan.Kubernetes, scan.Registry} {
		if kind != scan.Registry {
			for _, body := range load(f, kind+".json") {
				f.Add(uint8(i), []byte(body))
			}
		}
	}
	f.Add(uint8(3), []byte(`{"repositories": ["a"]}`))
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		kind := []string{scan.Gitea, scan.GitHub, scan.Kubernetes, scan.Registry}[i%4]
		up := target(t, kind, nil)
		asked := 0
		up.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if asked++; asked > 10_000 {
				t.Fatal("it asks forever")
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
		})
		r := scan.Look(t.Context(), up)
		if r.Complete() {
			t.Error("complete")
		}
		if err := sarif.Write(io.Discard, scan.SARIF(r, "test", nil)); err != nil {
			t.Error(err)
		}
		for _, reach := range r.Reach {
			for _, p := range reach.Resources {
				if _, err := remit.ParsePattern(string(p)); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An upstream that is gone is not asked again for every thing that there may be.
func TestAnUpstreamThatIsGoneIsLeftAlone(t *testing.T) {
	up := target(t, scan.Gitea, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if r := scan.Look(t.Context(), up); len(r.Findings) != 2 && len(r.Unseen) < 10 { // two branches of which nobody knows
		t.Errorf("%+v", r)
	}
	if sent := up.Transport.(*readOnly).sent; sent > 2 {
		t.Errorf("%d requests were sent", sent)
	}
}

// Where nobody may see how a branch is protected, a key is taken to reach it; where it is seen, it is not.
func TestReachIsNeverLessThanWhatIsKnown(t *testing.T) {
	full := load(t, "gitea.json")
	except := func(h http.Handler) []remit.Pattern {
		for _, e := range scan.Look(t.Context(), target(t, scan.Gitea, h)).Reach {
			if e.Credential == "gitea:deploy_key/acme/payments/2" {
				return e.Except
			}
		}
		t.Fatal("the key reaches nothing")
		return nil
	}
	if got := except(full); len(got) > 0 {
		t.Errorf("where deploy keys may push to main, except is %v", got)
	}
	const rules = "/api/v1/repos/acme/payments/branch_protections"
	full[rules] = bytes.Replace(full[rules], []byte(`"push_whitelist_deploy_keys": true`), []byte(`"push_whitelist_deploy_keys": false`), 1)
	if got := except(full); !slices.Equal(got, []remit.Pattern{"refs/heads/main"}) {
		t.Errorf("where main is protected, except is %v", got)
	}
	if got := except(full.with(rules, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })); len(got) > 0 {
		t.Errorf("where nobody knows, except is %v", got)
	}
}

// GitHub leaves out who bypasses a ruleset for who may not change it: that is a gap, not nobody.
func TestWhoBypassesARulesetIsNotTold(t *testing.T) {
	full := load(t, "github.json")
	full["/repos/acme/payments/rulesets/11"] = json.RawMessage(`{"id": 11, "name": "releases", "enforcement": "active"}`)
	r := scan.Look(t.Context(), target(t, scan.GitHub, full))
	if said := why(r, `who bypasses ruleset "releases" of acme/payments`); !strings.HasPrefix(said, "forbidden: ") {
		t.Errorf("said is %q", said)
	}
}
