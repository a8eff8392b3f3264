package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/remit-dev/remit"
)

// state is what a channel must not forget. It is written down before anything that rests on it is done.
type state struct {
	Next    remit.EntryIndex `json:"next"` // what was found in the log from here on was never tried
	Handed  uint64           `json:"handed"`
	Extra   []item           `json:"extra,omitempty"`   // of the clock, never tried
	Retries []item           `json:"retries,omitempty"` // tried, in the order in which they are tried again
	Parked  []parked         `json:"parked,omitempty"`
	Told    []string         `json:"told,omitempty"` // of the clock, keys, as long as they may come up again
}

type parked struct {
	Item item      `json:"item"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
}

// channel hands messages over, one at a time.
type channel struct {
	o      *Outbox
	path   string
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{}

	mu       sync.Mutex
	declared remit.Channel
	state    state
	saved    remit.EntryIndex // Next on disk
	end      remit.EntryIndex // all before it was searched for what to tell
	pause    *backoff.ExponentialBackOff
	until    time.Time // nothing is tried before
	why      string    // the last try failed
	turn     bool      // what is tried next is one that has failed before
}

// open reads what a channel remembers; a new one begins after the entry that declared it.
func (o *Outbox) open(x remit.Channel, at remit.EntryIndex) (*channel, error) {
	c := &channel{o: o, path: filepath.Join(o.cfg.Dir, x.Name+".json"), declared: x, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	c.pause = retrying()
	b, err := os.ReadFile(c.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		c.state.Next = at + 1
		return c, c.save()
	case err != nil:
		return nil, fmt.Errorf("reading the position of channel %s: %w", x.Name, err)
	}
	if err := json.Unmarshal(b, &c.state); err != nil { // nobody else is to wait for somebody to look
		c.state = state{Next: never}
		c.why = c.path + " is not the position of a channel; without the file it begins where the channels were declared last"
		o.cfg.Slog.Error("a channel cannot go on", "channel", x.Name, "err", c.why)
	}
	c.saved = c.state.Next
	return c, nil
}

// never is the position of a channel whose own cannot be read.
const never = math.MaxInt64

// retrying gives growing distances between tries, with jitter.
func retrying() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = firstRetry, 2, lastRetry
	return b
}

// wait is the distance to the next try of a message that was tried so often.
func (it item) wait() (d time.Duration) {
	b := retrying()
	for range min(it.Tries, loneTries) {
		d = b.NextBackOff()
	}
	return d
}

// save makes the state durable. Power may go at any time: the old file or the new one is there, whole.
func (c *channel) save() error {
	b, err := json.Marshal(c.state)
	if err != nil {
		return fmt.Errorf("encoding the position of channel %s: %w", c.declared.Name, err)
	}
	if err := replace(c.path, b); err != nil {
		return fmt.Errorf("writing the position of channel %s: %w", c.declared.Name, err)
	}
	c.saved = c.state.Next
	return nil
}

func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// become is the channel as it is declared now. Whatever was wrong may be right.
func (c *channel) become(x remit.Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.declared, c.until = x, time.Time{}
	c.pause.Reset()
	c.nudge()
}

func (c *channel) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *channel) position() remit.EntryIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Next
}

// reach says how far the log was searched.
func (c *channel) reach(end remit.EntryIndex, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	if more {
		c.nudge()
	}
}

// due takes up what time alone has made worth telling, once, and forgets what cannot come up again.
func (c *channel) due(w Waiting, escalations []remit.Escalation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Next == never {
		return nil
	}
	var now, may []item
	for _, r := range w.Requests {
		for _, e := range escalations {
			it := item{Entry: r.Entry, What: remit.TellEscalated, At: w.Now, Access: r.ID, Rung: e.Name, To: e.To}
			if may = append(may, it); r.Votes == 0 && !w.Now.Before(r.rung(e)) && meets(e.Of, r.Groups) {
				now = append(now, it)
			}
		}
		it := item{Entry: r.Entry, What: remit.TellReminder, At: w.Now, Access: r.ID}
		before := span(c.declared.Remind)
		if may = append(may, it); before > 0 && r.NotAfter.Sub(r.Opened) > before && !w.Now.Before(r.NotAfter.Add(-before)) {
			now = append(now, it)
		}
	}
	for _, d := range w.Debts {
		it := item{Entry: d.Entry, What: remit.TellDebt, At: w.Now, Debt: &d}
		may, now = append(may, it), append(now, it)
	}
	for _, g := range w.Glasses {
		if rung := g.rung(w.Now); rung != "" {
			it := item{Entry: g.Entry, What: remit.TellGlass, Rung: rung, At: w.Now, Glass: &g}
			may, now = append(may, it), append(now, it)
		}
	}
	told := slices.DeleteFunc(slices.Clone(c.state.Told), func(k string) bool {
		return !slices.ContainsFunc(may, func(it item) bool { return it.key() == k })
	})
	extra := c.state.Extra
	for _, it := range now {
		if slices.Contains(told, it.key()) || !c.declared.Tells(it.What) {
			continue
		}
		told, extra = append(told, it.key()), append(extra, it)
	}
	if len(extra) == len(c.state.Extra) && slices.Equal(told, c.state.Told) {
		return nil
	}
	c.state.Told, c.state.Extra = told, extra
	c.nudge()
	return c.save()
}

// rung is when a request is escalated: from when it was seen; as long as it was not, from when it was made.
func (r Request) rung(e remit.Escalation) time.Time {
	if !r.Seen.IsZero() {
		return r.Seen.Add(span(e.After))
	}
	if e.Unseen != "" {
		return r.Opened.Add(span(e.Unseen))
	}
	return r.Opened.Add(span(e.After))
}

// The rungs of a review that is missing: once while a quarter of its time is left, once when it is over, then every day.
const (
	rungDue     = "review-due"
	rungOverdue = "review-overdue"
)

// rung is what there is to tell of a review that is missing; empty: nothing yet.
func (g Glass) rung(now time.Time) string {
	late := now.Sub(g.Due)
	switch {
	case late >= 0:
		return fmt.Sprintf("%s-%d", rungOverdue, late/(24*time.Hour))
	case -late <= g.Due.Sub(g.Until)/4:
		return rungDue
	}
	return ""
}

// span reads what CheckNotify has let through.
func span(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}

// meets tells whether a list that may be empty, for all, has one of groups.
func meets(list, groups []string) bool {
	return len(list) == 0 || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(list, g) })
}

// savePosition is how far a channel's position may run ahead of what is on disk while there is nothing to tell.
const savePosition = 4096

// pick gives what is to be tried now; without any, how long to wait at most (0: until woken).
func (c *channel) pick() (_ item, wait time.Duration, ok bool) {
	c.o.items.Lock()
	defer c.o.items.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.cfg.Now()
	if d := c.until.Sub(now); d > 0 {
		return item{}, d, false
	}
	if len(c.state.Parked) >= maxParked {
		return item{}, 0, false
	}
	again := slices.IndexFunc(c.state.Retries, func(it item) bool { return !it.Due.After(now) })
	fresh, n := c.o.from(c.state.Next)
	for ; n > 0 && !c.declared.Tells(fresh.What); fresh, n = c.o.from(c.state.Next) {
		c.state.Next = fresh.Entry + 1
	}
	if n == 0 && c.state.Next < c.end {
		if c.state.Next = c.end; c.state.Next >= c.saved+savePosition {
			if err := c.save(); err != nil {
				c.o.cfg.Slog.Error("a channel", "channel", c.declared.Name, "err", err)
			}
		}
	}
	full := len(c.state.Retries) >= maxRetries
	switch {
	case again >= 0 && (c.turn || full || n == 0 && len(c.state.Extra) == 0):
		return c.state.Retries[again], 0, true
	case len(c.state.Extra) > 0 && !full:
		return c.state.Extra[0], 0, true
	case n > 0 && !full:
		return fresh, 0, true
	}
	for _, it := range c.state.Retries {
		if d := it.Due.Sub(now); wait == 0 || d < wait {
			wait = max(d, time.Millisecond)
		}
	}
	return item{}, wait, false
}

// run hands over until ctx ends.
func (c *channel) run(ctx context.Context) {
	defer close(c.ended)
	if c.position() == never {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		it, wait, ok := c.pick()
		if !ok {
			var over <-chan time.Time
			if wait > 0 {
				over = c.o.cfg.After(wait)
			}
			select {
			case <-c.wake:
			case <-over:
			case <-ctx.Done():
			}
			continue
		}
		c.mu.Lock()
		declared := c.declared
		c.mu.Unlock()
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryWithin)
		leave := context.AfterFunc(ctx, func() {
			select {
			case <-c.o.cfg.After(leaveWithin):
				cancel()
			case <-try.Done():
			}
		})
		err := c.o.tell(try, declared, it)
		cut := try.Err() != nil && ctx.Err() != nil
		leave()
		cancel()
		if cut {
			return // whether it arrived nobody knows: it is told again, under the same id
		}
		if err := c.came(it, err); err != nil {
			c.o.cfg.Slog.Error("a channel cannot write down what it has told", "channel", declared.Name, "err", err)
			c.rest(lookEvery)
		}
	}
}

func (c *channel) rest(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = c.o.cfg.Now().Add(d)
}

// came writes down what came of a try. When it fails nothing has changed, and the try is made again.
func (c *channel) came(it item, failed error) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.state
	defer func() {
		if err != nil {
			c.state = before
		}
	}()
	c.state.Retries, c.state.Extra = slices.Clone(c.state.Retries), slices.Clone(c.state.Extra)
	again := slices.IndexFunc(c.state.Retries, func(o item) bool { return o.key() == it.key() })
	switch {
	case again >= 0:
		c.state.Retries = slices.Delete(c.state.Retries, again, again+1)
	case len(c.state.Extra) > 0 && c.state.Extra[0].key() == it.key():
		c.state.Extra = slices.Delete(c.state.Extra, 0, 1)
	default:
		c.state.Next = max(c.state.Next, it.Entry+1)
	}
	c.turn = again < 0
	var s *spreading
	switch {
	case errors.As(failed, &s):
		c.state.Extra = append(c.state.Extra, s.items...)
		return c.save()
	case errors.Is(failed, errNotYet):
		it.Due = c.o.cfg.Now().Add(lookEvery)
		c.state.Retries = append(c.state.Retries, it)
		return c.save()
	}
	if failed == nil || errors.Is(failed, errNotForIt) {
		if failed == nil {
			c.state.Handed++
			c.why = ""
		}
		c.until = time.Time{}
		c.pause.Reset()
		return c.save()
	}
	now := c.o.cfg.Now()
	var f *failure
	if !errors.As(failed, &f) {
		f = &failure{err: failed}
	}
	if it.Tries == 0 {
		it.Since = c.state.Handed
	}
	it.Tries, it.Why = it.Tries+1, remit.Visible(f.Error())
	c.why = it.Why
	switch {
	case f.message && it.Tries >= blamedTries, it.Tries >= loneTries && c.state.Handed > it.Since:
		c.state.Parked = append(slices.Clone(c.state.Parked), parked{it, now, it.Why})
		c.o.cfg.Slog.Error("a message is parked", "channel", c.declared.Name, "message", it.id(c.o.cfg.Org, c.declared.Name), "tries", it.Tries, "err", it.Why)
	default:
		it.Due = now.Add(max(it.wait(), f.after))
		c.state.Retries = append(c.state.Retries, it)
	}
	if err := c.save(); err != nil {
		return err
	}
	if f.message { // the endpoint is well
		c.pause.Reset()
		return nil
	}
	c.until = now.Add(max(c.pause.NextBackOff(), f.after))
	return nil
}

// unpark puts what is parked back, or forgets it.
func (c *channel) unpark(drop bool) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Next == never {
		return 0, remit.Errorf(remit.Conflict, "%s", c.why)
	}
	all := c.state.Parked
	before := c.state
	c.state.Parked, c.state.Retries = nil, slices.Clone(c.state.Retries)
	if !drop {
		for _, p := range all {
			p.Item.Tries, p.Item.Due = 0, time.Time{}
			c.state.Retries = append(c.state.Retries, p.Item)
		}
	}
	if err := c.save(); err != nil {
		c.state = before
		return 0, err
	}
	c.until = time.Time{}
	c.nudge()
	return len(all), nil
}

func (c *channel) view() remit.ChannelView {
	c.o.items.Lock()
	defer c.o.items.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := remit.ChannelView{Name: c.declared.Name, Kind: c.declared.Kind, Next: c.state.Next, Delivered: c.state.Handed, Why: c.why}
	_, v.Waiting = c.o.from(c.state.Next)
	v.Waiting += len(c.state.Extra) + len(c.state.Retries)
	for _, it := range c.state.Retries {
		v.Tries = max(v.Tries, it.Tries)
		if v.Why == "" {
			v.Why = it.Why
		}
	}
	for _, p := range c.state.Parked {
		v.Parked = append(v.Parked, remit.Parked{ID: p.Item.id(c.o.cfg.Org, c.declared.Name), What: p.Item.What, At: p.At, Why: p.Why})
	}
	return v
}
