package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	secretgw "github.com/remit-dev/remit/gateway/secret"
	"github.com/remit-dev/remit/secret"
)

// secrets are the declared secrets as their gateway sees them.
type secrets struct {
	engine *engine.Engine
	store  *secret.Store
	mu     sync.Mutex
	places map[remit.Digest]secretgw.Place // by commitment of the declaration
}

func (s *secrets) Payload(body []byte) (remit.Payload, error) { return s.engine.NewPayload(body) }

// Place is where a secret may be sent.
func (s *secrets) Place(ctx context.Context, name string) (secretgw.Place, error) {
	var spec remit.Digest
	known := false
	s.engine.View(func(st *authority.State) {
		if x := st.Secrets[name]; x != nil {
			spec, known = x.Spec, true
		}
	})
	switch {
	case !known:
		return secretgw.Place{}, remit.Errorf(remit.UnknownResource, "no secret %.200q is declared", name)
	case spec.IsZero():
		return secretgw.Place{}, remit.Errorf(remit.OutOfScope, "secret %s is declared without `send`, so no request may carry it", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.places[spec]; ok {
		return p, nil
	}
	body, ok := s.engine.Text(ctx, spec)
	if !ok {
		return secretgw.Place{}, remit.Errorf(remit.UpstreamDown, "the declaration of secret %s was erased; apply it again", name)
	}
	var p secretgw.Place
	if err := json.Unmarshal(body, &p.Sender); err != nil {
		return p, remit.Errorf(remit.Internal, "the declaration of secret %s cannot be read: %w", name, err)
	}
	var err error
	if p.Transport, err = reach(p.CA); err != nil {
		return p, err
	}
	if s.places == nil {
		s.places = map[remit.Digest]secretgw.Place{}
	}
	s.places[spec] = p
	return p, nil
}

// reach is a transport that trusts the certificates in the file ca, or the system's, and uses no proxy.
func reach(ca string) (http.RoundTripper, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ResponseHeaderTimeout: 30 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the certificates: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, remit.Errorf(remit.UpstreamDown, "%s holds no certificate in PEM", ca)
	}
	return t, nil
}

// value gives the value of a secret that is in force.
func (s *secrets) value(name string) ([]byte, error) {
	version := 0
	s.engine.View(func(st *authority.State) { version = st.SecretVersion(name) })
	if version == 0 {
		return nil, remit.Errorf(remit.NotFound, "secret %s has no value; put one with: remit secret put %s", name, name)
	}
	return s.store.Value(name, version)
}

// secretLease is the right of one attempt to one secret.
type secretLease struct {
	secrets *secrets
	name    string
}

func (l secretLease) Value() ([]byte, error) { return l.secrets.value(l.name) }

func (secretLease) Apply(*http.Request) error {
	return remit.Errorf(remit.Internal, "a secret is put into a request by its own gateway only")
}

func (secretLease) End(context.Context) error { return nil }

// noCredential is the credential of an attempt that needs none: what it does, it does in the authority itself.
type noCredential struct{}

func (noCredential) Apply(*http.Request) error { return nil }
func (noCredential) End(context.Context) error { return nil }

// Order is the stored request of an access request, for whoever collects its answer.
func (s *secrets) Order(r *http.Request, access remit.ID) (remit.ID, []byte, error) {
	var task remit.ID
	var at remit.EntryIndex
	s.engine.View(func(st *authority.State) {
		if a := st.Accesses[access]; a != nil {
			task, at = a.Task, a.Decision
		}
	})
	if task == "" {
		return "", nil, remit.Errorf(remit.NotFound, "there is no access request %s", access)
	}
	_, c, err := s.engine.Entry(r.Context(), at)
	if err != nil {
		return "", nil, err
	}
	a, ok := c.(*authority.Authorize)
	if !ok || a.Request.Gateway != secretgw.Name {
		return "", nil, remit.Errorf(remit.NotFound, "access request %s is not about a secret", access)
	}
	return task, a.Request.Order, nil
}
