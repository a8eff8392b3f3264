package brokertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
)

// lived runs a test over one house and one life of the server.
func lived(t *testing.T, shape func(*brokertest.Upstream), test func(*testing.T, *process)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		if shape != nil {
			shape(h.up)
		}
		test(t, h.start(newGate(0, true)))
	})
}

func coded(t *testing.T, err error, code remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func apply(t *testing.T, l *broker.Lease) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://forge.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Apply(r)
	return r.Header.Get("Authorization"), err
}

// receipts are the receipts of all leases that have ended, in order, from the log and its payloads.
func (p *process) receipts() (out []remit.LeaseReceipt) {
	p.t.Helper()
	for e, err := range p.store.Read(p.t.Context(), 0) {
		if err != nil {
			p.t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			p.t.Fatal(err)
		}
		m, ok := l.Event.(*remit.LeaseMoved)
		if !ok || m.Receipt.IsZero() {
			continue
		}
		body, ok := p.core.Engine.Text(p.t.Context(), m.Receipt)
		var r remit.LeaseReceipt
		if !ok || remit.DecodeStrict(bytes.NewReader(body), remit.MaxPayload, &r) != nil {
			p.t.Fatalf("the receipt of %s cannot be read", m.Lease)
		}
		out = append(out, r)
	}
	return out
}

func TestTheAttemptsOfATaskShareALease(t *testing.T) {
	lived(t, nil, func(t *testing.T, p *process) {
		var wg sync.WaitGroup
		for range 20 {
			a := p.attempt()
			wg.Go(func() {
				l, err := p.lease(a)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := apply(t, l); err != nil || !strings.HasPrefix(got, "Basic ") {
					t.Errorf("%q %v", got, err)
				}
				_ = l.End(t.Context())
				if _, err := apply(t, l); err == nil {
					t.Error("an attempt that has ended still applies its credential")
				}
				p.record(a)
			})
		}
		wg.Wait()
		if n := p.up.Calls("mint"); n != 1 {
			t.Fatalf("%d credentials were made", n)
		}
		p.endTask()
		p.settle()
		p.sound(t)
		r := p.receipts()
		if len(r) != 1 || r[0].Status != remit.LeaseRevoked || r[0].How != remit.LeaseByRevoke || r[0].Probe != remit.ProbeAsCredential ||
			r[0].Why != remit.NotLive || r[0].Tries != 1 || r[0].Dead.Before(r[0].Asked) || !strings.HasPrefix(r[0].Name, "remit-acme") {
			t.Fatalf("%+v", r)
		}
	})
}

func TestReadingAndWritingAreTwoLeases(t *testing.T) {
	lived(t, nil, func(t *testing.T, p *process) {
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		d, err := p.core.Engine.Authorize(t.Context(), remit.Request{Gateway: "git", Caller: p.caller,
			Steps: []remit.Step{{Action: "source.read", Resource: world.App}}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := p.core.Engine.Redeem(t.Context(), d.Permit)
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.lease(a)
		if err != nil {
			t.Fatal(err)
		}
		defer l.End(t.Context())
		writes := 0
		p.core.Engine.View(func(s *authority.State) {
			for _, l := range s.Leases {
				if l.Write {
					writes++
				}
			}
			if len(s.Leases) != 2 || writes != 1 {
				t.Errorf("%d leases, %d of them write", len(s.Leases), writes)
			}
		})
	})
}

// TestNothingIsUsedAfterTheEnd holds even while the upstream still takes the credential.
func TestNothingIsUsedAfterTheEnd(t *testing.T) {
	lived(t, func(u *brokertest.Upstream) { u.NeverDies = true }, func(t *testing.T, p *process) {
		a, late := p.attempt(), p.attempt()
		l, err := p.lease(a)
		if err != nil {
			t.Fatal(err)
		}
		second, err := p.core.Engine.Take(t.Context(), late)
		if err != nil {
			t.Fatal(err)
		}
		p.endTask()
		if got, err := apply(t, l); err == nil || got != "" {
			t.Fatalf("the credential %q is applied after its task has ended", got)
		}
		_, err = apply(t, l)
		coded(t, err, remit.NotLive)
		coded(t, l.Use(func(broker.Secret) error { return nil }), remit.NotLive)
		_, err = p.broker.Lease(t.Context(), second)
		coded(t, err, remit.NotLive)
		if !p.up.Accepts(p.up.Minted()[0]) {
			t.Fatal("the test tests nothing: the upstream does not take it any more")
		}
		// It is tried on and on, and the log says how often, but not each time.
		<-time.After(24 * time.Hour)
		synctest.Wait()
		tries, entries := p.up.Calls("revoke"), 0
		for e := range p.store.Read(t.Context(), 0) {
			if leaf, err := ledger.Decode(e.Leaf); err == nil {
				if m, ok := leaf.Event.(*remit.LeaseMoved); ok && m.To == remit.LeaseRevoking {
					entries++
				}
			}
		}
		if tries < 24*60/5/2 || tries > 24*60/5*2 || entries < 3 || entries > 8 {
			t.Fatalf("in a day it was tried %d times, with %d entries", tries, entries)
		}
		p.up.Mend()
		p.settle()
		p.sound(t)
	})
}

func TestWhatGivesMoreOrLongerIsQuarantinedAndRevoked(t *testing.T) {
	for fault, code := range map[brokertest.Fault]remit.Code{brokertest.Wider: remit.OutOfScope, brokertest.Longer: remit.OverLimit,
		brokertest.Endless: remit.OverLimit} {
		lived(t, func(u *brokertest.Upstream) { u.Fail("mint", fault) }, func(t *testing.T, p *process) {
			a := p.attempt()
			l, err := p.lease(a)
			if l != nil {
				t.Fatal("it is given out")
			}
			coded(t, err, code)
			p.record(a)
			p.settle()
			p.sound(t)
			quarantined := false
			for e := range p.store.Read(t.Context(), 0) {
				if leaf, err := ledger.Decode(e.Leaf); err == nil {
					m, ok := leaf.Event.(*remit.LeaseMoved)
					quarantined = quarantined || ok && m.To == remit.LeaseQuarantined && m.Code == code
				}
			}
			if r := p.receipts(); !quarantined || len(r) != 1 || r[0].Why != code {
				t.Fatalf("quarantined %v, %+v", quarantined, r)
			}
			if err := p.push(); err != nil { // the upstream tells the truth again
				t.Fatal(err)
			}
		})
	}
}

func TestAnUpstreamThatFailsOrLiesGivesNoCredential(t *testing.T) {
	for _, c := range []struct {
		op     string
		faults []brokertest.Fault
	}{
		{"anchor", []brokertest.Fault{brokertest.NotApplied}},
		{"anchor", []brokertest.Fault{brokertest.Lies}},
		{"anchor", []brokertest.Fault{brokertest.SlowDone}},
		{"mint", []brokertest.Fault{brokertest.NotApplied}},
		{"mint", []brokertest.Fault{brokertest.Applied}},
		{"mint", []brokertest.Fault{brokertest.Lies}},
		{"mint", []brokertest.Fault{brokertest.Leaks}},
		{"mint", []brokertest.Fault{brokertest.Slow}},
		{"probe", []brokertest.Fault{brokertest.NotApplied, brokertest.NotApplied, brokertest.NotApplied}},
		{"probe", []brokertest.Fault{brokertest.Slow, brokertest.Slow, brokertest.Slow}},
	} {
		t.Run(fmt.Sprint(c.op, c.faults), func(t *testing.T) {
			lived(t, func(u *brokertest.Upstream) { u.Fail(c.op, c.faults...) }, func(t *testing.T, p *process) {
				a := p.attempt()
				l, err := p.lease(a)
				if l != nil {
					t.Fatal("it is given out")
				}
				coded(t, err, remit.UpstreamDown)
				for _, s := range p.up.Minted() {
					if strings.Contains(err.Error(), s) {
						t.Fatalf("the error has the secret: %v", err)
					}
				}
				p.record(a)
				p.settle()
				p.sound(t)
			})
		})
	}
}

// TestADeadUpstreamHoldsUpNobody is the fairness of the queues: what hangs at one upstream costs no time at another, and
// none where credentials are made.
func TestADeadUpstreamHoldsUpNobody(t *testing.T) {
	var dead atomic.Bool
	hang := func(ctx context.Context, op string, a broker.Asked) error {
		if dead.Load() && op == "revoke" && a.Upstream.Name == "forge" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	lived(t, func(u *brokertest.Upstream) { u.Before = hang }, func(t *testing.T, p *process) {
		// Twelve tasks with a lease each at the forge that is about to die, one with a lease at the mirror.
		ask := func(c remit.Caller, on remit.Resource) {
			d, err := p.core.Engine.Authorize(t.Context(), remit.Request{Gateway: "git", Caller: c, Steps: []remit.Step{{Action: "source.read", Resource: on}}})
			if err != nil || d.Verdict != remit.Allow {
				t.Fatalf("%+v %v", d, err)
			}
			a, err := p.core.Engine.Redeem(t.Context(), d.Permit)
			if err != nil {
				t.Fatal(err)
			}
			l, err := p.lease(a)
			if err != nil {
				t.Fatal(err)
			}
			_ = l.End(t.Context())
			p.record(a)
		}
		end := func(task remit.ID) {
			if _, err := p.core.Engine.Do(t.Context(), &authority.EndTask{By: "p-mia", Task: task, Status: remit.TaskCompleted}); err != nil {
				t.Fatal(err)
			}
		}
		var tasks []remit.ID
		for range 12 {
			c, err := p.core.Task(t.Context(), "coder", "mia")
			if err != nil {
				t.Fatal(err)
			}
			ask(c, world.App)
			tasks = append(tasks, c.Task)
		}
		other, err := p.core.Task(t.Context(), "coder", "mia")
		if err != nil {
			t.Fatal(err)
		}
		ask(other, "repo:mirror/acme/app")
		dead.Store(true)
		for _, task := range tasks {
			end(task)
		}
		synctest.Wait()
		began := time.Now()
		end(other.Task)
		if err := p.core.Engine.Wait(t.Context(), func(s *authority.State) bool {
			for _, l := range s.Leases {
				if l.Upstream == "mirror" {
					return false
				}
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		ask(p.caller, world.App) // and the forge itself still makes credentials
		if took := time.Since(began); took != 0 {
			t.Fatalf("a dead upstream cost another one %v", took)
		}
		dead.Store(false)
		p.endTask()
		p.settle()
		p.sound(t)
	})
}

func TestASweepEndsWhatComesTooLateAndNothingOfOthers(t *testing.T) {
	lived(t, func(u *brokertest.Upstream) { u.Kind.Anchored = false }, func(t *testing.T, p *process) {
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		name := p.up.There()[0]
		p.endTask()
		p.settle()
		p.sound(t)
		p.up.Made = nil
		foreign := []string{"remit-other-00000000-l-5", "alice", name + "x", strings.Replace(name, "-l-", "-l-0", 1)}
		for _, n := range foreign {
			p.up.Late(n)
		}
		p.up.Late(name) // a request that was on its way when its sender died
		at := strings.LastIndex(name, "-") + 1
		p.up.Late(name[:at] + "99" + name[at:]) // of a lease that the log lost when it went on from a backup
		<-time.After(time.Hour)
		synctest.Wait()
		if there := p.up.There(); len(there) != len(foreign) {
			t.Fatalf("there are %v", there)
		}
	})
}

func TestWhatOnlyItsEndEndsIsAnExposureUntilThen(t *testing.T) {
	shape := func(u *brokertest.Upstream) {
		u.Kind = broker.Traits{Revocation: remit.RevokeExpiry, Longest: 10 * time.Minute}
		u.Before = func(_ context.Context, op string, _ broker.Asked) error {
			if op == "probe" && u.Calls("revoke") > 0 {
				return errors.New("there is nothing that could be asked")
			}
			return nil
		}
	}
	lived(t, shape, func(t *testing.T, p *process) {
		if err := p.push(); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(10 * time.Minute)
		p.endTask()
		<-time.After(10*time.Minute + authority.LeaseSkew - time.Second)
		p.core.Clock.Advance(10*time.Minute + authority.LeaseSkew - time.Second)
		synctest.Wait()
		p.core.Engine.View(func(s *authority.State) {
			if d := s.Debt(time.Now().UnixNano()); len(s.Leases) != 1 || len(d) != 1 || d[0].Until == 0 {
				t.Errorf("%d leases, debt %+v", len(s.Leases), d)
			}
		})
		p.core.Clock.Advance(2 * time.Second)
		p.settle()
		r := p.receipts()
		if len(r) != 1 || r[0].Status != remit.LeaseExpired || r[0].How != remit.LeaseByExpiry || r[0].Probe != remit.ProbeNone || r[0].Dead.Before(end.Add(authority.LeaseSkew)) {
			t.Fatalf("%+v", r)
		}
	})
}

func TestALeaseIsRenewedBeforeItIsTooShort(t *testing.T) {
	lived(t, nil, func(t *testing.T, p *process) {
		for i, want := range []int{1, 1, 2, 2} { // after 0, 25, 50 and 75 minutes; it lives for an hour, and an attempt for 15 minutes
			if err := p.push(); err != nil {
				t.Fatal(err)
			}
			if n := p.up.Calls("mint"); n != want {
				t.Fatalf("at %d minutes %d credentials were made, not %d", 25*i, n, want)
			}
			<-time.After(25 * time.Minute)
			p.core.Clock.Advance(25 * time.Minute)
		}
		synctest.Wait() // the first is over by its own time, and was ended
		if r := p.receipts(); len(r) != 1 || r[0].Why != remit.Expired {
			t.Fatalf("%+v", r)
		}
		p.endTask()
		p.settle()
		p.sound(t)
	})
}

func TestARestartUsesWhatIsAliveAndReplacesWhatIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i, want := range []int{1, 1, 2} {
			p := h.start(newGate(0, true))
			if err := p.push(); err != nil {
				t.Fatal(err)
			}
			if n := h.up.Calls("mint"); n != want {
				t.Fatalf("in life %d %d credentials were made, not %d", i, n, want)
			}
			p.stop()
			if i == 1 { // somebody removes it behind Remit's back
				if err := h.up.Contain(t.Context(), remit.Upstream{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		p := h.start(newGate(0, true))
		p.endTask()
		p.settle()
		h.sound(t)
	})
}

func TestContainEndsAllThatWasMadeAtAnUpstream(t *testing.T) {
	lived(t, nil, func(t *testing.T, p *process) {
		a := p.attempt()
		l, err := p.lease(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.broker.Contain(t.Context(), "forge"); err != nil {
			t.Fatal(err)
		}
		_, err = apply(t, l)
		coded(t, err, remit.NotLive)
		p.settle()
		p.sound(t)
		_, err = p.broker.Lease(t.Context(), nil)
		if !errors.Is(err, broker.ErrNoRedemption) {
			t.Fatal(err)
		}
	})
}

// TestSecretsStandNowhere looks for every credential that ever was in the vault, the log's payloads and the messages.
func TestSecretsStandNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.up.Fail("mint", brokertest.Leaks)
		p := h.start(newGate(0, true))
		p.stop()
		core, err := world.OpenCore(t.Context(), world.CoreOptions{Store: h.store})
		if err != nil {
			t.Fatal(err)
		}
		var messages bytes.Buffer
		g := newGate(0, true)
		b, err := broker.Open(broker.Config{Upstreams: forge{}, Providers: map[string]broker.Provider{remit.KindGitea: leaky{gated{h.up, g}}},
			Books: books{core, g}, Box: h.box, Dir: filepath.Join(h.dir, "vault"), Clock: bubble{}, Log: slog.New(slog.NewTextHandler(&messages, nil))})
		if err != nil {
			t.Fatal(err)
		}
		p = &process{house: h, core: core, gate: g, broker: b, stop: func() { b.Close(); core.Engine.Close() }}
		t.Cleanup(p.stop)
		said := fmt.Sprint(p.push(), p.push())
		kept, err := filepath.Glob(filepath.Join(h.dir, "vault", "*"))
		if err != nil || len(kept) == 0 {
			t.Fatalf("nothing is kept: %v", err)
		}
		state := ""
		core.Engine.View(func(s *authority.State) { state = string(s.Encode()) })
		p.endTask()
		_ = b.Contain(t.Context(), "forge")
		synctest.Wait()
		b.Close()
		for _, secret := range h.up.Minted() {
			for where, text := range map[string]string{"an error": said, "a message": messages.String(), "the state": state} {
				if strings.Contains(text, secret) {
					t.Errorf("%s has the secret %s", where, secret)
				}
			}
		}
		if len(h.up.Minted()) < 2 || messages.Len() == 0 {
			t.Fatal("the test tests nothing")
		}
	})
}

// leaky is a provider whose errors quote the credential.
type leaky struct{ gated }

func (l leaky) Revoke(ctx context.Context, a broker.Asked, s *broker.Secret) error {
	if s != nil {
		return errors.New("the upstream did not like " + s.Value)
	}
	return l.gated.Revoke(ctx, a, s)
}

func TestReceiptsAreJSONThatReadsBack(t *testing.T) {
	r := remit.LeaseReceipt{Lease: "L-1", Status: remit.LeaseRevoked, Asked: time.Unix(1, 0).UTC(), Dead: time.Unix(2, 0).UTC()}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back remit.LeaseReceipt
	if err := remit.DecodeStrict(bytes.NewReader(b), 1<<10, &back); err != nil || back != r {
		t.Fatalf("%s %+v %v", b, back, err)
	}
}
