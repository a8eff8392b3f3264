package broker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// watch ends leases when they must end, until ctx does.
func (m *machine) watch(ctx context.Context) error {
	for {
		var due []*held
		var next time.Time // when the next one ends by arithmetic alone
		wait, cancel := context.WithCancel(ctx)
		look := func(s *authority.State) bool {
			due, next = m.due(s)
			return len(due) > 0
		}
		m.Books.View(func(s *authority.State) { look(s) })
		if len(due) == 0 {
			var timer <-chan time.Time
			if !next.IsZero() {
				timer = m.Clock.After(max(next.Sub(m.Clock.Now()), time.Millisecond))
			}
			m.work.Go(func() {
				select {
				case <-m.kick:
					if wait.Err() != nil { // it was meant for the next one
						m.wake()
					}
				case <-timer:
				case <-wait.Done():
				}
				cancel()
			})
			err := m.Books.Wait(wait, look)
			if err != nil && ctx.Err() == nil && wait.Err() == nil {
				cancel()
				return err
			}
		}
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, h := range due {
			m.end(h.id, h, "")
		}
	}
}

// due finds the leases that must end and are not yet on their way. One that is being made is told to stop, and ends
// when it has: nothing is made any more after its end was seen.
func (m *machine) due(s *authority.State) (due []*held, next time.Time) {
	now := m.Clock.Now().UnixNano()
	ending := s.LeasesToEnd(now)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ending {
		l, h := s.Leases[id], m.known[id]
		if maker := m.makers[l.Attempt]; maker != nil && (h == nil || h == maker) {
			maker.cancel()
			continue
		}
		if h != nil && h.ending {
			continue
		}
		if h == nil {
			h = newHeld(sharing{l.Task, l.Upstream, l.Target, l.Write}, nil)
			h.id = id
		}
		due = append(due, h)
	}
	for id, l := range s.Leases {
		end := l.NotAfter
		if l.Stated != 0 {
			end = min(end, l.Stated)
		}
		if h := m.known[id]; end > now && (h == nil || !h.ending) {
			if at := time.Unix(0, end); next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return due, next
}

// end takes a lease from use, and puts its end into its upstream's queue.
func (m *machine) end(id remit.ID, h *held, why remit.Code) {
	m.mu.Lock()
	if had := m.known[id]; had != nil {
		h = had
	}
	m.known[id] = h
	if m.shared[h.key] == h {
		delete(m.shared, h.key)
	}
	first := !h.ending
	h.ending = true
	if why == "" {
		why = h.why
	}
	m.mu.Unlock()
	h.drop()
	if !first {
		return
	}
	e := &ending{m: m, h: h, why: why, wait: retrying()}
	m.queue(h.key.upstream).add(e.try)
}

func (m *machine) queue(upstream string) *queue {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[upstream]
	if q == nil {
		q = &queue{ctx: m.ctx, work: &m.work, after: m.Clock.After}
		m.queues[upstream] = q
	}
	return q
}

// ending is a lease on its way to its end.
type ending struct {
	m    *machine
	h    *held
	why  remit.Code
	wait *backoff.ExponentialBackOff

	found  bool // what the vault has was read
	began  time.Time
	tries  int
	told   int // tries that the log knows
	dead   time.Time
	status remit.LeaseStatus // as what it ended
	probe  string
}

// try does what can be done now: say in the log that the end begins, end it, see it dead, say so. Taking away never
// waits for the log (R11): if that cannot be written, the credential is ended all the same.
func (e *ending) try(ctx context.Context) (again bool, after time.Duration) {
	m, id := e.m, e.h.id
	l, ok := m.look(id)
	if !ok { // it has ended, or two people gave it up
		m.forget(id)
		return false, 0
	}
	e.begin(l)
	failed := e.note(ctx, l)
	if e.dead.IsZero() {
		if err := e.kill(ctx, l); err != nil {
			level := slog.LevelWarn
			if l.Revocation != remit.RevokeImmediate && e.tries < 8 { // it takes its time, as was declared
				level = slog.LevelDebug
			}
			m.Log.Log(ctx, level, "a credential is not seen dead yet", "lease", id, "upstream", l.Upstream, "tries", e.tries, "err", err)
			return true, e.later(l)
		}
	}
	if l.Survive { // it has not ended while a session lives that it opened
		select {
		case <-e.h.idle:
		default:
			return true, firstRetry
		}
	}
	if failed == nil {
		failed = e.record(ctx, l)
	}
	if failed != nil {
		m.Log.Warn("the end of a credential is not in the log yet", "lease", id, "err", failed)
		return true, e.wait.NextBackOff()
	}
	m.forget(id)
	return false, 0
}

// begin finds out once what there is to end.
func (e *ending) begin(l authority.Lease) {
	if e.found {
		return
	}
	e.found = true
	e.tries, e.told = l.Tries, l.Tries
	e.began = e.m.Clock.Now().UTC()
	if l.Ending != 0 {
		e.began = time.Unix(0, l.Ending).UTC()
	}
	if e.why == "" {
		e.why = e.m.why(l)
	}
	if e.h.asked.Lease != "" {
		return // this process made it
	}
	k, ok, err := e.m.vault.get(l.ID)
	if err != nil {
		// Its name is enough to end it.
		e.m.Log.Error("the sealed credential of a lease cannot be read", "lease", l.ID, "err", err)
	}
	if ok {
		e.h.asked = k.Asked
		e.h.keep(k.Secret)
	}
}

// why says why a lease ends that nobody said anything of.
func (m *machine) why(l authority.Lease) remit.Code {
	now := m.Clock.Now().UnixNano()
	code := remit.Dropped // what it was made for is gone
	m.Books.View(func(s *authority.State) {
		switch {
		case !s.TaskLive(l.Task, now):
			code = remit.NotLive
		case now >= l.NotAfter || l.Stated != 0 && now >= l.Stated:
			code = remit.Expired
		case s.Upstreams[l.Upstream] == nil:
			code = remit.UnknownResource
		}
	})
	return code
}

// note has the log say that the end begins, and now and then how often it was tried.
func (e *ending) note(ctx context.Context, l authority.Lease) error {
	if l.Status == remit.LeaseRevoking {
		if e.tries < 4*max(e.told, 1) || e.tries <= l.Tries || !e.dead.IsZero() {
			return nil
		}
		e.told = e.tries
	}
	return e.m.move(ctx, authority.MoveLease{Lease: l.ID, To: remit.LeaseRevoking, Code: e.why, Tries: max(e.tries, l.Tries)}, nil)
}

// kill ends the credential and sees it dead; an error says why not yet.
func (e *ending) kill(ctx context.Context, l authority.Lease) error {
	m, h := e.m, e.h
	asked, provider, err := m.whereToEnd(ctx, l, h.asked)
	if err != nil {
		return err
	}
	e.tries++
	secret := h.kept()
	revoked := m.call(ctx, h, func(ctx context.Context) error { return provider.Revoke(ctx, asked, secret) })
	life, probed := m.probe(ctx, h, provider, asked, secret)
	if life == Dead && secret != nil && provider.Traits().Anchored {
		// The credential is dead; what it hung on must be gone too, or it would be left behind.
		life, probed = m.probe(ctx, h, provider, asked, nil)
	}
	now := m.Clock.Now().UTC()
	e.probe = remit.ProbeInOwnName
	if secret != nil {
		e.probe = remit.ProbeAsCredential
	}
	switch {
	case life == Dead && revoked == nil:
		e.dead, e.status = now, remit.LeaseRevoked
		return nil
	case life != Alive && !provider.Traits().Anchored && m.expired(l, now):
		// Nothing of it is left upstream, and nothing can be probed: the upstream's own clock has ended it (R9).
		e.dead, e.status, e.probe = now, remit.LeaseExpired, remit.ProbeNone
		return nil
	case revoked != nil || probed != nil:
		return errors.Join(revoked, probed)
	}
	return errors.New("it is " + life.String())
}

// probe asks an upstream whether a credential lives; an error is that nobody knows.
func (m *machine) probe(ctx context.Context, h *held, p Provider, a Asked, s *Secret) (life Life, err error) {
	err = m.call(ctx, h, func(ctx context.Context) (err error) { life, err = p.Probe(ctx, a, s); return err })
	if err != nil {
		life = Unknown
	}
	return life, err
}

// expired tells whether the upstream's own end of a lease has passed with the skew; where it stated none, what was asked
// for counts for those that nothing else ends.
func (m *machine) expired(l authority.Lease, now time.Time) bool {
	end := l.Stated
	if end == 0 && l.Revocation == remit.RevokeExpiry {
		end = l.NotAfter
	}
	return end != 0 && !now.Before(time.Unix(0, end).Add(authority.LeaseSkew))
}

// whereToEnd is what a lease was asked for, with the upstream as it is declared now, if it is still that one.
func (m *machine) whereToEnd(ctx context.Context, l authority.Lease, a Asked) (Asked, Provider, error) {
	up, err := m.Upstreams.Upstream(ctx, l.Upstream)
	if a.Lease == "" { // nothing was kept
		if err != nil {
			return a, nil, err
		}
		spec, serr := m.spec(ctx, l.Target)
		if serr != nil {
			return a, nil, serr
		}
		a = Asked{Lease: l.ID, Name: m.name(l.ID), Upstream: up, Target: l.Target, Spec: spec, Write: l.Write,
			Opened: time.Unix(0, l.At).UTC(), NotAfter: time.Unix(0, l.NotAfter).UTC()}
	} else if err == nil && up.Location == a.Upstream.Location && up.Kind == a.Upstream.Kind {
		a.Upstream = up // its own credential may be another one now
	}
	p := m.Providers[a.Upstream.Kind]
	if p == nil {
		return a, nil, remit.Errorf(remit.UnknownResource, "nothing here ends credentials of upstreams of kind %s", a.Upstream.Kind)
	}
	return a, p, nil
}

// later is when to try again: at growing distances, and at the lease's own end.
func (e *ending) later(l authority.Lease) time.Duration {
	d := e.wait.NextBackOff()
	end := l.Stated
	if end == 0 {
		end = l.NotAfter
	}
	if left := time.Unix(0, end).Add(authority.LeaseSkew).Sub(e.m.Clock.Now()); left > 0 && left < d {
		return left
	}
	return d
}

// record writes the end down, with its receipt.
func (e *ending) record(ctx context.Context, l authority.Lease) error {
	r := remit.LeaseReceipt{Lease: l.ID, Name: e.m.name(l.ID), Upstream: l.Upstream, Target: l.Target, Status: e.status, Why: e.why,
		Asked: e.began, How: remit.LeaseByRevoke, Dead: e.dead, Probe: e.probe, Tries: e.tries}
	if e.status == remit.LeaseExpired {
		r.How = remit.LeaseByExpiry
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return e.m.move(ctx, authority.MoveLease{Lease: l.ID, To: e.status, Code: e.why, Tries: e.tries}, body)
}

// forget removes what was kept of a lease that has ended.
func (m *machine) forget(id remit.ID) {
	if err := m.vault.remove(id); err != nil {
		m.Log.Error("removing the sealed credential of a lease that has ended", "lease", id, "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, id)
}

// takeUp looks at start through what an earlier process left. What was being made ends; what is active is used again
// when it is needed, if its credential was kept; what is kept of leases that have ended is removed.
func (m *machine) takeUp() error {
	there, err := m.vault.list()
	if err != nil {
		return remit.Errorf(remit.Internal, "reading the sealed credentials: %w", err)
	}
	var orphaned []*held
	var ended []remit.ID
	m.Books.View(func(s *authority.State) {
		for _, id := range there {
			if s.Leases[id] == nil {
				ended = append(ended, id)
			}
		}
		for id, l := range s.Leases {
			if m.Providers != nil && (l.Status != remit.LeaseActive || !slices.Contains(there, id)) {
				h := newHeld(sharing{l.Task, l.Upstream, l.Target, l.Write}, nil)
				h.id = id
				orphaned = append(orphaned, h)
			}
		}
	})
	for _, id := range ended {
		if err := m.vault.remove(id); err != nil {
			return remit.Errorf(remit.Internal, "removing the sealed credential of lease %s, which has ended: %w", id, err)
		}
	}
	slices.SortFunc(orphaned, func(a, b *held) int {
		x, _ := leaseNumber(a.id)
		y, _ := leaseNumber(b.id)
		return int(x) - int(y)
	})
	for _, h := range orphaned {
		m.end(h.id, h, "")
	}
	return nil
}
