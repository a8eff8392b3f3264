package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/detect"
	"github.com/remit-dev/remit/export"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/telemetry"
)

// watcher watches a house: it counts what is committed, runs the detections over it, and serves the numbers.
type watcher struct {
	h     *House
	t     *telemetry.Telemetry
	blobs *ledger.BlobDir
	packs *ledger.BlobDir
	ops   *http.Server // of --metrics; nil: none
	at    net.Listener

	found    *detect.Detections
	next     remit.EntryIndex // to be folded
	counted  remit.EntryIndex // events before it were counted by an earlier process
	reported remit.EntryIndex // findings that an earlier entry completed were reported, or lie before the first start
	pending  []detect.Finding // not yet taken by the log
	kept     remit.EntryIndex // position in the file
	saved    time.Time
	folded   atomic.Uint64 // next, for others to read
}

// timedStore tells how long the log takes.
type timedStore struct {
	*sqlite.Store
	h *House
}

func (s timedStore) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	began := time.Now()
	err := s.Store.Append(ctx, expect, b)
	if w := s.h.watch; w != nil {
		w.t.Committed(len(b.Entries), time.Since(began), err)
	}
	return err
}

// savePosition is how often the position of the detections is written down. What lies between is folded again after a
// crash, and the log refuses what it has already.
const savePosition = 5 * time.Second

// openWatch begins to watch. The listener is opened now, so that a port in use is said at once.
func (h *House) openWatch(ctx context.Context, blobs, packs *ledger.BlobDir) (err error) {
	w := &watcher{h: h, blobs: blobs, packs: packs, found: detect.New()}
	if w.t, err = telemetry.New(ctx, telemetry.Config{Version: version, Org: h.Org, Read: w.read, OTLP: h.OTLP, MaxDebt: h.MaxDebt}); err != nil {
		return err
	}
	h.Engine.View(func(s *authority.State) { w.counted = s.Next })
	if w.reported, err = readPosition(layout(h.Data).detections(), w.counted); err != nil {
		return err
	}
	w.kept = w.reported
	if h.Metrics != "" {
		if w.at, err = net.Listen("tcp", h.Metrics); err != nil {
			return remit.Errorf(remit.Conflict, "cannot listen on %s for metrics: %w; choose another address with --metrics", h.Metrics, err)
		}
		w.ops = &http.Server{Handler: w.t.Handler(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
			MaxHeaderBytes: 16 << 10}
	}
	h.watch = w
	return nil
}

// readPosition is how far the findings were reported: up to the head where that was never written down, so that nobody
// is suspended for what an old log shows; and never beyond the head, which a restored log may have behind it.
func readPosition(path string, head remit.EntryIndex) (remit.EntryIndex, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return head, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading how far the log was searched: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63)
	if err != nil {
		return 0, remit.Errorf(remit.Internal, "%s is not the index of an entry; without the file the detections begin at the head of the log", path)
	}
	return min(remit.EntryIndex(n), head), nil
}

// serve answers operators until ctx ends.
func (w *watcher) serve(ctx context.Context) error {
	if w.ops == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { w.ops.Close() })
	defer stop()
	w.h.Log.Info("metrics and readiness", "listen", w.at.Addr().String())
	if err := w.ops.Serve(w.at); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// follow folds what is committed into the numbers and the detections.
func (w *watcher) follow(ctx context.Context) error {
	again := time.NewTicker(savePosition)
	defer again.Stop()
	for {
		changed := w.h.Engine.Changed()
		if err := w.catchUp(ctx); err != nil && ctx.Err() == nil {
			w.h.Log.Error("searching the log", "err", err)
		}
		select {
		case <-ctx.Done():
			return w.save(true)
		case <-changed:
		case <-again.C:
		}
	}
}

func (w *watcher) catchUp(ctx context.Context) error {
	for e, err := range w.h.Engine.Read(ctx, w.next) {
		if err != nil {
			return err
		}
		if e.Index < w.next {
			continue
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return err
		}
		if e.Index >= w.counted {
			w.t.Event(l.Event)
		}
		for _, f := range w.found.Fold(detect.Entry{Index: e.Index, At: l.At, Event: l.Event}) {
			if f.Last() >= w.reported {
				w.pending = append(w.pending, f)
			}
		}
		w.next = e.Index + 1
		w.folded.Store(uint64(w.next))
	}
	for len(w.pending) > 0 {
		if err := w.report(ctx, w.pending[0]); err != nil {
			return err
		}
		w.pending = w.pending[1:]
	}
	return w.save(false)
}

// report has a finding written down. An error means that it must be tried again.
func (w *watcher) report(ctx context.Context, f detect.Finding) error {
	entry, recorded, err := w.h.Engine.RecordFinding(ctx, authority.RecordFinding{Detection: f.Detection, Agent: f.Agent, Task: f.Task,
		Instance: f.Instance, Entries: f.Entries, Count: f.Count})
	var refused *remit.Error
	switch {
	case err == nil:
		if recorded {
			w.h.Log.Warn("found in the log", "detection", f.Detection, "agent", f.Agent, "task", f.Task, "instance", f.Instance, "entry", entry)
		}
		return nil
	case errors.As(err, &refused) && refused.Code.Info().HTTP < 500:
		// It would be refused again: what it names is gone. What was found is said here at least.
		w.h.Log.Error("a finding cannot be recorded", "detection", f.Detection, "agent", f.Agent, "task", f.Task, "entry", f.Last(), "err", err)
		return nil
	}
	return err
}

// save writes down how far the findings were reported.
func (w *watcher) save(now bool) error {
	at := w.next
	if len(w.pending) > 0 {
		at = w.pending[0].Last()
	}
	at = max(at, w.reported)
	if at == w.kept && !w.saved.IsZero() || !now && time.Since(w.saved) < savePosition {
		return nil
	}
	if err := replaceFile(layout(w.h.Data).detections(), fmt.Appendf(nil, "%d\n", at)); err != nil {
		return fmt.Errorf("writing how far the log was searched: %w", err)
	}
	w.kept, w.saved = at, time.Now()
	return nil
}

func (w *watcher) close() {
	if w.at != nil {
		w.at.Close()
	}
	if err := w.t.Close(context.Background()); err != nil {
		w.h.Log.Warn("sending the last traces", "err", err)
	}
}

// read is the house as it is now.
func (w *watcher) read() telemetry.Reading {
	h := w.h
	r := telemetry.Reading{Now: time.Now(), Stopped: h.Engine.Failed() != nil, Doubt: h.Engine.Doubt() != nil, Draining: h.Engine.Draining(), Queue: h.Engine.Queued(),
		Leases: map[telemetry.LeaseKey]int{}, Stores: map[string]telemetry.Store{"blobs": full(w.blobs), "packs": full(w.packs)}}
	next := remit.EntryIndex(0)
	h.Engine.View(func(s *authority.State) {
		next, r.Policy = s.Next, !s.Policy.IsZero()
		r.Tasks, r.Instances, r.Holds, r.Attempts = len(s.LiveTasks), len(s.Instances), len(s.OpenHolds), len(s.Attempts)
		for _, l := range s.Leases {
			provider := "removed" // from the declarations, while it lives
			if up := s.Upstreams[l.Upstream]; up != nil {
				provider = up.Type
			}
			r.Leases[telemetry.LeaseKey{Provider: provider, Status: l.Status}]++
		}
		for _, d := range s.Debt(h.Engine.Now().UnixNano()) {
			if d.Since != 0 {
				r.Debt++
			}
			if d.Until != 0 {
				r.Exposure++
			}
		}
	})
	r.Entries = uint64(next)
	r.Signed, r.Signing, r.Behind = h.heads.told.read()
	r.Lag = map[string]uint64{"views": r.Entries - min(uint64(h.follower.Next()), r.Entries), "watch": r.Entries - min(w.folded.Load(), r.Entries)}
	return r
}

// formats are what entries can be exported as.
func (h *House) formats(a *attestor) map[string]server.Format {
	src := export.Source{Org: h.Org, Origin: h.heads.origin, Version: version}
	out := map[string]server.Format{}
	for _, name := range export.Formats() {
		out[name] = func(i remit.EntryIndex, at time.Time, e remit.Event, view []byte) ([]byte, error) {
			return src.Line(name, export.Entry{Index: i, At: at, Event: e, View: view})
		}
	}
	out[export.InToto] = h.statements(a)
	return out
}

func full(d *ledger.BlobDir) telemetry.Store {
	u, err := d.Usage()
	return telemetry.Store{Used: u.Used, Quota: u.Quota, Free: u.Free, Reserve: u.Reserve, Unknown: err != nil}
}
