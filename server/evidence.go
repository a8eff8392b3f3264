package server

import (
	"context"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
)

// evidencePeriod is how far back a report goes where nobody says.
const evidencePeriod = 90 * 24 * time.Hour

// listFrameworks are the maps that this release ships.
func listFrameworks(*Server, *call) ([]remit.EvidenceFramework, error) {
	out := []remit.EvidenceFramework{}
	for _, name := range evidence.Names() {
		m, err := evidence.Load(name)
		if err != nil {
			return nil, err
		}
		out = append(out, m.About())
	}
	return out, nil
}

// evidenceReport says what the log has of a framework's items.
func evidenceReport(s *Server, c *call) (remit.EvidenceReport, error) {
	_, r, _, err := s.fold(c)
	return r, err
}

// evidencePack gives a report with its proofs.
func evidencePack(s *Server, c *call) error {
	if s.cfg.Packs == nil {
		return remit.Errorf(remit.NotFound, "this server signs no packs")
	}
	m, r, head, err := s.fold(c)
	if err != nil {
		return err
	}
	b, err := evidence.MakePack(m, r, []byte(head.Checkpoint), s.cfg.Packs(c.r.Context(), head))
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="remit-evidence-`+m.ID+`.pack"`)
	return c.content("application/json", b)
}

// fold reads the log up to its newest signed head for a framework and a period: framework, since and until of the query.
func (s *Server) fold(c *call) (m evidence.Framework, r remit.EvidenceReport, head remit.LogHead, err error) {
	q := c.r.URL.Query()
	if m, err = evidence.Load(q.Get("framework")); err != nil {
		return m, r, head, err
	}
	now := s.cfg.Clock.Now().UTC().Add(1) // what was written at this instant is before it
	until, err := instant("until", q.Get("until"), now)
	if err != nil {
		return m, r, head, err
	}
	since, err := instant("since", q.Get("since"), until.Add(-evidencePeriod))
	if err != nil {
		return m, r, head, err
	}
	if until.After(now) {
		return m, r, head, remit.Errorf(remit.BadRequest, "until: %s has not been yet; nothing is said of what is to come", until.Format(time.RFC3339))
	}
	f, err := evidence.New(since, until)
	if err != nil {
		return m, r, head, err
	}
	ctx := c.r.Context()
	done, err := s.work(ctx)
	if err != nil {
		return m, r, head, err
	}
	defer done()
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // a long log takes its time, and the caller waits
	if head, err = s.cfg.Log.Head(ctx); err != nil {
		return m, r, head, err
	}
	if err = s.upTo(ctx, head.Size, f.Entry); err != nil {
		return m, r, head, err
	}
	r, err = f.Report(m, s.cfg.Settings)
	return m, r, head, err
}

// upTo gives the first entries of the log.
func (s *Server) upTo(ctx context.Context, size uint64, entry func(remit.EntryIndex, ledger.Leaf) error) (err error) {
	read := s.leaseEntries(ctx, 0, func(i remit.EntryIndex, l ledger.Leaf) bool {
		if uint64(i) < size {
			err = entry(i, l)
		}
		return err == nil && uint64(i)+1 < size
	})
	if read != nil {
		return read
	}
	return err
}

// instant is a time of a query, or instead where there is none.
func instant(name, text string, instead time.Time) (time.Time, error) {
	if text == "" {
		return instead, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, remit.Errorf(remit.BadRequest, "%s: %.64q; a time is written as 2026-05-01T00:00:00Z (RFC 3339)", name, text)
	}
	return t.UTC(), nil
}
