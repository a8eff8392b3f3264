// Package notify tells people what waits for them, through webhooks, mail and Slack-compatible messages. It follows the
// log: what a channel has not been told yet is what lies behind its position, which is durable, so nothing is lost and
// what a crash made uncertain is sent again under the same id. Channels do not wait for each other.
//
// A message shows a card and where to look at it. Nothing in it can decide anything, and whatever an agent or a change
// says of itself is marked as that and made visible.
package notify

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

// Entry is an entry of the log.
type Entry struct {
	Index remit.EntryIndex
	At    time.Time
	Event remit.Event
}

// Log is the log, as a follower reads it.
type Log interface {
	// Read gives the committed entries from an index on, up to the head at the time of reading.
	Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[Entry, error]
	// Changed gives a channel that is closed at the next commit.
	Changed() <-chan struct{}
	// Text gives the payload of a commitment; ok is false if it is gone.
	Text(ctx context.Context, commitment remit.Digest) (_ []byte, ok bool)
}

// House is the rest of the server.
type House interface {
	// Declared says who is told of what.
	Declared(ctx context.Context) (Declared, error)
	// Card is an access request as it is now, for nobody in particular.
	Card(ctx context.Context, access remit.ID) (remit.AccessView, error)
	// Name is a person's name.
	Name(ctx context.Context, person remit.ID) string
	// Waiting is what time alone may make worth telling.
	Waiting() Waiting
	// Secret reads a secret from where it was declared to be. Its error never contains the secret.
	Secret(ctx context.Context, s remit.Source) (string, error)
}

// Reviews is what is reviewed of what agents may do.
type Reviews interface {
	// ReviewItem is an item as it is now, for nobody in particular.
	ReviewItem(ctx context.Context, id remit.ID) (remit.ItemView, error)
	// Asked are, by their names, the people who may answer items of a run now, and which. Opening tells that not all of its
	// items are there yet.
	Asked(ctx context.Context, run remit.ID) (by map[string][]remit.ID, opening bool, err error)
	// AgentOwner is the name of an agent's owner; empty: there is no such agent.
	AgentOwner(ctx context.Context, agent string) string
}

// Declared is who is told of what, and the entry that says so.
type Declared struct {
	At          remit.EntryIndex
	Channels    []remit.Channel
	Escalations []remit.Escalation
}

// Waiting are the open requests, the leases in debt and the break-glass that nobody has reviewed.
type Waiting struct {
	Now      time.Time
	Requests []Request
	Debts    []Debt
	Glasses  []Glass
}

// Glass is break-glass whose review has not been signed.
type Glass struct {
	ID        remit.ID
	Entry     remit.EntryIndex
	Name      string
	Task      remit.ID
	By        remit.ID
	Reviewers string             // the group of whom one reviews
	Until     time.Time          // it can be reviewed from then on
	Due       time.Time          // by when it has to be
	Under     []remit.EntryIndex // what passed
}

// Request is an open access request with its clocks.
type Request struct {
	ID       remit.ID
	Entry    remit.EntryIndex
	Opened   time.Time
	Seen     time.Time // by the first who may vote; zero: by nobody
	NotAfter time.Time
	Votes    int
	Groups   []string // that decide
}

// Debt is a lease that should have been seen dead.
type Debt struct {
	Lease    remit.ID
	Entry    remit.EntryIndex
	Upstream string
	Target   remit.Resource
	Task     remit.ID
}

// Config is what an Outbox needs.
type Config struct {
	Org   remit.Org
	Dir   string // in which the positions lie; made, 0700
	Log   Log
	House House
	// Reviews is where items are looked up.
	Reviews Reviews
	// Reach makes an endpoint reachable: that one host, without proxies and redirects, and no address that means something
	// on this machine's own link only. ca is a file of certificates to trust for it; none: the system's.
	Reach func(url, ca string, insecure bool) (http.RoundTripper, error)
	// Link is where a person looks at a request and decides, after signing in. It carries no token.
	Link func(access remit.ID) string
	Slog *slog.Logger

	Now   func() time.Time                       // nil: the clock
	After func(d time.Duration) <-chan time.Time // nil: the clock
}

// Limits.
const (
	tryWithin   = 20 * time.Second // of one try
	leaveWithin = 2 * time.Second  // in which a try that is under way comes to its end when the outbox stops
	firstRetry  = time.Second
	lastRetry   = 5 * time.Minute
	maxRetries  = 64  // messages of one channel that wait to be tried again while others are
	maxParked   = 256 // of one channel; then it stops until somebody looks
	blamedTries = 3   // after which a message is parked that the endpoint refuses as such
	loneTries   = 20  // after which a message is parked that alone does not get through
	lookEvery   = time.Second
)

// Outbox is all channels. Make one with New.
type Outbox struct {
	cfg Config

	mu       sync.Mutex
	declared Declared
	known    bool      // declared was read
	looked   time.Time // for what is due
	channels map[string]*channel

	items sync.Mutex       // held for a moment only, before that of a channel
	next  remit.EntryIndex // to be folded
	found []item           // of the log, ascending: what some channel may not have been told yet
}

// New is an outbox that has told nothing since it was last stopped.
func New(c Config) (*Outbox, error) {
	if c.Slog == nil {
		c.Slog = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", c.Dir, err)
	}
	return &Outbox{cfg: c, channels: map[string]*channel{}}, nil
}

// Run tells until ctx ends. An endpoint that does not answer, or a declaration that cannot be read, is no reason to end.
func (o *Outbox) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer o.stop()
	for {
		changed := o.cfg.Log.Changed()
		if err := o.look(ctx, &work); err != nil && ctx.Err() == nil {
			o.cfg.Slog.Error("looking for what to tell people", "err", err)
		}
		select {
		case <-changed:
		case <-o.cfg.After(lookEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *Outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.channels {
		c.cancel()
	}
}

// look brings the channels up to what is declared, committed and due.
func (o *Outbox) look(ctx context.Context, work *sync.WaitGroup) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.declare(ctx, work); err != nil {
		return err
	}
	if len(o.channels) == 0 {
		return nil
	}
	if err := o.fold(ctx); err != nil {
		return err
	}
	now := o.cfg.Now()
	if now.Sub(o.looked) < lookEvery { // not with every commit: it goes through all that waits
		return nil
	}
	o.looked = now
	w := o.cfg.House.Waiting()
	for _, c := range o.channels {
		if err := c.due(w, o.declared.Escalations); err != nil {
			return err
		}
	}
	return nil
}

// declare starts the channels that are declared, and ends the others.
func (o *Outbox) declare(ctx context.Context, work *sync.WaitGroup) error {
	d, err := o.cfg.House.Declared(ctx)
	if err != nil {
		return err
	}
	if o.known && d.At == o.declared.At {
		return nil
	}
	for name, c := range o.channels {
		i := slices.IndexFunc(d.Channels, func(x remit.Channel) bool { return x.Name == name })
		if i >= 0 {
			c.become(d.Channels[i])
			continue
		}
		c.cancel()
		<-c.ended
		if v := c.view(); v.Waiting+len(v.Parked) > 0 {
			o.cfg.Slog.Warn("a channel is no longer declared, and had messages", "channel", name, "waiting", v.Waiting, "parked", len(v.Parked))
		}
		delete(o.channels, name)
		if err := os.Remove(c.path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("forgetting channel %s: %w", name, err)
		}
	}
	for _, x := range d.Channels {
		if o.channels[x.Name] != nil {
			continue
		}
		c, err := o.open(x, d.At)
		if err != nil {
			return err
		}
		o.channels[x.Name] = c
		o.items.Lock()
		if c.state.Next != never && (o.next > c.state.Next || len(o.channels) == 1) {
			o.next, o.found = c.state.Next, nil // read again what the others have
		}
		o.items.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		c.cancel = cancel
		work.Go(func() { c.run(ctx) })
	}
	o.declared, o.known = d, true
	return nil
}

// fold finds what there is to tell in what was committed.
func (o *Outbox) fold(ctx context.Context) error {
	o.forget()
	next, more := o.next, false
	defer func() {
		for _, c := range o.channels {
			c.reach(next, more)
		}
	}()
	for e, err := range o.cfg.Log.Read(ctx, next) {
		if err != nil {
			return err
		}
		if e.Index < next {
			continue
		}
		it, ok := itemOf(e)
		more, next = more || ok, e.Index+1
		o.items.Lock()
		if o.next = next; ok {
			o.found = append(o.found, it)
		}
		o.items.Unlock()
	}
	return nil
}

// forget lets go of what every channel was told of.
func (o *Outbox) forget() {
	least := o.next
	for _, c := range o.channels {
		least = min(least, c.position())
	}
	o.items.Lock()
	defer o.items.Unlock()
	n, _ := slices.BinarySearchFunc(o.found, least, func(it item, at remit.EntryIndex) int { return int(it.Entry) - int(at) })
	o.found = slices.Delete(o.found, 0, n)
}

// from, under items, gives the first thing from an entry on that was found in the log, and how many there are.
func (o *Outbox) from(at remit.EntryIndex) (item, int) {
	n, _ := slices.BinarySearchFunc(o.found, at, func(it item, at remit.EntryIndex) int { return int(it.Entry) - int(at) })
	if n == len(o.found) {
		return item{}, 0
	}
	return o.found[n], len(o.found) - n
}

// Status is how the channels do, by their names.
func (o *Outbox) Status() []remit.ChannelView {
	o.mu.Lock()
	all := make([]*channel, 0, len(o.channels))
	for _, c := range o.channels {
		all = append(all, c)
	}
	o.mu.Unlock()
	out := []remit.ChannelView{}
	for _, c := range all {
		out = append(out, c.view())
	}
	slices.SortFunc(out, func(a, b remit.ChannelView) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	return out
}

// Retry tries what is parked in a channel once more, or with drop forgets it. It gives the number of messages.
func (o *Outbox) Retry(name string, drop bool) (int, error) {
	o.mu.Lock()
	c := o.channels[name]
	o.mu.Unlock()
	if c == nil {
		return 0, remit.Errorf(remit.NotFound, "no channel %.64q is declared", name)
	}
	return c.unpark(drop)
}
