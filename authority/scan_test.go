package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestScan: an administrator's scan of what is declared now is kept until the next one; it is stale once the upstream is
// declared otherwise, and gone with it.
func TestScan(t *testing.T) {
	w := supplied(t)
	spec := w.s.Upstreams["oci"].Spec
	scan := func(change func(*authority.RecordScan)) *authority.RecordScan {
		c := &authority.RecordScan{By: "p-ada", Upstream: "oci", Looked: "registry", Spec: spec, Report: []remit.Digest{remit.Hash([]byte("report"))}, Errors: 2, Unseen: 1}
		change(c)
		return c
	}
	w.refuse(scan(func(c *authority.RecordScan) { c.By = "p-mia" }), remit.Forbidden, "only an administrator")
	w.refuse(scan(func(c *authority.RecordScan) { c.Upstream = "none" }), remit.NotFound, "no upstream")
	w.refuse(scan(func(c *authority.RecordScan) { c.Spec = remit.Hash([]byte("before")) }), remit.Conflict, "declared otherwise")
	w.refuse(scan(func(c *authority.RecordScan) { c.Report = nil }), remit.TooLarge, "0 parts")
	w.refuse(scan(func(c *authority.RecordScan) { c.Report = make([]remit.Digest, remit.MaxScanParts+1) }), remit.TooLarge, "at most 16")
	w.refuse(scan(func(c *authority.RecordScan) { c.Notes = -1 }), remit.BadRequest, "counts from 0")
	if !w.s.Stale("oci") {
		t.Error("what was never scanned is fresh")
	}
	w.must(scan(func(*authority.RecordScan) {}))
	w.must(scan(func(c *authority.RecordScan) { c.Errors = 0 }))
	if got := w.s.Scans["oci"]; got == nil || got.Errors != 0 || got.Unseen != 1 || w.s.Stale("oci") {
		t.Fatalf("kept is %+v", got)
	}
	w.apply(func(s *authority.Set) { s.Upstreams[1].Spec = remit.Hash([]byte("moved")) })
	if !w.s.Stale("oci") {
		t.Error("the scan of another place is fresh")
	}
	w.happen(&remit.Removed{What: "upstream", Name: "oci", By: "p-ada"})
	if w.s.Scans["oci"] != nil {
		t.Error("it outlives its upstream")
	}
}
