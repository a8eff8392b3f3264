package git

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// elsewhere is an upstream of which nobody knows what it is at work on. It may stop before a push.
type elsewhere struct {
	http.RoundTripper
	down             bool
	reached, release chan struct{}
}

func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.down {
		return nil, errors.New("no route")
	}
	if e.reached != nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, receivePack) {
		close(e.reached)
		<-e.release
	}
	return e.RoundTripper.RoundTrip(r)
}

// openPush is an attempt without an outcome to make a branch x.
func (w *world) openPush(commit string) remit.Order {
	w.t.Helper()
	body, err := json.Marshal(order{Service: receivePack, Repo: w.repo.Name, Commands: []pktline.Command{{Ref: "refs/heads/x", New: commit}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return remit.Order{Body: body}
}

// TestWhatBecameOfAnOpenPush: old values prove nothing while the upstream may still be at work; what later pushes find does.
func TestWhatBecameOfAnOpenPush(t *testing.T) {
	type at struct {
		w            *world
		dir          string
		first, later string
		up           *elsewhere
	}
	push := func(a at, what string) { a.w.git(a.dir, "push", "-q", "origin", what) }
	for _, c := range []struct {
		name string
		then func(at)
		want remit.Outcome
		yet  bool
	}{
		{"nothing is seen", func(at) {}, remit.NotApplied, true},
		{"it comes", func(a at) { a.w.git("", "--git-dir="+a.w.bare, "update-ref", "refs/heads/x", a.first) }, remit.Done, false},
		{"another comes, past Remit", func(a at) { a.w.git("", "--git-dir="+a.w.bare, "update-ref", "refs/heads/x", a.later) }, remit.Ambiguous, false},
		{"the same again is done", func(a at) { push(a, a.first+":refs/heads/x") }, remit.NotApplied, false},
		{"another from the same value is done", func(a at) { push(a, a.later+":refs/heads/x") }, remit.NotApplied, false},
		{"it comes, and another after it", func(a at) {
			a.w.git("", "--git-dir="+a.w.bare, "update-ref", "refs/heads/x", a.first)
			push(a, a.later+":refs/heads/x")
		}, remit.Done, false},
		{"another, and one from its own value after that", func(a at) {
			push(a, a.first+":refs/heads/x")
			push(a, a.later+":refs/heads/x")
		}, remit.NotApplied, false},
		{"it comes, another after it, and the branch is made anew", func(a at) {
			a.w.git("", "--git-dir="+a.w.bare, "update-ref", "refs/heads/x", a.first)
			push(a, a.later+":refs/heads/x")
			push(a, ":refs/heads/x")
			push(a, a.later+":refs/heads/x")
		}, remit.Done, false},
		{"another ref moves", func(a at) { push(a, a.later+":refs/heads/y") }, remit.NotApplied, true},
		{"the upstream is down", func(a at) { a.up.down = true }, remit.Ambiguous, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			up := &elsewhere{RoundTripper: w.repo.Transport}
			w.reach(up)
			a := at{w: w, dir: w.clone(), up: up}
			a.first, a.later = w.commit(a.dir, "first"), w.commit(a.dir, "later")
			w.git(a.dir, "push", "-q", w.bare, a.later+":refs/heads/there") // so that the upstream has both
			o := w.openPush(a.first)
			if r := w.gw.Reconcile(t.Context(), o); r.Outcome != remit.NotApplied || !r.Yet {
				t.Fatalf("at start: %+v", r)
			}
			c.then(a)
			if r := w.gw.Reconcile(t.Context(), o); r.Outcome != c.want || r.Yet != c.yet {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// TestAnOpenPushIsNotSettledWhileAnotherIsUnderWay: what is seen then may be either one's.
func TestAnOpenPushIsNotSettledWhileAnotherIsUnderWay(t *testing.T) {
	w := newWorld(t)
	up := &elsewhere{RoundTripper: w.repo.Transport, reached: make(chan struct{}), release: make(chan struct{})}
	w.reach(up)
	dir := w.clone()
	tip := w.commit(dir, "first")
	w.git(dir, "push", "-q", w.bare, tip+":refs/heads/there")
	o := w.openPush(tip)
	w.gw.Reconcile(t.Context(), o)
	ended := make(chan error, 1)
	go func() {
		_, err := w.try(dir, "push", "-q", "origin", tip+":refs/heads/x")
		ended <- err
	}()
	<-up.reached
	// The open one comes in the middle: the other will fail.
	w.git("", "--git-dir="+w.bare, "update-ref", "refs/heads/x", tip)
	if r := w.gw.Reconcile(t.Context(), o); r.Outcome != remit.Ambiguous || !r.Yet {
		t.Errorf("under way: %+v", r)
	}
	close(up.release)
	if err := <-ended; err == nil {
		t.Error("the ref was moved twice")
	}
	if r := w.gw.Reconcile(t.Context(), o); r.Outcome != remit.Done || r.Yet {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestALocalUpstreamTellsWhetherItIsAtWork: the lock is inherited by what git starts, and outlives whoever took it.
func TestALocalUpstreamTellsWhetherItIsAtWork(t *testing.T) {
	w := newWorld(t)
	l := w.repo.Transport.(*local)
	o := w.openPush(w.at("refs/heads/main"))
	settled := func() gateway.Result { return w.gw.Reconcile(t.Context(), o) }
	if r := settled(); r.Outcome != remit.NotApplied || r.Yet {
		t.Fatalf("nothing is at work: %+v", r)
	}
	lock, err := l.pushing.begin()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "cat; :") // sh, and cat that it starts: as http-backend and its helpers
	child.ExtraFiles = append(child.ExtraFiles, lock)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if r := settled(); r.Outcome != remit.NotApplied || !r.Yet {
		t.Errorf("a push of a dead server is at work: %+v", r)
	}
	in.Close()
	child.Wait()
	if r := settled(); r.Yet {
		t.Errorf("it has ended: %+v", r)
	}

	// A push takes it, a read does not.
	for service, busy := range map[string]bool{receivePack: true, uploadPack: false} {
		body, feed := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, LocalURL+"/acme/"+filepath.Base(w.bare)+"/"+service, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-"+service+"-request")
		res, err := l.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if l.pushing.quiet() == busy {
			t.Errorf("%s: at work is %v", service, !busy)
		}
		feed.Close()
		res.Body.Close()
		if !l.pushing.quiet() {
			t.Errorf("%s: it has ended, and the lock has not", service)
		}
	}
}
