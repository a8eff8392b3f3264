package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/internal/world"
)

// keyed makes a request with Idempotency-Keys.
func keyed(t *testing.T, w *world.World, path, auth, body string, keys ...string) (int, remit.Problem, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/v1/orgs/acme"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", auth)
	r.Header.Set("Content-Type", "application/json")
	for _, k := range keys {
		r.Header.Add("Idempotency-Key", k)
	}
	resp, b := answer(t, w, r)
	var p remit.Problem
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %s", path, b)
	}
	if resp.StatusCode >= 300 {
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatalf("%s: %s", path, b)
		}
	}
	return resp.StatusCode, p, v
}

func head(w *world.World) (n remit.EntryIndex) {
	w.Engine.View(func(s *authority.State) { n = s.Next })
	return n
}

// TestAskedAgainUnderItsKey: the same key with the same body has the same answer and does nothing, for every kind of thing
// that is made; another body is refused; a key is its caller's own.
func TestAskedAgainUnderItsKey(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	team := w.Team()
	team.Agents[0].Requesters = []string{"developers", "reviewers"}
	team.People = append(team.People, remit.Person{Name: "dora"})
	w.Declare(team)
	cleo, ben, ada := bearer(t, w, "cleo"), bearer(t, w, "ben"), bearer(t, w, "ada")
	task := w.Task("cleo")
	held := w.Push(w.Instance("cleo", task.ID), shown(), ".envrc")
	view, err := w.SignIn("ben").Access(t.Context(), held.Access)
	if err != nil {
		t.Fatal(err)
	}
	text, sig := w.Statement("ben", view, true)
	ballot, err := json.Marshal(remit.VoteRequest{Statement: text, Signature: sig})
	if err != nil {
		t.Fatal(err)
	}
	team.Agents[0].Purpose = "fixes other bugs"
	set, err := json.Marshal(remit.ApplyRequest{Declarations: team})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, auth, body, same string }{
		{"/tasks", cleo, `{"agent":"coder","intent":"one"}`, "id"},
		{"/instances", cleo, `{"task":"` + string(task.ID) + `","confinement":"none"}`, "secret"},
		{"/invitations", ada, `{"person":"dora"}`, "secret"},
		{"/approvals/" + string(held.Access) + "/votes", ben, string(ballot), "id"},
		{"/declarations", ada, string(set), "changes"},
		{"/tasks/" + string(task.ID) + "/cancel", cleo, `{"drop_holds":true}`, ""},
		{"/agents/coder/suspend", cleo, `{}`, ""},
	} {
		status, p, first := keyed(t, w, c.path, c.auth, c.body, "k-"+c.path)
		if status != http.StatusOK {
			t.Errorf("%s: %d %+v", c.path, status, p)
			continue
		}
		before := head(w)
		status, p, again := keyed(t, w, c.path, c.auth, c.body, "k-"+c.path)
		a, _ := json.Marshal(first[c.same])
		b, _ := json.Marshal(again[c.same])
		if status != http.StatusOK || !bytes.Equal(a, b) || c.same != "" && string(a) == "null" || head(w) != before {
			t.Errorf("%s again: %d %+v: %s and %s, %d entries", c.path, status, p, a, b, head(w)-before)
		}
		if status, p, _ = keyed(t, w, c.path, c.auth, c.body+" ", "k-"+c.path); status != http.StatusUnprocessableEntity || p.Code != remit.KeyReused || head(w) != before {
			t.Errorf("%s with another body: %d %+v", c.path, status, p)
		}
	}
	// The same key elsewhere is a mistake too, and the same key of somebody else is theirs.
	const body = `{"agent":"coder","intent":"one"}`
	if status, p, _ := keyed(t, w, "/instances", cleo, body, "k-/tasks"); status == http.StatusOK {
		t.Errorf("the key of a task, for an instance: %+v", p)
	}
	if status, p, _ := keyed(t, w, "/agents/coder/resume", cleo, `{}`, "resume"); status != http.StatusOK {
		t.Fatalf("%d %+v", status, p)
	}
	_, _, mine := keyed(t, w, "/tasks", cleo, body, "k-/tasks")
	status, p, theirs := keyed(t, w, "/tasks", ben, body, "k-/tasks")
	if status != http.StatusOK || theirs["id"] == mine["id"] {
		t.Errorf("somebody else's key: %d %+v %v", status, p, theirs["id"])
	}
	for _, bad := range [][]string{{strings.Repeat("k", 256)}, {""}, {"a", "b"}, {"a\tb"}, {"é"}} {
		before := head(w)
		if status, p, _ := keyed(t, w, "/tasks", cleo, body, bad...); status != http.StatusBadRequest || !strings.Contains(p.Detail, "Idempotency-Key") || head(w) != before {
			t.Errorf("%.20q: %d %+v", bad, status, p)
		}
	}
	if status, p, _ := keyed(t, w, "/tasks", cleo, body, strings.Repeat("k", 255)); status != http.StatusOK {
		t.Errorf("255 bytes: %d %+v", status, p)
	}
}

// TestStillBeingDone: while a request is under way, its key is taken.
func TestStillBeingDone(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	cleo := bearer(t, w, "cleo")
	const body = `{"agent":"coder","intent":"one"}`
	read, write := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/v1/orgs/acme/tasks", read)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", cleo)
	r.Header.Set("Idempotency-Key", "k")
	first := make(chan int)
	go func() {
		resp, err := browser(w).Do(r)
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		resp.Body.Close()
		first <- resp.StatusCode
	}()
	if _, err := io.WriteString(write, body[:5]); err != nil {
		t.Fatal(err)
	}
	for { // until the handler has begun
		status, p, _ := keyed(t, w, "/tasks", cleo, `{}`, "k")
		if status == http.StatusConflict && p.Code == remit.KeyInUse {
			break
		}
		if t.Context().Err() != nil || status == http.StatusOK {
			t.Fatalf("%d %+v", status, p)
		}
	}
	if _, err := io.WriteString(write, body[5:]); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if status := <-first; status != http.StatusOK {
		t.Fatal(status)
	}
	if status, p, _ := keyed(t, w, "/tasks", cleo, body, "k"); status != http.StatusOK {
		t.Errorf("%d %+v", status, p)
	}
	if n := tasks(w); n != 1 {
		t.Errorf("%d tasks", n)
	}
}

func tasks(w *world.World) (n int) {
	w.Engine.View(func(s *authority.State) { n = len(s.Tasks) })
	return n
}

// cutter passes bytes between a client and a server, and can keep answers to itself.
type cutter struct {
	net.Listener
	to    string
	swal  atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) serve(t *testing.T) {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			t.Error(err)
			return
		}
		c.mu.Lock()
		c.conns = append(c.conns, in, out)
		c.mu.Unlock()
		go func() { _, _ = io.Copy(out, in); out.Close() }()
		go func() {
			b := make([]byte, 32<<10)
			for {
				n, err := out.Read(b)
				if err != nil {
					in.Close()
					return
				}
				if !c.swal.Load() {
					_, _ = in.Write(b[:n])
				}
			}
		}()
	}
}

// cut ends all connections, and passes everything from now on.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.conns {
		x.Close()
	}
	c.conns = nil
	c.swal.Store(false)
}

// TestTheAnswerIsLost: a task was made, and its answer never arrives. The client asks again, has the answer, and there is one
// task. So it is with an instance, whose secret stood in the answer.
func TestTheAnswerIsLost(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &cutter{Listener: ln, to: strings.TrimPrefix(w.URL, "https://")}
	t.Cleanup(func() { ln.Close(); proxy.cut() })
	go proxy.serve(t)
	c, err := client.New("https://"+ln.Addr().String(), world.Org, w.CA.PEM())
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithToken(strings.TrimPrefix(bearer(t, w, "cleo"), "Bearer "))
	if _, err := c.WhoAmI(t.Context()); err != nil { // the connection stands
		t.Fatal(err)
	}
	lose := func(until func(*authority.State) bool) {
		proxy.swal.Store(true)
		go func() {
			if err := w.Engine.Wait(t.Context(), until); err != nil {
				t.Error(err)
			}
			proxy.cut()
		}()
	}
	lose(func(s *authority.State) bool { return len(s.Tasks) == 1 })
	task, err := c.CreateTask(t.Context(), remit.TaskRequest{Agent: "coder", Intent: "fix it"})
	if err != nil || task.ID == "" || tasks(w) != 1 {
		t.Fatalf("%+v %v, %d tasks", task, err, tasks(w))
	}
	lose(func(s *authority.State) bool { return len(s.Instances) == 1 })
	inst, err := c.Session().StartInstance(t.Context(), client.InstanceStart{Task: task.ID, Confinement: remit.ConfineNone})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := call(t, w, "GET", "/v1/orgs/acme/tasks/"+string(task.ID), instanceAuth(inst), ""); status != http.StatusOK {
		t.Errorf("the instance is not known by its secret: %d %s", status, body)
	}
	n := 0
	if w.Engine.View(func(s *authority.State) { n = len(s.Instances) }); n != 1 {
		t.Errorf("%d instances", n)
	}
}
