package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const jwkHash = crypto.SHA256

// ProofKey is the key with which a client proves that it sends a request itself. It does not print.
type ProofKey struct{ key *ecdsa.PrivateKey }

// NewProofKey makes a key for one job.
func NewProofKey() (ProofKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return ProofKey{}, fmt.Errorf("making a key for DPoP: %w", err)
	}
	return ProofKey{k}, nil
}

// ParseProofKey reads what Encode writes.
func ParseProofKey(der []byte) (ProofKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return ProofKey{}, fmt.Errorf("the key for DPoP cannot be read: %w", err)
	}
	e, ok := k.(*ecdsa.PrivateKey)
	if !ok || e.Curve != elliptic.P256() {
		return ProofKey{}, fmt.Errorf("the key for DPoP is not a P-256 key")
	}
	return ProofKey{e}, nil
}

// Encode is the key as PKCS #8, for a file that only its owner reads.
func (k ProofKey) Encode() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.key) }

// String never shows the key.
func (ProofKey) String() string { return "[key]" }

// GoString never shows the key.
func (ProofKey) GoString() string { return "[key]" }

// Proof is the DPoP header of one request: with the access token that goes with it, unless there is none yet, and the
// nonce that the server gave last, unless it gave none yet.
func (k ProofKey) Proof(method, target, token, nonce string, at time.Time) (string, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(dpopType))
	if err != nil {
		return "", fmt.Errorf("making a DPoP proof: %w", err)
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	claims := map[string]any{"jti": base64.RawURLEncoding.EncodeToString(id[:]), "htm": method, "htu": target, "iat": at.Unix()}
	if token != "" {
		claims["ath"] = tokenHash(token)
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("making a DPoP proof: %w", err)
	}
	jws, err := s.Sign(body)
	if err != nil {
		return "", fmt.Errorf("making a DPoP proof: %w", err)
	}
	return jws.CompactSerialize()
}
