package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var notifyCommands = map[string]func(*testscript.TestScript, bool, []string){"endpoint": cmdEndpoint}

// hooks is an endpoint of webhooks that knows nothing of Remit: it believes what Standard Webhooks' own library verifies.
type hooks struct {
	secret string

	mu      sync.Mutex
	mode    string // well | fails | holds
	arrived chan struct{}
	release chan struct{}
	got     map[string]int // id: how often it came
	lines   []string       // of each id, once
	wrong   error
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	judge, err := webhooks.NewWebhook(h.secret)
	if err == nil {
		err = judge.Verify(body, r.Header)
	}
	var m struct {
		Type string
		Data struct{ ID, Title, Link, Text string }
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if id := r.Header.Get("webhook-id"); err == nil && (id != m.Data.ID || r.Method != http.MethodPost) {
		err = fmt.Errorf("%s %s is not what its header says: %s", r.Method, id, m.Data.ID)
	}
	h.mu.Lock()
	if err != nil {
		h.wrong = err
		h.mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	mode := h.mode
	if mode == "fails" {
		h.mu.Unlock()
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h.got[m.Data.ID]++
	if h.got[m.Data.ID] == 1 {
		h.lines = append(h.lines, fmt.Sprintf("%s %s: %s %s\n%s", m.Data.ID, m.Type, m.Data.Title, m.Data.Link, m.Data.Text))
	}
	if mode == "holds" { // it has it, and does not say so
		select {
		case h.arrived <- struct{}{}:
		default:
		}
		release := h.release
		h.mu.Unlock()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return
	}
	h.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// cmdEndpoint is endpoint start: before house, $HOOK is its URL and $HOOK_SECRET the file with its key; endpoint well,
// fails, holds: how it answers from now on; endpoint reached: a message is there that was not answered; endpoint told N
// [TIMES]: N different messages came, all of them together so often; each is stdout with how often.
func cmdEndpoint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: endpoint start|well|fails|holds|reached|told N [TIMES]")
	}
	w := worldOf(ts)
	if args[0] == "start" {
		h := &hooks{secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", mode: "well", arrived: make(chan struct{}, 1), release: make(chan struct{}), got: map[string]int{}}
		server := httptest.NewServer(h)
		w.runtime.hooks, w.runtime.closers = h, append(w.runtime.closers, server.Close)
		file := filepath.Join(w.dir, "hook.secret")
		ts.Check(os.WriteFile(file, []byte(h.secret+"\n"), 0o600))
		ts.Setenv("HOOK", server.URL+"/in")
		ts.Setenv("HOOK_SECRET", file)
		return
	}
	h := w.runtime.hooks
	switch {
	case h == nil:
		ts.Fatalf("endpoint start comes first")
	case slices.Contains([]string{"well", "fails", "holds"}, args[0]):
		h.mu.Lock()
		if h.mode == "holds" {
			close(h.release)
			h.release = make(chan struct{})
		}
		h.mode = args[0]
		h.mu.Unlock()
	case args[0] == "reached":
		select {
		case <-h.arrived:
		case <-time.After(patience):
			ts.Fatalf("no message has come")
		}
	case args[0] == "told" && len(args) >= 2:
		var out strings.Builder
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // another process: there is nothing to wait on
			h.mu.Lock()
			n, all, wrong := len(h.got), 0, h.wrong
			for _, times := range h.got {
				all += times
			}
			h.mu.Unlock()
			if wrong != nil {
				ts.Fatalf("the endpoint does not believe a message: %v", wrong)
			}
			if fmt.Sprint(n) == args[1] && (len(args) < 3 || fmt.Sprint(all) == args[2]) {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%d messages have come, %d times, not %v", n, all, args[1:])
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, l := range h.lines {
			id, _, _ := strings.Cut(l, " ")
			fmt.Fprintf(&out, "%d× %s\n", h.got[id], l)
		}
		_, err := io.WriteString(ts.Stdout(), out.String())
		ts.Check(err)
	default:
		ts.Fatalf("usage: endpoint start|well|fails|holds|reached|told N [TIMES]")
	}
}
