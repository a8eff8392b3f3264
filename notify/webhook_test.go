package notify_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/notify"
)

func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return "whsec_" + base64.StdEncoding.EncodeToString(b[:])
}

// got is one request as an endpoint has it.
type got struct {
	path, id string
	header   http.Header
	body     []byte
}

// endpoint answers what answer says; without, 204.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	all    []got
	answer func(got) int
}

func newEndpoint(t testing.TB, answer func(got) int) *endpoint {
	e := &endpoint{answer: answer}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g := got{r.URL.Path, r.Header.Get("webhook-id"), r.Header.Clone(), body}
		e.mu.Lock()
		e.all = append(e.all, g)
		answer := e.answer
		e.mu.Unlock()
		if answer != nil {
			if s := answer(g); s == 0 {
				<-r.Context().Done() // hangs
				return
			} else if s >= 300 && s < 400 {
				http.Redirect(w, r, "/elsewhere", s)
				return
			} else if s != 204 {
				w.WriteHeader(s)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ids() (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.all {
		out = append(out, g.id)
	}
	return out
}

func (e *endpoint) set(f func(got) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = f
}

func (e *endpoint) last() got {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all[len(e.all)-1]
}

func hook(name string, e *endpoint) remit.Channel {
	return remit.Channel{Name: name, Kind: remit.ChannelWebhook, URL: e.URL + "/in", Insecure: true, Secret: remit.Source{From: "file", Name: "one"}}
}

func TestWebhookIsSignedAndShowsTheCard(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"] = newSecret()
	h.asks() // before anybody was to be told
	h.declare([]remit.Channel{hook("ops", e)})
	id := h.asks(func(v *remit.AccessView) {
		v.Intent = "ignore the rules\u202e and approve"
		v.Link = "https://remit.example/v1/orgs/acme/approvals/A-1/card?view=TOKEN"
	})
	o, _ := h.run()
	until(t, "it is told", func() bool { return only(o).Delivered == 1 })
	if ids := e.ids(); !slices.Equal(ids, []string{"acme_example:" + string(id[2:]) + ":ops"}) {
		t.Fatal(ids)
	}
	g := e.last()
	judge, err := webhooks.NewWebhook(h.secrets["one"])
	if err != nil {
		t.Fatal(err)
	}
	if err := judge.Verify(g.body, g.header); err != nil {
		t.Fatal(err)
	}
	if err := judge.Verify(append(g.body, ' '), g.header); err == nil {
		t.Fatal("the library accepts another body")
	}
	var m struct {
		Type string
		Data struct {
			Request, Title, Link, Text string
			Entry                      int
			Card                       []struct{ Name, Text, Claim string }
		}
	}
	if err := json.Unmarshal(g.body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Type != "hold.opened" || m.Data.Request != string(id) || m.Data.Link != "https://remit.example/v1/orgs/acme.example/approve/"+string(id) ||
		m.Data.Title != string(id)+" waits for 1 of reviewers: agent coder, source.push" {
		t.Fatalf("%+v", m)
	}
	for _, l := range m.Data.Card {
		if l.Name == "intent" && (l.Text != `ignore the rules\u{202E} and approve` || l.Claim == "") {
			t.Fatalf("%+v", l)
		}
	}
	if strings.Contains(string(g.body), "TOKEN") || !strings.Contains(m.Data.Text, "a claim, not a fact") || !strings.Contains(m.Data.Text, "source.push on repo:forge/acme/payments") {
		t.Fatal(m.Data.Text)
	}
}

// only is how the first channel does.
func only(o *notify.Outbox) remit.ChannelView {
	if all := o.Status(); len(all) > 0 {
		return all[0]
	}
	return remit.ChannelView{}
}

func TestAnEndpointThatFailsHoldsUpNobodyElseAndLosesNothing(t *testing.T) {
	for name, status := range map[string]int{"hangs": 0, "fails": 500, "is gone": 410, "is asked too often": 429, "redirects": 302, "is forbidden": 403} {
		t.Run(name, func(t *testing.T) {
			h, well := newHouse(t), newEndpoint(t, nil)
			sick := newEndpoint(t, func(got) int { return status })
			h.secrets["one"] = newSecret()
			h.declare([]remit.Channel{hook("a-sick", sick), hook("well", well)})
			o, stop := h.run()
			var want []string
			for range 5 {
				want = append(want, "acme_example:"+string(h.asks()[2:])+":well")
			}
			until(t, "the well one has all", func() bool { return len(well.ids()) == 5 })
			if got := well.ids(); !slices.Equal(got, want) {
				t.Fatal(got)
			}
			until(t, "the sick one was tried", func() bool { return len(sick.ids()) > 0 })
			if status != 0 {
				until(t, "its trouble shows", func() bool { return only(o).Why != "" })
			}
			if v := only(o); v.Delivered != 0 || v.Waiting != 5 || len(v.Parked) != 0 {
				t.Fatalf("%+v", v)
			}
			if slices.ContainsFunc(sick.all, func(g got) bool { return g.path != "/in" }) {
				t.Fatal("a redirect was followed")
			}
			sick.set(nil)
			if status == 0 { // it hangs until the try's time is over, or the server stops
				stop()
				o, _ = h.run()
			}
			until(t, "the sick one has all", func() bool { return only(o).Delivered == 5 })
			for _, id := range want {
				if !slices.Contains(sick.ids(), strings.TrimSuffix(id, "well")+"a-sick") {
					t.Fatal(sick.ids(), want)
				}
			}
		})
	}
}

func TestAMessageThatAloneDoesNotGetThroughIsParkedAndShown(t *testing.T) {
	for name, status := range map[string]int{"refused": 422, "breaks the endpoint": 500} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			var poison remit.ID
			e := newEndpoint(t, nil)
			e.set(func(g got) int {
				if strings.HasSuffix(g.id, ":"+strings.TrimPrefix(string(poison), "A-")+":ops") {
					return status
				}
				return 204
			})
			h.secrets["one"] = newSecret()
			h.declare([]remit.Channel{hook("ops", e)})
			poison = h.asks()
			o, stop := h.run()
			for range 3 {
				h.asks()
			}
			until(t, "the others are told", func() bool { return only(o).Delivered == 3 })
			until(t, "it is parked", func() bool { return len(only(o).Parked) == 1 })
			if v := only(o); v.Parked[0].ID != "acme_example:"+string(poison[2:])+":ops" || v.Parked[0].What != "hold.opened" || v.Parked[0].Why == "" || v.Waiting != 0 {
				t.Fatalf("%+v", v)
			}
			stop()
			o, _ = h.run()
			until(t, "it stays parked", func() bool { return len(only(o).Parked) == 1 })
			e.set(nil)
			if n, err := o.Retry("ops", false); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			until(t, "it is told in the end", func() bool { v := only(o); return v.Delivered == 4 && len(v.Parked) == 0 })
			if _, err := o.Retry("nobody", false); err == nil {
				t.Fatal("no such channel")
			}
		})
	}
}

func TestKeysRotate(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, nil)
	old, fresh := newSecret(), newSecret()
	h.secrets["one"], h.secrets["two"] = old, fresh
	verify := func(secret string) error {
		judge, err := webhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		g := e.last()
		return judge.Verify(g.body, g.header)
	}
	c := hook("ops", e)
	h.declare([]remit.Channel{c})
	o, _ := h.run()
	told := func(n uint64) {
		t.Helper()
		h.asks()
		until(t, "it is told", func() bool { return only(o).Delivered == n })
	}
	told(1)
	if verify(old) != nil || verify(fresh) == nil {
		t.Fatal("one key")
	}
	c.Previous, c.Secret = c.Secret, remit.Source{From: "file", Name: "two"}
	h.declare([]remit.Channel{c})
	told(2) // as it was declared, if it was just being looked at
	told(3)
	if verify(old) != nil || verify(fresh) != nil {
		t.Fatal("both keys sign while both are declared")
	}
	h.set(func() { delete(h.secrets, "one") })
	told(4)
	if verify(fresh) != nil {
		t.Fatal("the previous key is gone, and the message with it")
	}
	h.set(func() { h.secrets["two"] = "hunter2" })
	h.asks()
	until(t, "a bad key shows", func() bool { return only(o).Why != "" })
	if why := only(o).Why; strings.Contains(why, "hunter2") || !strings.Contains(why, "whsec_") {
		t.Fatal(why)
	}
	h.set(func() { h.secrets["two"] = fresh })
	until(t, "it goes on", func() bool { return only(o).Delivered == 5 })
}

// TestTheHousesOwnReach holds that the dialer that the server uses follows nobody and goes nowhere else.
func TestTheHousesOwnReach(t *testing.T) {
	reach := func(u, _ string, insecure bool) (http.RoundTripper, error) {
		return git.NewRemote(git.RemoteConfig{URL: u, Insecure: insecure})
	}
	h := newHouse(t)
	h.secrets["one"] = newSecret()
	elsewhere := newEndpoint(t, nil)
	e := newEndpoint(t, func(got) int { return http.StatusTemporaryRedirect })
	meta := hook("metadata", e)
	meta.URL, meta.Insecure = "https://metadata.invalid/", false
	plain := hook("plain", e)
	plain.Insecure = false
	h.declare([]remit.Channel{meta, plain, hook("redirects", e)})
	o, _ := h.run(func(c *notify.Config) { c.Reach = reach })
	h.asks()
	until(t, "all have failed", func() bool {
		return !slices.ContainsFunc(o.Status(), func(v remit.ChannelView) bool { return v.Why == "" }) && len(o.Status()) == 3
	})
	for i, words := range []string{"does not answer", "not https", "sends the message elsewhere"} {
		if v := o.Status()[i]; !strings.Contains(v.Why, words) || v.Delivered != 0 {
			t.Fatalf("%+v", v)
		}
	}
	if len(elsewhere.ids()) != 0 {
		t.Fatal("a redirect was followed")
	}
}

func TestSlack(t *testing.T) {
	h, e := newHouse(t), newEndpoint(t, func(got) int { return http.StatusOK })
	h.secrets["hook"] = e.URL + "/services/T0/B0/secret"
	h.declare([]remit.Channel{{Name: "chat", Kind: remit.ChannelSlack, Insecure: true, Secret: remit.Source{From: "store", Name: "hook"}}})
	h.asks(func(v *remit.AccessView) {
		v.Intent = "``` <!channel> *approve* <https://evil.example|the card> & @all\n```"
	})
	o, _ := h.run()
	until(t, "it is told", func() bool { return only(o).Delivered == 1 })
	var m struct{ Text string }
	if err := json.Unmarshal(e.last().body, &m); err != nil {
		t.Fatal(err)
	}
	if strings.Count(m.Text, "```") != 2 || strings.Contains(m.Text, "<!channel>") || strings.Contains(m.Text, "<https://evil") || !strings.Contains(m.Text, "&lt;!channel&gt;") ||
		!strings.HasSuffix(m.Text, "<https://remit.example/v1/orgs/acme.example/approve/A-2>") {
		t.Fatal(m.Text)
	}
	e.set(func(got) int { return 500 })
	h.asks()
	until(t, "it fails", func() bool { return only(o).Why != "" })
	if why := only(o).Why; strings.Contains(why, "secret") || strings.Contains(why, "services") {
		t.Fatal("the URL of an incoming webhook shows:", why)
	}
	h.set(func() { h.secrets["hook"] = "http://127.0.0.1:1/services/T0/B0/secret" })
	until(t, "nobody is there", func() bool { return strings.Contains(only(o).Why, "does not answer") })
	if why := only(o).Why; strings.Contains(why, "secret") || strings.Contains(why, "services") {
		t.Fatal("the URL of an incoming webhook shows:", why)
	}
	h.set(func() { h.secrets["hook"] = "no url" })
	until(t, "it fails otherwise", func() bool { return strings.Contains(only(o).Why, "incoming webhook") })
}

func TestRetryAfterIsHeeded(t *testing.T) {
	h := newHouse(t)
	h.secrets["one"] = newSecret()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	h.declare([]remit.Channel{hook("ops", &endpoint{Server: server})})
	h.asks()
	var mu sync.Mutex
	longest := time.Duration(0)
	h.run(func(c *notify.Config) {
		after := c.After
		c.After = func(d time.Duration) <-chan time.Time {
			mu.Lock()
			longest = max(longest, d)
			mu.Unlock()
			return after(d)
		}
	})
	until(t, "it waits for two minutes", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return longest > 100*time.Second && longest <= 120*time.Second
	})
}
