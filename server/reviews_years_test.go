package server_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/notify"
	"github.com/remit-dev/remit/sshsig"
)

// mailroom is a world as its outbox sees it, and the endpoint that everybody is told through: it keeps who was told what when.
type mailroom struct {
	w *world.World

	mu   sync.Mutex
	told []telling
	read remit.EntryIndex // the log, before it
}

type telling struct {
	at    time.Time
	ID    string `json:"id"`
	Title string `json:"title"`
	Items []remit.ID
	To    remit.Reached
}

func (m *mailroom) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var in struct{ Data telling }
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err != nil {
		m.w.T.Error(err)
	}
	in.Data.at = m.w.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, in.Data)
}

func (m *mailroom) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[notify.Entry, error] {
	return func(yield func(notify.Entry, error) bool) {
		for e, err := range m.w.Engine.Read(ctx, from) {
			var l ledger.Leaf
			if err == nil {
				l, err = ledger.Decode(e.Leaf)
			}
			if !yield(notify.Entry{Index: e.Index, At: l.At, Event: l.Event}, err) || err != nil {
				return
			}
			from = e.Index + 1
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.read = max(m.read, from)
	}
}

func (m *mailroom) Changed() <-chan struct{}                          { return m.w.Engine.Changed() }
func (m *mailroom) Text(context.Context, remit.Digest) ([]byte, bool) { return nil, false }
func (m *mailroom) Name(ctx context.Context, p remit.ID) string       { return m.w.Server.NameOf(ctx, p) }
func (m *mailroom) AgentOwner(ctx context.Context, agent string) string {
	return m.w.Server.OwnerOf(ctx, agent)
}
func (m *mailroom) Waiting() notify.Waiting { return notify.Waiting{Now: m.w.Clock.Now()} }

func (m *mailroom) Secret(context.Context, remit.Source) (string, error) {
	return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", nil
}

func (m *mailroom) Declared(ctx context.Context) (d notify.Declared, err error) {
	m.w.Engine.View(func(s *authority.State) { d.At = s.NotifyAt })
	told, err := m.w.Server.Told(ctx)
	d.Channels = told.Notify
	return d, err
}

func (m *mailroom) Card(ctx context.Context, id remit.ID) (remit.AccessView, error) {
	return m.w.Server.CardOf(ctx, id)
}

func (m *mailroom) ReviewItem(ctx context.Context, id remit.ID) (remit.ItemView, error) {
	return m.w.Server.ItemOf(ctx, id)
}

func (m *mailroom) Asked(ctx context.Context, run remit.ID) (map[string][]remit.ID, bool, error) {
	return m.w.Server.AskedIn(ctx, run)
}

// open starts the outbox; quiet waits until it has told all that there is to tell.
func (m *mailroom) open() (quiet func()) {
	t := m.w.T
	t.Helper()
	o, err := notify.New(notify.Config{Org: world.Org, Dir: t.TempDir(), Log: m, House: m, Reviews: m, Now: m.w.Clock.Now,
		Reach: func(string, string, bool) (http.RoundTripper, error) { return http.DefaultTransport, nil },
		Link:  func(remit.ID) string { return "" },
		After: func(time.Duration) <-chan time.Time { return time.After(2 * time.Millisecond) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := o.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() {
		t.Helper()
		var size remit.EntryIndex
		m.w.Engine.View(func(s *authority.State) { size = s.Next })
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			m.mu.Lock()
			read := m.read >= size
			m.mu.Unlock()
			if s := o.Status(); read && len(s) == 1 && s[0].Waiting == 0 {
				return
			}
			m.w.Clock.Advance(time.Second) // it tries again by this clock
			if time.Now().After(deadline) {
				t.Fatalf("it is not told: %+v", o.Status())
			}
		}
	}
}

// work has an agent's owner use the agent once, in a task that ends.
func work(w *world.World, owner, agent string) {
	w.T.Helper()
	ctx, c := w.T.Context(), w.SignIn(owner)
	t, err := c.CreateTask(ctx, remit.TaskRequest{Agent: agent, Intent: "fix the rounding of refunds"})
	if err != nil {
		w.T.Fatal(err)
	}
	i := w.Instance(owner, t.ID)
	d := w.Push(i, remit.Shown{}, "src/a")
	if d.Verdict != remit.Allow {
		w.T.Fatalf("agent %s: %+v", agent, d)
	}
	w.Finish(d.Permit, remit.Done, "")
	if err := c.EndTask(ctx, t.ID, "complete", remit.EndRequest{}); err != nil {
		w.T.Fatal(err)
	}
}

// certifies has a person answer what they may of some agents, all by default: what was used is kept, the rest removed.
func certifies(w *world.World, who string, agents ...string) {
	w.T.Helper()
	c := w.SignIn(who)
	l, err := c.ReviewItems(w.T.Context(), false)
	if err != nil {
		w.T.Fatal(err)
	}
	var said remit.Certification
	for _, v := range l.Items {
		if !v.YouMay || len(agents) > 0 && !slices.Contains(agents, v.Agent) {
			continue
		}
		answer := remit.Remove
		if v.Uses > 0 {
			answer = remit.Keep
		}
		var f remit.FixedItem
		if err := json.Unmarshal([]byte(v.Fixed), &f); err != nil {
			w.T.Fatal(err)
		}
		said.Origin = f.Origin
		said.Answers = append(said.Answers, remit.Certified{Item: v.ID, Answer: answer, Shown: v.Shown})
	}
	if len(said.Answers) == 0 {
		return
	}
	sig, err := sshsig.Sign(w.Key(who), remit.ReviewNamespace, said.Bytes())
	if err == nil {
		_, err = c.Certify(w.T.Context(), remit.CertifyRequest{Statement: said.Bytes(), Signature: sig})
	}
	if err != nil {
		w.T.Fatalf("%s: %v", who, err)
	}
}

// Two years of quarterly campaigns through the server, with its clients and its outbox. Ben keeps what is used; cleo, whose agent
// works as well, never answers; dora leaves, and what her agent has goes to the fallback group, which is ben, until he is silent as
// well. No entitlement survives a run that nobody certified it in; nothing that was used goes before somebody who could have
// kept it had their last reminder, a day and more before; and each removal has a receipt that the log alone verifies.
func TestTwoYears(t *testing.T) {
	w := world.New(t, world.Options{Certificates: time.Now})
	m := &mailroom{w: w}
	endpoint := httptest.NewServer(m)
	t.Cleanup(endpoint.Close)
	d := w.Team()
	d.People = append(d.People, w.Person("dora"))
	d.Groups[1].Members = []string{"ben", "cleo", "dora"}
	d.Groups = append(d.Groups, remit.Group{Name: "security", Members: []string{"ben"}})
	used, idle := d.Agents[0].Entitlements[0], remit.Scope{Actions: []remit.Action{"build.read"}, Resources: []remit.Pattern{"pipeline:payments/ci"}}
	used.Actions = []remit.Action{"source.push"}
	d.Agents = nil
	owners := map[string]string{"diligent": "ben", "silent": "cleo", "orphan": "dora"}
	for _, name := range []string{"diligent", "orphan", "silent"} {
		d.Agents = append(d.Agents, remit.Agent{Name: name, Function: remit.FuncCode, Owner: owners[name], Purpose: "fixes bugs", Requesters: []string{"developers"}, Expires: "2040-01-31",
			Entitlements: []remit.Scope{used, idle}})
	}
	d.Campaigns = []remit.Campaign{{Name: "quarterly", Cadence: "0 9 1 */3 *", Due: "21d", Fallback: "security"}}
	d.Reviews = &remit.Reviews{SuspendAfter: "off", RetireAfter: "off", Fallback: "security", Micro: []string{"owner-left"}}
	reached := []remit.Reached{{Person: "ben", Address: "b"}, {Person: "cleo", Address: "c"}, {Person: "dora", Address: "d"}}
	d.Notify = []remit.Channel{{Name: "people", Kind: remit.ChannelWebhook, URL: endpoint.URL, Insecure: true, Secret: remit.Source{From: "file", Name: "x"}, People: reached}}
	w.Declare(d)
	quiet := m.open()

	has := func(agent string) (out int) {
		w.Engine.View(func(s *authority.State) {
			if slices.ContainsFunc(s.Agents[agent].Entitlements, func(sc remit.Scope) bool { return sc.Actions[0] == "source.push" }) {
				out++
			}
		})
		return out
	}
	runs := map[remit.ID]bool{}
	// certified holds, when a run has ended, that all that is left of what it asked about was kept since it began.
	certified := func() {
		w.Engine.View(func(s *authority.State) {
			for id, r := range s.Runs {
				if r.Closed == 0 || runs[id] {
					continue
				}
				runs[id] = true
				for name, a := range s.Agents {
					for key, h := range a.Holds {
						if h.Kept < r.Entry && h.Granted < r.Entry {
							t.Errorf("%s: agent %s still has %s, which nobody certified", r.CampaignOpened.ID, name, key)
						}
					}
				}
			}
		})
	}
	start := w.Clock.Now()
	left := start.AddDate(0, 10, 0) // dora goes
	tired := start.AddDate(1, 7, 0) // ben answers for dora's no more
	gone, next := false, start
	for w.Clock.Now().Before(start.AddDate(2, 1, 0)) {
		w.Clock.Advance(12 * time.Hour)
		if err := w.Engine.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		quiet()
		certified()
		now := w.Clock.Now()
		if now.After(next) {
			next = now.AddDate(0, 0, 40)
			for agent, owner := range owners {
				if has(agent) > 0 && (owner != "dora" || !gone) { // an agent whose owner has left does nothing
					work(w, owner, agent)
				}
			}
		}
		if !gone && now.After(left) {
			if err := w.SignIn("ada").Kill(t.Context(), remit.KillRequest{What: "person", ID: "dora"}); err != nil {
				t.Fatal(err)
			}
			gone = true
			continue
		}
		waiting := map[string]bool{}
		w.Engine.View(func(s *authority.State) {
			for _, id := range s.OpenItems.IDs {
				if x := s.Items[id]; x.Status == remit.ItemOpen && now.Sub(time.Unix(0, x.At)) > 3*24*time.Hour {
					waiting[x.Agent] = true
				}
			}
		})
		switch {
		case waiting["orphan"] && !gone:
			certifies(w, "dora")
		case waiting["diligent"] || waiting["orphan"] && now.Before(tired):
			if now.Before(tired) {
				certifies(w, "ben")
			} else {
				certifies(w, "ben", "diligent")
			}
		}
	}

	if n := len(runs); n < 8 {
		t.Errorf("%d runs in two years", n)
	}
	if has("diligent") == 0 || has("silent") != 0 || has("orphan") != 0 {
		t.Errorf("what is left: diligent %d, silent %d, orphan %d", has("diligent"), has("silent"), has("orphan"))
	}
	h, err := w.SignIn("ada").LogHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	items := map[remit.ID]*remit.ReviewOpened{}
	removed, inUse := 0, map[string]bool{}
	for e, err := range w.Store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		switch ev := l.Event.(type) {
		case *remit.ReviewOpened:
			items[ev.ID] = ev
		case *remit.ReviewRemoved:
			removed++
			proof, err := w.SignIn("ada").LogReceipt(t.Context(), e.Index, false)
			if err != nil {
				t.Fatal(err)
			}
			if i, err := ledger.VerifyReceipt(proof, nil, h.Verifier); err != nil || i != e.Index {
				t.Errorf("the receipt of entry %d: %d %v", e.Index, i, err)
			}
			if !ev.Lapsed || items[ev.Item].Evidence.Uses == 0 {
				continue
			}
			inUse[ev.Agent] = true
			if who := m.remindedLast(ev.Item, l.At.Add(-24*time.Hour)); len(who) == 0 {
				t.Errorf("entry %d takes away what agent %s used, and nobody who could keep it was told in time", e.Index, ev.Agent)
			} else if ev.Agent == "silent" && !slices.Contains(who, "cleo") || ev.Agent == "orphan" && !slices.Equal(who, []string{"ben"}) {
				t.Errorf("entry %d, of agent %s: %v were told", e.Index, ev.Agent, who)
			}
		}
	}
	if removed != 5 || !inUse["silent"] || !inUse["orphan"] || inUse["diligent"] {
		t.Errorf("%d removals; used ones that lapsed: %v", removed, inUse)
	}
	if found, err := judge.Log(t.Context(), w.Store); err != nil || len(found) > 0 {
		t.Errorf("%v %v", found, err)
	}
}

// remindedLast are those who had the last reminder of an item at a time at the latest, each once.
func (m *mailroom) remindedLast(item remit.ID, by time.Time) (who []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, x := range m.told {
		if seen[x.ID] {
			m.w.T.Errorf("%s was told twice", x.ID)
		}
		seen[x.ID] = true
		if strings.HasPrefix(x.Title, "LAST REMINDER") && slices.Contains(x.Items, item) && !x.at.After(by) {
			who = append(who, x.To.Person)
		}
	}
	slices.Sort(who)
	return who
}
