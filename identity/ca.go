package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	// MaxSVIDLife is the longest life of an instance's SVID: minutes, because nothing revokes a certificate.
	MaxSVIDLife = time.Hour
	// SVIDLife is what to ask for where nothing else is known.
	SVIDLife = 15 * time.Minute

	rootLife   = 10 * 365 * 24 * time.Hour
	serverLife = 24 * time.Hour
	skew       = time.Minute // certificates begin this much in the past, for clocks that are a little slow
	maxCSR     = 4 << 10
	caFile     = "ca.pem" // key and root certificate in one file, so that no crash can part them
)

// CA is the certificate authority of one trust domain. The root signs leaves itself: one key, one file, no
// intermediates to lose.
type CA struct {
	td   spiffeid.TrustDomain
	key  crypto.Signer
	root *x509.Certificate
	now  func() time.Time
}

// CreateCA makes the root key (ECDSA P-256) and its certificate, in dir/ca.pem, mode 0600, in a directory of mode
// 0700. It fails where there is one: a trust domain gets a second root only by a person's decision.
func CreateCA(dir string, org remit.Org, now func() time.Time) (*CA, error) {
	td, err := TrustDomain(org)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the root key: %w", err)
	}
	t := now()
	// X509-SVID §3.2, §4.3: a signing certificate is a CA with keyCertSign; its URI SAN, if any, is that of the trust
	// domain, without a path.
	der, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "Remit root of " + td.Name()},
		NotBefore:             t.Add(-skew),
		NotAfter:              t.Add(rootLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{td.ID().URL()},
	}, nil, key.Public(), key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the root key: %w", err)
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := createPrivate(filepath.Join(dir, caFile), content); err != nil {
		return nil, err
	}
	return OpenCA(dir, org, now)
}

// OpenCA reads what CreateCA made. It refuses a key that others can read and says how to mend that, a root of another
// trust domain, and a root whose time is over.
func OpenCA(dir string, org remit.Org, now func() time.Time) (*CA, error) {
	td, err := TrustDomain(org)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, caFile)
	content, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, root, err := parseCA(content)
	if err != nil {
		return nil, fmt.Errorf("%s is not what Remit wrote: %w", path, err)
	}
	if len(root.URIs) != 1 || root.URIs[0].String() != td.IDString() {
		return nil, fmt.Errorf("%s is the root of another trust domain than %s: %v", path, td.IDString(), root.URIs)
	}
	if t := now(); t.Before(root.NotBefore) || !t.Before(root.NotAfter) {
		return nil, fmt.Errorf("the root certificate in %s is good from %s to %s, and now is %s", path, stamp(root.NotBefore), stamp(root.NotAfter), stamp(t))
	}
	return &CA{td: td, key: key, root: root, now: now}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func parseCA(content []byte) (crypto.Signer, *x509.Certificate, error) {
	first, rest := pem.Decode(content)
	if first == nil || first.Type != "PRIVATE KEY" {
		return nil, nil, errors.New("it does not begin with a private key")
	}
	second, rest := pem.Decode(rest)
	if second == nil || second.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, nil, errors.New("one certificate should follow the key, and nothing else")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(first.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("the key is %T; it should be ECDSA", parsed)
	}
	root, err := x509.ParseCertificate(second.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate: %w", err)
	}
	if !key.PublicKey.Equal(root.PublicKey) {
		return nil, nil, errors.New("key and certificate do not belong together")
	}
	if !root.IsCA || root.KeyUsage&x509.KeyUsageCertSign == 0 || root.CheckSignatureFrom(root) != nil {
		return nil, nil, errors.New("the certificate is not a self-signed authority")
	}
	return key, root, nil
}

// sign issues template for pub; a nil parent makes it self-signed.
func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280 §4.1.2.2: positive, at most 20 bytes
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return der, nil
}

// TrustDomain is the trust domain whose authority c is.
func (c *CA) TrustDomain() spiffeid.TrustDomain { return c.td }

// leaf is what every leaf has (X509-SVID §2, §4): one URI SAN, no CA, digitalSignature alone and critical, and both
// extended key usages, since one is not allowed without the other (§4.4). The SAN is critical because the subject is
// empty (§3.1).
func (c *CA) leaf(id spiffeid.ID, notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		NotBefore:             c.now().Add(-skew),
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{id.URL()},
	}
}

// SVID issues the X.509-SVID of an instance for the key of csr (PKCS #10, DER, at most 4 KiB), and returns the chain as
// the Workload API wants it: concatenated DER, leaf first, without the root. Of the request only the key counts; names
// in it must be id or absent, so that nobody thinks that they were granted. notAfter lies within MaxSVIDLife.
func (c *CA) SVID(csr []byte, id spiffeid.ID, notAfter time.Time) (chain []byte, err error) {
	if _, _, err := ParseInstanceID(c.td, id); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "no SVID: %w", err)
	}
	now := c.now()
	if !notAfter.After(now) || notAfter.After(now.Add(MaxSVIDLife)) || notAfter.After(c.root.NotAfter) {
		return nil, remit.Errorf(remit.BadRequest, "no SVID until %s: it lives at most %s from now (%s), and never longer than the root", stamp(notAfter), MaxSVIDLife, stamp(now))
	}
	pub, err := parseCSR(csr, id)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "no SVID for %s: %w", id, err)
	}
	return sign(c.leaf(id, notAfter), c.root, pub, c.key)
}

func parseCSR(der []byte, id spiffeid.ID) (crypto.PublicKey, error) {
	if len(der) > maxCSR {
		return nil, fmt.Errorf("the certificate request has %d bytes; at most %d are read", len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate request does not parse: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its own key: %w", err)
	}
	switch pub := csr.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() && pub.Curve != elliptic.P384() {
			return nil, fmt.Errorf("the key lies on %s; P-256, P-384 and Ed25519 are accepted", pub.Curve.Params().Name)
		}
	default:
		return nil, fmt.Errorf("the key is %s; ECDSA (P-256, P-384) and Ed25519 are accepted", csr.PublicKeyAlgorithm)
	}
	if len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses) != 0 {
		return nil, errors.New("the certificate request asks for names besides a SPIFFE ID")
	}
	for _, u := range csr.URIs {
		if len(csr.URIs) > 1 || u.String() != id.String() {
			return nil, errors.New("the certificate request asks for another SPIFFE ID")
		}
	}
	return csr.PublicKey, nil
}

// Root is the root certificate, DER: the X.509 bundle of the Workload API.
func (c *CA) Root() []byte { return bytes.Clone(c.root.Raw) }

// PEM is the root certificate as git, curl and other clients take it.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root.Raw})
}

// Pool is the root as crypto/x509 wants it.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.root)
	return pool
}

// Bundle is the SPIFFE bundle of the trust domain: a JWK set (SPIFFE Trust Domain and Bundle §4; X509-SVID §6.1: use
// x509-svid, one certificate in x5c, no kid).
func (c *CA) Bundle() ([]byte, error) {
	pub, ok := c.root.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the root key is %T", c.root.PublicKey)
	}
	point, err := pub.Bytes() // SEC 1 §2.3.3: 4 ‖ x ‖ y
	if err != nil {
		return nil, fmt.Errorf("encoding the root key: %w", err)
	}
	half := (len(point) - 1) / 2
	type jwk struct {
		Use string   `json:"use"`
		Kty string   `json:"kty"`
		Crv string   `json:"crv"`
		X   string   `json:"x"`
		Y   string   `json:"y"`
		X5C []string `json:"x5c"`
	}
	return json.Marshal(struct {
		Keys     []jwk  `json:"keys"`
		Sequence uint64 `json:"spiffe_sequence"`
		Refresh  int    `json:"spiffe_refresh_hint"` // seconds
	}{
		Keys: []jwk{{
			Use: "x509-svid", Kty: "EC", Crv: pub.Curve.Params().Name,
			X:   base64.RawURLEncoding.EncodeToString(point[1 : 1+half]),
			Y:   base64.RawURLEncoding.EncodeToString(point[1+half:]),
			X5C: []string{base64.StdEncoding.EncodeToString(c.root.Raw)},
		}},
		Sequence: 1,
		Refresh:  300,
	})
}

// TLSConfig is the server's side of TLS, for the given host names and IP addresses: TLS 1.3, a certificate with the SAN
// spiffe://DOMAIN/remit/server too, which is replaced when half of its 24 hours are over, and client certificates that
// are optional but verified when given. Sessions are not resumed: each connection proves its certificate anew.
func (c *CA) TLSConfig(names ...string) (*tls.Config, error) {
	s := &serverCert{ca: c}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			s.ips = append(s.ips, ip)
			continue
		}
		if n == "" || strings.ContainsAny(n, ":/ *") {
			return nil, fmt.Errorf("%q is neither a host name nor an IP address for the server's certificate", n)
		}
		s.dns = append(s.dns, n)
	}
	if len(names) == 0 {
		return nil, errors.New("the server's certificate needs a host name or an IP address")
	}
	if _, err := s.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         s.get,
		ClientAuth:             tls.VerifyClientCertIfGiven,
		ClientCAs:              c.Pool(),
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
		Time:                   c.now,
	}, nil
}

// serverCert is the certificate of the API, renewed as it is asked for.
type serverCert struct {
	ca  *CA
	dns []string
	ips []net.IP

	mu   sync.Mutex
	cert *tls.Certificate
}

func (s *serverCert) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.ca.now()
	if s.cert != nil && now.After(s.cert.Leaf.NotBefore) && now.Before(s.cert.Leaf.NotAfter.Add(-serverLife/2)) {
		return s.cert, nil
	}
	id, err := spiffeid.FromSegments(s.ca.td, "remit", "server")
	if err != nil {
		return nil, fmt.Errorf("naming the server: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the server's key: %w", err)
	}
	notAfter := now.Add(serverLife)
	if notAfter.After(s.ca.root.NotAfter) {
		notAfter = s.ca.root.NotAfter
	}
	template := s.ca.leaf(id, notAfter)
	template.DNSNames, template.IPAddresses = s.dns, s.ips
	der, err := sign(template, s.ca.root, key.Public(), s.ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate back: %w", err)
	}
	s.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return s.cert, nil
}
