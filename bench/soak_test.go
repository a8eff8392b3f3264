package bench

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/gateway/authzen"
	"github.com/remit-dev/remit/sshsig"
)

const (
	soakParts = 10
	// perEntry is what the server may keep of an entry of the log: tasks that ended, who brought which commit, the story of
	// a task. All of it is looked up by people, so it is in memory.
	perEntry = 250.0
	// slack is what moves of itself: caches that fill, and what happened to live at a collection.
	slack = 6 << 20
)

// sample is what the server takes once nothing is asked of it any more.
type sample struct{ heap, resident, goroutines, files, entries float64 }

// TestSoak puts the program under all kinds of load at once, part after part, and after each part lets it come to rest: what
// it takes then must not grow by more than the log explains. REMIT_SOAK_TIME says for how long (20m is what counts; a few
// seconds show that the load runs), REMIT_SOAK_RACE=1 has the race detector look on.
func TestSoak(t *testing.T) {
	during, err := time.ParseDuration(os.Getenv("REMIT_SOAK_TIME"))
	if err != nil {
		during = 2 * time.Second
	}
	if testing.Short() {
		t.Skip("a load on the whole program")
	}
	var build []string
	if os.Getenv("REMIT_SOAK_RACE") != "" {
		build = []string{"-race"}
		t.Setenv("GORACE", "halt_on_error=1")
	}
	t.Setenv("GOGC", "100") // the next collection comes at twice what lives, so it tells how much that is
	s := newSoak(t, build)
	var all []sample
	for part := range soakParts {
		ctx, cancel := context.WithTimeout(t.Context(), during/soakParts)
		s.load(ctx, part)
		cancel()
		if t.Failed() {
			return
		}
		all = append(all, s.rest())
		t.Logf("part %2d: %+v", part, all[part])
	}
	third := func(from int, of func(sample) float64) float64 {
		var v []float64
		for _, x := range all[from : from+soakParts/3+1] {
			v = append(v, of(x))
		}
		return median(v)
	}
	grown := func(of func(sample) float64) float64 { return third(soakParts-soakParts/3-1, of) - third(0, of) }
	entries := grown(func(x sample) float64 { return x.entries })
	for _, x := range []struct {
		what string
		of   func(sample) float64
		most float64
	}{
		{"the heap", func(x sample) float64 { return x.heap }, slack + perEntry*entries},
		{"goroutines", func(x sample) float64 { return x.goroutines }, 8},
		{"open files", func(x sample) float64 { return x.files }, 8},
	} {
		if by := grown(x.of); by > x.most {
			t.Errorf("%s grew by %.0f over %.0f entries, by at most %.0f expected", x.what, by, entries, x.most)
		}
	}
}

// soak is a house with a forge behind it, and the people who work there.
type soak struct {
	*house
	metrics string
	ben     *client.Client
	benKey  ssh.Signer
	org     remit.OrgInfo
	bare    string
}

func newSoak(t *testing.T, build []string) *soak {
	dir := t.TempDir()
	s := &soak{metrics: freePort(t), bare: filepath.Join(dir, "payments.git")}
	forge := newForge(t, dir)
	history(t, s.bare, 400)
	forgeCA, secret := filepath.Join(dir, "forge.crt"), filepath.Join(dir, "secret")
	for name, text := range map[string][]byte{forgeCA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: forge.Certificate().Raw}), secret: []byte(forgePassword)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var line string
	s.benKey, line = newKey(t)
	from := remit.Source{From: "file", Name: secret, User: "remit"}
	s.house = newHouse(t, remit.Declarations{
		People:       []remit.Person{{Name: "ben", Keys: []string{line}}},
		Upstreams:    []remit.Upstream{{Name: "forge", Kind: remit.KindHTTP, Location: forge.URL, CA: forgeCA, Write: from, Observer: from}},
		Repositories: []remit.Repository{{Name: "forge/payments", DefaultBranch: "main", Effects: &[]remit.Effect{}}},
		Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "ana", Purpose: "codes", Requesters: []string{"reviewers"}, Expires: "2099-01-31",
			Entitlements: []remit.Scope{{Actions: []remit.Action{"source.read", "source.push", "issue.comment"}, Resources: []remit.Pattern{"repo:forge/*"}}}}},
	}, build, "--metrics", s.metrics)
	s.ben = s.signIn(s.benKey)
	var err error
	if s.org, err = s.ana.Org(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// load does all kinds of work until ctx ends, and ends what it began.
func (s *soak) load(ctx context.Context, part int) {
	s.ana, s.ben = s.signIn(s.anaKey), s.signIn(s.benKey) // who signed in is asked to again after ten minutes
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil && !s.b.Failed(); n++ {
				s.life(ctx, n)
			}
		})
	}
	all.Go(func() { s.pushes(ctx, part) })
	all.Wait()
}

// work is a task with one instance, which is held.
type work struct {
	*client.LaunchSession
	client.Instance
	letGo context.CancelFunc
}

func (s *soak) begin() (w work, ok bool) {
	task, err := s.ana.CreateTask(s.b.Context(), remit.TaskRequest{Agent: "coder", Intent: "work as on any day"})
	if !s.fine("a task", err) {
		return w, false
	}
	w.LaunchSession = s.ana.Session()
	if w.Instance, err = w.StartInstance(s.b.Context(), client.InstanceStart{Task: task.ID, Confinement: remit.ConfineUID}); !s.fine("an instance", err) {
		return w, false
	}
	ctx, cancel := context.WithCancel(s.b.Context())
	w.letGo = cancel
	_, err = w.Hold(ctx, w.ID, w.Secret)
	return w, s.fine("holding it", err)
}

func (s *soak) end(w work) {
	s.fine("the end of an instance", w.End(s.b.Context(), w.ID, w.Secret))
	w.letGo()
	s.fine("the end of a task", s.ana.EndTask(s.b.Context(), w.Task, "complete", remit.EndRequest{DropHolds: true}))
}

func (s *soak) fine(what string, err error) bool {
	if err != nil && !s.b.Failed() {
		s.b.Errorf("%s: %v", what, err)
	}
	return err == nil
}

// life is a task from its beginning to its end: tokens that are renewed, and with each one decisions of which every fourth
// is a denial, now a new one, now one that was answered before.
func (s *soak) life(ctx context.Context, n int) {
	w, ok := s.begin()
	if !ok {
		return
	}
	defer s.end(w)
	for renewed := range 3 {
		if ctx.Err() != nil {
			return
		}
		token, _, err := w.Token(s.b.Context(), w.ID, w.Secret, authzen.Name)
		if !s.fine("a token", err) {
			return
		}
		j := &judge{addr: s.addr, roots: s.roots(), yes: `"decision":`}
		for i, action := range []string{"issue.comment", "issue.comment", "source.read", "issue.close"} {
			repo := "payments"
			if i == 3 && renewed > 0 {
				repo = fmt.Sprintf("other-%d", n)
			}
			body := fmt.Sprintf(`{"subject":{"type":"agent","id":"coder"},"action":{"name":%q},"resource":{"type":"repo","id":"forge/%s"}}`, action, repo)
			j.requests = append(j.requests, fmt.Appendf(nil, "POST /v1/orgs/acme/authzen/access/v1/evaluation HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				s.addr, token, len(body), body))
		}
		_, err = j.ask(0, time.Now().Add(100*time.Millisecond))
		if !s.fine("a decision", err) {
			return
		}
	}
}

// pushes is a day of one who codes: pushes of which every third waits for ben, who approves it, or denies it.
func (s *soak) pushes(ctx context.Context, part int) {
	w, ok := s.begin()
	if !ok {
		return
	}
	defer s.end(w)
	dir := filepath.Join(s.b.TempDir(), "work")
	from := way{url: "https://" + s.addr + "/v1/orgs/acme/git/forge/payments.git", ca: filepath.Join(s.dir, "data", "ca.crt")}
	for n := 0; ctx.Err() == nil && !s.b.Failed(); n++ {
		token, _, err := w.Token(s.b.Context(), w.ID, w.Secret, "git")
		if !s.fine("a token", err) {
			return
		}
		from.header = "Bearer " + token
		if n == 0 {
			if out, err := from.try("", "clone", "--quiet", from.url, dir); !s.fine("a clone: "+out, err) {
				return
			}
		}
		if n%30 == 29 { // what nobody merges does not grow for ever: the authority looks back at so many pushes and no further
			if out, err := gitCommand(dir, "reset", "--quiet", "--hard", "origin/main").CombinedOutput(); !s.fine("a reset: "+string(out), err) {
				return
			}
		}
		file, branch := fmt.Sprintf("d%02d/f000.go", n%40), fmt.Sprintf("%s/work%d", w.Branch, (n+1)/30)
		if n%3 == 2 {
			file, branch = ".github/workflows/ci.yml", fmt.Sprint(w.Branch, "/ci", n)
		}
		if !s.fine("a change", errorOf(os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700), os.WriteFile(filepath.Join(dir, file), fmt.Appendf(nil, "# %d %d\n", part, n), 0o600))) {
			return
		}
		for _, args := range [][]string{{"add", "."}, {"commit", "--quiet", "-m", fmt.Sprint("work ", n)}} {
			if out, err := gitCommand(dir, args...).CombinedOutput(); !s.fine("a commit: "+string(out), err) {
				return
			}
		}
		out, err := from.try(dir, "push", "--quiet", from.url, "HEAD:"+branch)
		held := regexp.MustCompile(`access=(A-[0-9]+)`).FindStringSubmatch(out)
		switch {
		case n%3 != 2:
			s.fine("a push: "+out, err)
		case held == nil:
			s.b.Errorf("a push of a workflow was not held: %s", out)
		default:
			s.vote(remit.ID(held[1]), n%2 == 0)
			if out, err := gitCommand(dir, "reset", "--quiet", "--hard", "HEAD~1").CombinedOutput(); !s.fine("a reset: "+string(out), err) {
				return
			}
		}
	}
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// try runs git; what it says is given also where it fails.
func (w way) try(dir string, args ...string) (string, error) {
	cmd := gitCommand(dir, append([]string{"-c", "http.extraHeader=Authorization: " + w.header}, args...)...)
	cmd.Env = append(cmd.Env, "GIT_SSL_CAINFO="+w.ca)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// vote is ben's, on a request that is open; what he approves is carried out before this returns.
func (s *soak) vote(id remit.ID, approve bool) {
	ctx := s.b.Context()
	v, err := s.ben.Access(ctx, id)
	if !s.fine("a card", err) {
		return
	}
	text := remit.Statement{Origin: s.org.Origin, Request: id, Approve: approve, Effect: v.Effect, Change: v.Change, Card: v.Card, NotAfter: v.NotAfter}.Bytes()
	signature, err := sshsig.Sign(s.benKey, remit.VoteNamespace, text)
	if !s.fine("a signature", err) {
		return
	}
	_, err = s.ben.Vote(ctx, id, remit.VoteRequest{Statement: text, Signature: signature})
	for s.fine("a vote", err) && v.Status != remit.AccessUsed && v.Status != remit.AccessVoid {
		v, err = s.ben.WaitAccess(ctx, id, "", nil)
	}
}

// rest waits until the server is at rest, and reads what it takes. A collection is what tells how much lives; answers to
// nobody's questions bring one about.
func (s *soak) rest() sample {
	var last map[string]float64
	until(s.b, "rest", func() error {
		before := s.read()
		for range 200 {
			if _, err := s.ana.Org(s.b.Context()); err != nil {
				return err
			}
		}
		last = s.read()
		if last["go_gc_duration_seconds_count"] < before["go_gc_duration_seconds_count"]+1 || last["go_goroutines"] > before["go_goroutines"] || last["remit_instances_live"] > 0 {
			return fmt.Errorf("%v goroutines, %v instances", last["go_goroutines"], last["remit_instances_live"])
		}
		return nil
	})
	return sample{heap: last["go_memstats_next_gc_bytes"] / 2, resident: last["process_resident_memory_bytes"], goroutines: last["go_goroutines"], files: last["process_open_fds"], entries: last["remit_log_entries"]}
}

// read reads the numbers without labels of /metrics.
func (s *soak) read() map[string]float64 {
	s.b.Helper()
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		s.b.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			out[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	for _, name := range []string{"go_memstats_next_gc_bytes", "go_goroutines", "process_open_fds", "remit_log_entries"} {
		if out[name] == 0 {
			s.b.Skipf("/metrics has no %s here", name)
		}
	}
	return out
}
