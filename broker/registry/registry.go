// Package registry makes credentials for OCI registries that trust Remit as their token server: a JSON Web Token for one
// repository, good for a minute or two (distribution, "Token Authentication Implementation"). Nothing is made at the
// registry, so there is nothing to revoke: a token ends by its own clock.
package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

const (
	// Longest is the life of a token. Registries allow a minute of skew on top.
	Longest = 2 * time.Minute
	// skew is what distribution allows after the end of a token (its Leeway).
	skew = time.Minute
)

// Config of a TokenSigner. Key, Issuer and Service are required.
type Config struct {
	Key     crypto.Signer // ECDSA P-256 or Ed25519
	Issuer  string        // auth.token.issuer of the registry's configuration
	Service func(remit.Upstream) string
	// Client reaches an upstream: that one host, with its declared certificates, and no redirects.
	Client func(context.Context, remit.Upstream) (*http.Client, error)
	Now    func() time.Time // that of the machine
	Random io.Reader        // crypto/rand
}

// TokenSigner is the provider of kind registry, and the signer behind it.
type TokenSigner struct {
	Config
	signer jose.Signer
	keys   []byte
}

var _ broker.Provider = (*TokenSigner)(nil)

// New checks c.
func New(c Config) (*TokenSigner, error) {
	if c.Key == nil || c.Issuer == "" || c.Service == nil || c.Client == nil {
		return nil, errors.New("broker/registry: Key, Issuer, Service and Client are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	alg := jose.EdDSA
	switch k := c.Key.Public().(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("broker/registry: an ECDSA key is on P-256")
		}
		alg = jose.ES256
	default:
		return nil, errors.New("broker/registry: the key is to be ECDSA on P-256, or Ed25519")
	}
	public := jose.JSONWebKey{Key: c.Key.Public(), Algorithm: string(alg), Use: "sig"}
	// RFC 7638. Distribution gives the keys of rootcertbundle this name too; keys of a jwks file keep the name in it.
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming the key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	t := &TokenSigner{Config: c}
	if t.keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}); err != nil {
		return nil, err
	}
	private := jose.JSONWebKey{Key: c.Key, KeyID: public.KeyID, Algorithm: string(alg), Use: "sig"}
	t.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
	return t, err
}

// Keys is the JWK set (RFC 7517) of the public key: auth.token.jwks of the registry's configuration.
func (t *TokenSigner) Keys() []byte { return t.keys }

// access is what a token lets its bearer do (distribution, "Token Authentication Specification").
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// Sign makes a token for one repository of an upstream.
func (t *TokenSigner) Sign(up remit.Upstream, subject, repository string, write bool, notAfter time.Time) (broker.Secret, error) {
	now := t.Now()
	end := now.Add(Longest)
	if notAfter.Before(end) {
		end = notAfter
	}
	end = end.Truncate(time.Second) // never later than was asked
	if !now.Before(end) {
		return broker.Secret{}, remit.Errorf(remit.Expired, "the time for the token of %s is over", repository)
	}
	var id [16]byte
	if _, err := io.ReadFull(t.Random, id[:]); err != nil {
		return broker.Secret{}, fmt.Errorf("naming a token: %w", err)
	}
	jti := base64.RawURLEncoding.EncodeToString(id[:])
	actions := []string{"pull"}
	if write {
		actions = []string{"pull", "push"} // never delete
	}
	value, err := jwt.Signed(t.signer).Claims(jwt.Claims{
		Issuer: t.Issuer, Subject: subject, Audience: jwt.Audience{t.Service(up)}, ID: jti,
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-time.Second)), Expiry: jwt.NewNumericDate(end),
	}).Claims(struct {
		Access []access `json:"access"`
	}{[]access{{"repository", repository, actions}}}).Serialize()
	if err != nil {
		return broker.Secret{}, fmt.Errorf("signing a token: %w", err)
	}
	return broker.Secret{Value: value, Handle: jti, NotAfter: end}, nil
}

// Traits: expiry-only.
func (t *TokenSigner) Traits() broker.Traits {
	return broker.Traits{Revocation: remit.RevokeExpiry, Longest: Longest}
}

// Anchor: there is none.
func (t *TokenSigner) Anchor(context.Context, broker.Asked) error { return nil }

// Mint signs a token for the one artifact of the lease.
func (t *TokenSigner) Mint(_ context.Context, a broker.Asked) (broker.Secret, error) {
	repository, err := repositoryOf(a)
	if err != nil {
		return broker.Secret{}, err
	}
	return t.Sign(a.Upstream, a.Name, repository, a.Write, a.NotAfter)
}

// Revoke: nothing but its end ends a token.
func (t *TokenSigner) Revoke(context.Context, broker.Asked, *broker.Secret) error { return nil }

// Probe asks the registry with the token. A lost token cannot be asked with: by its end, and what the registry allows on
// top, it is dead.
func (t *TokenSigner) Probe(ctx context.Context, a broker.Asked, s *broker.Secret) (broker.Life, error) {
	end := a.NotAfter
	if s != nil && !s.NotAfter.IsZero() {
		end = s.NotAfter
	}
	if s == nil {
		if !end.IsZero() && t.Now().After(end.Add(skew)) {
			return broker.Dead, nil
		}
		return broker.Unknown, nil
	}
	repository, err := repositoryOf(a)
	if err != nil {
		return broker.Unknown, err
	}
	client, err := t.Client(ctx, a.Upstream)
	if err != nil {
		return broker.Unknown, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.Upstream.Location, "/")+"/v2/"+repository+"/tags/list", nil)
	if err != nil {
		return broker.Unknown, err
	}
	r.Header.Set("Authorization", "Bearer "+s.Value)
	resp, err := client.Do(r)
	if err != nil {
		return broker.Unknown, remit.Errorf(remit.UpstreamDown, "registry %s does not answer: %w", a.Upstream.Name, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return broker.Dead, nil
	case http.StatusOK, http.StatusNotFound: // it was let in, whether or not there is such a repository
		return broker.Alive, nil
	}
	return broker.Unknown, remit.Errorf(remit.UpstreamDown, "registry %s answers with status %d", a.Upstream.Name, resp.StatusCode)
}

// repositoryOf is the name at the registry of what a lease is for.
func repositoryOf(a broker.Asked) (string, error) {
	name, ok := strings.CutPrefix(string(a.Target), "artifact:"+a.Upstream.Name+"/")
	if !ok || name == "" {
		return "", remit.Errorf(remit.UnknownResource, "registry %s has artifacts artifact:%s/NAME, not %s", a.Upstream.Name, a.Upstream.Name, a.Target)
	}
	return name, nil
}
