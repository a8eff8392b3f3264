package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// RecordScan keeps that an upstream was looked at for authority outside Remit, and what came of it in numbers. It gives
// nobody anything.
type RecordScan struct {
	By       remit.ID
	Upstream string
	Looked   string
	Spec     remit.Digest   // of the declaration by which it was looked at
	Report   []remit.Digest // commitments
	Errors   int            `json:",omitempty"`
	Warnings int            `json:",omitempty"`
	Notes    int            `json:",omitempty"`
	Reach    int            `json:",omitempty"`
	Unseen   int            `json:",omitempty"`
}

func (*RecordScan) name() string { return "upstream.scan" }

// Scan is the last look at an upstream.
type Scan struct {
	remit.UpstreamScanned
	Entry remit.EntryIndex
	At    int64 // Unix nanoseconds
}

// Stale tells whether the upstream is declared otherwise since: the scan may be of another place.
func (s *State) Stale(upstream string) bool {
	scan, u := s.Scans[upstream], s.Upstreams[upstream]
	return scan == nil || u == nil || scan.Spec != u.Spec
}

func decideScan(s *State, c *RecordScan) ([]remit.Event, Result, error) {
	if !s.IsAdmin(c.By) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "only an administrator has an upstream scanned")
	}
	u := s.Upstreams[c.Upstream]
	if u == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "no upstream %q is declared", c.Upstream)
	}
	if u.Spec != c.Spec {
		return nil, Result{}, remit.Errorf(remit.Conflict, "upstream %s was declared otherwise while it was scanned; scan it again", c.Upstream)
	}
	if len(c.Report) == 0 || len(c.Report) > remit.MaxScanParts {
		return nil, Result{}, remit.Errorf(remit.TooLarge, "a report of %d parts; at most %d", len(c.Report), remit.MaxScanParts)
	}
	if min(c.Errors, c.Warnings, c.Notes, c.Reach, c.Unseen) < 0 {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "a scan counts from 0")
	}
	return []remit.Event{&remit.UpstreamScanned{Upstream: c.Upstream, By: c.By, Looked: c.Looked, Spec: c.Spec, Report: c.Report, Errors: c.Errors,
		Warnings: c.Warnings, Notes: c.Notes, Reach: c.Reach, Unseen: c.Unseen}}, Result{}, nil
}

func (s *State) applyScanned(n remit.EntryIndex, at int64, e *remit.UpstreamScanned) error {
	if s.Upstreams[e.Upstream] == nil {
		return fmt.Errorf("no upstream %q is declared", e.Upstream)
	}
	if s.Scans == nil {
		s.Scans = map[string]*Scan{}
	}
	kept := *e
	kept.Report = slices.Clone(e.Report)
	s.Scans[e.Upstream] = &Scan{UpstreamScanned: kept, Entry: n, At: at}
	return nil
}
