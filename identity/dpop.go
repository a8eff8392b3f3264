package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses a member that stands twice

	"github.com/remit-dev/remit"
)

const (
	// ProofLife is how far the iat of a DPoP proof may lie from now, either way.
	ProofLife = time.Minute
	// NonceLife is how long a nonce that the server gave is good.
	NonceLife = 5 * time.Minute

	// DPoPHeader carries a proof, NonceHeader what the next one must hold (RFC 9449 §4.1, §8.2).
	DPoPHeader  = "DPoP"
	NonceHeader = "DPoP-Nonce"

	dpopType  = "dpop+jwt"
	maxProof  = 4 << 10
	maxJTI    = 128
	maxSpent  = 1 << 16 // proofs in a generation; what has a token only gets this far
	nonceSize = 8 + sha256.Size
)

// Reasons of an OAuthError (RFC 6749 §5.2, RFC 8707 §2, RFC 9449 §5 and §8).
const (
	InvalidRequest = "invalid_request"
	InvalidTarget  = "invalid_target"
	InvalidProof   = "invalid_dpop_proof"
	UseNonce       = "use_dpop_nonce"
)

// OAuthError is a refusal in the words of OAuth, for programs, around one in ours.
type OAuthError struct {
	Reason string
	Err    *remit.Error
}

func (e *OAuthError) Error() string { return e.Err.Error() }
func (e *OAuthError) Unwrap() error { return e.Err }

func badProof(format string, args ...any) error {
	return &OAuthError{InvalidProof, remit.Errorf(remit.Unauthenticated, "the DPoP proof is refused: "+format, args...)}
}

// proofAlgs are the signatures of proofs. RFC 9449 §4.2 wants asymmetric ones; both of these are hard to get wrong.
var proofAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA}

// ProofAlgs names the signatures of proofs.
func ProofAlgs() (names []string) {
	for _, a := range proofAlgs {
		names = append(names, string(a))
	}
	return names
}

// Proofs checks DPoP proofs (RFC 9449), which show that whoever sends a request holds a key. Every proof must hold a
// nonce of ours, so none that was made before this process began is good after it: what was spent needs no disk.
type Proofs struct {
	now func() time.Time
	key [32]byte // of nonces

	mu         sync.Mutex
	spent, old map[remit.Digest]struct{} // two generations, each at least as long as a proof may live
	turned     time.Time
}

// NewProofs begins with nothing spent.
func NewProofs(now func() time.Time) *Proofs {
	p := &Proofs{now: now, spent: map[remit.Digest]struct{}{}}
	_, _ = rand.Read(p.key[:]) // never fails
	return p
}

// Nonce is what a proof must hold that is sent within NonceLife.
func (p *Proofs) Nonce() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.now().Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.nonceMAC(b)...))
}

func (p *Proofs) nonceMAC(stamp []byte) []byte {
	m := hmac.New(sha256.New, p.key[:])
	m.Write(stamp)
	return m.Sum(nil)
}

func (p *Proofs) ours(nonce string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceSize || !hmac.Equal(p.nonceMAC(b[:8]), b[8:]) {
		return false
	}
	age := p.now().Sub(time.Unix(int64(binary.BigEndian.Uint64(b)), 0))
	return age > -ProofLife && age <= NonceLife
}

// Proof is a proof that was good when it was checked.
type Proof struct {
	Thumbprint string // of its key: RFC 7638, SHA-256, base64url
	id         remit.Digest
}

// proofClaims are the claims of RFC 9449 §4.2.
type proofClaims struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	At     *int64 `json:"iat"`
	Nonce  string `json:"nonce"`
	Token  string `json:"ath"`
}

// Check does what RFC 9449 §4.3 lists for the proof of r, a request to target. token is the access token that came with
// it; empty at the token endpoint, where there is none yet. A proof that is good is still to be spent.
func (p *Proofs) Check(r *http.Request, target, token string) (Proof, error) {
	lines := r.Header.Values(DPoPHeader)
	if len(lines) != 1 {
		return Proof{}, badProof("the request has %d DPoP headers; send one", len(lines))
	}
	key, claims, err := parseProof(lines[0])
	if err != nil {
		return Proof{}, err
	}
	switch {
	case claims.ID == "" || len(claims.ID) > maxJTI:
		return Proof{}, badProof("jti has %d bytes; it has 1 to %d", len(claims.ID), maxJTI)
	case claims.Method != r.Method:
		return Proof{}, badProof("htm is %.16q and the request a %s", claims.Method, r.Method)
	case !sameTarget(claims.URL, target):
		return Proof{}, badProof("htu is %.200q and the request goes to %s", claims.URL, target)
	case claims.At == nil:
		return Proof{}, badProof("iat is missing")
	}
	if at, now := *claims.At, p.now(); at < now.Add(-ProofLife).Unix() || at > now.Add(ProofLife).Unix() {
		return Proof{}, badProof("iat is %d and it is %d here; set the clock", at, now.Unix())
	}
	if token != "" && claims.Token != tokenHash(token) {
		return Proof{}, badProof("ath is not the SHA-256 of the access token")
	}
	if !p.ours(claims.Nonce) {
		return Proof{}, &OAuthError{UseNonce, remit.Errorf(remit.Unauthenticated, "the DPoP proof needs the nonce of the header %s of this answer", NonceHeader)}
	}
	thumb, err := key.Thumbprint(jwkHash)
	if err != nil {
		return Proof{}, badProof("its key has no thumbprint: %w", err)
	}
	t := base64.RawURLEncoding.EncodeToString(thumb)
	return Proof{Thumbprint: t, id: remit.Hash([]byte(t + "\x00" + claims.ID))}, nil
}

// Spend makes a proof good once (RFC 9449 §11.1). It is called when whoever sent it has shown more than a key of their
// own making, so that strangers cannot fill the memory.
func (p *Proofs) Spend(proof Proof) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); now.Sub(p.turned) > 2*ProofLife {
		if now.Sub(p.turned) > 4*ProofLife {
			clear(p.spent)
		}
		p.old, p.spent, p.turned = p.spent, map[remit.Digest]struct{}{}, now
	}
	_, now := p.spent[proof.id]
	_, before := p.old[proof.id]
	if now || before {
		return badProof("it was used before; make one for each request")
	}
	if len(p.spent) >= maxSpent {
		return remit.Errorf(remit.Overload, "more DPoP proofs came in than are kept; try again in %s", 2*ProofLife)
	}
	p.spent[proof.id] = struct{}{}
	return nil
}

// parseProof reads a proof and verifies its signature with the key in its header, which is whose it is.
func parseProof(text string) (jose.JSONWebKey, proofClaims, error) {
	var c proofClaims
	if len(text) > maxProof {
		return jose.JSONWebKey{}, c, badProof("it has %d bytes; at most %d", len(text), maxProof)
	}
	jws, err := jose.ParseSignedCompact(text, proofAlgs)
	if err != nil {
		return jose.JSONWebKey{}, c, badProof("%w", err)
	}
	head := jws.Signatures[0].Protected
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); typ != dpopType {
		return jose.JSONWebKey{}, c, badProof("its typ is %.32q, not %s", typ, dpopType)
	}
	key := head.JSONWebKey
	if key == nil || !key.Valid() || !key.IsPublic() {
		return jose.JSONWebKey{}, c, badProof("its header needs jwk, a public key and nothing private")
	}
	if !signs(*key, jose.SignatureAlgorithm(head.Algorithm)) {
		return jose.JSONWebKey{}, c, badProof("its key does not make %.16s; use a P-256 key for ES256 or an Ed25519 key for EdDSA", head.Algorithm)
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return jose.JSONWebKey{}, c, badProof("the signature is not of the key in it")
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return jose.JSONWebKey{}, c, badProof("its claims cannot be read: %w", err)
	}
	return *key, c, nil
}

// sameTarget compares htu with where a request went: without query and fragment, after the normalization of RFC 3986
// §6.2.2 and §6.2.3 (RFC 9449 §4.3).
func sameTarget(htu, target string) bool {
	a, b := normal(htu), normal(target)
	return a != "" && a == b
}

func normal(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme])
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path
}

func tokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}
