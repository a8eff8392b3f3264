package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
)

func TestTheLogIsServedAsTiles(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	const at = "/v1/orgs/acme/log/tiles/"
	ada := bearer(t, w, "ada")
	head, err := w.Client().LogHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, h, checkpoint := call(t, w, "GET", at+"checkpoint", "", "")
	if c, err := ledger.OpenCheckpoint([]byte(checkpoint), head.Verifier); status != http.StatusOK || err != nil || c.Size != head.Size ||
		h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %v\n%s", status, h, err, checkpoint)
	}
	part := ledger.Tile{H: 8, L: 0, N: 0, W: int(head.Size)}
	status, h, hashes := call(t, w, "GET", at+ledger.TilePath(part), "", "")
	if status != http.StatusOK || len(hashes) != tlog.HashSize*part.W || h.Get("Content-Type") != "application/octet-stream" ||
		h.Get("Cache-Control") != "public, max-age=60" {
		t.Fatalf("%d %v, %d bytes", status, h, len(hashes))
	}
	part.L = -1
	status, h, entries := call(t, w, "GET", at+ledger.TilePath(part), ada, "")
	if status != http.StatusOK || !strings.Contains(entries, "genesis") || h.Get("Cache-Control") != "private, max-age=60" {
		t.Fatalf("%d %v", status, h)
	}
	// Entries hold declared names: nobody reads them who is nobody here.
	if status, _, body := call(t, w, "GET", at+ledger.TilePath(part), "", ""); status != http.StatusUnauthorized || strings.Contains(body, "genesis") {
		t.Errorf("%d %s", status, body)
	}
	for _, path := range []string{"tile/0/001", "tile/0/000", "tile/9/000", "tile/0", "tile/0/0", "tile/0/000.p/256", "tile/entries/000", "tile/entries/x000/000", "tile/data/000.p/1",
		"tile/0/%2e%2e/0/000.p/1", "other"} {
		if status, _, body := call(t, w, "GET", at+path, ada, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestAReceiptIsGivenToWhoMayReadTheEntry(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	task := w.Task("cleo")
	d := w.Push(w.Instance("cleo", task.ID), shown(), "refund.go")
	head, err := w.Client().LogHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trust := ledger.Trust{Verifier: head.Verifier}
	cleo := w.SignIn("cleo")
	whole, err := cleo.LogReceipt(t.Context(), d.Entry, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.ReadReceipt(whole, nil, trust)
	if err != nil || p.Index != d.Entry {
		t.Fatalf("%+v, %v", p, err)
	}
	if l, err := ledger.Decode(p.Leaf); err != nil || l.Event.(*remit.Decided).Task != task.ID {
		t.Fatalf("%+v, %v", l, err)
	}
	bare, err := cleo.LogReceipt(t.Context(), d.Entry, true)
	if err != nil || strings.Contains(string(bare), "extra") {
		t.Fatalf("%v\n%s", err, bare)
	}
	if _, err := ledger.ReadReceipt(bare, p.Leaf, trust); err != nil {
		t.Fatal(err)
	}
	missing := (*remit.Error)(nil)
	if _, err := cleo.LogReceipt(t.Context(), 1<<40, false); !errors.As(err, &missing) || missing.Code != remit.NotFound {
		t.Errorf("an entry that is not there: %v", err)
	}
}

func TestAPublicLogIsReadByAnyone(t *testing.T) {
	w := world.New(t, world.Options{PublicLog: true})
	w.Declare(w.Team())
	status, h, body := call(t, w, "GET", "/v1/orgs/acme/log/tiles/tile/entries/000.p/1", "", "")
	if status != http.StatusOK || !strings.Contains(body, "genesis") || h.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("%d %v", status, h)
	}
	for _, path := range []string{"/log/entries", "/log/bundle", "/log/receipts/0"} { // these hold more, or ask more of the server
		if status, _, body := call(t, w, "GET", "/v1/orgs/acme"+path, "", ""); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
