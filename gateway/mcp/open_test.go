package mcp

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// nobody decides anything.
type nobody struct{ status remit.AccessStatus }

func (n nobody) Wait(ctx context.Context, _ remit.ID) (remit.AccessStatus, string, error) {
	if n.status == remit.AccessOpen {
		<-ctx.Done()
	}
	return n.status, "", nil
}
func (nobody) URL(access remit.ID) string { return "https://remit.example/approve/" + string(access) }

// A call that waits shows signs of life, of the kind that the client can read, and ends when its time is over.
func TestACallThatWaitsShowsSignsOfLife(t *testing.T) {
	for _, c := range []struct {
		name, accept, meta string
		comments, progress int
		status             remit.AccessStatus
	}{
		{"a stream", "application/json, text/event-stream", ``, 3, 0, remit.AccessOpen},
		{"a stream with progress", "text/event-stream", `,"_meta":{"progressToken":"p1"}`, 0, 3, remit.AccessOpen},
		{"JSON", "application/json", `,"_meta":{"progressToken":"p1"}`, 0, 0, remit.AccessOpen},
		{"an order that is being carried out", "application/json, text/event-stream", ``, 3, 0, remit.AccessReserved},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Config{Holds: nobody{c.status}})
				one := &call{id: json.RawMessage("9"), method: "tools/call", name: "merge", version: envelope.Stateless, server: Server{Name: "forge"}, params: json.RawMessage(`{"name":"merge"` + c.meta + `}`)}
				r := httptest.NewRequest("POST", "/", nil)
				r.Header.Set("Accept", c.accept)
				w := httptest.NewRecorder()
				begun := time.Now()
				g.wait(w, r, one, ticket.Ticket{Access: "A-7"}, remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-7"})
				if took := time.Since(begun); took != holdOpen {
					t.Fatalf("it took %s", took)
				}
				body := w.Body.String()
				if n := strings.Count(body, ": waiting\n\n"); n-c.comments > 1 || n < c.comments { // the last may come with the end
					t.Errorf("%d comments: %q", n, body)
				}
				if n := strings.Count(body, `"progressToken":"p1"`); n-c.progress > 1 || n < c.progress {
					t.Errorf("%d notifications: %q", n, body)
				}
				last := body[strings.LastIndex(body, `{"jsonrpc"`):]
				if !strings.Contains(last, `"id":9`) || !strings.Contains(last, "Held by Remit as A-7") {
					t.Errorf("it ends with %q", last)
				}
			})
		})
	}
}

func TestOneInstanceKeepsSoManyCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Holds: nobody{remit.AccessOpen}})
		took := make(chan time.Duration, 20)
		for range 20 {
			go func() {
				one := &call{id: json.RawMessage("9"), method: "tools/call", caller: remit.Caller{Instance: "I-1"}}
				begun := time.Now()
				g.wait(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), one, ticket.Ticket{Access: "A-7"}, remit.Decision{Access: "A-7"})
				took <- time.Since(begun)
			}()
		}
		atOnce := 0
		for range 20 {
			if <-took == 0 {
				atOnce++
			}
		}
		if atOnce != 4 {
			t.Fatalf("%d of 20 are answered at once", atOnce)
		}
	})
}
