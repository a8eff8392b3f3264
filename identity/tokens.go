package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	// TokenLife is how long a token is good, unless TokensConfig says otherwise.
	TokenLife = 5 * time.Minute
	// MaxTokens is how many live tokens an instance has, over all gateways; one more ends the oldest.
	MaxTokens = 32
)

// Instances is what the authority knows of instances.
type Instances interface {
	// Secret gives the SHA-256 of the 32 bytes that the instance's launcher holds, whom its calls come from, and
	// whether the instance, its task, its agent and the people behind it are live now. What it does not know is not live.
	Secret(instance remit.ID) (hash remit.Digest, caller remit.Caller, live bool)
}

// TokensConfig is what Tokens needs; Life and Now have useful zero values.
type TokensConfig struct {
	Domain    spiffeid.TrustDomain // of the SVIDs that Authenticator accepts
	Instances Instances
	Life      time.Duration // 0: TokenLife
	Now       func() time.Time
	// Base is https://HOST:PORT, as clients name this server: what the DPoP proofs of CI jobs must be made for. Without it
	// there are none.
	Base string
	// Key is this server's, and the same after a restart, so that CI jobs outlive one; random by default.
	Key [32]byte
}

// Tokens are the bearer tokens of instances, in memory only: after a restart each launcher asks for new ones.
type Tokens struct {
	domain    spiffeid.TrustDomain
	instances Instances
	life      time.Duration
	now       func() time.Time
	base      string
	key       [32]byte
	proofs    *Proofs

	mu     sync.Mutex
	byHash map[remit.Digest]token
	of     map[remit.ID][]remit.Digest // oldest first
	swept  time.Time
}

// token is bound to one instance, agent and task (in caller) and to one gateway (R4e: no exchange changes that).
type token struct {
	caller   remit.Caller
	gateway  string
	notAfter time.Time
}

// Token is what a launcher gets: Text goes to the command, NotAfter says when to ask again.
type Token struct {
	Text     string
	NotAfter time.Time
}

// NewTokens makes an empty table.
func NewTokens(c TokensConfig) *Tokens {
	if c.Life <= 0 {
		c.Life = TokenLife
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Key == [32]byte{} {
		_, _ = rand.Read(c.Key[:]) // never fails
	}
	return &Tokens{domain: c.Domain, instances: c.Instances, life: c.Life, now: c.Now, base: c.Base, key: c.Key, proofs: NewProofs(c.Now),
		byHash: make(map[remit.Digest]token), of: make(map[remit.ID][]remit.Digest)}
}

// Issue gives whoever proves the instance's secret a new token for one gateway. Tokens issued before stay good until
// their own time is over, so that a renewal cuts nothing off.
func (t *Tokens) Issue(instance remit.ID, secret [32]byte, gateway string) (Token, error) {
	return t.IssueFor(instance, secret, gateway, t.life)
}

// IssueFor is Issue for a token that is good for life, at most as long as others are.
func (t *Tokens) IssueFor(instance remit.ID, secret [32]byte, gateway string, life time.Duration) (Token, error) {
	if !plain(gateway, "-/") {
		return Token{}, remit.Errorf(remit.BadRequest, "%q is not the name of a gateway", gateway)
	}
	want, caller, live := t.instances.Secret(instance)
	got := remit.Hash(secret[:])
	// Who does not know the secret learns nothing from the answer: not whether the instance exists, nor whether it lives.
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return Token{}, remit.Errorf(remit.Unauthenticated, "no instance %s with this secret; `remit run` starts one", instance)
	}
	if !live || caller.Instance != instance {
		return Token{}, ended(instance)
	}
	text, hash := newSecret(tokenPrefix)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.sweep(now)
	old := t.of[instance]
	for len(old) >= MaxTokens {
		delete(t.byHash, old[0])
		old = old[1:]
	}
	notAfter := now.Add(min(life, t.life))
	t.of[instance] = append(slices.Clone(old), hash)
	t.byHash[hash] = token{caller: caller, gateway: gateway, notAfter: notAfter}
	return Token{Text: text, NotAfter: notAfter}, nil
}

// sweep forgets what has expired, once in the life of a token.
func (t *Tokens) sweep(now time.Time) {
	if now.Before(t.swept.Add(t.life)) {
		return
	}
	t.swept = now
	for instance, hashes := range t.of {
		kept := slices.DeleteFunc(hashes, func(h remit.Digest) bool {
			if now.Before(t.byHash[h].notAfter) {
				return false
			}
			delete(t.byHash, h)
			return true
		})
		if len(kept) == 0 {
			delete(t.of, instance)
			continue
		}
		t.of[instance] = kept
	}
}

// End ends every token of an instance. Instances.Secret is asked at each call as well, so a token is dead even where
// nobody called End.
func (t *Tokens) End(instance remit.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.of[instance] {
		delete(t.byHash, h)
	}
	delete(t.of, instance)
}

// Authenticator is the gateway.Authenticator of one gateway.
func (t *Tokens) Authenticator(gateway string) *Authenticator {
	return &Authenticator{tokens: t, gateway: gateway}
}

// Authenticator says which instance calls one gateway: by a token, as Bearer or as the password of Basic, or by the
// instance's X.509-SVID in mutual TLS, or by both of the same instance.
type Authenticator struct {
	tokens  *Tokens
	gateway string
}

// Authenticate returns the caller only while the instance is live. Its errors have the code Unauthenticated.
func (a *Authenticator) Authenticate(r *http.Request) (remit.Caller, error) {
	job, isJob, err := a.tokens.ByProof(r)
	if err != nil {
		return remit.Caller{}, err
	}
	text, hasToken := "", isJob
	if !isJob {
		if text, hasToken, err = bearer(r, true); err != nil {
			return remit.Caller{}, err
		}
	}
	hasCert := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	if !hasToken && !hasCert {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "nobody proved who is calling; run the command under `remit run`, which gives it a token")
	}
	var caller remit.Caller
	switch {
	case isJob:
		caller, err = a.byProof(job)
	case hasToken:
		caller, err = a.byToken(text)
	}
	if err != nil {
		return remit.Caller{}, err
	}
	if !hasCert {
		return caller, nil
	}
	byCert, err := a.bySVID(r)
	if err != nil {
		return remit.Caller{}, err
	}
	if hasToken && byCert != caller {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the token is of instance %s and the certificate of instance %s; send those of one instance", caller.Instance, byCert.Instance)
	}
	return byCert, nil
}

func (a *Authenticator) byToken(text string) (remit.Caller, error) {
	t := a.tokens
	hash, ok := parseSecret(tokenPrefix, text)
	if !ok {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "this is not one of Remit's tokens, which are %s and %d characters; run the command under `remit run`", tokenPrefix, secretChars)
	}
	t.mu.Lock()
	k, ok := t.byHash[hash]
	t.mu.Unlock()
	// One sentence for unknown, expired and ended: a stranger who guesses learns nothing, and the way on is the same.
	if !ok || !t.now().Before(k.notAfter) {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the token is unknown here or its time is over; `remit run` renews it, so run the command under it")
	}
	if k.gateway != a.gateway {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the token is for the gateway %s and good at no other; ask for one for %s", k.gateway, a.gateway)
	}
	_, caller, live := t.instances.Secret(k.caller.Instance)
	if !live || caller != k.caller {
		return remit.Caller{}, ended(k.caller.Instance)
	}
	return caller, nil
}

// bySVID reads the client certificate as X509-SVID §5.2 says. crypto/tls verified the chain when the connection began;
// connections outlive SVIDs, so time is judged again at each request.
func (a *Authenticator) bySVID(r *http.Request) (remit.Caller, error) {
	t := a.tokens
	leaf := r.TLS.PeerCertificates[0]
	if len(r.TLS.VerifiedChains) == 0 {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the client certificate was not verified")
	}
	if now := t.now(); now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter) {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the client certificate is good from %s to %s; fetch a new SVID and connect again", stamp(leaf.NotBefore), stamp(leaf.NotAfter))
	}
	id, err := svidID(leaf)
	if err != nil {
		return remit.Caller{}, err
	}
	agent, instance, err := ParseInstanceID(t.domain, id)
	if err != nil {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the client certificate is not an instance's: %w", err)
	}
	_, caller, live := t.instances.Secret(instance)
	if !live || caller.Instance != instance || caller.Agent != agent {
		return remit.Caller{}, ended(instance)
	}
	return caller, nil
}

// svidID is the SPIFFE ID of a leaf, which is no authority and has exactly one URI SAN.
func svidID(leaf *x509.Certificate) (spiffeid.ID, error) {
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return spiffeid.ID{}, remit.Errorf(remit.Unauthenticated, "the client certificate is not a leaf for signatures")
	}
	if len(leaf.URIs) != 1 {
		return spiffeid.ID{}, remit.Errorf(remit.Unauthenticated, "the client certificate has %d URI SANs; an SVID has one", len(leaf.URIs))
	}
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil {
		return spiffeid.ID{}, remit.Errorf(remit.Unauthenticated, "the client certificate names no SPIFFE ID: %w", err)
	}
	return id, nil
}

func ended(instance remit.ID) *remit.Error {
	return remit.Errorf(remit.Unauthenticated, "instance %s has ended or was never started; start the command again under `remit run`", instance)
}
