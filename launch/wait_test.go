package launch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// waiting is a session that can wait, and keeps what it was asked with.
type waiting struct {
	Session
	instance remit.ID
	secret   string
}

func (w *waiting) WaitAccess(_ context.Context, access, instance remit.ID, secret []byte) (remit.AccessView, error) {
	w.instance, w.secret = instance, string(secret)
	if access != "A-41" {
		return remit.AccessView{}, remit.Errorf(remit.NotFound, "there is no access request %s", access)
	}
	return remit.AccessView{ID: access, Status: remit.AccessUsed, Outcome: remit.Done}, nil
}

// serveWait serves GET /wait at a socket, as the launcher of a run does.
func serveWait(t *testing.T, s Session) (socket string) {
	t.Helper()
	socket = filepath.Join(short(t), "i.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l := &Launcher{Session: s, Log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /wait", waits{l, client.Instance{ID: "I-30", Secret: "sesame"}}.answer)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

func TestAnInstanceWaitsThroughItsSocket(t *testing.T) {
	s := &waiting{}
	socket := serveWait(t, s)
	v, err := WaitThrough(t.Context(), socket, "A-41")
	if err != nil || v.Status != remit.AccessUsed || v.Outcome != remit.Done {
		t.Fatalf("%+v, %v", v, err)
	}
	if s.instance != "I-30" || s.secret != "sesame" {
		t.Errorf("the server was asked as %s with %q", s.instance, s.secret)
	}
	for id, want := range map[remit.ID]remit.Code{"A-9": remit.NotFound, "": remit.BadRequest} {
		var e *remit.Error
		if _, err := WaitThrough(t.Context(), socket, id); !errors.As(err, &e) || e.Code != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}

func TestWaitingEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WaitThrough(ctx, serveWait(t, &waiting{}), "A-41"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var e *remit.Error
	if _, err := WaitThrough(t.Context(), serveWait(t, nil), "A-41"); !errors.As(err, &e) || e.Code != remit.NotFound {
		t.Errorf("a session that cannot wait: %v", err)
	}
	if _, err := WaitThrough(t.Context(), filepath.Join(short(t), "none"), "A-41"); !errors.As(err, &e) || e.Code != remit.NotLive {
		t.Errorf("no socket: %v", err)
	}
}
