package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"

	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/remit-dev/remit"
)

// PayloadType is in-toto's.
const PayloadType = "application/vnd.in-toto+json"

// MaxEnvelope is the largest envelope that is read, in bytes.
const MaxEnvelope = 1 << 20

// Signer holds a key: in a file, or behind a process or device that signs.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) ([]byte, error) // Ed25519, RFC 8032 §5.1
}

// Sign puts a statement into a DSSE envelope, as JSON.
func Sign(ctx context.Context, statement []byte, s Signer) ([]byte, error) {
	es, err := dsse.NewEnvelopeSigner(signer{s})
	if err != nil {
		return nil, err
	}
	e, err := es.SignPayload(ctx, PayloadType, statement)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

type signer struct{ Signer }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) { return s.Signer.Sign(data) }
func (s signer) KeyID() (string, error)                              { return dsse.SHA256KeyID(s.Signer.Public()) }

type verifier struct{ key ed25519.PublicKey }

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.key, data, sig) {
		return errors.New("the signature is not of that key")
	}
	return nil
}
func (v verifier) KeyID() (string, error)   { return dsse.SHA256KeyID(v.key) }
func (v verifier) Public() crypto.PublicKey { return v.key }

// Statement is a statement whose signature was verified.
type Statement struct {
	PredicateType string          `json:"predicate_type"`
	Subjects      []Subject       `json:"subjects"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Subject is one of the things that a statement is about.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}

// About tells whether a is among the subjects.
func (s Statement) About(a remit.Artifact) bool {
	for _, sub := range s.Subjects {
		if sub.URI == string(a.Resource) && "sha256:"+sub.Digest["sha256"] == a.Digest {
			return true
		}
	}
	return false
}

// Verify reads an envelope that key signed. Nothing in it is believed before that.
func Verify(ctx context.Context, envelope []byte, key ed25519.PublicKey) (Statement, error) {
	bad := func(format string, args ...any) (Statement, error) {
		return Statement{}, remit.Errorf(remit.BadRequest, format, args...)
	}
	if len(key) != ed25519.PublicKeySize {
		return bad("an Ed25519 key has %d bytes, not %d", ed25519.PublicKeySize, len(key))
	}
	var e dsse.Envelope
	if err := remit.DecodeStrict(bytes.NewReader(envelope), MaxEnvelope, &e); err != nil {
		return bad("this is no DSSE envelope: %w", err)
	}
	if e.PayloadType != PayloadType {
		return bad("the envelope holds %.100q, not %s", e.PayloadType, PayloadType)
	}
	if len(e.Signatures) == 0 || len(e.Signatures) > 16 {
		return bad("the envelope has %d signatures; it is to have 1 to 16", len(e.Signatures))
	}
	ev, err := dsse.NewEnvelopeVerifier(verifier{key})
	if err != nil {
		return Statement{}, err
	}
	_, body, err := ev.VerifyAndDecode(ctx, &e)
	if err != nil {
		return bad("no signature of the envelope is by that key: %w", err)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(body, &s); err != nil {
		return bad("what was signed is no in-toto statement: %w", err)
	}
	if s.GetType() != intoto.StatementTypeUri {
		return bad("what was signed is of type %.100q, not %s", s.GetType(), intoto.StatementTypeUri)
	}
	if err := s.Validate(); err != nil {
		return bad("what was signed is no in-toto statement: %w", err)
	}
	out := Statement{PredicateType: s.GetPredicateType()}
	for _, d := range s.GetSubject() {
		out.Subjects = append(out.Subjects, Subject{d.GetName(), d.GetUri(), d.GetDigest()})
	}
	p, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		return bad("the predicate cannot be read: %w", err)
	}
	out.Predicate, err = canonical(p)
	return out, err
}

// ParseKey reads an Ed25519 public key: PEM (SubjectPublicKeyInfo), or the verifier key of a log, NAME+HASH+KEY, whose
// hash is not looked at.
func ParseKey(text []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(text); block != nil {
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if ed, ok := k.(ed25519.PublicKey); err == nil && ok && block.Type == "PUBLIC KEY" {
			return ed, nil
		}
		return nil, remit.Errorf(remit.BadRequest, "the PEM block %.40q holds no Ed25519 public key", block.Type)
	}
	// golang.org/x/mod/sumdb/note: the first byte of the key is its algorithm, 1 for Ed25519.
	parts := strings.SplitN(strings.TrimSpace(string(text)), "+", 3)
	if len(parts) == 3 {
		if b, err := base64.StdEncoding.DecodeString(parts[2]); err == nil && len(b) == 1+ed25519.PublicKeySize && b[0] == 1 {
			return b[1:], nil
		}
	}
	return nil, remit.Errorf(remit.BadRequest, "this is neither a public key in PEM nor a verifier key NAME+HASH+KEY, of Ed25519")
}

// FormatKey writes a key as PEM.
func FormatKey(k ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
