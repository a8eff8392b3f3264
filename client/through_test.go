package client_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

func TestThroughAnInstancesSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/orgs/acme/task/request" || r.Host != "instance" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"verdict":"allow"}`)
	})}
	go func() { _ = s.Serve(ln) }()
	defer s.Close()
	if _, err := client.Through(socket, "acme").AskChild(t.Context(), "", "request", remit.ChildRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := client.Through(socket, "other").AskChild(t.Context(), "", "request", remit.ChildRequest{}); err == nil {
		t.Error("another organisation answered")
	}
}
