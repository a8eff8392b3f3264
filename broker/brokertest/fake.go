// Package brokertest says what every provider of credentials does, as a suite that each of them runs, and has an
// upstream that fails and lies as it is told, to test the lease machine with.
package brokertest

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

// Fault is one thing that an upstream does wrong, once.
type Fault uint8

const (
	None       Fault = iota
	NotApplied       // it fails, and nothing was done
	Applied          // it fails, and it was done
	Slow             // it hangs until the caller gives up; nothing was done
	SlowDone         // it hangs until the caller gives up; it was done
	Lies             // it says yes, and nothing was done: 200 with an error
	Wider            // of Mint: it gives more than was asked for
	Longer           // of Mint: it gives it for longer than was asked for
	Endless          // of Mint: it states no end
	Leaks            // of Mint: it was done, and the error has the secret
)

// ErrFault is what an upstream says when it was told to fail.
var ErrFault = errors.New("the upstream was told to fail")

// Upstream is an upstream in memory, with its provider. Its zero value has no traits; New gives useful ones.
type Upstream struct {
	Kind broker.Traits
	Now  func() time.Time

	// DiesAfter is how many probes see a credential alive after it was revoked; NeverDies, that all do.
	DiesAfter int
	NeverDies bool
	// Before is called with each call, before it does anything; an error is its answer.
	Before func(ctx context.Context, op string, a broker.Asked) error
	// Made is called when an object comes into being, with its name.
	Made func(name string)

	mu      sync.Mutex
	faults  map[string][]Fault
	objects map[string]*object
	calls   map[string]int
	minted  []string // every secret that ever was
}

type object struct {
	anchored bool
	secrets  map[string]time.Time // to their ends
	revoked  bool
	left     int // probes that still see it alive
}

// New is an upstream whose credentials have an anchor, live for an hour at most and die at once.
func New(now func() time.Time) *Upstream {
	return &Upstream{Kind: broker.Traits{Revocation: remit.RevokeImmediate, Anchored: true, Longest: time.Hour}, Now: now}
}

// Fail has the next calls of an operation (anchor, mint, revoke, probe, sweep, contain) go wrong, in this order.
func (u *Upstream) Fail(op string, faults ...Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.faults == nil {
		u.faults = map[string][]Fault{}
	}
	u.faults[op] = append(u.faults[op], faults...)
}

// Mend lets credentials die again.
func (u *Upstream) Mend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.NeverDies = false
}

// Calls tells how often an operation was called.
func (u *Upstream) Calls(op string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls[op]
}

// Minted are all secrets that ever were.
func (u *Upstream) Minted() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.minted)
}

// There are the names of all that is there.
func (u *Upstream) There() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.objects))
}

// Accepts tells whether the upstream would let a secret in.
func (u *Upstream) Accepts(secret string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range u.objects {
		if end, ok := o.secrets[secret]; ok && (end.IsZero() || u.Now().Before(end)) {
			return true
		}
	}
	return false
}

// Late makes a credential of a name, as a request does that was on its way when its sender died.
func (u *Upstream) Late(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.object(name).secrets[rand.Text()] = time.Time{}
}

// do is one call: what was told to go wrong, and the work. Only with u.mu held does work see or change anything.
func (u *Upstream) do(ctx context.Context, op string, a broker.Asked, work func(Fault) error) error {
	if u.Before != nil {
		if err := u.Before(ctx, op, a); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	u.mu.Lock()
	if u.calls == nil {
		u.calls, u.objects = map[string]int{}, map[string]*object{}
	}
	u.calls[op]++
	fault := None
	if f := u.faults[op]; len(f) > 0 {
		fault, u.faults[op] = f[0], f[1:]
	}
	var err error
	if fault != NotApplied && fault != Slow && fault != Lies {
		err = work(fault)
	}
	u.mu.Unlock()
	switch fault {
	case NotApplied, Applied:
		return ErrFault
	case Slow, SlowDone:
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (u *Upstream) object(name string) *object {
	if u.objects == nil {
		u.objects = map[string]*object{}
	}
	o := u.objects[name]
	if o == nil {
		o = &object{secrets: map[string]time.Time{}}
		u.objects[name] = o
		if u.Made != nil {
			u.Made(name)
		}
	}
	return o
}

// Traits: see broker.Provider.
func (u *Upstream) Traits() broker.Traits { return u.Kind }

// Anchor: see broker.Provider.
func (u *Upstream) Anchor(ctx context.Context, a broker.Asked) error {
	return u.do(ctx, "anchor", a, func(Fault) error {
		u.object(a.Name).anchored = true
		return nil
	})
}

// Mint: see broker.Provider.
func (u *Upstream) Mint(ctx context.Context, a broker.Asked) (s broker.Secret, err error) {
	err = u.do(ctx, "mint", a, func(f Fault) error {
		if o := u.objects[a.Name]; u.Kind.Anchored && (o == nil || !o.anchored) {
			return errors.New("there is no such object")
		}
		made := broker.Secret{User: "robot", Value: rand.Text(), Handle: a.Name}
		if u.Kind.Longest > 0 {
			made.NotAfter = a.NotAfter
		}
		switch f {
		case Wider:
			made.Wider = "the scope admin"
		case Longer:
			made.NotAfter = a.NotAfter.Add(24 * time.Hour)
		case Endless:
			made.NotAfter = time.Time{}
		}
		u.object(a.Name).secrets[made.Value] = made.NotAfter
		u.minted = append(u.minted, made.Value)
		switch f {
		case Applied, SlowDone:
			return ErrFault
		case Leaks:
			return errors.New("the answer was cut off: " + made.Value)
		}
		s = made
		return nil
	})
	return s, err
}

// Revoke: see broker.Provider.
func (u *Upstream) Revoke(ctx context.Context, a broker.Asked, _ *broker.Secret) error {
	return u.do(ctx, "revoke", a, func(Fault) error {
		o := u.objects[a.Name]
		switch {
		case o == nil || u.NeverDies:
		case u.Kind.Revocation == remit.RevokeExpiry: // nothing but its end ends it
		case u.DiesAfter > 0 && !o.revoked:
			o.revoked, o.left = true, u.DiesAfter
		case !o.revoked:
			delete(u.objects, a.Name)
		}
		return nil
	})
}

// Probe: see broker.Provider.
func (u *Upstream) Probe(ctx context.Context, a broker.Asked, s *broker.Secret) (life broker.Life, err error) {
	err = u.do(ctx, "probe", a, func(Fault) error {
		o := u.objects[a.Name]
		if o != nil && o.revoked {
			if o.left--; o.left < 0 {
				delete(u.objects, a.Name)
				o = nil
			}
		}
		life = broker.Dead
		switch {
		case o == nil:
		case s == nil:
			life = broker.Alive
		default:
			if end, ok := o.secrets[s.Value]; ok && (end.IsZero() || u.Now().Before(end)) {
				life = broker.Alive
			}
		}
		return nil
	})
	if err != nil {
		life = broker.Unknown
	}
	return life, err
}

// Sweep: see broker.Sweeper.
func (u *Upstream) Sweep(ctx context.Context, _ remit.Upstream) (names []string, err error) {
	err = u.do(ctx, "sweep", broker.Asked{}, func(Fault) error {
		names = slices.Sorted(maps.Keys(u.objects))
		return nil
	})
	return names, err
}

// Contain: see broker.Sweeper.
func (u *Upstream) Contain(ctx context.Context, _ remit.Upstream) error {
	return u.do(ctx, "contain", broker.Asked{}, func(Fault) error {
		clear(u.objects)
		return nil
	})
}
