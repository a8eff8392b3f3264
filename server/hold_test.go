package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
)

// running tells whether an instance has not ended.
func running(w *world.World, id remit.ID) (ok bool) {
	w.Engine.View(func(s *authority.State) { ok = s.Instances[id] != nil })
	return ok
}

// ended waits until an instance has ended.
func ended(t *testing.T, w *world.World, id remit.ID) {
	t.Helper()
	if err := w.Engine.Wait(t.Context(), func(s *authority.State) bool { return s.Instances[id] == nil }); err != nil {
		t.Fatal(err)
	}
}

// held starts an instance and holds it.
func held(t *testing.T, w *world.World) (client.Instance, <-chan error, context.CancelFunc) {
	t.Helper()
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ch, err := w.SignIn("cleo").Session().Hold(ctx, inst.ID, inst.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return inst, ch, cancel
}

func TestTheLauncherHearsWhyItsInstanceHasEnded(t *testing.T) {
	w := world.New(t, world.Options{})
	inst, ch, _ := held(t, w)
	if err := w.SignIn("ada").Kill(t.Context(), remit.KillRequest{What: "task", ID: string(inst.Task)}); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err == nil || !strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), string(inst.Task)) {
		t.Fatalf("%v", err)
	}
}

func TestWhenTheConnectionEndsTheInstanceIsLost(t *testing.T) {
	w := world.New(t, world.Options{})
	inst, ch, letGo := held(t, w)
	letGo()
	<-ch
	ended(t, w, inst.ID)
	if _, _, err := w.SignIn("cleo").Session().Token(t.Context(), inst.ID, inst.Secret, "git"); code(err) != remit.Unauthenticated {
		t.Fatalf("it still gets tokens: %v", err)
	}
}

func TestWhenTheCommandEndsTheInstanceDoes(t *testing.T) {
	w := world.New(t, world.Options{})
	inst, ch, _ := held(t, w)
	if err := w.SignIn("cleo").Session().End(t.Context(), inst.ID, inst.Secret); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err == nil || !strings.Contains(err.Error(), "ended") {
		t.Fatalf("%v", err)
	}
	ended(t, w, inst.ID)
}

func TestAnInstanceThatNobodyHoldsEndsAfterAQuarterOfAMinute(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	w.Clock.Advance(server.Lost)
	if err := w.Server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !running(w, inst.ID) {
		t.Fatal("it ended before its time")
	}
	w.Clock.Advance(time.Millisecond)
	if err := w.Server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if running(w, inst.ID) {
		t.Fatal("nobody holds it, and it runs")
	}
}

// An instance that starts while the server looks for those that nobody holds was heard of just now.
func TestLookingForTheUnheldForgetsNoInstanceThatStarts(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	w.Clock.Advance(2 * server.Lost) // the grace that follows a start is over
	ctx, cancel := context.WithCancel(t.Context())
	looked := make(chan error)
	go func() {
		for {
			if err := w.Server.Tick(t.Context()); err != nil || ctx.Err() != nil {
				looked <- err
				return
			}
		}
	}()
	task := w.Task("cleo").ID
	var all []remit.ID
	for range 300 {
		all = append(all, w.Instance("cleo", task).ID)
	}
	cancel()
	if err := <-looked; err != nil {
		t.Fatal(err)
	}
	if err := w.Server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range all {
		if !running(w, id) {
			t.Fatalf("%s was started a moment ago, and has ended", id)
		}
	}
}

func TestAServerThatStopsEndsNoInstance(t *testing.T) {
	w := world.New(t, world.Options{})
	inst, ch, letGo := held(t, w)
	w.Server.Close()
	letGo() // a launcher would come back for a minute
	if err := <-ch; err == nil {
		t.Fatal("no reason")
	}
	if !running(w, inst.ID) {
		t.Fatal("a restart ended it")
	}
}

func TestOnlyItsOwnLauncherHoldsAnInstance(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	other := w.Instance("cleo", w.Task("cleo").ID)
	s := w.SignIn("cleo").Session()
	if _, err := s.Hold(t.Context(), inst.ID, other.Secret); code(err) != remit.Unauthenticated {
		t.Fatal(err)
	}
	if status, _, _ := call(t, w, "POST", "/v1/orgs/acme/instances/"+string(inst.ID)+"/end", instanceAuth(other), "{}"); status != 403 {
		t.Fatalf("%d", status)
	}
}

// The launcher speaks HTTP/2; a proxy on the way may not.
func TestAConnectionOfHTTP1HoldsAsWell(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	lines, heart := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/v1/orgs/acme/instances/"+string(inst.ID)+"/hold", lines)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", instanceAuth(inst))
	go io.WriteString(heart, "\n")
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13}}}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Proto, resp.Status)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil || first[0] != '\n' {
		t.Fatalf("%q, %v", first, err)
	}
	if !running(w, inst.ID) {
		t.Fatal("it ended")
	}
	heart.Close()
	ended(t, w, inst.ID)
}
