package engine_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// open opens a core, over a memory store unless o has another, and closes it with the test.
func open(t testing.TB, o world.CoreOptions) *world.Core {
	t.Helper()
	if o.Store == nil {
		o.Store = &ledgertest.Memory{}
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := world.OpenCore(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Engine.Close)
	return c
}

func launch(t testing.TB, c *world.Core, agent string) remit.Caller {
	t.Helper()
	caller, err := c.Task(t.Context(), agent, "mia")
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func ask(t testing.TB, c *world.Core, r remit.Request) remit.Decision {
	t.Helper()
	d, err := c.Engine.Authorize(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func allow(t testing.TB, c *world.Core, r remit.Request) remit.Permit {
	t.Helper()
	d := ask(t, c, r)
	if d.Verdict != remit.Allow {
		t.Fatalf("%s %s: %s; want an allow", d.Verdict, d.Code, d.Sentence)
	}
	return d.Permit
}

func redeem(t testing.TB, c *world.Core, p remit.Permit) remit.Attempt {
	t.Helper()
	a, err := c.Engine.Redeem(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func do(t testing.TB, c *world.Core, cmd authority.Command) authority.Result {
	t.Helper()
	res, err := c.Engine.Do(t.Context(), cmd)
	if err != nil {
		t.Fatalf("%T: %v", cmd, err)
	}
	return res
}

// coded fails unless err has a code.
func coded(t testing.TB, err error, code remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func encoded(e *engine.Engine) (b []byte) {
	e.View(func(s *authority.State) { b = s.Encode() })
	return b
}

// check folds the log anew and compares, and derives every decision again.
func check(t testing.TB, c *world.Core) engine.Meaning {
	t.Helper()
	s := authority.New()
	d := deriver(t, c)
	_, _, err := ledger.Replay(t.Context(), c.Config.Store, ledger.Tree{}, func(i remit.EntryIndex, l ledger.Leaf) error {
		return errors.Join(authority.Apply(s, l.At.UnixNano(), l.Event), d.Entry(t.Context(), i, l))
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Encode(), encoded(c.Engine)) {
		t.Fatalf("the replayed state is not the live one")
	}
	m, err := d.Finish(t.Context())
	if err != nil || len(m.Wrong) > 0 {
		t.Fatalf("deriving: %v %v", err, m.Wrong)
	}
	return m
}

func deriver(t testing.TB, c *world.Core) *engine.Deriver {
	return &engine.Deriver{Policies: c.Rules,
		Payload: func(d remit.Digest) ([]byte, error) {
			p, err := c.Config.Store.Payload(t.Context(), d)
			return p.Body, err
		},
		Blob: func(d remit.Digest) ([]byte, error) { return readBlob(t, c.Config.Blobs, d) }}
}

func readBlob(t testing.TB, blobs ledger.Blobs, d remit.Digest) ([]byte, error) {
	r, _, err := blobs.Open(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	return b.Bytes(), err
}

// gate is a store whose Append waits for Open, and says when one does: what is asked meanwhile is decided in one group.
type gate struct {
	ledger.Store
	mu      sync.Mutex
	shut    chan struct{} // nil: open
	waiting chan struct{} // gets one for each Append that waits
	fails   error         // of each Append, until Mend
}

func newGate(s ledger.Store) *gate { return &gate{Store: s, waiting: make(chan struct{}, 1024)} }

func (g *gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// Fail has every Append refused with err; nil mends it.
func (g *gate) Fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fails = err
}

func (g *gate) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		g.waiting <- struct{}{}
		<-shut
	}
	g.mu.Lock()
	err := g.fails
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return g.Store.Append(ctx, expect, b)
}

// together runs functions at once and waits for all of them.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
