package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

const (
	scanTime  = 45 * time.Second // of one look; a client waits for a minute
	maxReport = 32 << 20         // bytes of a report when it is read again
)

// Scan looks, read-only, at a declared upstream for authority outside Remit. spec is the commitment of the declaration by
// which it was looked at. The context bounds its time; what was not seen then is in the report.
type Scan func(ctx context.Context, upstream string) (report remit.ScanReport, spec remit.Digest, err error)

// scanUpstream has an upstream looked at, and keeps what was found.
func scanUpstream(s *Server, c *call, _ remit.ScanRequest) (out remit.ScanView, _ error) {
	name := c.r.PathValue("name")
	var known bool
	s.view(func(st *authority.State) { known = st.Upstreams[name] != nil })
	switch {
	case !known:
		return out, remit.Errorf(remit.NotFound, "no upstream %.64q is declared", name)
	case s.cfg.Scan == nil:
		return out, remit.Errorf(remit.NotFound, "this server looks at no upstream")
	case !s.scanning.TryLock():
		return out, remit.Errorf(remit.Conflict, "another scan is under way; try again when it is done, within a minute")
	}
	defer s.scanning.Unlock()
	ctx, cancel := context.WithTimeout(c.r.Context(), scanTime)
	defer cancel()
	report, spec, err := s.cfg.Scan(ctx, name)
	if err != nil {
		return out, err
	}
	parts, err := s.reportParts(report)
	if err != nil {
		return out, err
	}
	cmd := &authority.RecordScan{By: c.person, Upstream: name, Looked: report.Kind, Spec: spec, Reach: len(report.Reach), Unseen: len(report.Unseen)}
	for _, f := range report.Findings {
		switch f.Level {
		case remit.ScanError:
			cmd.Errors++
		case remit.ScanWarning:
			cmd.Warnings++
		default:
			cmd.Notes++
		}
	}
	for _, p := range parts {
		cmd.Report = append(cmd.Report, p.Commitment())
	}
	if _, err := s.do(c, cmd, parts...); err != nil {
		return out, s.inNames(c, err)
	}
	return s.scanOf(c.r.Context(), name)
}

// reportParts cuts a report into payloads.
func (s *Server) reportParts(r remit.ScanReport) (parts []remit.Payload, _ error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a report: %w", err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a report: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a report: %w", err)
	}
	for part := range slices.Chunk(b.Bytes(), remit.MaxPayload) {
		p, err := s.cfg.Engine.NewPayload(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// lastScan is the newest look at an upstream.
func lastScan(s *Server, c *call) (remit.ScanView, error) {
	return s.scanOf(c.r.Context(), c.r.PathValue("name"))
}

// scanOf reads the last report of an upstream.
func (s *Server) scanOf(ctx context.Context, upstream string) (out remit.ScanView, err error) {
	var parts []remit.Digest
	var known bool
	s.view(func(st *authority.State) {
		known = st.Upstreams[upstream] != nil
		if scan := st.Scans[upstream]; scan != nil {
			parts, out.Entry, out.Stale = scan.Report, scan.Entry, st.Stale(upstream)
		}
	})
	switch {
	case !known:
		return out, remit.Errorf(remit.NotFound, "no upstream %.64q is declared", upstream)
	case parts == nil:
		return out, remit.Errorf(remit.NotFound, "upstream %s was never scanned: remit inventory scan %s", upstream, upstream)
	}
	var b bytes.Buffer
	for _, d := range parts {
		part, ok := s.cfg.Engine.Text(ctx, d)
		if !ok {
			return out, remit.Errorf(remit.NotFound, "the report of entry %d was erased; scan %s again", out.Entry, upstream)
		}
		b.Write(part)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		return out, remit.Errorf(remit.Internal, "the report of entry %d cannot be read: %w", out.Entry, err)
	}
	body, err := io.ReadAll(io.LimitReader(z, maxReport+1))
	if err != nil || len(body) > maxReport {
		return out, remit.Errorf(remit.Internal, "the report of entry %d cannot be read", out.Entry)
	}
	if err := json.Unmarshal(body, &out.Report); err != nil {
		return out, remit.Errorf(remit.Internal, "the report of entry %d cannot be read: %w", out.Entry, err)
	}
	return out, nil
}
