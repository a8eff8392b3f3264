package guardian

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/gowebpki/jcs"
)

// algorithm is the one of the registry that ACS-Core asks for (§10.1).
const algorithm = "HMAC-SHA256"

// signature is §10's, of an envelope without it.
type signature struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
	KeyID     string `json:"key_id"`
}

// sessionKey is the key of one session: HKDF (RFC 5869) with SHA-256, no salt, and the session's id as info. The
// specification leaves these inputs open; they are those of its reference implementation.
func sessionKey(shared []byte, session string) ([]byte, error) {
	return hkdf.Key(sha256.New, shared, nil, session, sha256.Size)
}

// without is an object less one member of one of its members, in canonical form (RFC 8785): the signed input.
func without(object map[string]json.RawMessage, part string) ([]byte, error) {
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(object[part], &inner); err != nil {
		return nil, err
	}
	delete(inner, "signature")
	raw, err := json.Marshal(inner)
	if err != nil {
		return nil, err
	}
	outer := make(map[string]json.RawMessage, len(object))
	for name, v := range object {
		outer[name] = v
	}
	outer[part] = raw
	return canonical(outer)
}

func canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(raw)
}

func mac(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

// sign makes the signature of an envelope whose member part gets it.
func sign(key []byte, keyID string, envelope map[string]json.RawMessage, part string) (signature, error) {
	input, err := without(envelope, part)
	if err != nil {
		return signature{}, err
	}
	return signature{algorithm, base64.StdEncoding.EncodeToString(mac(key, input)), keyID}, nil
}

var errSignature = errors.New("the signature does not verify")

// verify checks the signature of a request.
func verify(key []byte, keyID string, envelope map[string]json.RawMessage, s signature) error {
	value, err := base64.StdEncoding.Strict().DecodeString(s.Value)
	if err != nil || s.Algorithm != algorithm || s.KeyID != keyID {
		return errSignature
	}
	input, err := without(envelope, "params")
	if err != nil || !hmac.Equal(value, mac(key, input)) {
		return errSignature
	}
	return nil
}

// entry is a ContextEntry (§8.1) without the two hashes, which are not in its own (§8.2).
type entry struct {
	ID          string          `json:"entry_id"`
	Step        string          `json:"step_id"`
	Type        string          `json:"step_type"`
	RequestHash string          `json:"request_hash,omitempty"`
	Timestamp   string          `json:"timestamp,omitempty"`
	Provenance  json.RawMessage `json:"provenance_summary,omitempty"`
}

// link is the hash of an entry that follows another (§8.2): of its canonical form, then the raw bytes of the hash before.
func link(e entry, previous []byte) ([]byte, error) {
	content, err := canonical(e)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(content, previous...))
	return sum[:], nil
}

// requestHash is §8.1's: of the canonical form of params, as they came.
func requestHash(params json.RawMessage) (string, error) {
	content, err := jcs.Transform(params)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
