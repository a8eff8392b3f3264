package git

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// commands is a command section with the usual capabilities.
func commands(c ...pktline.Command) []byte {
	return pktline.AppendPush(nil, c, []string{"report-status", "agent=attack"})
}

func lines(l ...string) []byte {
	var b []byte
	for _, s := range l {
		b = pktline.Append(b, s)
	}
	return pktline.AppendFlush(b)
}

// What stands between git's own spelling of a request and others is refused before anything is asked.
func TestPathsThatCouldBeReadTwice(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/v1/orgs/acme/git/forge/acme/payments.git/info/refs", // dumb HTTP
		"/v1/orgs/acme/git/forge/acme/payments.git/info/refs?service=git-upload-archive",
		"/v1/orgs/acme/git/forge/acme/payments.git/info/refs?service=git-upload-pack&service=git-receive-pack",
		"/v1/orgs/acme/git/forge/acme/payments.git/info/refs?service=git-upload-pack&x=1",
		"/v1/orgs/acme/git/forge/acme/payments.git/info/refs?service=git%2Dupload%2Dpack",
		"/v1/orgs/acme/git/forge/acme/payments.git/HEAD",
		"/v1/orgs/acme/git/forge/acme/payments.git/objects/info/packs",
		"/v1/orgs/acme/git/forge/acme/payments.git/git-upload-archive",
		"/v1/orgs/acme/git/forge/acme/payments.git/git-receive-pack",
		"/v1/orgs/acme/git/forge/acme%2Fpayments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/..%2fpayments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/../acme/payments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/%2e%2e/acme/payments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge//acme/payments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/payments.git%00/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/pay%0aments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/payments.git;x/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme%5cpayments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/payments%252egit/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/p%ffyments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/info/refs?service=git-upload-pack",
		"/v1/orgs/other/git/forge/acme/payments.git/info/refs?service=git-upload-pack",
		"/v1/orgs/acme/git/forge/acme/other.git/info/refs?service=git-upload-pack",
	} {
		conn, err := net.Dial("tcp", w.srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// As it stands, without a client that tidies it.
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWdlbnQ6dGFzay10b2tlbg==\r\nConnection: close\r\n\r\n", path)
		text, _ := io.ReadAll(conn)
		conn.Close()
		if !bytes.HasPrefix(text, []byte("HTTP/1.1 4")) || !bytes.Contains(text, []byte("remit: ")) {
			t.Errorf("%s: %.300s", path, text)
		}
	}
	if w.count() != 0 {
		t.Error("the authority was asked")
	}
	// The suffix .git is optional.
	w.git("", "ls-remote", strings.TrimSuffix(w.url(), ".git"))
}

func TestHeadersThatGitNeverSends(t *testing.T) {
	w := newWorld(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(commands(pktline.Command{New: strings.Repeat("a", 40), Ref: "refs/heads/x"}))
	z.Close()
	encoded := func(e string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Encoding", e) }
	}
	for _, tt := range []struct {
		name, typ string
		tune      []func(*http.Request)
	}{
		{"mixed case", "Application/X-git-receive-pack-request", nil},
		{"a parameter", receiveType + "; charset=utf-8", nil},
		{"another type", "application/octet-stream", nil},
		{"the type of a fetch", "application/x-git-upload-pack-request", nil},
		{"two types", receiveType, []func(*http.Request){func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }}},
		{"gzip", receiveType, []func(*http.Request){encoded("gzip")}},
		{"x-gzip", receiveType, []func(*http.Request){encoded("x-gzip")}},
		{"deflate", receiveType, []func(*http.Request){encoded("deflate")}},
		{"gzip twice", receiveType, []func(*http.Request){encoded("gzip, gzip")}},
		{"identity", receiveType, []func(*http.Request){encoded("identity")}},
	} {
		if status, text := w.post(receivePath, tt.typ, bytes.NewReader(zipped.Bytes()), tt.tune...); status != 415 {
			t.Errorf("%s: %d %s", tt.name, status, text)
		}
	}
	if w.count() != 0 {
		t.Error("the authority was asked")
	}
	w.clean(0)
}

func TestCommandsThatGitNeverSends(t *testing.T) {
	w := newWorld(t)
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	head := a + " " + b + " refs/heads/x\x00 report-status"
	for name, body := range map[string][]byte{
		"the same ref twice":    lines(head, a+" "+b+" refs/heads/x"),
		"twice but for case":    lines(head, a+" "+b+" refs/heads/X"),
		"an upper-case id":      lines(strings.ToUpper(a) + " " + b + " refs/heads/x\x00 report-status"),
		"a short id":            lines(a[:39] + " " + b + " refs/heads/x\x00 report-status"),
		"an id of SHA-256":      lines(a + a[:24] + " " + b + b[:24] + " refs/heads/x\x00 report-status"),
		"NUL on a later line":   lines(head, a+" "+b+" refs/heads/y\x00 atomic"),
		"a line feed in a name": lines(a + " " + b + " refs/heads/x\ny\x00 report-status"),
		"not offered":           lines(a + " " + b + " refs/heads/x\x00 report-status cruft"),
		"push options":          append(lines(a+" "+b+" refs/heads/x\x00 report-status push-options"), lines("ci.skip")...),
		"a push certificate":    lines("push-cert\x00 report-status", "certificate version 0.1\n"),
		"a delimiter packet":    []byte("0001"),
		"packet 0002":           []byte("0002"),
		"packet 0003":           []byte("0003"),
		"packet 0004":           []byte("0004"),
		"a length of 0x1f":      []byte("0x1f"),
		"ffff":                  []byte("ffff"),
		"a mebibyte of lines":   bytes.Repeat(pktline.Append(nil, "shallow "+a), 30_000),
		"fifty-one refs":        manyCommands(51),
		"nothing":               {},
		"refs/replace":          lines(a + " " + b + " refs/replace/" + a + "\x00 report-status"),
		"refs/pull":             lines(a + " " + b + " refs/pull/1/head\x00 report-status"),
		"a direction mark":      lines(a + " " + b + " refs/heads/\u202emain\x00 report-status"),
	} {
		status, text := w.post(receivePath, receiveType, bytes.NewReader(body))
		if !strings.Contains(text, "ng refs/") && status < 400 {
			t.Errorf("%s: %d %q", name, status, text)
		}
	}
	if w.count() != 0 {
		t.Error("the authority was asked")
	}
	w.clean(0)
}

func manyCommands(n int) []byte {
	var c []pktline.Command
	for i := range n {
		c = append(c, pktline.Command{New: strings.Repeat("a", 40), Ref: fmt.Sprintf("refs/heads/x%d", i)})
	}
	return commands(c...)
}

func TestPacksThatGitNeverSends(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	base := w.git(dir, "rev-parse", "HEAD")
	w.write(dir, "a", "a\n")
	tip := w.commit(dir, "a")
	good := packOf(t, w, dir, tip, base)
	create := commands(pktline.Command{New: tip, Ref: "refs/heads/x"})
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, body := range map[string][]byte{
		"bytes behind the pack":           append(append(bytes.Clone(create), good...), "GARBAGE"...),
		"a second pack":                   append(append(bytes.Clone(create), good...), good...),
		"a pack cut short":                append(bytes.Clone(create), good[:len(good)-5]...),
		"a damaged pack":                  append(bytes.Clone(create), flipped...),
		"no pack":                         create,
		"a pack of another commit":        append(commands(pktline.Command{New: strings.Repeat("c", 40), Ref: "refs/heads/x"}), good...),
		"bytes behind a deletion":         append(commands(pktline.Command{Old: base, Ref: "refs/heads/main"}), good...),
		"history that is not there":       append(bytes.Clone(create), packOf(t, w, dir, tip, tip+"^{tree}", base)...),
		"a name that exists but for case": append(commands(pktline.Command{New: tip, Ref: "refs/heads/Main"}), good...),
		"a branch below a branch":         append(commands(pktline.Command{New: tip, Ref: "refs/heads/main/x"}), good...),
	} {
		_, text := w.post(receivePath, receiveType, bytes.NewReader(body))
		if !strings.Contains(text, "ng refs/heads/") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if r, _ := w.last(); r.Steps != nil {
		t.Errorf("the authority was asked: %+v", r)
	}
	if w.at("refs/heads/x") != "" {
		t.Error("something arrived")
	}
	// The same bytes, unspoilt, are taken: chunked, and after 100-continue.
	_, text := w.post(receivePath, receiveType, io.MultiReader(bytes.NewReader(create), bytes.NewReader(good)), func(r *http.Request) {
		r.Header.Set("Expect", "100-continue")
	})
	if !strings.Contains(text, "ok refs/heads/x") || w.at("refs/heads/x") != tip {
		t.Errorf("%q", text)
	}
	w.clean(0)
}

func TestProbeIsAnsweredEmpty(t *testing.T) {
	w := newWorld(t)
	if status, text := w.post(receivePath, receiveType, strings.NewReader("0000")); status != 200 || text != "" {
		t.Errorf("%d %q", status, text)
	}
	if status, _ := w.post(receivePath, receiveType, strings.NewReader("0001")); status != 400 {
		t.Errorf("four other bytes: %d", status)
	}
}

func TestLFSIsRefusedInItsOwnTerms(t *testing.T) {
	w := newWorld(t)
	status, text := w.post("/v1/orgs/acme/git/forge/acme/payments.git/info/lfs/objects/batch", "application/vnd.git-lfs+json", strings.NewReader("{}"))
	if status != 403 || !strings.Contains(text, `{"message":"Git LFS is not passed through`) {
		t.Errorf("%d %q", status, text)
	}
}

// The upstream sees Remit's credentials and nothing of the client's; TLS with a private CA.
func TestNothingOfTheClientsHeadersGoesUpstream(t *testing.T) {
	var mu sync.Mutex
	var seen []*http.Request
	w := newWorld(t, func(w *world, _ *Config) {
		local := passOn(w.repo.Transport)
		base, transport := w.server(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen = append(seen, r)
			mu.Unlock()
			local.ServeHTTP(rw, r)
		}))
		w.repo.URL, w.repo.Transport = base+"/acme/payments.git", transport
		w.repo.Observer = func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer observer")
			return nil
		}
	})
	dir := w.clone()
	tip := w.commit(dir, "x")
	w.git(dir, "-c", "http.extraHeader=Cookie: a=b", "-c", "http.extraHeader=X-Forwarded-For: 10.0.0.1", "push", "-q", "origin", "HEAD:refs/heads/x")
	if w.at("refs/heads/x") != tip {
		t.Error("it did not arrive")
	}
	for _, r := range seen {
		user, password, basic := r.BasicAuth()
		push := strings.Contains(r.URL.String(), receivePack)
		if push && (user != "remit" || password != "upstream-secret" || r.Header.Get("Git-Protocol") != "") {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
		if basic && password == "task-token" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
	}
}

func TestUpstreamThatAnswersNonsense(t *testing.T) {
	for _, tt := range []struct {
		name string
		next http.HandlerFunc
		want string
	}{
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "answers with type"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example"+r.URL.Path, http.StatusFound)
		}, "redirects to evil.example"},
		{"not found", http.NotFound, "no such repository"},
		{"unauthorized", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "does not accept Remit's credential"},
		{"a failure", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		{"a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "cannot be reached"},
		{"the right type, then nonsense", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-"+r.URL.Query().Get("service")+"-advertisement")
			io.WriteString(w, "zzzz")
		}, "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(w *world, _ *Config) {
				w.repo.URL, w.repo.Transport = w.server(tt.next)
			})
			dir := t.TempDir()
			w.git("", "init", "-q", dir)
			w.commit(dir, "x")
			out, err := w.try(dir, "push", w.url(), "HEAD:refs/heads/x")
			if err == nil || !strings.Contains(out, tt.want) || !strings.Contains(out, "code=UPSTREAM_UNAVAILABLE") {
				t.Errorf("%v\n%s", err, out)
			}
			if _, res := w.last(); res.Outcome != remit.NotApplied || res.Code != remit.UpstreamDown {
				t.Errorf("recorded %+v", res)
			}
		})
	}
}

// fault stands between the gateway and the upstream, and breaks one kind of request.
type fault struct {
	next   http.RoundTripper
	before func(*http.Request) error // instead of sending
	after  func(*http.Response) error
}

func (f *fault) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == "POST" && strings.HasSuffix(r.URL.Path, receivePack) {
		if f.before != nil {
			if err := f.before(r); err != nil {
				return nil, err
			}
		}
		res, err := f.next.RoundTrip(r)
		if err == nil && f.after != nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			return nil, f.after(res)
		}
		return res, err
	}
	return f.next.RoundTrip(r)
}

func TestPushWithoutAnAnswer(t *testing.T) {
	lost := fmt.Errorf("connection lost")
	for _, tt := range []struct {
		name    string
		fault   fault
		want    remit.Outcome
		arrived bool
	}{
		{"before anything was sent", fault{before: func(*http.Request) error { return lost }}, remit.NotApplied, false},
		{"in the middle", fault{before: func(r *http.Request) error { io.CopyN(io.Discard, r.Body, 20); return lost }}, remit.NotApplied, false},
		{"after all was sent, not applied", fault{before: func(r *http.Request) error { io.Copy(io.Discard, r.Body); return lost }}, remit.Ambiguous, false},
		{"after it was applied", fault{after: func(*http.Response) error { return lost }}, remit.Done, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.clone()
			w.commit(dir, "x")
			tt.fault.next = w.repo.Transport
			w.reach(&tt.fault)
			out, err := w.try(dir, "push", "origin", "HEAD:refs/heads/x")
			r, res := w.last()
			if res.Outcome != tt.want || (err == nil) != tt.arrived || (w.at("refs/heads/x") != "") != tt.arrived {
				t.Errorf("%+v, %v\n%s", res, err, out)
			}
			after := w.gw.Reconcile(t.Context(), remit.Order{Body: r.Order})
			if want := map[bool]remit.Outcome{true: remit.Done, false: remit.NotApplied}[tt.arrived]; after.Outcome != want {
				t.Errorf("reconciled: %+v", after)
			}
			w.clean(0)
		})
	}
}

func TestPushesAtOnceAreLimited(t *testing.T) {
	w := newWorld(t, func(_ *world, c *Config) { c.PushesPerTask = 1 })
	free, err := w.gw.admit("T-1")
	if err != nil {
		t.Fatal(err)
	}
	status, text := w.post(receivePath, receiveType, bytes.NewReader(manyCommands(1)))
	if status != 503 || !strings.Contains(text, "code=OVERLOAD") {
		t.Errorf("%d %s", status, text)
	}
	free()
	w.clean(0)
}

func TestClientThatLeavesInThePackLeavesNothing(t *testing.T) {
	w := newWorld(t)
	begun := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	body := io.MultiReader(bytes.NewReader(manyCommands(1)), strings.NewReader("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), &until{begun: begun, ctx: ctx})
	req, err := http.NewRequestWithContext(ctx, "POST", w.srv.URL+receivePath, body)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("agent", "task-token")
	req.Header.Set("Content-Type", receiveType)
	go func() {
		<-begun
		cancel()
	}()
	if _, err := http.DefaultTransport.RoundTrip(req); err == nil {
		t.Error("the request was answered")
	}
	w.clean(0)
}

// until tells that it is read, and then waits for the end.
type until struct {
	begun chan struct{}
	ctx   context.Context
}

func (u *until) Read([]byte) (int, error) {
	close(u.begun)
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}

func TestRemoteUpstreams(t *testing.T) {
	for _, bad := range []string{"http://forge.example", "http://127.0.0.1:1", "https://user:pw@forge.example", "ftp://forge.example", "forge.example", "https://x/?q"} {
		if _, err := NewRemote(RemoteConfig{URL: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, metadata := range []string{"localhost.localdomain:1", "169.254.169.254"} {
		transport, err := NewRemote(RemoteConfig{URL: "https://forge.example"})
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest("GET", "https://"+metadata+"/", nil)
		if _, err := transport.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "is not the declared upstream") {
			t.Errorf("%s: %v", metadata, err)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{"/p/forge/acme/x.git/info/refs?service=git-upload-pack", "/p/a/b/git-receive-pack", "/p/a/%2e%2e/git-upload-pack", "/p/a/b/info/lfs/x"} {
		f.Add("GET", s)
		f.Add("POST", s)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		rt, err := parseRoute("/p", &http.Request{Method: method, URL: u})
		if err != nil {
			return
		}
		if strings.Contains(rt.repo, "..") && strings.Contains("/"+rt.repo+"/", "/../") || strings.ContainsAny(rt.repo, "\\;\x00 ") || rt.repo == "" {
			t.Fatalf("%q gives %+v", target, rt)
		}
		if _, err := remit.ParseResource("repo:" + rt.repo); err != nil {
			t.Fatalf("%q gives %+v: %v", target, rt, err)
		}
	})
}
