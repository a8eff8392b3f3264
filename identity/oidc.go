package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses a member that stands twice

	"github.com/remit-dev/remit"
)

const (
	// MaxJobToken bounds a CI job's token, in bytes.
	MaxJobToken = 16 << 10
	// JobLeeway is how far the clocks of an issuer and of this server may lie apart.
	JobLeeway = time.Minute
	// MaxJobLife is how long a job's token may be good at most, from iat to exp: used tokens are remembered for a day.
	MaxJobLife = 23 * time.Hour

	keysLife   = 15 * time.Minute // of fetched keys; a key that the issuer withdrew is not good for longer
	keysPause  = 10 * time.Second // between two fetches: strangers cannot have us hammer an issuer
	keysWithin = 10 * time.Second
	maxKeys    = 64
	maxFetched = 256 << 10 // bytes of discovery document or JWKS
	maxIssuers = 64        // kept; more are never declared at a time
	minRSA     = 2048      // bits, RFC 7518 §3.3
)

// jobAlgs are the signatures of jobs' tokens: none of them can be made with something public (RFC 8725 §3.1).
var jobAlgs = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// Job is what the token of a CI job proved.
type Job struct {
	Issuer      string // name of the declared upstream
	Repository  string // immutable id
	Workflow    string // path of the workflow's file
	Environment string
	Commit      string
	NotAfter    time.Time
	Claims      []byte       // all of them, as they were signed
	ID          remit.Digest // of this very token
}

// Issuers verifies the tokens of CI jobs. It keeps the keys of the issuers, and nothing else.
type Issuers struct {
	now  func() time.Time
	mu   sync.Mutex
	kept map[string]*issuer
}

// NewIssuers knows no keys yet.
func NewIssuers(now func() time.Time) *Issuers {
	return &Issuers{now: now, kept: map[string]*issuer{}}
}

// IssuerOf reads who says to have issued a token. Nothing is proved by it: it tells whose keys to try.
func IssuerOf(token string) (string, error) {
	var claims struct {
		Issuer string `json:"iss"`
	}
	if len(token) > MaxJobToken {
		return "", refused("it has %d bytes; at most %d", len(token), MaxJobToken)
	}
	jws, err := jose.ParseSignedCompact(token, jobAlgs)
	if err != nil {
		return "", refused("%w", err)
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return "", refused("its claims cannot be read: %w", err)
	}
	return claims.Issuer, nil
}

func refused(format string, args ...any) *remit.Error {
	return remit.Errorf(remit.Unauthenticated, "the job's token is refused: "+format, args...)
}

// Verify proves that the issuer declared as up signed token for audience, now, for a job that Remit takes orders from,
// and says which job that is. Its errors have the code Unauthenticated, or UpstreamDown where the issuer does not answer.
func (t *Issuers) Verify(ctx context.Context, up remit.Upstream, audience, token string) (Job, error) {
	if len(token) > MaxJobToken {
		return Job{}, refused("it has %d bytes; at most %d", len(token), MaxJobToken)
	}
	jws, err := jose.ParseSignedCompact(token, jobAlgs)
	if err != nil {
		return Job{}, refused("%w", err)
	}
	if typ, there := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; there && !isJWT(typ) {
		return Job{}, refused("its typ is %.32q, not JWT", typ)
	}
	now := t.now()
	payload, err := t.of(up).verify(ctx, jws, now)
	if err != nil {
		return Job{}, err
	}
	c := claims{}
	if err := json.Unmarshal(payload, &c.all); err != nil {
		return Job{}, refused("its claims cannot be read: %w", err)
	}
	// OpenID Connect Core §3.1.3.7, 2 and 3. A token for more than one audience could be used by each of them at the others.
	if iss, err := c.must("iss"); err != nil || iss != up.Location {
		return Job{}, refused("it is from %.200q, not from %s", iss, up.Location)
	}
	if aud, err := c.audience(); err != nil || aud != audience {
		return Job{}, refused("it is for %.200q and must be for %q alone; ask for it with that audience", aud, audience)
	}
	exp, err := c.during(now)
	if err != nil {
		return Job{}, err
	}
	j := Job{Issuer: up.Name, NotAfter: exp, Claims: payload}
	if err := c.read(up.Claims, &j); err != nil {
		return Job{}, err
	}
	j.ID, err = c.id(up.Location, token)
	return j, err
}

func isJWT(typ any) bool { s, ok := typ.(string); return ok && strings.EqualFold(s, "JWT") }

// of is the issuer of a declaration; another declaration is another issuer, with keys of its own.
func (t *Issuers) of(up remit.Upstream) *issuer {
	key := fmt.Sprintf("%q %q %t", up.Location, up.CA, up.Insecure)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.kept[key]; i != nil {
		return i
	}
	if len(t.kept) >= maxIssuers {
		clear(t.kept)
	}
	i := &issuer{up: up, turn: make(chan struct{}, 1)}
	t.kept[key] = i
	return i
}

// issuer is a declared issuer with its keys.
type issuer struct {
	up   remit.Upstream
	turn chan struct{} // held while keys are read or fetched

	keys           []jose.JSONWebKey
	fetched, tried time.Time
	failed         error // of the last fetch
}

// find gives the keys of an id. It fetches anew when those it has are old or have no such key, but not twice within
// keysPause.
func (i *issuer) find(ctx context.Context, kid string, now time.Time) ([]jose.JSONWebKey, error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	fresh := !i.fetched.IsZero() && now.Sub(i.fetched) < keysLife
	if found := i.pick(kid); fresh && len(found) > 0 {
		return found, nil
	}
	if i.tried.IsZero() || now.Sub(i.tried) >= keysPause {
		i.tried = now
		keys, err := i.fetch(ctx)
		if i.failed = err; err == nil {
			i.keys, i.fetched, fresh = keys, now, true
		}
	}
	if !fresh {
		if i.failed == nil {
			return nil, errors.New("they were asked for a moment ago")
		}
		return nil, i.failed
	}
	return i.pick(kid), nil
}

// pick finds keys by id; without one in the token there must be only one key.
func (i *issuer) pick(kid string) []jose.JSONWebKey {
	if kid == "" && len(i.keys) == 1 {
		return i.keys
	}
	return slices.DeleteFunc(slices.Clone(i.keys), func(k jose.JSONWebKey) bool { return kid == "" || k.KeyID != kid })
}

// fetch reads the discovery document (OpenID Connect Discovery §4) and the keys that it names.
func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	c, err := IssuerClient(i.up)
	if err != nil {
		return nil, err
	}
	defer c.CloseIdleConnections()
	// The next token needs the keys as much: a caller who goes away does not undo it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWithin)
	defer cancel()
	body, err := get(ctx, c, strings.TrimSuffix(i.up.Location, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("the discovery document cannot be read: %w", err)
	}
	if doc.Issuer != i.up.Location { // §4.3
		return nil, fmt.Errorf("the discovery document is that of %.200q; declare the issuer exactly as it names itself", doc.Issuer)
	}
	if body, err = get(ctx, c, doc.Keys); err != nil {
		return nil, err
	}
	return parseKeys(body)
}

func get(ctx context.Context, c *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// parseKeys reads a JWK Set (RFC 7517 §5) and keeps the keys that may sign tokens.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the keys cannot be read: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the issuer has %d keys; at most %d are looked at", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// RFC 7517 §5: what is not understood is skipped.
		if err := json.Unmarshal(raw, &k); err != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if slices.ContainsFunc(jobAlgs, func(a jose.SignatureAlgorithm) bool { return signs(k, a) }) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer has no key that may sign a token")
	}
	return keys, nil
}

// verify gives the payload of a token that one of the issuer's keys signed.
func (i *issuer) verify(ctx context.Context, jws *jose.JSONWebSignature, now time.Time) ([]byte, error) {
	head := jws.Signatures[0].Protected
	keys, err := i.find(ctx, head.KeyID, now)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the keys of issuer %s cannot be had: %w", i.up.Name, err)
	}
	for _, key := range keys {
		// A key is for one algorithm only, whatever a token says (RFC 8725 §3.1).
		if !signs(key, jose.SignatureAlgorithm(head.Algorithm)) {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, refused("no key %.64q of the issuer %s made its signature", head.KeyID, i.up.Name)
}

// signs tells whether a key is one that makes signatures of alg (RFC 7518 §3.3, §3.4, RFC 8037 §3.1).
func signs(k jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if k.Algorithm != "" && k.Algorithm != string(alg) {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return alg == jose.RS256 && key.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && key.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// IssuerClient reaches the declared issuer and nothing else: no proxy of the environment, no redirect, no address that
// means something on this machine only. It reads at most 256 KiB of an answer and waits for it 10 s; also are hosts
// (HOST or HOST:PORT) that the issuer spreads its endpoints over.
func IssuerClient(up remit.Upstream, also ...string) (*http.Client, error) {
	u, err := url.Parse(up.Location)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the location %.200q is not https://HOST/PATH", up.Location)
	}
	literal, _ := netip.ParseAddr(u.Hostname())
	loopback := literal.IsLoopback() || u.Hostname() == "localhost"
	if u.Scheme != "https" && !(u.Scheme == "http" && up.Insecure && loopback) {
		return nil, fmt.Errorf("the location %.200q is not https; http is for a loopback address that is declared as insecure", up.Location)
	}
	var roots *x509.CertPool // nil: the system's
	if up.CA != "" {
		pem, err := os.ReadFile(up.CA)
		if err != nil {
			return nil, fmt.Errorf("its certificates: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", up.CA)
		}
	}
	dialer := &net.Dialer{Timeout: keysWithin, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if ip := addr.Addr().Unmap(); ip != literal && (ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() != loopback) {
			return fmt.Errorf("%s has the address %s; declare the address itself if it is meant", u.Hostname(), ip)
		}
		return nil
	}}
	return &http.Client{Timeout: keysWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &oneIssuer{scheme: u.Scheme, hosts: append([]string{u.Host}, also...), next: &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10}}}, nil
}

// oneIssuer refuses to go anywhere else, also where a discovery document says so, and to read more than is sensible.
type oneIssuer struct {
	scheme string
	hosts  []string // the issuer's own first
	next   *http.Transport
}

// CloseIdleConnections lets go of what a fetch opened.
func (o *oneIssuer) CloseIdleConnections() { o.next.CloseIdleConnections() }

// RoundTrip sends a request to the declared host.
func (o *oneIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != o.scheme || !slices.Contains(o.hosts, r.URL.Host) {
		return nil, fmt.Errorf("%.100q://%.200q is not the declared issuer %s://%s", r.URL.Scheme, r.URL.Host, o.scheme, o.hosts[0])
	}
	resp, err := o.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxFetched)
	}
	return resp, err
}
