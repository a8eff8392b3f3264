package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"iter"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/notify"
)

// outboxHouse is the house as its outbox sees it.
type outboxHouse struct {
	h     *House
	named *secrets

	mu       sync.Mutex
	declared notify.Declared
}

// openNotify makes the outbox. Nobody is told of anything before Run.
func (h *House) openNotify(named *secrets, prefix string) (err error) {
	t := &outboxHouse{h: h, named: named}
	h.notifier, err = notify.New(notify.Config{Org: h.Org, Dir: layout(h.Data).notify(), Log: t, House: t, Reviews: t, Reach: reachHook, Slog: h.Log,
		Link: func(access remit.ID) string { return h.URL + prefix + "/approve/" + string(access) }})
	return err
}

// notify is what each channel was told.
func (l layout) notify() string { return l.at("notify") }

// reachHook reaches the host of a webhook, and nothing else.
func reachHook(url, ca string, insecure bool) (http.RoundTripper, error) {
	c := git.RemoteConfig{URL: url, Insecure: insecure}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the certificates: %w", err)
		}
		if c.Roots = x509.NewCertPool(); !c.Roots.AppendCertsFromPEM(pem) {
			return nil, remit.Errorf(remit.UpstreamDown, "%s holds no certificate in PEM", ca)
		}
	}
	return git.NewRemote(c)
}

func (t *outboxHouse) Changed() <-chan struct{} { return t.h.Engine.Changed() }

func (t *outboxHouse) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[notify.Entry, error] {
	return func(yield func(notify.Entry, error) bool) {
		for e, err := range t.h.Engine.Read(ctx, from) {
			var l ledger.Leaf
			if err == nil {
				l, err = ledger.Decode(e.Leaf)
			}
			if !yield(notify.Entry{Index: e.Index, At: l.At, Event: l.Event}, err) || err != nil {
				return
			}
		}
	}
}

// Declared reads the channels once for each time that they are declared. A channel that has no position, because the log
// goes on from a backup, begins there: what is older was told before the backup, or will be missed by people who ask.
func (t *outboxHouse) Declared(ctx context.Context) (notify.Declared, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var at remit.EntryIndex
	t.h.Engine.View(func(s *authority.State) { at = max(s.NotifyAt, s.Fork.Entry) })
	if at == t.declared.At {
		return t.declared, nil
	}
	d, err := t.h.api.Told(ctx)
	if err != nil {
		return notify.Declared{}, err
	}
	t.declared = notify.Declared{At: at, Channels: d.Notify, Escalations: d.Escalations}
	return t.declared, nil
}

func (t *outboxHouse) Card(ctx context.Context, access remit.ID) (remit.AccessView, error) {
	return t.h.api.CardOf(ctx, access)
}

func (t *outboxHouse) ReviewItem(ctx context.Context, id remit.ID) (remit.ItemView, error) {
	return t.h.api.ItemOf(ctx, id)
}

func (t *outboxHouse) Asked(ctx context.Context, run remit.ID) (map[string][]remit.ID, bool, error) {
	return t.h.api.AskedIn(ctx, run)
}

func (t *outboxHouse) AgentOwner(ctx context.Context, agent string) string {
	return t.h.api.OwnerOf(ctx, agent)
}

func (t *outboxHouse) Text(ctx context.Context, commitment remit.Digest) ([]byte, bool) {
	return t.h.Engine.Text(ctx, commitment)
}

func (t *outboxHouse) Name(ctx context.Context, person remit.ID) string {
	return t.h.api.NameOf(ctx, person)
}

func (t *outboxHouse) Waiting() notify.Waiting {
	w := notify.Waiting{Now: t.h.Engine.Now()}
	t.h.Engine.View(func(s *authority.State) {
		for id := range s.OpenHolds {
			a := s.Accesses[id]
			if a.Status != remit.AccessOpen {
				continue
			}
			r := notify.Request{ID: id, Entry: a.Entry, Opened: time.Unix(0, a.At), NotAfter: time.Unix(0, a.NotAfter), Votes: len(a.Votes)}
			if len(a.Seen) > 0 {
				r.Seen = time.Unix(0, a.Seen[0].At)
			}
			for _, n := range a.Needs {
				r.Groups = append(r.Groups, n.Group)
			}
			w.Requests = append(w.Requests, r)
		}
		for _, o := range s.Opened {
			if o.Reviewed == "" {
				w.Glasses = append(w.Glasses, notify.Glass{ID: o.ID, Entry: o.Entry, Name: o.Name, Task: o.Task, By: o.By, Reviewers: o.Group,
					Until: time.Unix(0, o.Until), Due: time.Unix(0, o.Due), Under: slices.Clone(o.Under)})
			}
		}
		for _, d := range s.Debt(w.Now.UnixNano()) {
			if l := s.Leases[d.Lease]; l != nil && d.Since != 0 {
				w.Debts = append(w.Debts, notify.Debt{Lease: d.Lease, Entry: l.Entry, Upstream: d.Upstream, Target: d.Target, Task: d.Task})
			}
		}
	})
	return w
}

// Secret is a value of the sealed store, or what broker reads.
func (t *outboxHouse) Secret(ctx context.Context, s remit.Source) (string, error) {
	if s.From != "store" {
		return broker.Value(ctx, s)
	}
	v, err := t.named.value(s.Name)
	return string(v), err
}

func newNotify(a *app) *cobra.Command {
	return group("notify", "See how the channels do by which people are told",
		`People are told of what waits for them by the channels that are declared: webhooks, mail, Slack-compatible messages. What
cannot be handed over is tried again; a message that its endpoint refuses, or that alone does not get through, is parked
until somebody looks, and never dropped.`,
		`  remit notify status
  remit notify retry oncall`,
		newNotifyStatus(a), newNotifyRetry(a, false), newNotifyRetry(a, true))
}

func newNotifyStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the channels, what waits in each, and what is parked",
		Long:  "Lists the declared channels: how many messages each has handed over, how many wait, why the last try failed, and which messages are parked.",
		Example: `  remit notify status
  remit notify status -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			all, err := s.Channels(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(all, func() {
				if len(all) == 0 {
					a.printf("no channel is declared; nobody is told of what waits\n")
				}
				for _, v := range all {
					a.printf("%s  %s  %s, %s\n", a.paint(bold, visible(v.Name)), visible(v.Kind), counted(int(v.Delivered), "message")+" handed over", fmt.Sprintf("%d waiting", v.Waiting))
					if v.Why != "" {
						a.printf("    %s %s\n", a.paint(yellow, "the last try failed:"), visible(v.Why))
					}
					for _, p := range v.Parked {
						a.printf("    %s %s (%s), %s: %s\n", a.paint(red, "parked"), visible(p.ID), visible(p.What), a.when(p.At), visible(p.Why))
					}
				}
			})
		},
	}
}

func newNotifyRetry(a *app, drop bool) *cobra.Command {
	c := &cobra.Command{
		Use:   "retry CHANNEL",
		Short: "Try the messages that are parked in a channel once more",
		Long: `Tries what is parked once more, each under the id that it had: a receiver that has it drops it. For administrators, who first
look at why it was refused: remit notify status.`,
		Example: `  remit notify retry oncall
  remit notify retry oncall -o json`,
		Args: one,
	}
	if drop {
		c.Use, c.Short = "drop CHANNEL", "Forget the messages that are parked in a channel"
		c.Long = "Forgets what is parked in a channel. Nobody is told of it by this channel any more; what it was about stays in the log. For administrators."
		c.Example = "  remit notify drop oncall\n  remit notify drop oncall -o json"
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(cmd.Context())
		if err != nil {
			return err
		}
		out, err := s.RetryChannel(cmd.Context(), args[0], remit.RetryRequest{Drop: drop})
		if err != nil {
			return err
		}
		what := "are tried again"
		if drop {
			what = "are forgotten"
		}
		return a.print(out, func() { a.printf("%s of %s %s\n", counted(out.Messages, "message"), visible(args[0]), what) })
	}
	return c
}

func newGates(a *app) *cobra.Command {
	var people bool
	c := &cobra.Command{
		Use:   "gates",
		Short: "How people decide at each gate, and how long they look",
		Long: `Lists the gates: the rules that ask people, for one action on one resource. The time that people take is counted from when
somebody who may vote has the card before them. A gate where nearly every vote is an approval within ten seconds, or
without the card, is named: nobody decides there, and a rule would do the same (remit policy suggest).

With --people it lists instead who was asked how often in the last day, on how many of those they voted and how many still
wait. Who is asked all day long looks at nothing: a group can declare how often it may be asked (asks).`,
		Example: `  remit gates
  remit gates --people
  remit gates -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if people {
				return a.printAsked(cmd.Context(), s)
			}
			gates, err := s.Gates(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(gates, func() {
				if len(gates) == 0 {
					a.printf("people were asked nothing yet\n")
				}
				for _, g := range gates {
					a.printf("%s on %s %s\n", a.paint(bold, visible(string(g.Action))), visible(string(g.Resource)), a.paint(faint, bracketed(g.Rules)))
					a.printf("    %s, %s, %s", counted(g.Requests, "request"), counted(g.Approved, "approval"), counted(g.Denied, "refusal"))
					if g.Median != "" {
						a.printf("; half of %d within %s of seeing the card", g.Timed, visible(g.Median))
					}
					a.printf("\n")
					if g.Rubber != "" {
						a.printf("    %s %s\n", a.paint(yellow, "rubber stamp:"), visible(g.Rubber))
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&people, "people", false, "who was asked how often in the last day")
	return c
}

func (a *app) printAsked(ctx context.Context, s *signed) error {
	all, err := s.Asked(ctx)
	if err != nil {
		return err
	}
	return a.print(all, func() {
		if len(all) == 0 {
			a.printf("nobody was asked in the last day\n")
		}
		for _, v := range all {
			a.printf("%s  asked %s, voted on %d, %d still wait\n", a.paint(bold, visible(v.Person)), counted(v.Asked, "time"), v.Voted, v.Waits)
		}
	})
}

// channels says who is not told of what waits.
func (x *examination) channels(ctx context.Context, c *client.Client) error {
	all, err := c.Channels(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		x.warn("channels", "no channel is declared, so nobody is told of what waits for people (notify: in the declarations)")
	}
	for _, v := range all {
		name := "channel " + v.Name
		switch {
		case len(v.Parked) > 0:
			x.fail(name, "%s could not be handed over, the first because %s; see remit notify status, then remit notify retry %s", counted(len(v.Parked), "message"), v.Parked[0].Why, v.Name)
		case v.Why != "" && v.Waiting > 0:
			x.warn(name, "messages that wait: %d; the last try failed: %s", v.Waiting, v.Why)
		default:
			x.ok(name, "messages handed over: %d, waiting: %d", v.Delivered, v.Waiting)
		}
	}
	return nil
}
