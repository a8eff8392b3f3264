package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
)

// How a CI job becomes an instance: it shows the token of its issuer and a DPoP proof (RFC 9449), and gets an access
// token that is bound to the key of the proof (RFC 8693). With it, and a proof for each request, the job is what a
// launcher is to other instances; an X.509-SVID that it asks for binds its calls by mutual TLS instead (RFC 8705).
//
// Nothing launches a job, so nothing needs to hold it: its instance ends with the token that proved it, and with the
// task. A job that opens the held connection lives by that from then on, for as long as the task does.

// Jobs makes a CI job an instance. The engine is one.
type Jobs interface {
	Do(context.Context, authority.Command, ...remit.Payload) (authority.Result, error)
}

const (
	maxFailures = 60 // exchanges that failed, of one peer in a minute
	maxPeers    = 4096
)

// exchangeAnswer is RFC 8693 §2.2.1, with what a launcher needs to know of the instance beside it.
type exchangeAnswer struct {
	AccessToken string             `json:"access_token"`
	IssuedType  string             `json:"issued_token_type"`
	Type        string             `json:"token_type"`
	ExpiresIn   int64              `json:"expires_in"`
	Scope       string             `json:"scope"`
	Instance    remit.InstanceView `json:"remit_instance"`
}

// oauthProblem is RFC 6749 §5.2, with our own code beside it.
type oauthProblem struct {
	Error       string     `json:"error"`
	Description string     `json:"error_description"`
	Code        remit.Code `json:"code"`
}

// exchange is the token endpoint. It answers in the words of OAuth, whatever is wrong.
func exchange(s *Server, c *call) error {
	c.w.Header().Set("Pragma", "no-cache") // RFC 6749 §5.1
	peer, _ := s.host(c.r)
	now := s.now()
	if s.failures.many(peer, now) {
		return c.oauth(s, remit.Errorf(remit.Overload, "more than %d exchanges from this address failed within a minute; wait a minute", maxFailures))
	}
	leave, err := s.enter("exchange " + peer.String())
	if err != nil {
		return c.oauth(s, err)
	}
	defer leave()
	out, err := s.exchange(c)
	if err != nil {
		var proof *identity.OAuthError
		if !errors.As(err, &proof) || proof.Reason != identity.UseNonce { // asking for a nonce is how one begins
			s.failures.count(peer, now)
		}
		return c.oauth(s, err)
	}
	return c.answer(out)
}

func (s *Server) exchange(c *call) (out exchangeAnswer, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, identity.MaxExchange+1))
	if err != nil {
		return out, remit.Errorf(remit.BadRequest, "the form cannot be read: %w", err)
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{}) // or it would end the answer as well
	form, err := identity.ParseExchange(c.r.Header.Get("Content-Type"), body)
	if err != nil {
		return out, err
	}
	proof, err := s.cfg.Tokens.Proofs().Check(c.r, s.cfg.Base+c.r.URL.EscapedPath(), "")
	if err != nil {
		return out, err
	}
	gateways, err := form.Gateways(s.cfg.Base, s.cfg.Base+"/v1/orgs/"+c.r.PathValue("org"), func(name string) bool { return s.cfg.Mounts[name] != nil })
	if err != nil {
		return out, err
	}
	job, err := s.job(c.r.Context(), form.Subject)
	if err != nil {
		return out, err
	}
	if err := s.cfg.Tokens.Proofs().Spend(proof); err != nil {
		return out, err
	}
	claims, err := s.cfg.Engine.NewPayload(job.Claims)
	if err != nil {
		return out, err
	}
	token := s.cfg.Tokens.NewJobToken(proof, gateways)
	host, _ := s.host(c.r)
	res, err := s.cfg.Jobs.Do(c.r.Context(), &authority.StartJob{Issuer: job.Issuer, Repository: job.Repository, Workflow: job.Workflow,
		Environment: job.Environment, Commit: job.Commit, Claims: claims.Commitment(), Token: job.ID, Secret: token.Secret, Host: host}, claims)
	if err != nil {
		return out, err
	}
	s.heard(res.ID)
	out = exchangeAnswer{AccessToken: token.Text(res.ID), IssuedType: identity.TypeAccessToken, Type: identity.DPoPHeader}
	if out.Instance, err = s.instance(c.r.Context(), res.ID); err != nil {
		return out, err
	}
	end := job.NotAfter
	if out.Instance.Deadline.Before(end) {
		end = out.Instance.Deadline
	}
	out.ExpiresIn = max(1, int64(end.Sub(s.now())/time.Second))
	out.Scope = s.scopeOf(out.Instance.Task)
	return out, nil
}

// scopeOf is the actions of a grant (RFC 6749 §3.3).
func (s *Server) scopeOf(task remit.ID) string {
	var actions []string
	s.view(func(st *authority.State) {
		if t := st.Tasks[task]; t != nil {
			for _, g := range t.Grant {
				for _, a := range g.Actions {
					actions = append(actions, string(a))
				}
			}
		}
	})
	slices.Sort(actions)
	return strings.Join(slices.Compact(actions), " ")
}

// job finds the declared issuer of a token and has the token verified. What names no declared issuer costs nothing.
func (s *Server) job(ctx context.Context, token string) (identity.Job, error) {
	iss, err := identity.IssuerOf(token)
	if err != nil {
		return identity.Job{}, err
	}
	declared := map[string]remit.Digest{}
	s.view(func(st *authority.State) {
		for name, u := range st.Upstreams {
			if u.Type == remit.KindOIDC {
				declared[name] = u.Spec
			}
		}
	})
	err = remit.Errorf(remit.Unauthenticated, "no issuer %.200q is declared; declare an upstream of kind oidc with that location", iss)
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		up, uerr := s.upstream(ctx, declared[name])
		if uerr != nil {
			return identity.Job{}, uerr
		}
		if up.Location != iss {
			continue
		}
		var job identity.Job
		if job, err = s.issuers.Verify(ctx, up, cmp.Or(up.Audience, s.cfg.Base), token); err == nil {
			return job, nil
		}
	}
	return identity.Job{}, err
}

// jobEnd is when the token of a CI job expires, with which an instance ends that nobody holds; zero for other instances.
func (s *Server) jobEnd(ctx context.Context, id remit.ID) time.Time {
	var claims remit.Digest
	s.view(func(st *authority.State) {
		if i := st.Instances[id]; i != nil && i.Issuer != "" {
			claims = i.Claims
		}
	})
	if claims.IsZero() {
		return time.Time{}
	}
	raw, _ := s.cfg.Engine.Text(ctx, claims) // erased: there is nothing left to live by
	return identity.JobEnd(raw)
}

// oauth says no as RFC 6749 §5.2 does.
func (c *call) oauth(s *Server, err error) error {
	var e *remit.Error
	if !errors.As(err, &e) {
		e = &remit.Error{Code: remit.Internal, Err: err}
	}
	info := e.Code.Info()
	// RFC 8693 §2.2.2: a subject token that is invalid, or that policy does not take, is an invalid request.
	status, p := http.StatusBadRequest, oauthProblem{identity.InvalidRequest, e.Sentence, info.Code}
	var in *identity.OAuthError
	switch {
	case errors.As(err, &in):
		p.Error = in.Reason
	case info.HTTP >= 500:
		status, p.Error = http.StatusServiceUnavailable, "temporarily_unavailable"
	}
	if e.Code == remit.Internal {
		s.cfg.Slog.Error("an exchange failed", "err", err)
		status, p.Error, p.Description = http.StatusInternalServerError, "server_error", ""
	}
	if p.Description == "" {
		p.Description = info.Meaning
	}
	// RFC 6749 §5.2 leaves printable ASCII without the quotation mark and the backslash.
	p.Description = strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, p.Description)
	b, merr := json.Marshal(p)
	if merr != nil {
		return merr
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set(identity.NonceHeader, s.cfg.Tokens.Proofs().Nonce())
	c.w.WriteHeader(status)
	if _, err := c.w.Write(append(b, '\n')); err != nil {
		return errGone
	}
	return nil
}

// oauthMetadata is RFC 8414 §2, as far as there is something to say: there is no authorization endpoint.
type oauthMetadata struct {
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	Grants        []string `json:"grant_types_supported"`
	ResponseTypes []string `json:"response_types_supported"`
	ClientAuth    []string `json:"token_endpoint_auth_methods_supported"`
	ProofAlgs     []string `json:"dpop_signing_alg_values_supported"`
}

func metadata(s *Server, c *call) (oauthMetadata, error) {
	at := s.cfg.Base + "/v1/orgs/" + c.r.PathValue("org")
	return oauthMetadata{Issuer: at, TokenEndpoint: at + "/oauth/token", Grants: []string{identity.GrantExchange}, ResponseTypes: []string{},
		ClientAuth: []string{"none"}, ProofAlgs: identity.ProofAlgs()}, nil
}

// offerNonce answers a request that holds a proof with the nonce for the next one (RFC 9449 §8.2).
func (s *Server) offerNonce(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(identity.DPoPHeader) != "" {
		w.Header().Set(identity.NonceHeader, s.cfg.Tokens.Proofs().Nonce())
	}
}

// failures counts what strangers try, by the digest of their address, in the minute that runs.
type failures struct {
	mu    sync.Mutex
	since time.Time
	of    map[remit.Digest]int
}

func (f *failures) many(peer remit.Digest, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.since) >= time.Minute || f.of == nil {
		f.since, f.of = now, map[remit.Digest]int{}
	}
	return f.of[peer] >= maxFailures
}

func (f *failures) count(peer remit.Digest, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.of[peer]; known || len(f.of) < maxPeers {
		f.of[peer]++
	}
}
