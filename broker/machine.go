package broker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Books is the log, as the lease machine writes and reads it. What Open and Move were told is durable when they return
// nil; after an error it may be or not, and the state says which.
type Books interface {
	Open(context.Context, authority.OpenLease) (remit.ID, error)
	// Move writes a step down. The receipt, if any, is the payload that its entry commits to.
	Move(ctx context.Context, m authority.MoveLease, receipt []byte) error
	// View reads the committed state. f keeps nothing of it and calls nothing of these Books.
	View(f func(*authority.State))
	// Wait returns when f is true of the committed state, or with an error.
	Wait(ctx context.Context, f func(*authority.State) bool) error
}

// Targets finds what was declared of the target of an environment.
type Targets interface {
	Target(ctx context.Context, environment string) (remit.Target, error)
}

// Clock tells the time and when more of it has passed.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Limits of what a provider may take.
const (
	callTime = 30 * time.Second // for one call
	makeTime = 2 * time.Minute  // for all that makes one credential
	probes   = 3                // of a fresh credential, before it is given up
)

// machine makes the leases of providers, and ends them. What it must not forget is in the books and in the vault; all
// that is here can be lost at any moment.
type machine struct {
	Config
	vault *vault

	ctx  context.Context // of everything that it does of its own accord
	stop context.CancelFunc
	work sync.WaitGroup
	kick chan struct{} // wakes the watch

	mu     sync.Mutex // never held while the books are read
	shared map[sharing]*held
	known  map[remit.ID]*held
	makers map[remit.ID]*held // leases being made, by the attempt that they are made for
	queues map[string]*queue  // by upstream: a slow one holds up itself
	strays map[string]bool    // what a sweep found and is being ended
	closed bool
}

// begin takes a place among what Close waits for; done gives it back.
func (m *machine) begin() (done func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, remit.Errorf(remit.LedgerDown, "the server is stopping")
	}
	m.work.Add(1)
	return m.work.Done, nil
}

func (m *machine) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.work.Wait()
}

// sharing is what the attempts that share a lease have in common.
type sharing struct {
	task     remit.ID
	upstream string
	target   remit.Resource
	write    bool
}

// held is one lease, as this process holds it.
type held struct {
	key      sharing
	provider Provider
	adopted  bool          // it was made by an earlier process
	ready    chan struct{} // closed when it can be used, or err says why not
	err      error
	cancel   context.CancelFunc // of the making

	// Set once, by whoever makes or ends it.
	id    remit.ID
	asked Asked
	until time.Time  // of its use, by the upstream's word
	why   remit.Code // why it must end, of what failed while it was made; guarded by machine.mu

	mu     sync.Mutex
	secret *Secret
	over   bool          // it is not used any more
	uses   int           // under way
	idle   chan struct{} // closed when no use is under way, once it is over
	ending bool          // it is in its upstream's queue; guarded by machine.mu
}

func newHeld(key sharing, p Provider) *held {
	return &held{key: key, provider: p, ready: make(chan struct{}), cancel: func() {}, idle: make(chan struct{})}
}

// drop forgets the credential for every use, at once.
func (h *held) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.over = true
		if h.uses == 0 {
			close(h.idle)
		}
	}
}

func (h *held) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.uses++
	return true
}

func (h *held) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uses--; h.uses == 0 && h.over {
		close(h.idle)
	}
}

// current is the credential, while it is not over.
func (h *held) current() (Secret, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.secret == nil {
		return Secret{}, false
	}
	return *h.secret, true
}

// kept is the credential, also for its end.
func (h *held) kept() *Secret {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.secret
}

func (h *held) keep(s *Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = s
}

// need is one credential that a redemption entitles to.
type need struct {
	key      sharing
	attempt  remit.ID
	notAfter time.Time // of the attempt
	provider Provider
	upstream remit.Upstream
}

// lease gives the task's shared lease, which is made by the first attempt that needs it.
func (m *machine) lease(ctx context.Context, n need) (*Lease, error) {
	done, err := m.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	for again := true; ; again = false {
		if err := m.alive(n.key.task); err != nil {
			return nil, err
		}
		h, mine := m.share(n)
		select {
		case <-h.ready:
		case <-ctx.Done():
			return nil, remit.Errorf(remit.UpstreamDown, "the credential of upstream %s was not ready in time: %w", n.key.upstream, ctx.Err())
		}
		switch {
		case h.err == nil && h.enter():
			return &Lease{machine: m, held: h}, nil
		case mine && !h.adopted || !again:
			if h.err == nil {
				return nil, remit.Errorf(remit.NotLive, "lease %s has ended", h.id)
			}
			return nil, h.err
		}
		// It was made for another attempt, or by another process, and has ended; this attempt has a right of its own.
	}
}

// alive tells whether a task may use credentials now.
func (m *machine) alive(task remit.ID) error {
	live := false
	now := m.Clock.Now().UnixNano()
	m.Books.View(func(s *authority.State) { live = s.TaskLive(task, now) })
	if !live {
		return remit.Errorf(remit.NotLive, "task %s has ended, and its credentials with it", task)
	}
	return nil
}

// share finds the lease that n can use, or begins to make it.
func (m *machine) share(n need) (h *held, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.shared[n.key]; h != nil {
		select {
		case <-h.ready:
			if h.err == nil && m.lasts(h, n) {
				return h, false
			}
		default:
			return h, false
		}
	}
	h = newHeld(n.key, n.provider)
	ctx, cancel := context.WithTimeout(m.ctx, makeTime)
	h.cancel = cancel
	m.shared[n.key] = h
	m.makers[n.attempt] = h
	// It is made in the machine's own time: a caller that goes away leaves no half-made lease behind.
	m.work.Go(func() {
		defer cancel()
		m.prepare(ctx, h, n)
	})
	return h, true
}

// lasts tells whether a lease is good for as long as an attempt may take, or for as long as a new one would be at least
// in the half.
func (m *machine) lasts(h *held, n need) bool {
	now := m.Clock.Now()
	left := h.until.Sub(now)
	longest := n.provider.Traits().Longest
	switch {
	case left <= 0:
		return false
	case longest == 0, !h.until.Before(n.notAfter), left >= longest/2:
		return true
	}
	// What ends earlier than the upstream would allow ends with its task; a new one would too.
	return h.asked.NotAfter.Before(h.asked.Opened.Add(longest))
}

// prepare makes the lease of h, or takes up the one that an earlier process left.
func (m *machine) prepare(ctx context.Context, h *held, n need) {
	adopted, err := m.adopt(ctx, h, n)
	if !adopted && err == nil {
		err = m.make(ctx, h, n)
	}
	m.mu.Lock()
	delete(m.makers, n.attempt) // from here on the watch may end it
	if err != nil {
		h.why = codeOf(err)
	}
	if err != nil && m.shared[h.key] == h {
		delete(m.shared, h.key)
	}
	m.mu.Unlock()
	h.err = err
	close(h.ready)
	if err != nil && h.id != "" {
		m.end(h.id, h, h.why)
	}
	m.wake() // whether it must end was not looked at while it was being made
}

// make takes a lease through its life up to its first use. At each line a crash leaves a lease that the log names, and
// whoever finds it there ends it by its name.
func (m *machine) make(ctx context.Context, h *held, n need) error {
	traits := h.provider.Traits()
	spec, err := m.spec(ctx, n.key.target)
	if err != nil {
		return err
	}
	// Durable before anything exists upstream (R7).
	h.id, err = m.Books.Open(ctx, authority.OpenLease{Attempt: n.attempt, Upstream: n.key.upstream, Target: n.key.target, Write: n.key.write,
		For: int64(traits.Longest), Revocation: traits.Revocation, Bound: int64(traits.Bound), Survive: traits.Survive})
	if err != nil {
		h.id = ""
		return err
	}
	m.mu.Lock()
	m.known[h.id] = h
	m.mu.Unlock()
	l, ok := m.look(h.id)
	if !ok || l.Task != n.key.task {
		return remit.Errorf(remit.Internal, "lease %s was opened and is not in the state", h.id)
	}
	h.asked = Asked{Lease: h.id, Name: m.name(h.id), Upstream: n.upstream, Target: n.key.target, Spec: spec, Write: n.key.write,
		Opened: time.Unix(0, l.At).UTC(), NotAfter: time.Unix(0, l.NotAfter).UTC()}
	if left := h.asked.NotAfter.Sub(m.Clock.Now()); left < traits.Shortest {
		return remit.Errorf(remit.Expired, "task %s ends in %s, and upstream %s gives no credential for less than %s", l.Task, left.Round(time.Second), n.key.upstream, traits.Shortest)
	}
	// What its end needs is kept before there is anything to end, the upstream's declaration included.
	if err := m.vault.put(h.id, kept{Asked: h.asked}); err != nil {
		return err
	}
	if traits.Anchored {
		if err := m.call(ctx, h, func(ctx context.Context) error { return h.provider.Anchor(ctx, h.asked) }); err != nil {
			return m.failed(h, "preparing", err)
		}
		if err := m.move(ctx, authority.MoveLease{Lease: h.id, To: remit.LeaseAnchored}, nil); err != nil {
			return err
		}
	}
	var secret Secret
	if err := m.call(ctx, h, func(ctx context.Context) (err error) { secret, err = h.provider.Mint(ctx, h.asked); return err }); err != nil {
		return m.failed(h, "making", withheld(err))
	}
	if secret.Value == "" { // an answer that says yes and gives nothing
		return m.failed(h, "making", errors.New("the upstream said that it made it, and gave none"))
	}
	h.keep(&secret)
	if err := m.vault.put(h.id, kept{Asked: h.asked, Secret: &secret}); err != nil {
		return err
	}
	code, beyond := beyond(traits, h.asked, secret)
	minted := authority.MoveLease{Lease: h.id, To: remit.LeaseMinted}
	if code == "" && !secret.NotAfter.IsZero() {
		minted.NotAfter = secret.NotAfter.UnixNano()
	}
	if err := m.move(ctx, minted, nil); err != nil {
		return err
	}
	if code != "" {
		quarantined := authority.MoveLease{Lease: h.id, To: remit.LeaseQuarantined, Code: code}
		if !secret.NotAfter.IsZero() {
			quarantined.NotAfter = secret.NotAfter.UnixNano()
		}
		err := m.move(ctx, quarantined, nil)
		return errors.Join(remit.Errorf(code, "upstream %s gave %s; the credential is quarantined and revoked", n.key.upstream, beyond), err)
	}
	if err := m.seenAlive(ctx, h); err != nil {
		return err
	}
	if err := m.move(ctx, authority.MoveLease{Lease: h.id, To: remit.LeaseActive}, nil); err != nil {
		return err
	}
	h.until = h.asked.NotAfter
	if !secret.NotAfter.IsZero() && secret.NotAfter.Before(h.until) {
		h.until = secret.NotAfter
	}
	return nil
}

// beyond tells what an upstream gave that was not asked for.
func beyond(t Traits, a Asked, s Secret) (remit.Code, string) {
	switch {
	case s.Wider != "":
		return remit.OutOfScope, "more than was asked for: " + s.Wider
	case t.Longest > 0 && s.NotAfter.IsZero():
		return remit.OverLimit, "no end, where one was asked for"
	case s.NotAfter.After(a.NotAfter.Add(authority.LeaseSkew)):
		return remit.OverLimit, "until " + s.NotAfter.UTC().Format(time.RFC3339) + ", later than the " + a.NotAfter.Format(time.RFC3339) + " that was asked for"
	}
	return "", ""
}

// seenAlive probes a credential until it is seen alive, a few times: an upstream may need a moment to know it.
func (m *machine) seenAlive(ctx context.Context, h *held) error {
	wait := retrying()
	for n := 1; ; n++ {
		var life Life
		err := m.call(ctx, h, func(ctx context.Context) (err error) {
			life, err = h.provider.Probe(ctx, h.asked, h.kept())
			return err
		})
		if err == nil && life == Alive {
			return nil
		}
		if n == probes {
			if err == nil {
				err = errors.New("the upstream gave it, and does not take it")
			}
			return m.failed(h, "probing", err)
		}
		select {
		case <-m.Clock.After(wait.NextBackOff()):
		case <-ctx.Done():
			return m.failed(h, "probing", ctx.Err())
		}
	}
}

// adopt takes up an active lease that an earlier process made, if it is still alive.
func (m *machine) adopt(ctx context.Context, h *held, n need) (bool, error) {
	now := m.Clock.Now()
	var id remit.ID
	m.Books.View(func(s *authority.State) {
		for i, l := range s.Leases {
			if l.Status != remit.LeaseActive || l.Ending != 0 || (sharing{l.Task, l.Upstream, l.Target, l.Write}) != n.key {
				continue
			}
			if id == "" || l.NotAfter > s.Leases[id].NotAfter || l.NotAfter == s.Leases[id].NotAfter && i < id {
				id = i
			}
		}
	})
	if id == "" {
		return false, nil
	}
	k, ok, err := m.vault.get(id)
	if err != nil || !ok || k.Secret == nil {
		return false, nil // the watch ends it
	}
	until := k.Asked.NotAfter
	if !k.Secret.NotAfter.IsZero() && k.Secret.NotAfter.Before(until) {
		until = k.Secret.NotAfter
	}
	if !now.Before(until) || k.Asked.Upstream.Location != n.upstream.Location || k.Asked.Upstream.Kind != n.upstream.Kind {
		return false, nil
	}
	m.mu.Lock()
	if m.known[id] != nil {
		m.mu.Unlock()
		return false, nil // it is too short, or on its way to its end
	}
	h.id, h.asked, h.until, h.adopted = id, k.Asked, until, true
	h.asked.Upstream = n.upstream
	h.keep(k.Secret)
	m.known[id] = h
	m.mu.Unlock()
	// It may have ended since it was looked up; from here on it ends by h.
	if l, ok := m.look(id); !ok || l.Status != remit.LeaseActive || !m.lasts(h, n) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if h.ending { // it is h that ends now; another one is to be made
			return true, remit.Errorf(remit.NotLive, "lease %s has ended", id)
		}
		delete(m.known, id)
		h.id, h.adopted = "", false
		h.keep(nil)
		return false, nil
	}
	return true, m.seenAlive(ctx, h)
}

// use lends the credential of h to f, while its task lives and its time is not over.
func (m *machine) use(h *held, f func(Secret) error) error {
	if err := m.alive(h.key.task); err != nil {
		return err
	}
	s, ok := h.current()
	if !ok || !m.Clock.Now().Before(h.until) {
		return remit.Errorf(remit.NotLive, "lease %s has ended", h.id)
	}
	return f(s)
}

// look gives a copy of a lease in the state; ok is false when it has ended.
func (m *machine) look(id remit.ID) (l authority.Lease, ok bool) {
	m.Books.View(func(s *authority.State) {
		if found := s.Leases[id]; found != nil {
			l, ok = *found, true
		}
	})
	return l, ok
}

// name is the name of what is made for a lease upstream.
func (m *machine) name(id remit.ID) string { return m.names().of(id) }

func (m *machine) names() (n names) {
	m.Books.View(func(s *authority.State) { n = namesOf(s) })
	return n
}

// move writes a step of a lease down.
func (m *machine) move(ctx context.Context, to authority.MoveLease, receipt []byte) error {
	return m.Books.Move(ctx, to, receipt)
}

// spec is what a target needs besides its name.
func (m *machine) spec(ctx context.Context, target remit.Resource) ([]byte, error) {
	if target.Type() != "environment" {
		return nil, nil
	}
	if m.Targets == nil {
		return nil, remit.Errorf(remit.UnknownResource, "nothing is known of the target of %s", target)
	}
	t, err := m.Targets.Target(ctx, target.Name())
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "the target of %s: %w", target, err)
	}
	return b, nil
}

// call bounds one call of a provider.
func (m *machine) call(ctx context.Context, h *held, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := f(ctx)
	if err != nil {
		return clean(err, h.kept())
	}
	return nil
}

// clean takes a credential out of the text of an error that a provider made of an upstream's answer.
func clean(err error, s *Secret) error {
	if s == nil || s.Value == "" || !strings.Contains(err.Error(), s.Value) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), s.Value, "***"))
}

// withheld is an error of Mint, of which nobody can tell whether it quotes the credential that was made: only what a
// provider says in Remit's own words, or how its time ended, is passed on.
func withheld(err error) error {
	var e *remit.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return errors.New("the upstream failed; what it said is withheld, because it may have the credential")
}

func (m *machine) failed(h *held, doing string, err error) error {
	m.Log.Warn("a credential is not made", "lease", h.id, "upstream", h.key.upstream, "doing", doing, "err", err)
	var e *remit.Error
	if errors.As(err, &e) {
		return err
	}
	return remit.Errorf(remit.UpstreamDown, "%s the credential of upstream %s for %s failed: %w", doing, h.key.upstream, h.key.target, err)
}

func codeOf(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return remit.UpstreamDown
}

// wake has the watch look again.
func (m *machine) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}
