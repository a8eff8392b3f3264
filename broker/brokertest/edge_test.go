package brokertest_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
)

// unhurried is a provider whose upstream makes credentials when it is told to, whoever still waits for them.
type unhurried struct {
	gated
	release chan struct{}
}

func (u unhurried) Mint(ctx context.Context, a broker.Asked) (broker.Secret, error) {
	<-u.release
	return u.gated.Mint(context.WithoutCancel(ctx), a)
}

// TestNothingIsMadeAfterItsEndWasSeen: a task ends while its credential is on its way. It is not seen dead before it came
// into being.
func TestNothingIsMadeAfterItsEndWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.up.Kind.Anchored = false
		release := make(chan struct{})
		h.wrap = func(g gated) broker.Provider { return unhurried{g, release} }
		p := h.start(newGate(0, true))
		a := p.attempt()
		said := make(chan error, 1)
		go func() {
			l, err := p.lease(a)
			if l != nil {
				t.Error("it is given out")
			}
			said <- err
		}()
		synctest.Wait()
		p.endTask()
		synctest.Wait()
		close(release)
		coded(t, <-said, remit.NotLive)
		p.settle()
		p.sound(t)
		if len(p.up.Minted()) != 1 {
			t.Fatal("the test tests nothing: it was never made")
		}
	})
}

// TestARevocationThatFailedIsNotBelieved: what the credential hung on may be there in part.
func TestARevocationThatFailedIsNotBelieved(t *testing.T) {
	lived(t, func(u *brokertest.Upstream) { u.Fail("revoke", brokertest.Applied) }, func(t *testing.T, p *process) {
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		p.endTask()
		p.settle()
		p.sound(t)
		if r := p.receipts(); len(r) != 1 || r[0].Tries != 2 {
			t.Fatalf("%+v", r)
		}
	})
}

// TestALeaseEndsByItsTimeAlone: nothing else happens that could wake the machine.
func TestALeaseEndsByItsTimeAlone(t *testing.T) {
	lived(t, nil, func(t *testing.T, p *process) {
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour + time.Second)
		synctest.Wait()
		if r := p.receipts(); len(r) != 1 || r[0].Why != remit.Expired {
			t.Fatalf("%+v", r)
		}
		p.sound(t)
	})
}

// TestALeaseWithoutItsSecretEndsAtOnce: nobody can use it any more, so nobody needs it.
func TestALeaseWithoutItsSecretEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		p := h.start(newGate(0, true))
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		p.stop()
		kept, err := filepath.Glob(filepath.Join(h.dir, "vault", "L-*"))
		if err != nil || len(kept) != 1 {
			t.Fatalf("%v %v", kept, err)
		}
		if err := os.Remove(kept[0]); err != nil {
			t.Fatal(err)
		}
		p = h.start(newGate(0, true))
		p.settle()
		p.sound(t)
		if r := p.receipts(); len(r) != 1 || r[0].Probe != remit.ProbeInOwnName || r[0].Why != remit.Dropped {
			t.Fatalf("%+v", r)
		}
	})
}
