package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// SVID is one X.509-SVID with its key and the bundle to judge others by, encoded as the Workload API wants them.
type SVID struct {
	ID        spiffeid.ID
	Chain     []byte // concatenated DER, leaf first
	Key       []byte // PKCS #8, DER
	Bundle    []byte // concatenated DER
	NotBefore time.Time
	NotAfter  time.Time
}

// Source gives a new SVID at each call. An error with the code Unauthenticated, NotLive or Forbidden says that there
// will be no more: the instance has ended.
type Source interface {
	X509SVID(context.Context) (*SVID, error)
}

// Asker sends a certificate request (PKCS #10, DER) to the authority and returns the chain and the bundle, both
// concatenated DER.
type Asker func(ctx context.Context, csr []byte) (chain, bundle []byte, err error)

// NewSource makes a Source that makes a key for each SVID and has it signed through ask. The key is made here and goes
// to the instance only; the authority never sees it. What comes back is believed only after it was verified.
func NewSource(id spiffeid.ID, now func() time.Time, ask Asker) Source {
	return &csrSource{id: id, now: now, ask: ask}
}

type csrSource struct {
	id  spiffeid.ID
	now func() time.Time
	ask Asker
}

func (s *csrSource) X509SVID(ctx context.Context) (*SVID, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{s.id.URL()}}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	chain, bundle, err := s.ask(ctx, csr)
	if err != nil {
		return nil, fmt.Errorf("asking for an SVID: %w", err)
	}
	leaf, err := s.verify(chain, bundle)
	if err != nil {
		return nil, fmt.Errorf("the SVID that came back is refused: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the SVID that came back is refused: it is for another key")
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return &SVID{ID: s.id, Chain: chain, Key: pkcs8, Bundle: bundle, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}, nil
}

// verify judges the chain as any peer of the instance would (X509-SVID §5.1, §5.2).
func (s *csrSource) verify(chain, bundle []byte) (*x509.Certificate, error) {
	if len(chain) > maxSecret || len(bundle) > maxSecret {
		return nil, fmt.Errorf("chain or bundle have more than %d bytes", maxSecret)
	}
	certs, err := x509.ParseCertificates(chain)
	if err != nil {
		return nil, fmt.Errorf("the chain does not parse: %w", err)
	}
	roots, err := x509bundle.ParseRaw(s.id.TrustDomain(), bundle)
	if err != nil {
		return nil, fmt.Errorf("the bundle does not parse: %w", err)
	}
	id, _, err := x509svid.Verify(certs, roots, x509svid.WithTime(s.now()))
	if err != nil {
		return nil, err
	}
	if id != s.id {
		return nil, fmt.Errorf("it is for %s, not for %s", id, s.id)
	}
	return certs[0], nil
}
