package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

var crashCommands = map[string]func(*testscript.TestScript, bool, []string){"crashes": cmdCrashes, "faults": cmdFaults}

// outside is what the world outside of a server was told, and how it asks. It outlives the server.
type outside struct {
	ts    *testscript.TestScript
	w     *world
	clone string
	bare  string
	task  remit.ID

	mu      sync.Mutex
	entries map[remit.EntryIndex]string // decisions that were answered, and the action that they are about
	pushed  map[string][]string         // ref → values that git was told it has, in order
	tried   int                         // pushes whose answer did not come, or was an error
	made    int                         // commits: no two are the same
}

func newOutside(ts *testscript.TestScript) *outside {
	o := &outside{ts: ts, w: worldOf(ts), task: remit.ID(ts.Getenv("fix")), bare: filepath.Join(ts.Getenv("UP"), "payments.git"),
		entries: map[remit.EntryIndex]string{}, pushed: map[string][]string{}}
	o.clone = filepath.Join(o.w.dir, "load")
	o.git(nil, "clone", "-q", o.bare, o.clone)
	return o
}

// git is git itself, around Remit.
func (o *outside) git(in []byte, args ...string) string {
	cmd := command(o.ts, o.w, "", "git", args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		o.ts.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out))
}

// signIn waits until the server answers; nil when it does not come to that.
func (o *outside) signIn(ctx context.Context) *signed {
	a := newApp(ctx)
	a.env = func(name string) (string, bool) { v := o.ts.Getenv(name); return v, v != "" }
	a.stdout, a.stderr = io.Discard, io.Discard
	s, err := a.connect(ctx)
	if err != nil {
		return nil
	}
	return s
}

// worker is one instance: it asks, and it pushes to a branch of its own.
type worker struct {
	o          *outside
	instance   remit.ID
	git, point string // bearer tokens
	ref        string
	http       *http.Client
}

func (o *outside) worker(ctx context.Context, s *signed, n int) (*worker, error) {
	session := s.Session()
	inst, err := session.StartInstance(ctx, client.InstanceStart{Task: o.task, Confinement: remit.ConfineNone})
	if err != nil {
		return nil, err
	}
	h := &worker{o: o, instance: inst.ID, ref: fmt.Sprintf("refs/heads/remit/%s/%d", o.task, n), http: &http.Client{Timeout: patience, Transport: tlsTo(o.ts)}}
	if h.git, _, err = session.Token(ctx, inst.ID, inst.Secret, "git"); err != nil {
		return nil, err
	}
	h.point, _, err = session.Token(ctx, inst.ID, inst.Secret, "authzen")
	return h, err
}

// ask has a question decided; it is in the log when the answer comes.
func (h *worker) ask(ctx context.Context, action string) error {
	in := map[string]any{"subject": map[string]string{"type": "instance", "id": string(h.instance)},
		"action": map[string]string{"name": action}, "resource": map[string]string{"type": "repo", "id": "forge/payments"}}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.o.w.url+"/v1/orgs/acme/authzen/access/v1/evaluation", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+h.point)
	r.Header.Set("Content-Type", "application/json")
	answer, err := h.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var out struct {
		Context struct {
			Entry remit.EntryIndex `json:"entry"`
		} `json:"context"`
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return err
	}
	if out.Context.Entry == 0 {
		return nil // not an entry's: a kill that the log does not have yet
	}
	h.o.mu.Lock()
	defer h.o.mu.Unlock()
	h.o.entries[out.Context.Entry] = action
	return nil
}

// push moves the branch by one commit, made on whatever it is at upstream.
func (h *worker) push() error {
	o := h.o
	at := o.at(h.ref)
	parent := at
	if parent == "" {
		parent = o.git(nil, "-C", o.bare, "rev-parse", "main")
	} // else a commit that was made here too
	o.mu.Lock()
	o.made++
	text := fmt.Sprint("Commit ", o.made)
	o.mu.Unlock()
	commit := o.git([]byte(text), "-C", o.clone, "commit-tree", parent+"^{tree}", "-p", parent)
	u, err := url.Parse(o.w.url)
	if err != nil {
		return err
	}
	u.User, u.Path = url.UserPassword("remit", h.git), "/v1/orgs/acme/git/forge/payments.git"
	cmd := command(o.ts, o.w, "", "git", "-C", o.clone, "-c", "http.sslCAInfo="+o.ts.Getenv("REMIT_CA"), "-c", "credential.helper=",
		"push", "-q", u.String(), commit+":"+h.ref)
	out, err := cmd.CombinedOutput()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.tried++
		return fmt.Errorf("%w: %s", err, bytes.ReplaceAll(out, []byte(h.git), []byte("…")))
	}
	o.pushed[h.ref] = append(o.pushed[h.ref], commit)
	return nil
}

// at is the value of a ref upstream.
func (o *outside) at(ref string) string {
	return o.git(nil, "-C", o.bare, "for-each-ref", "--format=%(objectname)", ref)
}

// moves are what happened to a ref upstream, from its reflog: the values that it came to have, in order.
func (o *outside) moves(ref string) []string {
	if o.at(ref) == "" {
		return nil
	}
	out := strings.Fields(o.git(nil, "-C", o.bare, "reflog", "show", "--format=%H", ref))
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// attempt is a push as the log tells it.
type attempt struct {
	ref, new string
	outcome  remit.Outcome
	code     remit.Code
}

// errOpen: git that the dead server had started is still at work, and the new server knows that. It looks again.
var errOpen = errors.New("it has no outcome")

// check compares what was told with the log, and the log with what is upstream. Everything that was redeemed has an
// outcome.
func (o *outside) check(ctx context.Context) error {
	store, err := sqlite.Open(layout(o.w.data).db(), sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close()
	if found, err := judge.Log(ctx, store); err != nil || len(found) > 0 {
		return fmt.Errorf("the log breaks rules: %v %w", found, err)
	}
	permits, attempts := map[remit.ID]*attempt{}, map[remit.ID]*attempt{}
	decided := map[remit.EntryIndex]*remit.Decided{}
	if _, _, err := ledger.Replay(ctx, store, ledger.Tree{}, func(i remit.EntryIndex, l ledger.Leaf) error {
		switch e := l.Event.(type) {
		case *remit.Decided:
			decided[i] = e
			if e.Permit != "" && e.Steps[0].Ref != "" {
				permits[e.Permit] = &attempt{ref: e.Steps[0].Ref, new: hex.EncodeToString(e.Steps[0].New)}
			}
		case *remit.Redeemed:
			if x := permits[e.Permit]; x != nil {
				attempts[e.ID] = x
				delete(permits, e.Permit) // once
			}
		case *remit.Recorded:
			if x := attempts[e.Attempt]; x != nil {
				x.outcome, x.code = e.Outcome, e.Code
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return o.compare(decided, attempts)
}

func (o *outside) compare(decided map[remit.EntryIndex]*remit.Decided, attempts map[remit.ID]*attempt) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, action := range o.entries {
		if d := decided[i]; d == nil || d.Gateway != "authzen" || string(d.Steps[0].Step.Action) != action {
			return fmt.Errorf("entry %d was told to be the decision on %s, and the log has %+v there", i, action, d)
		}
	}
	moved := map[string]map[string]int{} // what happened upstream: ref, value, how often
	for _, ref := range strings.Fields(o.git(nil, "-C", o.bare, "for-each-ref", "--format=%(refname)", "refs/heads/remit")) {
		moved[ref] = map[string]int{}
		for _, v := range o.moves(ref) {
			if moved[ref][v]++; moved[ref][v] > 1 {
				return fmt.Errorf("%s came to be %s %d times", ref, v, moved[ref][v])
			}
		}
	}
	sent := map[string]map[string]remit.Outcome{} // what the log knows to have been sent
	for id, x := range attempts {
		if x.outcome == "" {
			return fmt.Errorf("attempt %s, %s to %s: %w", id, x.ref, x.new, errOpen)
		}
		there := moved[x.ref][x.new] > 0
		if x.outcome == remit.Done && !there || x.outcome == remit.NotApplied && there && x.code != remit.Stale {
			return fmt.Errorf("attempt %s, %s to %s, is recorded as %s %s; is it there? %v", id, x.ref, x.new, x.outcome, x.code, there)
		}
		if sent[x.ref] == nil {
			sent[x.ref] = map[string]remit.Outcome{}
		}
		if was := sent[x.ref][x.new]; was == "" || was == remit.NotApplied {
			sent[x.ref][x.new] = x.outcome
		}
	}
	for ref, values := range moved {
		for v := range values {
			if out := sent[ref][v]; out == "" || out == remit.NotApplied {
				return fmt.Errorf("%s is at %s or was, and the log has no decision that sent it: %q", ref, v, out)
			}
		}
	}
	for ref, values := range o.pushed {
		for _, v := range values {
			if moved[ref][v] == 0 || sent[ref][v] == "" {
				return fmt.Errorf("git was told that %s is at %s; it never was: log %q", ref, v, sent[ref][v])
			}
		}
	}
	return nil
}

// checkProofs has the running server prove what it told, and verifies its whole log as an outsider would: each decision
// derived again.
func (o *outside) checkProofs(ctx context.Context, s *signed) error {
	head, err := s.LogHead(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	newest := map[remit.EntryIndex]bool{}
	for i := range o.entries {
		if newest[i] = true; len(newest) == 8 {
			break
		}
	}
	o.mu.Unlock()
	for i := range newest {
		receipt, err := s.LogReceipt(ctx, i, false)
		if err != nil {
			return fmt.Errorf("entry %d has no proof: %w", i, err)
		}
		if _, err := ledger.ReadReceipt(receipt, nil, ledger.Trust{Verifier: head.Verifier}); err != nil {
			return fmt.Errorf("the proof of entry %d: %w", i, err)
		}
	}
	file := filepath.Join(o.w.dir, "crash.bundle")
	if err := o.ts.Exec("remit", "log", "export", "--file", file, "--trust-file", file+".trust"); err != nil {
		return err
	}
	return o.ts.Exec("remit", "log", "verify", "--file", file, "--trust", file+".trust")
}

// settled starts the server, waits until it serves, and checks everything.
func (o *outside) settled(ctx context.Context, proofs bool) (*signed, error) {
	if err := o.w.startServer(o.ts); err != nil {
		return nil, err
	}
	s := o.signIn(ctx)
	if s == nil {
		return nil, errors.New("the server starts, and nobody can sign in")
	}
	err := o.check(ctx)
	for late := time.Now().Add(20 * time.Second); errors.Is(err, errOpen) && time.Now().Before(late); err = o.check(ctx) {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	if !proofs {
		return s, nil
	}
	return s, o.checkProofs(ctx, s)
}

// soak multiplies the rounds: REMIT_SOAK=50. With it every run has another seed.
func soak() int {
	n, err := strconv.Atoi(os.Getenv("REMIT_SOAK"))
	if err != nil {
		return 1
	}
	return max(n, 1)
}

// tlsTo trusts the server of a script.
func tlsTo(ts *testscript.TestScript) http.RoundTripper {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ts.ReadFile(ts.Getenv("REMIT_CA"))))
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}

// cmdCrashes is crashes ROUNDS SEED: as often, hands push and ask through the server until it is killed in the middle,
// and what they were told is looked for after its next start.
func cmdCrashes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: crashes ROUNDS SEED")
	}
	rounds, err := strconv.Atoi(args[0])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	if n := soak(); n > 1 {
		rounds, seed = rounds*n, uint64(time.Now().UnixNano())
		ts.Logf("seed %d", seed)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := context.Background()
	o := newOutside(ts)
	s := o.signIn(ctx)
	shows := func() bool { return len(o.entries) > 0 && len(o.pushed) > 0 && o.tried > 0 }
	for round := 0; round < rounds || !shows() && round < 5*rounds; round++ { // a slow machine comes to less between two kills
		var all sync.WaitGroup
		killed := make(chan struct{})
		for n := range 3 {
			h, err := o.worker(ctx, s, n)
			ts.Check(err)
			all.Go(func() { h.work(ctx, killed, n > 0) })
		}
		time.Sleep(time.Duration(r.IntN(600)*(1+round/rounds)) * time.Millisecond) // the moment is what is drawn
		o.w.server.kill()
		close(killed)
		all.Wait()
		if s, err = o.settled(ctx, round%4 == 3 || round >= rounds-1); err != nil {
			ts.Fatalf("after kill -9 number %d: %v", round+1, err)
		}
	}
	if !shows() {
		ts.Fatalf("%d answers, %d refs pushed, %d pushes broken off: that shows nothing", len(o.entries), len(o.pushed), o.tried)
	}
	ts.Logf("%d rounds: %d answers, %d pushes broken off", rounds, len(o.entries), o.tried)
}

// work goes on until the server is gone.
func (h *worker) work(ctx context.Context, killed <-chan struct{}, push bool) {
	for n := 0; ; n++ {
		select {
		case <-killed:
			return
		default:
		}
		if push {
			_ = h.push() // the server may be gone: check looks at what was told
			continue
		}
		_ = h.ask(ctx, []string{"source.read", "source.merge"}[n%2])
	}
}
