package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// sweepEvery is how often upstreams are asked for what Remit made there and does not know of.
const sweepEvery = 15 * time.Minute

// sweeps looks at every upstream that can list what Remit made there, at start and then from time to time.
func (m *machine) sweeps(ctx context.Context) {
	for {
		var names []string
		m.Books.View(func(s *authority.State) {
			for name := range s.Upstreams {
				names = append(names, name)
			}
		})
		slices.Sort(names)
		for _, name := range names {
			m.queue("sweep " + name).add(m.sweeping(name))
		}
		select {
		case <-m.Clock.After(sweepEvery):
		case <-ctx.Done():
			return
		}
	}
}

// sweeping sweeps one upstream, until that was done once.
func (m *machine) sweeping(upstream string) job {
	wait := retrying()
	return func(ctx context.Context) (bool, time.Duration) {
		err := m.sweep(ctx, upstream)
		if err == nil {
			return false, 0
		}
		m.Log.Warn("an upstream does not list what was made there", "upstream", upstream, "err", err)
		d := wait.NextBackOff()
		return d < sweepEvery/4, d // or the next sweep takes over
	}
}

// sweep ends what is at an upstream, has a name of this log's, and is of no lease that has not ended. The list is read
// before the state: whatever is in it was in the log before it was made, so what the state does not have has ended.
func (m *machine) sweep(ctx context.Context, name string) error {
	up, sweeper, provider, err := m.sweeper(ctx, name)
	if err != nil || sweeper == nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	found, err := sweeper.Sweep(bounded, up)
	if err != nil {
		return err
	}
	names, now := m.names(), m.Clock.Now()
	var orphans []Asked
	m.Books.View(func(s *authority.State) {
		for _, name := range found {
			if id, ours := names.lease(name); ours && s.Leases[id] == nil {
				orphans = append(orphans, Asked{Lease: id, Name: name, Upstream: up, Opened: now, NotAfter: now})
			}
		}
	})
	for _, a := range orphans {
		m.mu.Lock()
		had := m.strays[a.Name+"@"+up.Name]
		m.strays[a.Name+"@"+up.Name] = true
		m.mu.Unlock()
		if had {
			continue // it is being ended
		}
		m.Log.Error("an upstream has a credential that the log says has ended; it is ended again", "upstream", up.Name, "name", a.Name)
		m.queue(up.Name).add(m.orphan(provider, a))
	}
	return nil
}

// orphan ends what a sweep found.
func (m *machine) orphan(p Provider, a Asked) job {
	wait := retrying()
	h := newHeld(sharing{}, p)
	return func(ctx context.Context) (bool, time.Duration) {
		life := Unknown
		err := m.call(ctx, h, func(ctx context.Context) error { return p.Revoke(ctx, a, nil) })
		if err == nil {
			life, err = m.probe(ctx, h, p, a, nil)
		}
		if err == nil && life == Dead {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.strays, a.Name+"@"+a.Upstream.Name)
			return false, 0
		}
		m.Log.Warn("an orphan is not seen dead yet", "upstream", a.Upstream.Name, "name", a.Name, "life", life.String(), "err", err)
		return true, wait.NextBackOff()
	}
}

func (m *machine) sweeper(ctx context.Context, name string) (remit.Upstream, Sweeper, Provider, error) {
	up, err := m.Upstreams.Upstream(ctx, name)
	if err != nil {
		return up, nil, nil, err
	}
	p := m.Providers[up.Kind]
	s, _ := p.(Sweeper)
	return up, s, p, nil
}

// contain ends all that Remit made at an upstream, the wide way, and then each lease of it.
func (m *machine) contain(ctx context.Context, upstream string) error {
	var leases []*held
	m.Books.View(func(s *authority.State) {
		for id, l := range s.Leases {
			if l.Upstream == upstream {
				h := newHeld(sharing{l.Task, l.Upstream, l.Target, l.Write}, nil)
				h.id = id
				leases = append(leases, h)
			}
		}
	})
	var making []*held
	m.mu.Lock()
	for key, h := range m.shared {
		if key.upstream == upstream {
			h.cancel()
			making = append(making, h)
		}
	}
	m.mu.Unlock()
	for _, h := range making { // what is being made stops first, and ends by itself
		select {
		case <-h.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, h := range leases {
		m.end(h.id, h, remit.Dropped)
	}
	for _, h := range making {
		if h.id != "" {
			m.end(h.id, h, remit.Dropped)
		}
	}
	up, sweeper, _, err := m.sweeper(ctx, upstream)
	if err != nil {
		return err
	}
	if sweeper == nil {
		return remit.Errorf(remit.UnknownAction, "upstream %s cannot end at once all that was made there; each lease of it is being ended", upstream)
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := sweeper.Contain(bounded, up); err != nil {
		var e *remit.Error
		if errors.As(err, &e) {
			return err
		}
		return remit.Errorf(remit.UpstreamDown, "containing upstream %s: %w", upstream, err)
	}
	return nil
}
