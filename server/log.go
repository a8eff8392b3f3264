package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

func logHead(s *Server, c *call) (remit.LogHead, error) { return s.cfg.Log.Head(c.r.Context()) }

// stream is an answer that goes on: each piece has its own deadline.
type stream struct {
	w  io.Writer
	rc *http.ResponseController
}

func (c *call) stream(content string) stream {
	c.w.Header().Set("Content-Type", content)
	rc := http.NewResponseController(c.w)
	_ = rc.SetReadDeadline(time.Time{})
	return stream{c.w, rc}
}

func (s stream) Write(b []byte) (int, error) {
	_ = s.rc.SetWriteDeadline(time.Now().Add(sendWithin))
	return s.w.Write(b)
}

// logEntries gives the log as JSON lines. An error after the first line ends the connection instead of the answer, so
// that nobody takes a part for the whole.
func logEntries(s *Server, c *call) error {
	from, err := strconv.ParseUint("0"+c.r.URL.Query().Get("from"), 10, 63)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "from is the index of an entry, counted from 0")
	}
	follow, err := c.flag("follow")
	if err != nil {
		return err
	}
	name := c.r.URL.Query().Get("format")
	format := s.cfg.Formats[name]
	if name != "" && format == nil {
		return remit.Errorf(remit.BadRequest, "there is no format %.32q; without one, entries come as they stand in the log", name)
	}
	leave, err := s.enter(c.who())
	if err != nil {
		return err
	}
	defer leave()
	out, ctx := c.stream("application/x-ndjson"), c.r.Context()
	for next := remit.EntryIndex(from); ; {
		changed := s.cfg.Engine.Changed()
		if s.cfg.Sessions.Ended(c.r, c.session) { // whoever is signed out reads no more (R11)
			return nil
		}
		for e, err := range s.cfg.Engine.Read(ctx, next) {
			if err == nil {
				err = writeEntry(out, e, format)
			}
			if err != nil {
				s.cfg.Slog.Error("sending the log", "entry", next, "err", err)
				panic(http.ErrAbortHandler)
			}
			next = e.Index + 1
		}
		if !follow {
			return nil
		}
		if err := out.rc.Flush(); err != nil {
			return errGone
		}
		select {
		case <-changed:
		case <-s.cfg.Clock.After(beat):
			if _, err := io.WriteString(out, "\n"); err != nil {
				return errGone
			}
		case <-ctx.Done():
			return errGone
		case <-s.closed:
			return nil
		}
	}
}

func writeEntry(w io.Writer, e ledger.Entry, format Format) error {
	l, err := ledger.Decode(e.Leaf)
	if err != nil {
		return err
	}
	view, err := ledger.View(l)
	if err != nil {
		return err
	}
	line := []byte(nil)
	if format != nil {
		line, err = format(e.Index, l.At, l.Event, view)
	} else {
		line, err = json.Marshal(remit.LogEntry{Entry: e.Index, Leaf: view, Hash: tlog.RecordHash(e.Leaf).String()})
	}
	if err != nil || line == nil { // an entry that the format has nothing to say of
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// bundle exports the log. That it can be read by whoever gets it is why only administrators may.
func bundle(s *Server, c *call) error {
	done, err := s.work(c.r.Context())
	if err != nil {
		return err
	}
	defer done()
	out := &begun{stream: c.stream("application/octet-stream")}
	c.w.Header().Set("Content-Disposition", `attachment; filename="remit-log.bundle"`)
	err = s.cfg.Log.Export(c.r.Context(), out)
	if err != nil && out.sent {
		s.cfg.Slog.Error("exporting the log", "err", err)
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		c.w.Header().Del("Content-Disposition")
	}
	return err
}

// begun remembers whether a byte of an answer was sent: from then on an error cannot be answered any more.
type begun struct {
	stream
	sent bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.sent = true
	return b.stream.Write(p)
}

// decision explains a decision by deriving it again.
func decision(s *Server, c *call) (out remit.DecisionView, err error) {
	ctx := c.r.Context()
	i, err := s.readable(c) // before anything is said of the entry, or done for it
	if err != nil {
		return out, err
	}
	leave, err := s.enter(c.who())
	if err != nil {
		return out, err
	}
	defer leave()
	done, err := s.work(ctx)
	if err != nil {
		return out, err
	}
	found, err := s.cfg.Engine.Explain(ctx, i)
	done()
	if err != nil {
		return out, err
	}
	x := found[i]
	e, ok := x.Event.(*remit.Decided)
	if !ok {
		return out, remit.Errorf(remit.NotFound, "entry %d is %s and no decision", i, x.Event.Kind())
	}
	out = remit.DecisionView{Entry: i, At: x.At, Verdict: e.Verdict, Code: e.Code, Rules: e.Rules, Gateway: e.Gateway, Agent: e.Agent,
		Instance: e.Instance, Task: e.Task, Executor: e.Executor, Steps: []remit.Step{}, Access: e.Access, Policy: e.Policy, Facts: e.Facts,
		Derived: x.Derived}
	for _, name := range e.Observed {
		out.Observed = append(out.Observed, remit.ObservationOf(name))
	}
	if e.Code != "" {
		out.Meaning = e.Code.Info().Meaning
	}
	if cmd, ok := x.Command.(*authority.Authorize); ok {
		out.Steps = append(out.Steps, cmd.Request.Steps...)
		out.Refs = refViews(cmd.Request.Refs, e)
		out.Sentence = named(s.people(ctx), x.Result.Decision.Sentence)
		if x.Derived {
			out.Observed = x.Result.Observed // with texts
		}
	} else {
		for _, f := range e.Steps {
			out.Steps = append(out.Steps, f.Step)
		}
	}
	if x.Command == nil {
		if l, err := s.leaf(ctx, i); err == nil {
			out.ErasedBy = s.erasedBy(l.Command)
		}
	}
	if e.Task != "" {
		came, err := s.cfg.Follow.Came(ctx, e.Task, i, e.Access)
		if err != nil {
			return out, err
		}
		out.Outcome = came.Outcome
	}
	return out, nil
}

// leaf is one entry as it stands in the log.
func (s *Server) leaf(ctx context.Context, i remit.EntryIndex) (ledger.Leaf, error) {
	for e, err := range s.cfg.Engine.Read(ctx, i) {
		if err != nil {
			return ledger.Leaf{}, err
		}
		return ledger.Decode(e.Leaf)
	}
	return ledger.Leaf{}, remit.Errorf(remit.NotFound, "the log has no entry %d", i)
}

// policyInForce is the bundle that judges now.
func policyInForce(s *Server, c *call) (out remit.PolicyView, err error) {
	s.view(func(st *authority.State) { out.Digest = st.Policy })
	out.Files, err = s.cfg.Bundles.Files(c.r.Context(), out.Digest)
	return out, err
}
