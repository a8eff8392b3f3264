package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
)

func newExecutor(a *app) *cobra.Command {
	var dir, server string
	c := &cobra.Command{
		Use:   "executor --dir DIR",
		Short: "Carry out approved deployments, in a process of its own",
		Long: `Carries out the approved work orders of one zone with an identity of its own. It runs where the targets are, and needs
nothing but its directory, which remit executor enroll makes, and a way to the server. It accepts no work but what the
server gives it, and tells what came of it by looking at the target.

It stops on SIGTERM after the order that it is carrying out. When it was killed, the next start finds out first what
became of what it had begun. One process of a zone runs at a time.`,
		Example: `  remit executor enroll --zone P --dir /var/lib/remit-executor
  remit executor --dir /var/lib/remit-executor`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("--dir is missing: the directory that remit executor enroll made")
			}
			log := slog.New(slog.NewTextHandler(a.stderr, nil))
			e, err := client.OpenExecutor(dir, server)
			if err != nil {
				return err
			}
			g, err := deploy.New(deploy.Config{Environments: e, Secrets: e, Observer: observer, Dir: filepath.Join(dir, "notes")})
			if err != nil {
				return err
			}
			a.printf("remit %s is %s\n", version, e.Name())
			return runExecutor(cmd.Context(), e, map[string]gateway.Protocol{deploy.Name: g}, log)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the executor's directory")
	c.Flags().StringVar(&server, "at", "", "another address of the server, https://HOST:PORT")
	c.AddCommand(newExecutorEnroll(a))
	return c
}

func newExecutorEnroll(a *app) *cobra.Command {
	var dir, zone string
	c := &cobra.Command{
		Use:   "enroll --zone P --dir DIR",
		Short: "Give the executor of a zone its identity",
		Long: `Makes the directory of an executor: a key, which never leaves it, and the certificate that the server signs for it
because you, an administrator, say so. Run it as the user that the executor will run as.`,
		Example: "  remit executor enroll --zone P --dir /var/lib/remit-executor",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name := authority.ExecutorOf(remit.Zone(zone))
			if dir == "" || zone == "" || name == "" {
				return usagef("say the zone and the directory: remit executor enroll --zone P --dir DIR; zones are S, B and P")
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			address, _, _ := strings.Cut(s.Base(), "/v1/")
			until, err := s.EnrolExecutor(cmd.Context(), address, dir, name, remit.Zone(zone))
			if err != nil {
				return err
			}
			v := struct {
				Name     string    `json:"name"`
				Dir      string    `json:"dir"`
				NotAfter time.Time `json:"not_after"`
			}{name, dir, until}
			return a.print(v, func() {
				a.printf("%s is %s until %s, and renews itself while it runs: remit executor --dir %s\n", dir, name, a.when(until), dir)
			})
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the executor's directory")
	c.Flags().StringVar(&zone, "zone", "", "S, B or P")
	return c
}

// errLost says that it is not known here what became of something that the server was told.
var errLost = errors.New("the server went away in the middle of an attempt")

const (
	// deaf is how long an executor goes on with an attempt while it cannot hear whether its authority has ended (R8).
	deaf        = 15 * time.Second
	pause       = 2 * time.Second
	keepTelling = 15 * time.Minute
)

// runExecutor works until ctx ends. Whenever it cannot be sure what became of an attempt, it begins again, as after a crash:
// by looking.
func runExecutor(ctx context.Context, e *client.Executor, protocols map[string]gateway.Protocol, log *slog.Logger) error {
	go renew(ctx, e, log)
	for ctx.Err() == nil {
		run, lost := context.WithCancelCause(ctx)
		r := &remote{e: e, log: log, lost: lost, stop: ctx.Done()}
		x := &executor.Executor{Orders: r, Log: log, Protocols: protocols, Pipeline: &gateway.Pipeline{Authz: r, Creds: r, Log: log}}
		err := x.Reconcile(run)
		if err == nil {
			err = x.Run(run)
		}
		lost(nil)
		if ctx.Err() != nil {
			break
		}
		var refused *remit.Error
		if errors.As(err, &refused) && refused.Code.Info().HTTP < 500 && refused.Code != remit.Conflict {
			return err // no identity any more, or none that the server knows
		}
		log.Warn("the executor begins again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// renew keeps the SVID alive.
func renew(ctx context.Context, e *client.Executor, log *slog.Logger) {
	for {
		at, err := e.Renew(ctx, time.Now())
		if err != nil {
			log.Error("renewing the executor's SVID", "until", e.NotAfter(), "err", err)
			at = time.Now().Add(time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
	}
}

// remote is the server as an executor's pipeline sees it.
type remote struct {
	e    *client.Executor
	log  *slog.Logger
	lost context.CancelCauseFunc // ends this run: what is open is found out anew
	stop <-chan struct{}         // closed when this process is to end

	mu      sync.Mutex
	revoked map[remit.ID]chan struct{}
	unwatch map[remit.ID]context.CancelFunc // of the same attempts
}

func (r *remote) Next(ctx context.Context, after map[remit.ID]bool) (remit.ID, error) {
	for {
		id, err := r.e.NextOrder(ctx, slices.Collect(maps.Keys(after)))
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil || id != "" {
			return id, err
		}
	}
}

func (r *remote) Claim(ctx context.Context, access remit.ID) (executor.Claimed, remit.Decision, error) {
	c, err := r.e.ClaimOrder(ctx, access)
	if err != nil {
		return executor.Claimed{}, remit.Decision{}, err
	}
	if c.Decision.Verdict != remit.Allow {
		return executor.Claimed{}, c.Decision, nil
	}
	if c.Permit == nil || c.Order == nil || len(c.Permit.Secret) != 32 {
		return executor.Claimed{}, remit.Decision{}, remit.Errorf(remit.Internal, "the server allows %s and sends no order", access)
	}
	return executor.Claimed{Access: access, Protocol: c.Order.Gateway, Order: order(*c.Order),
		Permit: remit.Permit{ID: c.Permit.ID, Secret: [32]byte(c.Permit.Secret)}}, c.Decision, nil
}

func order(w remit.WireOrder) remit.Order {
	return remit.Order{Caller: w.Caller, Steps: w.Steps, Deploy: w.Deploy, Body: w.Body, Attempt: w.Attempt}
}

func (r *remote) Unfinished(ctx context.Context) ([]executor.Open, error) {
	list, err := r.e.UnfinishedOrders(ctx)
	var out []executor.Open
	for _, w := range list {
		out = append(out, executor.Open{Attempt: remit.Attempt{ID: w.Attempt}, Protocol: w.Gateway, Order: order(w)})
	}
	return out, err
}

// Authorize is never asked: an executor carries out what was decided.
func (r *remote) Authorize(context.Context, remit.Request, ...remit.Payload) (remit.Decision, error) {
	return remit.Decision{}, remit.Errorf(remit.Forbidden, "an executor asks for nothing")
}

func (r *remote) Redeem(ctx context.Context, p remit.Permit) (remit.Attempt, error) {
	a, err := r.e.RedeemPermit(ctx, remit.WireSecret{ID: p.ID, Secret: p.Secret[:]})
	var refused *remit.Error
	if err != nil && (!errors.As(err, &refused) || refused.Code == remit.UpstreamDown || refused.Code == remit.Internal) {
		r.lost(errLost) // it may have been redeemed
	}
	if err != nil {
		return remit.Attempt{}, err
	}
	if len(a.Secret) != 32 {
		r.lost(errLost)
		return remit.Attempt{}, remit.Errorf(remit.Internal, "the server's attempt %s has no secret", a.ID)
	}
	return remit.Attempt{ID: a.ID, Secret: [32]byte(a.Secret), NotAfter: a.NotAfter}, nil
}

// Revoked watches an attempt until its outcome is recorded. Who does not hear whether its authority has ended takes it for
// ended after a while.
func (r *remote) Revoked(attempt remit.ID) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.revoked[attempt]; c != nil {
		return c
	}
	if r.revoked == nil {
		r.revoked = map[remit.ID]chan struct{}{}
	}
	c := make(chan struct{})
	r.revoked[attempt] = c
	ctx, cancel := context.WithCancel(context.Background())
	if r.unwatch == nil {
		r.unwatch = map[remit.ID]context.CancelFunc{}
	}
	r.unwatch[attempt] = cancel
	go r.watch(ctx, attempt, c)
	return c
}

// watch asks until the attempt has its outcome: a request that goes on waiting would take the place of later ones.
func (r *remote) watch(ctx context.Context, attempt remit.ID, ended chan struct{}) {
	heard := time.Now()
	for {
		r.mu.Lock()
		over := r.revoked[attempt] != ended
		r.mu.Unlock()
		if over {
			return
		}
		revoked, err := r.e.AttemptRevoked(ctx, attempt)
		var refused *remit.Error
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !revoked:
			heard = time.Now()
			continue
		case err == nil, errors.As(err, &refused) && refused.Code == remit.NotFound, time.Since(heard) > deaf:
			close(ended)
			return
		}
		time.Sleep(time.Second)
	}
}

// Record tells the server until it listens. If it never does, what came of the attempt is found out at the next start.
func (r *remote) Record(ctx context.Context, a remit.Attempt, res gateway.Result) error {
	r.mu.Lock()
	delete(r.revoked, a.ID)
	if unwatch := r.unwatch[a.ID]; unwatch != nil {
		unwatch()
		delete(r.unwatch, a.ID)
	}
	r.mu.Unlock()
	said := remit.RecordRequest{Attempt: a.ID, Outcome: res.Outcome, Code: res.Code, Receipt: res.Receipt[:min(len(res.Receipt), remit.MaxPayload)], Made: res.Made}
	wait := 200 * time.Millisecond
	for until := time.Now().Add(keepTelling); ; {
		err := r.e.RecordOutcome(ctx, said)
		var refused *remit.Error
		if err == nil || errors.As(err, &refused) && refused.Code == remit.NotFound { // said before: the answer was lost
			return nil
		}
		if errors.As(err, &refused) && refused.Code.Info().HTTP < 500 || time.Now().After(until) {
			r.lost(errLost)
			return err
		}
		r.log.Warn("the server does not take an outcome yet", "attempt", a.ID, "outcome", res.Outcome, "err", err)
		select {
		case <-r.stop: // the next start finds it out
			return err
		case <-time.After(wait):
			wait = min(2*wait, 30*time.Second)
		}
	}
}

func (r *remote) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	s, err := r.e.LeaseSecret(ctx, remit.WireSecret{ID: a.ID, Secret: a.Secret[:], NotAfter: a.NotAfter})
	if err != nil {
		return nil, err
	}
	return header(s.Authorization), nil
}

// header is a leased credential. The server ends it when the outcome is recorded.
type header string

func (h header) Apply(r *http.Request) error {
	r.Header.Del("Authorization")
	if h != "" {
		r.Header.Set("Authorization", string(h))
	}
	return nil
}

func (header) End(context.Context) error { return nil }

func newEnvironment(a *app) *cobra.Command {
	return group("environment", "Let a cluster ask what it may run",
		`An environment is where deployments land. A governed namespace runs only what an approved release of its environment
names: the cluster asks Remit about each pod.`,
		"  remit environment webhook shop/production | kubectl apply -f -",
		&cobra.Command{
			Use:   "webhook ENVIRONMENT",
			Short: "Print the ValidatingWebhookConfiguration of an environment's namespace",
			Long: `Prints what a cluster's administrator applies once. From then on the cluster asks Remit what the namespace may run, and
lets nothing in when Remit does not answer. The address in it is a secret of the cluster: whoever has it learns which
digests are released.`,
			Example: "  remit environment webhook shop/production | kubectl apply -f -",
			Args:    one,
			RunE: func(cmd *cobra.Command, args []string) error {
				s, err := a.connect(cmd.Context())
				if err != nil {
					return err
				}
				v, err := s.AdmissionWebhook(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				text, err := deploy.Webhook(v)
				if err != nil {
					return err
				}
				return a.print(v, func() { a.printf("%s", text) })
			},
		})
}
