package identity

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/remit-dev/remit"
)

// ExecutorSVIDLife is how long the SVID of an executor lives; it is renewed after two thirds of it.
const ExecutorSVIDLife = 24 * time.Hour

// ExecutorID is the SPIFFE ID of the executor of a zone, by its name: spiffe://DOMAIN/executor/production.
func ExecutorID(td spiffeid.TrustDomain, name string) (spiffeid.ID, error) {
	last, ok := strings.CutPrefix(name, "executor/")
	if !ok || !plain(last, "-") {
		return spiffeid.ID{}, remit.Errorf(remit.BadRequest, "%.64q is not the name of an executor; one is executor/production", name)
	}
	return spiffeid.FromSegments(td, "executor", last)
}

// ExecutorSVID issues the SVID of an executor for the key of csr, as CA.SVID does for instances.
func (c *CA) ExecutorSVID(csr []byte, name string) (chain []byte, err error) {
	id, err := ExecutorID(c.td, name)
	if err != nil {
		return nil, err
	}
	pub, err := parseCSR(csr, id)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "no SVID for %s: %w", id, err)
	}
	notAfter := c.now().Add(ExecutorSVIDLife)
	if notAfter.After(c.root.NotAfter) {
		notAfter = c.root.NotAfter
	}
	return sign(c.leaf(id, notAfter), c.root, pub, c.key)
}

// Executor tells which executor a connection is of, by the verified SVID of its peer and by nothing else, and the digest of
// the key that it holds. An error says that nobody proved to be one.
func (c *CA) Executor(s *tls.ConnectionState) (name string, key remit.Digest, err error) {
	refused := remit.Errorf(remit.Unauthenticated, "nobody proved to be an executor; `remit executor enroll` gives it an identity")
	if s == nil || len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return "", key, refused
	}
	leaf := s.PeerCertificates[0]
	// What TLS verified may be older than this request: connections are kept.
	if now := c.now(); leaf.IsCA || len(leaf.URIs) != 1 || now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter) {
		return "", key, refused
	}
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil || !id.MemberOf(c.td) {
		return "", key, refused
	}
	name = strings.TrimPrefix(id.Path(), "/")
	if want, err := ExecutorID(c.td, name); err != nil || want != id {
		return "", key, refused
	}
	pub, err := x509.MarshalPKIXPublicKey(leaf.PublicKey)
	if err != nil {
		return "", key, refused
	}
	return name, remit.Hash(pub), nil
}
