//go:build interop && unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

// street is a whole binary beside real servers: remit server and its executor are processes of their own, agents run under
// remit run, people sign with keys.
type street struct {
	*testing.T
	dir, bin, data string
	url            string
	env            []string
	people         map[string]string // name → key file
	server         *process
	agents         map[string]*hand
}

func newStreet(t *testing.T) *street {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		missingProgram(t, "git is missing; install it (Debian: git)")
	}
	s := &street{T: t, dir: t.TempDir(), bin: t.TempDir(), people: map[string]string{}, agents: map[string]*hand{}}
	s.data = filepath.Join(s.dir, "data")
	s.ok(copySelf(filepath.Join(s.bin, "remit")))
	run, err := os.MkdirTemp("", "ri") // names of sockets have at most 108 bytes
	s.ok(err)
	t.Cleanup(func() { os.RemoveAll(run) })
	home := filepath.Join(s.dir, "home")
	s.ok(os.MkdirAll(home, 0o700))
	s.ok(os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[init]\n\tdefaultBranch = main\n[user]\n\tname = Dev\n\temail = dev@localhost\n[safe]\n\tdirectory = *\n"), 0o600))
	s.env = []string{"PATH=" + s.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + run, "TMPDIR=" + os.TempDir(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}
	for _, p := range []string{"ana", "ben", "cem", "dan"} {
		s.people[p], err = makeKey(filepath.Join(s.dir, "people"), p)
		s.ok(err)
	}
	ana, err := os.ReadFile(s.people["ana"] + ".pub")
	s.ok(err)
	// In the profile demo votes from the machine of the agents count; all of this is one machine.
	s.ok(found(t.Context(), Founding{Data: s.data, Org: "acme", Profile: remit.Demo, Admin: "ana", Keys: []string{string(ana)}}))
	s.start()
	s.env = append(s.env, "REMIT_SERVER="+s.url, "REMIT_ORG=acme", "REMIT_CA="+filepath.Join(s.data, "ca.crt"))
	return s
}

func missingProgram(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func (s *street) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// start starts the server, at the same address as before. Work of zone P waits for an executor of its own.
func (s *street) start() {
	s.Helper()
	listen := "127.0.0.1:0"
	if u, err := url.Parse(s.url); err == nil && u.Host != "" {
		listen = u.Host
	}
	p, line := s.serve("server", regexp.MustCompile(` at (https://\S+);`), "server", "--data", s.data, "--listen", listen, "--executors", "S,B")
	s.server, s.url = p, line
}

// stop ends the server as its keeper would.
func (s *street) stop() {
	s.Helper()
	s.server.signal(syscall.SIGTERM)
	select {
	case <-s.server.done:
	case <-time.After(patience):
		s.Fatal("the server does not end")
	}
}

// serve starts remit as a process that goes on, waits for a line of it, and gives what the pattern finds there.
func (s *street) serve(name string, ready *regexp.Regexp, args ...string) (*process, string) {
	s.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	s.ok(err)
	defer log.Close()
	out, in, err := os.Pipe()
	s.ok(err)
	cmd := s.command("ana", args...)
	cmd.Stdout, cmd.Stderr = in, log
	p, err := startProcess(cmd)
	in.Close()
	s.ok(err)
	s.Cleanup(func() {
		p.kill()
		out.Close()
		if s.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.Logf("what %s said:\n%s", name, text[max(0, len(text)-12<<10):])
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	m := ready.FindStringSubmatch(line)
	if err != nil || m == nil {
		s.Fatalf("%s says %q (%v)", name, line, err)
	}
	return p, m[1]
}

func (s *street) command(who string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, "remit"), args...)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clone(s.env), "REMIT_KEY="+s.people[who])
	return cmd
}

// remit runs a command line of a person, which has to succeed.
func (s *street) remit(who string, args ...string) string {
	s.Helper()
	var stdout, stderr bytes.Buffer
	cmd := s.command(who, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.Fatalf("%s: remit %s: %v\n%s%s", who, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func (s *street) declare(set *remit.Declarations) {
	s.Helper()
	for p, key := range s.people {
		line, err := os.ReadFile(key + ".pub")
		s.ok(err)
		set.People = append(set.People, remit.Person{Name: p, Keys: []string{strings.TrimSpace(string(line))}})
	}
	dir := filepath.Join(s.dir, "declarations")
	s.ok(os.MkdirAll(dir, 0o700))
	for name, body := range declare.Write(set) {
		s.ok(os.WriteFile(filepath.Join(dir, name), body, 0o600))
	}
	s.remit("ana", "apply", "-f", dir)
}

// secret keeps a credential of Remit's own in a file.
func (s *street) secret(name, value string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	s.ok(os.WriteFile(path, []byte(value), 0o600))
	return path
}

// person is a session of a person.
func (s *street) person(who string) *signed {
	s.Helper()
	env := func(name string) (string, bool) {
		if name == "REMIT_KEY" {
			return s.people[who], true
		}
		for _, kv := range s.env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
	c, err := (&app{ctx: s.Context(), stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: env, now: time.Now}).connect(s.Context())
	s.ok(err)
	return c
}

// refuse has a person try to approve, which must not work.
func (s *street) refuse(id remit.ID, who string) {
	s.Helper()
	if _, err := castVote(s.Context(), s.person(who).Client, id, s.people[who], true); err == nil {
		s.Fatalf("%s could approve %s", who, id)
	}
}

// approve has people vote, and waits until what was held is done.
func (s *street) approve(said string, people ...string) remit.AccessView {
	s.Helper()
	return s.await(s.vote(said, people...), people[0])
}

// vote has people vote on what an agent was told is held.
func (s *street) vote(said string, people ...string) remit.ID {
	s.Helper()
	m := regexp.MustCompile(`\b(A-[0-9]+)\b`).FindStringSubmatch(said)
	if m == nil {
		s.Fatalf("nothing was held:\n%s", said)
	}
	id := remit.ID(m[1])
	s.refuse(id, "ana") // who requested all of it
	for i, who := range people {
		card, err := castVote(s.Context(), s.person(who).Client, id, s.people[who], true)
		s.ok(err)
		if i+1 < len(people) && card.Status != remit.AccessOpen {
			s.Fatalf("%s is %s after %d of %d votes", id, card.Status, i+1, len(people))
		}
	}
	return id
}

// await waits until what was approved is done.
func (s *street) await(id remit.ID, who string) remit.AccessView {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for {
		card, err := s.person(who).WaitAccess(ctx, id, "", nil)
		s.ok(err)
		switch {
		case card.Status == remit.AccessVoid, card.Status == remit.AccessUsed && card.Outcome != remit.Done:
			s.Fatalf("%s is %s, %s, %s: %s", id, card.Status, card.Why, card.Outcome, card.Receipt)
		case card.Status == remit.AccessUsed:
			return card
		}
	}
}

// hand is an agent's shell under remit run.
type hand struct {
	*street
	name string
	in   *os.File
	out  *bufio.Reader
	proc *process
}

// begin starts an agent on a task.
func (s *street) begin(name string, task string) *hand {
	s.Helper()
	dir := filepath.Join(s.dir, "agents", name)
	s.ok(os.MkdirAll(dir, 0o700))
	inR, inW, err := os.Pipe()
	s.ok(err)
	outR, outW, err := os.Pipe()
	s.ok(err)
	cmd := s.command("ana", "run", "--task", task, "--", "sh")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, inR, outW, outW
	p, err := startProcess(cmd)
	inR.Close()
	outW.Close()
	s.ok(err)
	h := &hand{street: s, name: name, in: inW, out: bufio.NewReader(outR), proc: p}
	s.Cleanup(func() { p.kill(); inW.Close(); outR.Close() })
	s.agents[name] = h
	h.do("export GIT_AUTHOR_NAME=" + name + " GIT_AUTHOR_EMAIL=" + name + "@localhost GIT_COMMITTER_NAME=" + name + " GIT_COMMITTER_EMAIL=" + name + "@localhost")
	return h
}

// try has the agent do one line and gives what it says and its exit code.
func (h *hand) try(line string) (string, int) {
	h.Helper()
	if _, err := fmt.Fprintf(h.in, "{ %s\n} 2>&1 </dev/null; code=$?; echo; echo %s$code\n", line, told); err != nil {
		h.Fatalf("%s: %v", h.name, err)
	}
	late := time.AfterFunc(patience, h.proc.kill)
	defer late.Stop()
	var b strings.Builder
	for {
		text, err := h.out.ReadString('\n')
		if err != nil {
			h.Fatalf("%s: `%s`: it ended: %v\n%s", h.name, line, err, b.String())
		}
		if rest, end := strings.CutPrefix(text, told); end {
			code := 0
			_, err := fmt.Sscan(rest, &code)
			h.ok(err)
			return strings.TrimSpace(b.String()), code
		}
		b.WriteString(text)
	}
}

// do has it do a line that must succeed.
func (h *hand) do(line string) string {
	h.Helper()
	said, code := h.try(line)
	if code != 0 {
		h.Fatalf("%s: `%s` ended with %d:\n%s", h.name, line, code, said)
	}
	return said
}

// denied has it do a line that must fail with something said.
func (h *hand) denied(line, why string) {
	h.Helper()
	said, code := h.try(line)
	if code == 0 || !regexp.MustCompile(why).MatchString(said) {
		h.Fatalf("%s: `%s` ended with %d, and not for %s:\n%s", h.name, line, code, why, said)
	}
}

var requested = regexp.MustCompile(`task (T-[0-9]+) is made`)

// ask has it ask for work of another agent, and gives that task.
func (h *hand) ask(flags string) string {
	h.Helper()
	m := requested.FindStringSubmatch(h.do("remit task request " + flags))
	if m == nil {
		h.Fatalf("%s: no task was made by %s", h.name, flags)
	}
	return m[1]
}

// forge makes a request to the forge's API through Remit, with the agent's own token. The answer is read into out, if that
// is not nil.
func (h *hand) forge(method, path, body string) (string, int) {
	h.Helper()
	said := h.do("curl -sS --cacert \"$REMIT_CA\" -X " + method + " -H 'Content-Type: application/json' -H \"Authorization: token $(remit token forge)\"" +
		" -w '\\n%{http_code}' -d " + quote(body) + " " + h.url + "/v1/orgs/acme/forge/forge/api/v1" + path)
	text, code, _ := cutLastLine(said)
	status := 0
	_, err := fmt.Sscan(code, &status)
	h.ok(err)
	return text, status
}

func cutLastLine(s string) (before, last string, ok bool) {
	i := strings.LastIndexByte(s, '\n')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// tap stands before a real server, passes everything on as it is, and remembers the credentials that came by: tests ask the
// server itself what has become of them.
type tap struct {
	URL, Host, CA string
	trap          func(*http.Request) // sees each request before it is passed on; nil: nobody does
	mu            sync.Mutex
	seen          []string // Authorization, in the order in which they were first seen
	paths         map[string][]string
}

// newTap is a tap; the address of the server may be said later, with aim.
func newTap(s *street, name string, secure bool, rt http.RoundTripper) (x *tap, aim func(string)) {
	s.Helper()
	x = &tap{paths: map[string][]string{}}
	var to *url.URL
	proxy := &httputil.ReverseProxy{Transport: rt, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		host := r.In.Host // servers name themselves by it
		r.SetURL(to)
		r.Out.Host = host
	}}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.note(r)
		x.mu.Lock()
		trap := x.trap
		x.mu.Unlock()
		if trap != nil {
			trap(r)
		}
		proxy.ServeHTTP(w, r)
	}))
	if secure {
		srv.EnableHTTP2 = true
		srv.StartTLS()
		x.CA = s.secret(name+"-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	} else {
		srv.Start()
	}
	s.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	x.URL = srv.URL
	_, x.Host, _ = strings.Cut(srv.URL, "://")
	return x, func(at string) {
		u, err := url.Parse(at)
		s.ok(err)
		to = u
	}
}

func (x *tap) note(r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := r.Header.Get("Authorization")
	if a == "" {
		return
	}
	if !slices.Contains(x.seen, a) {
		x.seen = append(x.seen, a)
	}
	x.paths[a] = append(x.paths[a], r.Method+" "+r.URL.Path)
}

// set sets the trap.
func (x *tap) set(trap func(*http.Request)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.trap = trap
}

// credentials are those that came by, but for those that are known.
func (x *tap) credentials(known ...string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.seen), func(a string) bool { return slices.Contains(known, a) })
}

// fetch is a GET with the server's CA.
func (s *street) fetch(path string) []byte {
	s.Helper()
	pool, err := os.ReadFile(filepath.Join(s.data, "ca.crt"))
	s.ok(err)
	roots := newPool(pool)
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	r, err := (&http.Client{Transport: t}).Get(s.url + path)
	s.ok(err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(r.Status+" "+string(body)))
	}
	s.ok(err)
	return body
}
