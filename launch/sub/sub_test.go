package sub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// delegating is a server that starts an instance of any task, and keeps what it was asked.
type delegating struct {
	Session   // nothing else is asked for
	mu        sync.Mutex
	starts    []client.InstanceStart
	from      [][]remit.ID
	held      map[remit.ID]chan error
	let       map[remit.ID]<-chan struct{} // closed when a heartbeat was let go
	ended     []remit.ID
	completed []string
	early     []remit.ID // whose heartbeat was let go before the server was told
}

func newDelegating() *delegating {
	return &delegating{held: map[remit.ID]chan error{}, let: map[remit.ID]<-chan struct{}{}}
}

func (s *delegating) StartDelegated(_ context.Context, from []remit.ID, i client.InstanceStart) (client.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.Task == "T-9" {
		return client.Instance{}, remit.Errorf(remit.Forbidden, "task T-9 was not delegated from task T-1")
	}
	s.starts, s.from = append(s.starts, i), append(s.from, from)
	id := remit.ID(fmt.Sprintf("I-%d", 100+len(s.starts)))
	s.held[id] = make(chan error, 1)
	return client.Instance{ID: id, Task: i.Task, Agent: "helper", Secret: "sesame"}, nil
}

func (s *delegating) Hold(ctx context.Context, id remit.ID, secret client.Secret) (<-chan error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret != "sesame" {
		return nil, remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	s.let[id] = ctx.Done()
	return s.held[id], nil
}

func (s *delegating) Token(_ context.Context, id remit.ID, secret client.Secret, gateway string) (string, time.Time, error) {
	if secret != "sesame" {
		return "", time.Time{}, remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	return "remit_" + string(id) + "_" + gateway, time.Time{}, nil
}

func (s *delegating) SVID(_ context.Context, id remit.ID, secret client.Secret, csr []byte) (chain, bundle []byte, err error) {
	if secret != "sesame" {
		return nil, nil, remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	return append([]byte(id), csr...), []byte("bundle"), nil
}

func (s *delegating) End(_ context.Context, id remit.ID, secret client.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.let[id]:
		if !slices.Contains(s.ended, id) {
			s.early = append(s.early, id)
		}
	default:
	}
	if secret != "sesame" {
		return remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	if !slices.Contains(s.ended, id) {
		s.ended = append(s.ended, id)
	}
	return nil
}

func (s *delegating) Complete(_ context.Context, task, id remit.ID, secret client.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret != "sesame" {
		return remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	s.completed = append(s.completed, string(task)+" by "+string(id))
	return nil
}

// serveChildren serves what an instance with a confinement answers about sub-agents. close is what the end of the
// instance's command does.
func serveChildren(t *testing.T, s Session, inst client.Instance, confinement remit.Confinement) (o *Outer, close func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "r") // its path leaves room for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "i.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Session: s, Instance: inst, Confinement: confinement, Ungoverned: []string{"MY_TOKEN"}, Log: slog.New(slog.DiscardHandler),
		Wait: func(i client.Instance) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				Answer(w, remit.AccessView{ID: remit.ID(r.URL.Query().Get("access")), Receipt: string(i.ID) + string(i.Secret)}, nil, nil)
			}
		}})
	mux := http.NewServeMux()
	c.Handle(mux)
	server := &http.Server{Handler: mux, ConnContext: WithPeer}
	go func() { _ = server.Serve(ln) }()
	end := sync.OnceFunc(func() {
		server.Close()
		c.Close()
	})
	t.Cleanup(end)
	return NewOuter(socket), end
}

func codeOf(err error) remit.Code {
	var e *remit.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

var parent = client.Instance{ID: "I-1", Task: "T-1", Secret: "own"}

func TestASubAgentsInstanceIsConfinedAsItsParentAndKnowsNoSecret(t *testing.T) {
	s := newDelegating()
	o, _ := serveChildren(t, s, parent, remit.ConfineHome)
	i, err := o.StartInstance(t.Context(), client.InstanceStart{Task: "T-2", Confinement: remit.ConfineSandbox, Ungoverned: []string{"GH_TOKEN"}})
	if err != nil {
		t.Fatal(err)
	}
	if i.ID != "I-101" || i.Task != "T-2" || i.Agent != "helper" || i.Secret != "" || i.Confinement != remit.ConfineHome {
		t.Errorf("%+v, secret %q", i, string(i.Secret))
	}
	if got := s.starts[0]; got.Task != "T-2" || got.Confinement != remit.ConfineHome || !slices.Equal(got.Ungoverned, []string{"GH_TOKEN", "MY_TOKEN"}) {
		t.Errorf("the server was told %+v", got)
	}
	if !slices.Equal(s.from[0], []remit.ID{"T-1"}) {
		t.Errorf("delegated from %v", s.from[0])
	}
	if token, _, err := o.Token(t.Context(), i.ID, i.Secret, "git"); err != nil || token != "remit_I-101_git" {
		t.Errorf("token %q, %v", token, err)
	}
	if chain, bundle, err := o.SVID(t.Context(), i.ID, i.Secret, []byte("+csr")); err != nil || string(chain) != "I-101+csr" || string(bundle) != "bundle" {
		t.Errorf("SVID %q %q, %v", chain, bundle, err)
	}
	if v, err := o.WaitAccess(t.Context(), "A-7", i.ID, nil); err != nil || v.ID != "A-7" || v.Receipt != "I-101sesame" {
		t.Errorf("waiting %+v, %v", v, err)
	}
	if err := o.End(t.Context(), i.ID, i.Secret); err != nil || !slices.Equal(s.ended, []remit.ID{"I-101"}) {
		t.Errorf("ended %v, %v", s.ended, err)
	}
	if _, err := o.Hold(t.Context(), i.ID, i.Secret); codeOf(err) != remit.NotLive {
		t.Errorf("an instance that has ended is held: %v", err)
	}
}

func TestWhatIsDelegatedOnNamesTheTasksBetween(t *testing.T) {
	s := newDelegating()
	outer, _ := serveChildren(t, s, parent, remit.ConfineNone)
	i, err := outer.StartInstance(t.Context(), client.InstanceStart{Task: "T-2"})
	if err != nil {
		t.Fatal(err)
	}
	inner, end := serveChildren(t, outer, i, remit.ConfineHome)
	k, err := inner.StartInstance(t.Context(), client.InstanceStart{Task: "T-3"})
	if err != nil || k.Confinement != remit.ConfineNone {
		t.Fatalf("%+v, %v", k, err)
	}
	if !slices.Equal(s.from[1], []remit.ID{"T-2", "T-1"}) || s.starts[1].Confinement != remit.ConfineNone {
		t.Errorf("from %v, %+v", s.from[1], s.starts[1])
	}
	if token, _, err := inner.Token(t.Context(), k.ID, "", "git"); err != nil || token != "remit_I-102_git" {
		t.Errorf("token %q, %v", token, err)
	}
	if err := inner.CompleteTask(t.Context(), "T-3"); err != nil || !slices.Equal(s.completed, []string{"T-3 by I-102"}) {
		t.Errorf("completed %v, %v", s.completed, err)
	}
	if err := inner.CompleteTask(t.Context(), "T-2"); err != nil || len(s.completed) != 1 {
		t.Errorf("a task of no instance of this one: completed %v, %v", s.completed, err)
	}
	end()
	s.mu.Lock()
	defer s.mu.Unlock() // a request for what ended may still be answered
	if !slices.Equal(s.ended, []remit.ID{k.ID}) {
		t.Errorf("ended %v, want %s only", s.ended, k.ID)
	}
}

func TestTheParentsEndEndsEverySubAgent(t *testing.T) {
	s := newDelegating()
	o, end := serveChildren(t, s, parent, remit.ConfineHome)
	var held []<-chan error
	for n := range maxChildren {
		i, err := o.StartInstance(t.Context(), client.InstanceStart{Task: "T-2"})
		if err != nil {
			t.Fatalf("the %dth: %v", n+1, err)
		}
		h, err := o.Hold(t.Context(), i.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	if _, err := o.StartInstance(t.Context(), client.InstanceStart{Task: "T-2"}); codeOf(err) != remit.OverBudget {
		t.Errorf("one more than %d: %v", maxChildren, err)
	}
	end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) != maxChildren || len(s.early) > 0 {
		t.Errorf("%d of %d were ended, and %v lost first", len(s.ended), maxChildren, s.early)
	}
	for _, h := range held {
		if err := <-h; err == nil {
			t.Error("a sub-agent's launcher was not told")
		}
	}
	if _, err := o.StartInstance(t.Context(), client.InstanceStart{Task: "T-2"}); codeOf(err) != remit.NotLive {
		t.Errorf("after the end: %v", err)
	}
	// Also one whose question had come before the end, and is read after it.
	c := New(Config{Instance: parent})
	c.Close()
	if err := c.enter(); codeOf(err) != remit.NotLive {
		t.Errorf("asked before the end: %v", err)
	}
}

// A sub-agent's launcher that dies leaves its place, and its instance has ended.
func TestAPlaceIsFreeAgain(t *testing.T) {
	s := newDelegating()
	o, end := serveChildren(t, s, parent, remit.ConfineHome)
	for range maxChildren + 4 {
		ctx, die := context.WithCancel(t.Context())
		i, err := o.StartInstance(ctx, client.InstanceStart{Task: "T-2"})
		for codeOf(err) == remit.OverBudget { // the launcher has not seen the last one die yet
			i, err = o.StartInstance(ctx, client.InstanceStart{Task: "T-2"})
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := o.Hold(ctx, i.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		die()
		<-h
	}
	end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) != maxChildren+4 {
		t.Errorf("%d were ended", len(s.ended))
	}
}

func TestASubAgentsLauncherHearsWhyItsInstanceEnded(t *testing.T) {
	s := newDelegating()
	o, _ := serveChildren(t, s, parent, remit.ConfineHome)
	i, err := o.StartInstance(t.Context(), client.InstanceStart{Task: "T-2"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := o.Hold(t.Context(), i.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	s.held[i.ID] <- errors.New("task T-2 is cancelled")
	if err := <-h; err == nil || !strings.Contains(err.Error(), "task T-2 is cancelled") {
		t.Error(err)
	}
}

func TestWhatIsNoSubAgentsIsRefused(t *testing.T) {
	for _, c := range []struct {
		name        string
		session     Session
		confinement remit.Confinement
		task        remit.ID
		from        []remit.ID
		want        remit.Code
	}{
		{"a task that was not delegated", newDelegating(), remit.ConfineHome, "T-9", nil, remit.Forbidden},
		{"no task", newDelegating(), remit.ConfineHome, "", nil, remit.BadRequest},
		{"a chain longer than there can be one", newDelegating(), remit.ConfineHome, "T-2", make([]remit.ID, maxChain), remit.BadRequest},
		{"inside a sandbox", newDelegating(), remit.ConfineSandbox, "T-2", nil, remit.Forbidden},
		{"a session that cannot", struct{ Session }{}, remit.ConfineHome, "T-2", nil, remit.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := serveChildren(t, c.session, parent, c.confinement)
			if _, err := o.StartDelegated(t.Context(), c.from, client.InstanceStart{Task: c.task}); codeOf(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if d, ok := c.session.(*delegating); ok && len(d.starts) > 0 {
				t.Errorf("started %v", d.starts)
			}
			// Nor does it speak for the parent, or for what it did not start.
			for _, id := range []remit.ID{parent.ID, "I-101", "../I-1"} {
				if token, _, err := o.Token(t.Context(), id, "own", "git"); codeOf(err) != remit.NotLive {
					t.Errorf("%s: token %q, %v", id, token, err)
				}
			}
		})
	}
	o, _ := serveChildren(t, newDelegating(), parent, remit.ConfineHome)
	for _, body := range []string{"", "[]", `{"task":"T-2","task":"T-3"}`, `{"task":"T-2","confinement":"host"}`} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://instance/instance", io.NopCloser(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Send(o.socket, r); codeOf(err) != remit.BadRequest {
			t.Errorf("%q: %v", body, err)
		}
	}
}
