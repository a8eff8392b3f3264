package notify_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/notify"
)

// house is a log in memory, cards, and who is told of what.
type house struct {
	t   testing.TB
	dir string

	mu       sync.Mutex
	log      []notify.Entry
	changed  chan struct{}
	declared notify.Declared
	waiting  notify.Waiting
	cards    map[remit.ID]remit.AccessView
	items    map[remit.ID]remit.ItemView
	secrets  map[string]string
	ahead    time.Duration // the clock
	owner    string        // of every agent
	opened   bool          // all items of every run are there
	looked   int           // times that somebody asked whom a run asks
	names    map[remit.ID]string
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, dir: t.TempDir(), changed: make(chan struct{}), cards: map[remit.ID]remit.AccessView{}, items: map[remit.ID]remit.ItemView{}, secrets: map[string]string{}}
	h.add(&remit.Genesis{})
	return h
}

// add commits an event.
func (h *house) add(e remit.Event) remit.EntryIndex {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := remit.EntryIndex(len(h.log))
	h.log = append(h.log, notify.Entry{Index: i, At: time.Unix(1_800_000_000+int64(i), 0), Event: e})
	close(h.changed)
	h.changed = make(chan struct{})
	return i
}

// asks commits a hold with a card.
func (h *house) asks(change ...func(*remit.AccessView)) remit.ID {
	h.mu.Lock()
	id := remit.ID(fmt.Sprintf("A-%d", len(h.log)))
	v := remit.AccessView{ID: id, Status: remit.AccessOpen, Task: "T-1", Agent: "coder", Function: "code", Owner: "ada", Requester: "mia",
		Intent: "fix the typo", Steps: []remit.Step{{Action: "source.push", Resource: "repo:forge/acme/payments"}}, Needs: []remit.Need{{Group: "reviewers", N: 1}},
		Sentence: "a protected path is touched", Rules: []string{"protected-path"}, Eligible: []string{"noa"}, NotAfter: time.Unix(1_800_086_400, 0)}
	for _, f := range change {
		f(&v)
	}
	h.cards[id] = v
	h.mu.Unlock()
	h.add(&remit.AccessOpened{ID: id, Needs: v.Needs})
	return id
}

func (h *house) declare(channels []remit.Channel, escalations ...remit.Escalation) {
	at := h.add(&remit.NotifyDeclared{Spec: remit.Digest{1}})
	h.mu.Lock()
	h.declared = notify.Declared{At: at, Channels: channels, Escalations: escalations}
	h.mu.Unlock()
	h.poke()
}

// poke makes the outbox look.
func (h *house) poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *house) Read(_ context.Context, from remit.EntryIndex) iter.Seq2[notify.Entry, error] {
	h.mu.Lock()
	all := slices.Clone(h.log[min(int(from), len(h.log)):])
	h.mu.Unlock()
	return func(yield func(notify.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (h *house) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *house) Declared(context.Context) (notify.Declared, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.declared, nil
}

func (h *house) Card(_ context.Context, id remit.ID) (remit.AccessView, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.cards[id]
	if !ok {
		return v, remit.Errorf(remit.NotFound, "there is no access request %s", id)
	}
	return v, nil
}

func (h *house) ReviewItem(_ context.Context, id remit.ID) (remit.ItemView, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.items[id]
	if !ok {
		return v, remit.Errorf(remit.NotFound, "there is no item %s", id)
	}
	return v, nil
}

func (h *house) Name(_ context.Context, person remit.ID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return cmp.Or(h.names[person], "name of "+string(person))
}

// Asked: every open item is of the run.
func (h *house) Asked(context.Context, remit.ID) (map[string][]remit.ID, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked++
	by := map[string][]remit.ID{}
	for id, v := range h.items {
		for _, p := range v.Reviewers {
			by[p] = append(by[p], id)
		}
	}
	return by, !h.opened, nil
}

func (h *house) AgentOwner(context.Context, string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owner
}

func (h *house) Text(_ context.Context, d remit.Digest) ([]byte, bool) {
	if d == (remit.Digest{7}) {
		return []byte("the site is down\u202e"), true
	}
	return nil, false
}

func (h *house) Waiting() notify.Waiting {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.waiting
	w.Requests = slices.Clone(w.Requests) // set changes them
	w.Now = time.Unix(1_800_000_000, 0).Add(h.ahead)
	return w
}

func (h *house) Secret(_ context.Context, s remit.Source) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.secrets[s.Name]
	if !ok {
		return "", remit.Errorf(remit.UpstreamDown, "no secret %s", s.Name)
	}
	return v, nil
}

func (h *house) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// plainReach goes wherever it is told to: what keeps a real one to its host is tested where it is made.
func plainReach(_, _ string, _ bool) (http.RoundTripper, error) { return new(http.Transport), nil }

func (h *house) config() notify.Config {
	var mu sync.Mutex
	var skipped time.Duration // a clock on which every wait is over at once
	return notify.Config{Org: "acme.example", Dir: h.dir, Log: h, House: h, Reviews: h, Reach: plainReach,
		Link: func(id remit.ID) string { return "https://remit.example/v1/orgs/acme.example/approve/" + string(id) },
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(skipped)
		},
		After: func(d time.Duration) <-chan time.Time {
			if d >= 24*time.Hour {
				return nil
			}
			mu.Lock()
			skipped += d
			mu.Unlock()
			return time.After(time.Millisecond)
		}}
}

// run starts an outbox; stop ends it and waits.
func (h *house) run(change ...func(*notify.Config)) (o *notify.Outbox, stop func()) {
	h.t.Helper()
	c := h.config()
	for _, f := range change {
		f(&c)
	}
	o, err := notify.New(c)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				h.t.Error(err)
			}
		})
	}
	h.t.Cleanup(stop)
	return o, stop
}

// until waits for something to become true; nothing in these tests takes long.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("it does not become true that %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// noted waits until a channel has written down that it handed over so many messages.
func noted(t testing.TB, h *house, name string, handed int) {
	t.Helper()
	until(t, fmt.Sprintf("channel %s has noted %d messages", name, handed), func() bool { return strings.Contains(state(t, h, name), fmt.Sprintf(`"handed":%d,`, handed)) })
}

func state(t testing.TB, h *house, name string) string {
	b, err := os.ReadFile(h.dir + "/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
