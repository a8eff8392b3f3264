package brokertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
)

// Subject is a provider, with an upstream on which it may make and end credentials.
type Subject struct {
	Provider broker.Provider
	Upstream remit.Upstream
	Target   remit.Resource
	Spec     []byte
	// Life is how long a credential is asked for; by default what the provider gives at least, or an hour.
	Life time.Duration
	// Now is the upstream's clock; that of the machine by default.
	Now func() time.Time
	// Uses tells whether the upstream lets a credential do what it is for; nil: the probe is taken at its word.
	Uses func(context.Context, broker.Secret) (bool, error)
	// Pause lets some of the upstream's time pass while a revocation takes effect; a tenth of a second by default.
	Pause func()
}

// Run holds a provider to the contract of broker.Provider, and of broker.Sweeper if it is one. Each part has a subject of
// its own. A provider whose credentials nothing but their end ends is held to all but their death.
func Run(t *testing.T, subject func(*testing.T) Subject) {
	for _, part := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"its traits make sense", (*suite).traits},
		{"a credential lives, and dies when it is revoked", (*suite).lives},
		{"a credential that was only read for is one too", (*suite).reads},
		{"what is there already is no error, and what is gone is none", (*suite).repeats},
		{"without an anchor nothing is made", (*suite).anchorless},
		{"what a crash lost is ended by its name", (*suite).lost},
		{"one lease ends, and its neighbour lives", (*suite).neighbours},
		{"a cancelled call is an error", (*suite).cancelled},
		{"a sweep lists what is there, and nothing else", (*suite).sweeps},
		{"containing ends all of it", (*suite).contains},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := &suite{Subject: subject(t), t: t}
			if s.Now == nil {
				s.Now = time.Now
			}
			if s.Pause == nil {
				s.Pause = func() { <-time.After(100 * time.Millisecond) }
			}
			if s.Life == 0 {
				s.Life = max(s.Provider.Traits().Shortest, min(time.Hour, s.Provider.Traits().Longest))
			}
			if s.Life == 0 {
				s.Life = time.Hour
			}
			part.test(s, t)
		})
	}
}

type suite struct {
	Subject
	t *testing.T
	n int
}

// asked is a fresh lease's.
func (s *suite) asked(write bool) broker.Asked {
	s.n++
	// Names differ between runs: a real upstream may remember a run that was cut off.
	n := s.Now().UnixNano()/1000*10 + int64(s.n)
	a := broker.Asked{Lease: remit.ID(fmt.Sprintf("L-%d", n)), Name: fmt.Sprintf("remit-suite-0a1b2c3d-l-%d", n), Upstream: s.Upstream,
		Target: s.Target, Spec: s.Spec, Write: write, Opened: s.Now(), NotAfter: s.Now().Add(s.Life)}
	s.t.Cleanup(func() { _ = s.Provider.Revoke(context.WithoutCancel(s.t.Context()), a, nil) })
	return a
}

func (s *suite) anchor(a broker.Asked) {
	s.t.Helper()
	if !s.Provider.Traits().Anchored {
		return
	}
	if err := s.Provider.Anchor(s.t.Context(), a); err != nil {
		s.t.Fatalf("anchor: %v", err)
	}
}

func (s *suite) mint(a broker.Asked) broker.Secret {
	s.t.Helper()
	s.anchor(a)
	secret, err := s.Provider.Mint(s.t.Context(), a)
	switch {
	case err != nil:
		s.t.Fatalf("mint: %v", err)
	case secret.Value == "":
		s.t.Fatal("mint gave no secret")
	case secret.Wider != "":
		s.t.Fatalf("it gave more than was asked for: %s", secret.Wider)
	case s.Provider.Traits().Longest > 0 && secret.NotAfter.IsZero():
		s.t.Fatal("it says that its credentials end, and does not say when this one does")
	case secret.NotAfter.After(a.NotAfter.Add(authority.LeaseSkew)):
		s.t.Fatalf("it was asked until %v and gave until %v", a.NotAfter, secret.NotAfter)
	case strings.Contains(secret.Handle, secret.Value):
		s.t.Fatal("the handle, which is not secret, has the secret")
	}
	return secret
}

func (s *suite) probe(a broker.Asked, secret *broker.Secret) broker.Life {
	s.t.Helper()
	life, err := s.Provider.Probe(s.t.Context(), a, secret)
	if err != nil {
		s.t.Fatalf("probe: %v", err)
	}
	return life
}

func (s *suite) revoke(a broker.Asked, secret *broker.Secret) {
	s.t.Helper()
	if err := s.Provider.Revoke(s.t.Context(), a, secret); err != nil {
		s.t.Fatalf("revoke: %v", err)
	}
}

// dies waits until a credential is seen dead, by its probe and by what it is for.
func (s *suite) dies(a broker.Asked, secret *broker.Secret) {
	s.t.Helper()
	if s.Provider.Traits().Revocation == remit.RevokeExpiry {
		return
	}
	for s.probe(a, secret) != broker.Dead {
		s.Pause()
	}
	if secret != nil && s.Uses != nil {
		if ok, err := s.Uses(s.t.Context(), *secret); err != nil || ok {
			s.t.Fatalf("the probe saw it dead, and the upstream lets it in (%v)", err)
		}
	}
}

func (s *suite) traits(t *testing.T) {
	tr := s.Provider.Traits()
	switch {
	case tr.Revocation != remit.RevokeImmediate && tr.Revocation != remit.RevokeBounded && tr.Revocation != remit.RevokeExpiry:
		t.Errorf("revocation %q", tr.Revocation)
	case (tr.Revocation == remit.RevokeBounded) != (tr.Bound > 0):
		t.Errorf("a bounded revocation has a bound and no other has: %v", tr.Bound)
	case tr.Revocation == remit.RevokeExpiry && tr.Longest == 0:
		t.Error("nothing but its end ends it, and it has none")
	case tr.Longest > 0 && tr.Shortest > tr.Longest:
		t.Errorf("at least %v and at most %v", tr.Shortest, tr.Longest)
	}
}

func (s *suite) lives(t *testing.T) {
	a := s.asked(true)
	secret := s.mint(a)
	if life := s.probe(a, &secret); life != broker.Alive {
		t.Fatalf("a fresh credential is %v", life)
	}
	if life := s.probe(a, nil); life == broker.Dead {
		t.Fatal("by its name it is dead, while it lives")
	}
	if s.Uses != nil {
		if ok, err := s.Uses(t.Context(), secret); err != nil || !ok {
			t.Fatalf("it cannot do what it is for (%v)", err)
		}
	}
	s.revoke(a, &secret)
	s.dies(a, &secret)
	s.revoke(a, &secret)
	s.dies(a, &secret)
}

func (s *suite) reads(*testing.T) {
	a := s.asked(false)
	secret := s.mint(a)
	s.revoke(a, &secret)
	s.dies(a, &secret)
}

func (s *suite) repeats(t *testing.T) {
	never := s.asked(true)
	s.revoke(never, nil)
	if s.Provider.Traits().Revocation != remit.RevokeExpiry {
		if life := s.probe(never, nil); life != broker.Dead {
			t.Fatalf("what never was is %v", life)
		}
	}
	a := s.asked(true)
	s.anchor(a)
	s.anchor(a)
	secret := s.mint(a)
	s.anchor(a)
	if life := s.probe(a, &secret); life != broker.Alive {
		t.Fatalf("anchoring again made it %v", life)
	}
	for range 2 {
		s.revoke(a, &secret)
		s.revoke(a, nil)
	}
	s.dies(a, nil)
}

func (s *suite) anchorless(t *testing.T) {
	if !s.Provider.Traits().Anchored {
		return
	}
	a := s.asked(true)
	if secret, err := s.Provider.Mint(t.Context(), a); err == nil {
		t.Fatalf("it made a credential without an anchor (handle %q)", secret.Handle)
	}
	s.anchor(a)
	s.revoke(a, nil)
	s.dies(a, nil)
	if _, err := s.Provider.Mint(t.Context(), a); err == nil {
		t.Fatal("it made a credential on an anchor that was removed")
	}
}

func (s *suite) lost(*testing.T) {
	a := s.asked(true)
	secret := s.mint(a)
	s.revoke(a, nil)
	s.dies(a, &secret)
	s.dies(a, nil)
	// A sweep knows the name alone.
	b := s.asked(true)
	secret = s.mint(b)
	bare := broker.Asked{Lease: b.Lease, Name: b.Name, Upstream: b.Upstream, Opened: b.Opened, NotAfter: b.NotAfter}
	if _, ok := s.Provider.(broker.Sweeper); ok {
		s.revoke(bare, nil)
		s.dies(bare, nil)
		s.dies(b, &secret)
	}
}

func (s *suite) neighbours(t *testing.T) {
	a, b := s.asked(true), s.asked(true)
	// A name that begins with another's is another name.
	b.Name, b.Lease = a.Name+"0", a.Lease+"0"
	s.t.Cleanup(func() { _ = s.Provider.Revoke(context.WithoutCancel(t.Context()), b, nil) })
	one, other := s.mint(a), s.mint(b)
	if one.Value == other.Value {
		t.Fatal("two leases have the same secret")
	}
	s.revoke(a, &one)
	s.dies(a, &one)
	if life := s.probe(b, &other); life != broker.Alive {
		t.Fatalf("its neighbour is %v", life)
	}
	s.revoke(b, &other)
	s.dies(b, &other)
}

func (s *suite) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := s.asked(true)
	if s.Provider.Traits().Anchored && s.Provider.Anchor(ctx, a) == nil {
		t.Error("anchor")
	}
	s.anchor(a)
	if life, err := s.Provider.Probe(ctx, a, nil); err == nil || life != broker.Unknown {
		if s.Provider.Traits().Revocation != remit.RevokeExpiry {
			t.Errorf("a probe that was cancelled saw it %v (%v)", life, err)
		}
	}
}

func (s *suite) sweeps(t *testing.T) {
	sw, ok := s.Provider.(broker.Sweeper)
	if !ok {
		return
	}
	there := func(a broker.Asked) bool {
		t.Helper()
		names, err := sw.Sweep(t.Context(), s.Upstream)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(names, a.Name)
	}
	a := s.asked(true)
	if there(a) {
		t.Fatal("it lists what is not there")
	}
	if s.Provider.Traits().Anchored {
		s.anchor(a)
		if !there(a) {
			t.Fatal("it does not list an anchor without a credential")
		}
	}
	secret := s.mint(a)
	if !there(a) {
		t.Fatal("it does not list what is there")
	}
	s.revoke(a, &secret)
	s.dies(a, &secret)
	for s.Provider.Traits().Revocation != remit.RevokeExpiry && there(a) {
		s.Pause()
	}
}

func (s *suite) contains(t *testing.T) {
	sw, ok := s.Provider.(broker.Sweeper)
	if !ok {
		return
	}
	a, b := s.asked(true), s.asked(false)
	one, other := s.mint(a), s.mint(b)
	for range 2 {
		if err := sw.Contain(t.Context(), s.Upstream); err != nil {
			t.Fatal(err)
		}
	}
	s.dies(a, &one)
	s.dies(b, &other)
}
