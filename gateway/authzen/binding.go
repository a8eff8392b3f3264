package authzen

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
)

// macSize is how much of an HMAC stands in what this point hands out, in bytes.
const macSize = 16

// maxToken is the longest token of our own that is looked at, in bytes.
const maxToken = 8 << 10

// The types of our tokens (RFC 8725 §3.11): one is never good for the other.
const (
	bindingType  = "authzen-binding+jwt"
	approvalType = "authzen-approval+jwt"
)

// machinery are members of a context that belong to the profile, and volatile those that differ from one request to the
// next: neither binds (profile, Terminology, Authorization-Relevant Context).
var (
	machinery = []string{"access_request", "approval", "evaluation_id", "evaluated_at", "reason"}
	volatile  = []string{"time", "nonce", "request_id", "trace_id"}
)

// relevant are the members of a context that bind: those that are neither machinery nor volatile, sorted.
func relevant(ctx map[string]json.RawMessage) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(ctx)), func(name string) bool { return slices.Contains(machinery, name) || slices.Contains(volatile, name) })
}

// canonical is v as RFC 8785 writes it.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the request cannot be written down: %w", err)
	}
	if b, err = jcs.Transform(b); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the request has no canonical form (RFC 8785): %w", err)
	}
	return b, nil
}

// bind is the profile's binding_hash: of subject without its actor, resource, action, and the members of the context that
// bind.
func (q Question) bind(members []string) (string, error) {
	subject := maps.Clone(q.Subject.all)
	if _, ok := q.Subject.Properties["act"]; ok {
		rest := maps.Clone(q.Subject.Properties)
		delete(rest, "act")
		b, err := json.Marshal(rest)
		if err != nil {
			return "", remit.Errorf(remit.BadRequest, "subject.properties cannot be written down: %w", err)
		}
		subject["properties"] = b
	}
	return q.bindAs(subject, members)
}

func (q Question) bindAs(subject map[string]json.RawMessage, members []string) (string, error) {
	context := map[string]json.RawMessage{}
	for _, name := range members {
		if v, ok := q.Context[name]; ok {
			context[name] = v
		}
	}
	b, err := canonical(map[string]any{"subject": subject, "resource": q.Resource.all, "action": q.Action.all, "context": context})
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(h[:]), nil
}

// isBound tells whether q is the question of a binding_hash. An actor that was the only property may have been moved to
// client.actor with all of properties (profile, PEP Processing Rules): then nothing of the subject is left out.
func (q Question) isBound(hash string, members []string) (bool, error) {
	got, err := q.bind(members)
	if err != nil || got == hash {
		return err == nil, err
	}
	if _, ok := q.Subject.all["properties"]; ok {
		return false, nil
	}
	subject := maps.Clone(q.Subject.all)
	subject["properties"] = json.RawMessage("{}")
	got, err = q.bindAs(subject, members)
	return err == nil && got == hash, err
}

// claims are those of both of our tokens (profile, Denial Binding Claims).
type claims struct {
	Issuer   string     `json:"iss"`
	Audience string     `json:"aud"`
	Issued   int64      `json:"iat"`
	Expires  int64      `json:"exp"`
	ID       string     `json:"jti"`
	Task     remit.ID   `json:"remit_task"` // whose question it was
	Hash     string     `json:"binding_hash"`
	Members  []string   `json:"binding_context_members"`
	Denial   *time.Time `json:"denial_expires_at,omitempty"`
	Eval     string     `json:"evaluation_id,omitempty"`
	Approval string     `json:"approval_id,omitempty"`
}

// signer signs tokens with one P-256 key.
type signer struct {
	key *ecdsa.PrivateKey
	kid string
	set []byte // its public key, as a JWK set
}

func newSigner(key *ecdsa.PrivateKey) (s signer, err error) {
	if key == nil || key.Curve != elliptic.P256() {
		return s, errors.New("the key of binding tokens is not a P-256 key")
	}
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return s, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	s.key, s.kid = key, public.KeyID
	s.set, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	return s, err
}

func (s signer) sign(typ string, c claims) (string, error) {
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.kid}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed, err := js.Sign(b)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// verify gives the claims of a token of ours of one type that was made for this point.
func (s signer) verify(typ, token, base string) (c claims, err error) {
	if len(token) > maxToken {
		return c, errors.New("it is longer than any of ours")
	}
	js, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return c, errors.New("it is no JWS in compact serialization with ES256")
	}
	head := js.Signatures[0].Protected
	if t, _ := head.ExtraHeaders[jose.HeaderType].(string); t != typ || head.KeyID != s.kid {
		return c, errors.New("it is another kind of token, or of another key")
	}
	body, err := js.Verify(s.key.Public())
	if err != nil {
		return c, errors.New("its signature is not of this decision point")
	}
	if err := remit.DecodeStrict(bytes.NewReader(body), maxToken, &c); err != nil {
		return c, errors.New("its claims are not ours")
	}
	if c.Issuer != base || c.Audience != base {
		return c, errors.New("it was made by or for another decision point")
	}
	return c, nil
}

// keys serves the key set by which others check what this point signs.
func (p *Point) keys(w http.ResponseWriter, r *http.Request) {
	p.echo(w, r)
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(p.signs.set) // the client is gone: there is nobody to tell
}

// mac proves that this point made something, for one use.
func (p *Point) mac(use string, b []byte) []byte {
	h := hmac.New(sha256.New, p.Seal[:])
	h.Write([]byte("remit authzen " + use + "\n" + p.Base + "\n"))
	h.Write(b)
	return h.Sum(nil)[:macSize]
}

// Handles: opaque names of an access request that nobody can guess (profile, Task Handle Leakage). They are no secret
// either: each use of one is authorized by itself.
const (
	taskHandle     = "arq_"
	approvalHandle = "apr_"
)

func (p *Point) handle(kind string, id remit.ID) string {
	return kind + base64.RawURLEncoding.EncodeToString(append(p.mac(kind, []byte(id)), id...))
}

// handled is the access request of a handle of one kind.
func (p *Point) handled(kind, handle string) (remit.ID, bool) {
	text, ok := strings.CutPrefix(handle, kind)
	if !ok || len(text) > 256 {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= macSize || !hmac.Equal(b[:macSize], p.mac(kind, b[macSize:])) {
		return "", false
	}
	return remit.ID(b[macSize:]), true
}
