package server

import (
	"context"
	"crypto/x509"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Executors are the work orders as an executor in another process needs them. name is the executor's own, and what is not
// of its zone does not exist for it.
type Executors interface {
	// Next waits for an approval that is met.
	Next(ctx context.Context, name string, after map[remit.ID]bool) (remit.ID, error)
	Claim(ctx context.Context, name string, access remit.ID) (remit.ClaimAnswer, error)
	// Unfinished lists the executor's attempts without an outcome.
	Unfinished(ctx context.Context, name string) ([]remit.WireOrder, error)
	// Lease gives the credential of an attempt, once.
	Lease(ctx context.Context, a remit.Attempt) (remit.LeasedSecret, error)
	// Record says what came of an attempt, and ends its credential.
	Record(context.Context, remit.RecordRequest) error
}

// Places finds where an environment is deployed.
type Places interface {
	Environment(ctx context.Context, name string) (remit.Place, error)
}

// AttemptSecrets gives the value of a declared secret to the attempt that needs it.
type AttemptSecrets interface {
	Use(ctx context.Context, attempt remit.ID, secret remit.Resource) ([]byte, error)
}

// seats hold that one process at a time is the executor of a zone: a second one would take the attempts of the first for
// what a crash left behind.
type seats struct {
	mu   sync.Mutex
	held map[string]seat // by executor
}

type seat struct {
	key   remit.Digest // of the process: it keeps one key as long as it has its directory
	heard time.Time
}

// vacant is how long a seat is kept for an executor that is not heard of; it speaks at least every half minute.
const vacant = 90 * time.Second

func (s *seats) take(name string, key remit.Digest, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.held[name]; ok && h.key != key && now.Sub(h.heard) < vacant {
		return remit.Errorf(remit.Conflict, "another process is %s; stop it, or wait until it was silent for %s", name, vacant)
	}
	if s.held == nil {
		s.held = map[string]seat{}
	}
	s.held[name] = seat{key, now}
	return nil
}

// authExecutor proves an executor by the certificate of its connection. Nothing else of the request counts.
func (s *Server) authExecutor(c *call) error {
	if s.cfg.Executors == nil || s.cfg.Places == nil {
		return remit.Errorf(remit.NotFound, "this server has no executors in other processes")
	}
	name, key, err := s.cfg.CA.Executor(c.r.TLS)
	if err != nil {
		return err
	}
	c.executor = name
	return s.seats.take(name, key, s.now())
}

// enrolExecutor gives the executor of a zone its first SVID, at an administrator's word.
func enrolExecutor(s *Server, c *call, in remit.EnrolRequest) (remit.SVID, error) {
	if err := themselves(c.session); err != nil { // whoever talked an administrator into a code is no executor
		return remit.SVID{}, err
	}
	name := authority.ExecutorOf(in.Zone)
	if name == "" || in.Zone == remit.ZoneNone {
		return remit.SVID{}, remit.Errorf(remit.BadRequest, "there is no executor of zone %.16q; there are those of S, B and P", in.Zone)
	}
	return s.executorSVID(name, in.CSR)
}

func (s *Server) executorSVID(name string, csr []byte) (out remit.SVID, _ error) {
	chain, err := s.cfg.CA.ExecutorSVID(csr, name)
	if err != nil {
		return out, err
	}
	leaf, err := x509.ParseCertificate(chain)
	if err != nil {
		return out, remit.Errorf(remit.Internal, "the SVID that was made cannot be read: %w", err)
	}
	return remit.SVID{Chain: [][]byte{chain}, Bundle: [][]byte{s.cfg.CA.Root()}, NotAfter: leaf.NotAfter}, nil
}

// renewExecutor gives an executor that proves itself its next SVID, for the key that it has.
func renewExecutor(s *Server, c *call, in remit.SVIDRequest) (remit.SVID, error) {
	return s.executorSVID(c.executor, in.CSR)
}

func nextOrder(s *Server, c *call, in remit.NextOrder) (remit.NextAnswer, error) {
	if len(in.After) > 256 {
		return remit.NextAnswer{}, remit.Errorf(remit.BadRequest, "an executor passes over at most 256 orders")
	}
	leave, err := s.enter(c.who())
	if err != nil {
		return remit.NextAnswer{}, err
	}
	defer leave()
	after := map[remit.ID]bool{}
	for _, id := range in.After {
		after[id] = true
	}
	ctx, cancel := s.patient(c)
	defer cancel()
	id, err := s.cfg.Executors.Next(ctx, c.executor, after)
	if err != nil && ctx.Err() != nil {
		return remit.NextAnswer{}, nil
	}
	return remit.NextAnswer{Access: id}, err
}

// patient is the time of a long poll; it ends with the server too.
func (s *Server) patient(c *call) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.r.Context(), patience)
	go func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func claimOrder(s *Server, c *call, in remit.ClaimRequest) (remit.ClaimAnswer, error) {
	return s.cfg.Executors.Claim(c.r.Context(), c.executor, in.Access)
}

func unfinishedOrders(s *Server, c *call, _ none) ([]remit.WireOrder, error) {
	list, err := s.cfg.Executors.Unfinished(c.r.Context(), c.executor)
	if list == nil {
		list = []remit.WireOrder{}
	}
	return list, err
}

// secretOfWire is the secret of a permit or an attempt.
func secretOfWire(w remit.WireSecret) (secret [32]byte, err error) {
	if len(w.Secret) != len(secret) {
		return secret, remit.Errorf(remit.BadRequest, "the secret of %.32q has %d bytes; it has %d", w.ID, len(w.Secret), len(secret))
	}
	return [32]byte(w.Secret), nil
}

// redeemPermit spends a permit that this executor claimed.
func redeemPermit(s *Server, c *call, in remit.WireSecret) (remit.WireSecret, error) {
	secret, err := secretOfWire(in)
	if err != nil {
		return remit.WireSecret{}, err
	}
	own := false
	s.view(func(st *authority.State) { p := st.Permits[in.ID]; own = p != nil && p.Executor == c.executor })
	if !own {
		return remit.WireSecret{}, remit.Errorf(remit.AlreadyUsed, "no permit %.32s of %s waits to be redeemed", in.ID, c.executor)
	}
	a, err := s.cfg.Engine.Redeem(c.r.Context(), remit.Permit{ID: in.ID, Secret: secret})
	if err != nil {
		return remit.WireSecret{}, err
	}
	return remit.WireSecret{ID: a.ID, Secret: a.Secret[:], NotAfter: a.NotAfter}, nil
}

// attemptOf finds an attempt of this executor that has no outcome.
func (s *Server) attemptOf(c *call, id remit.ID) (found authority.Attempt, err error) {
	ok := false
	s.view(func(st *authority.State) {
		if a := st.Attempts[id]; a != nil && a.Executor == c.executor {
			found, ok = *a, true
		}
	})
	if !ok {
		return found, remit.Errorf(remit.NotFound, "%s has no attempt %.32s under way", c.executor, id)
	}
	return found, nil
}

// leaseSecret hands the upstream credential of an attempt to the executor that carries it out: the one place where a
// credential leaves this process.
func leaseSecret(s *Server, c *call, in remit.AttemptRequest) (remit.LeasedSecret, error) {
	secret, err := secretOfWire(in.Attempt)
	if err != nil {
		return remit.LeasedSecret{}, err
	}
	if _, err := s.attemptOf(c, in.Attempt.ID); err != nil {
		return remit.LeasedSecret{}, err
	}
	return s.cfg.Executors.Lease(c.r.Context(), remit.Attempt{ID: in.Attempt.ID, Secret: secret, NotAfter: in.Attempt.NotAfter})
}

// useSecret hands over a secret that the target of the attempt's own environment declares, and no other.
func useSecret(s *Server, c *call, in remit.AttemptRequest) (remit.UsedSecret, error) {
	a, err := s.attemptOf(c, in.Attempt.ID)
	if err != nil {
		return remit.UsedSecret{}, err
	}
	if s.cfg.AttemptSecrets == nil {
		return remit.UsedSecret{}, remit.Errorf(remit.NotFound, "this server keeps no secrets")
	}
	place, err := s.cfg.Places.Environment(c.r.Context(), a.Deploy.Environment)
	if err != nil {
		return remit.UsedSecret{}, err
	}
	if t := place.Environment.Target; t != nil {
		for _, r := range t.Secrets {
			if r == in.Secret {
				v, err := s.cfg.AttemptSecrets.Use(c.r.Context(), a.ID, r)
				return remit.UsedSecret{Value: v}, err
			}
		}
	}
	return remit.UsedSecret{}, remit.Errorf(remit.Forbidden, "environment %s does not use %.128s", a.Deploy.Environment, in.Secret)
}

// revokedAttempt waits until the authority of an attempt ends, or half a minute.
func revokedAttempt(s *Server, c *call, in remit.AttemptRequest) (remit.RevokedAnswer, error) {
	if _, err := s.attemptOf(c, in.Attempt.ID); err != nil {
		return remit.RevokedAnswer{}, err
	}
	leave, err := s.enter(c.who())
	if err != nil {
		return remit.RevokedAnswer{}, err
	}
	defer leave()
	ctx, cancel := s.patient(c)
	defer cancel()
	select {
	case <-s.cfg.Engine.Revoked(in.Attempt.ID):
		return remit.RevokedAnswer{Revoked: true}, nil
	case <-ctx.Done():
		return remit.RevokedAnswer{}, nil
	}
}

// recordOutcome is what the executor says came of it.
func recordOutcome(s *Server, c *call, in remit.RecordRequest) (none, error) {
	if !in.Outcome.Valid() || len(in.Receipt) > remit.MaxPayload || len(in.Made) > 128 || strings.ContainsFunc(string(in.Code), func(r rune) bool { return (r < 'A' || r > 'Z') && r != '_' }) {
		return none{}, remit.Errorf(remit.BadRequest, "an outcome is done, not_applied, ambiguous or after_revocation, with a code and a receipt of at most %d bytes", remit.MaxPayload)
	}
	if _, err := s.attemptOf(c, in.Attempt); err != nil {
		return none{}, err
	}
	return none{}, s.cfg.Executors.Record(c.r.Context(), in)
}

// placeOf tells an executor where the environment of one of its orders lies.
func placeOf(s *Server, c *call, in remit.PlaceRequest) (remit.Place, error) {
	if c.executor != authority.ExecutorOf(remit.ZoneProduction) {
		return remit.Place{}, remit.Errorf(remit.Forbidden, "%s deploys nothing", c.executor)
	}
	return s.cfg.Places.Environment(c.r.Context(), in.Environment)
}
