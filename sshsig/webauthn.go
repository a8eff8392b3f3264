package sshsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// A passkey is an sk-ecdsa-sha2-nistp256@openssh.com key whose application is the RP ID of a web site (WebAuthn L3 §4)
// instead of "ssh:…". What it signs is an SSH signature of the format below, which OpenSSH has for web browsers since
// 8.4 (PROTOCOL.u2f): the WebAuthn challenge is what another SSH key would sign.

// webauthnFormat is the format of a passkey's signature: beside the signature, flags and counter of a FIDO key it holds
// the origin, the client data and the extensions, without which nobody could check it.
const webauthnFormat = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

const (
	// maxClientData bounds clientDataJSON, in bytes: browsers write about 300.
	maxClientData = 2 << 10
	// maxExtensions bounds the authenticator's extensions, in bytes.
	maxExtensions = 1 << 10
	maxOrigin     = 300
)

// Flags of the authenticator data, WebAuthn L3 §6.1.
const (
	userVerified  = 0x04
	attestedData  = 0x40
	extensionData = 0x80
)

// Assertion is what an authenticator signed for a web page (WebAuthn L3 §5.2.2), as the browser hands it out.
type Assertion struct {
	ClientData    []byte // clientDataJSON
	Authenticator []byte // authenticatorData
	Signature     []byte // ASN.1 DER
}

// NewPasskey is the SSH key of a passkey that was made for rpID.
func NewPasskey(pub *ecdsa.PublicKey, rpID string) (ssh.PublicKey, error) {
	if pub == nil || pub.Curve != elliptic.P256() {
		return nil, errors.New("a passkey is an ECDSA key on the curve P-256 (ES256)")
	}
	point, err := pub.Bytes()
	if err != nil {
		return nil, fmt.Errorf("the passkey is no point of its curve: %w", err)
	}
	if !relyingParty(rpID) {
		return nil, fmt.Errorf("%q is no RP ID; it should be a lower-case domain name, or localhost", rpID)
	}
	return ParseKey(ssh.Marshal(struct{ Type, Curve, Point, Application string }{ssh.KeyAlgoSKECDSA256, "nistp256", string(point), rpID}))
}

// Passkey gives the RP ID of a passkey; ok is false for every other key.
func Passkey(pub ssh.PublicKey) (rpID string, ok bool) {
	app, err := application(pub)
	return app, err == nil && pub.Type() == ssh.KeyAlgoSKECDSA256 && !strings.HasPrefix(app, "ssh:")
}

// Challenge is the WebAuthn challenge whose assertion is a signature of message for namespace: the blob that any SSH key
// would sign (PROTOCOL.sshsig), with SHA-512.
func Challenge(namespace string, message []byte) []byte {
	h := sha512.Sum512(message)
	return toBeSigned(namespace, sshsig.HashSHA512, h[:])
}

func toBeSigned(namespace string, algorithm sshsig.HashAlgorithm, hash []byte) []byte {
	// PROTOCOL.sshsig §3: the preamble is six bytes without a length.
	return append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Algorithm string
		Hash                           []byte
	}{namespace, "", algorithm.String(), hash})...)
}

// FromAssertion makes the armored signature of message for namespace from what the passkey pub signed when it was given
// Challenge. It is verified before it is handed out.
func FromAssertion(pub ssh.PublicKey, namespace string, message []byte, a Assertion) ([]byte, error) {
	rpID, ok := Passkey(pub)
	if !ok {
		return nil, errors.New("only a passkey signs for a web page, and this key is none")
	}
	if len(a.ClientData) > maxClientData {
		return nil, fmt.Errorf("the client data has %d bytes; at most %d are read", len(a.ClientData), maxClientData)
	}
	d, err := parseClientData(a.ClientData)
	if err != nil {
		return nil, err
	}
	// WebAuthn L3 §6.1: rpIdHash, flags, signCount, then the extensions; an assertion has no attested key.
	app := sha256.Sum256([]byte(rpID))
	if len(a.Authenticator) < 37 || len(a.Authenticator) > 37+maxExtensions {
		return nil, fmt.Errorf("the authenticator data has %d bytes; it should be 37 to %d", len(a.Authenticator), 37+maxExtensions)
	}
	if !bytes.Equal(a.Authenticator[:32], app[:]) {
		return nil, fmt.Errorf("the passkey signed for another site than %s", rpID)
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(a.Signature, &rs); err != nil || len(rest) != 0 {
		return nil, errors.New("the passkey's signature is not one ASN.1 ECDSA signature")
	}
	sig := &sshsig.Signature{Version: 1, PublicKey: pub, Namespace: namespace, HashAlgorithm: sshsig.HashSHA512, Signature: &ssh.Signature{
		Format: webauthnFormat,
		Blob:   ssh.Marshal(rs),
		Rest: ssh.Marshal(webauthnRest{Flags: a.Authenticator[32], Counter: binary.BigEndian.Uint32(a.Authenticator[33:37]),
			Origin: d.origin, ClientData: a.ClientData, Extensions: a.Authenticator[37:]}),
	}}
	armored := sshsig.Armor(sig)
	if _, err := Verify(pub, namespace, message, armored); err != nil {
		return nil, err
	}
	return armored, nil
}

// Origin is the web origin at which a passkey made an armored signature; empty for the signature of any other key. Verify
// knows only that it fits the passkey's RP ID: whoever serves one origin of a domain compares.
func Origin(armored []byte) (string, error) {
	sig, err := parse(armored)
	if err != nil || sig.Signature.Format != webauthnFormat {
		return "", err
	}
	var rest webauthnRest
	if err := ssh.Unmarshal(sig.Signature.Rest, &rest); err != nil {
		return "", fmt.Errorf("the passkey's signature does not parse: %w", err)
	}
	return rest.Origin, nil
}

// webauthnRest is what follows the signature itself (PROTOCOL.u2f, "webauthn signatures").
type webauthnRest struct {
	Flags      byte
	Counter    uint32
	Origin     string
	ClientData []byte
	Extensions []byte
}

// signed is what the passkey of a site signed: authenticatorData ‖ SHA-256(clientDataJSON) (WebAuthn L3 §6.3.3).
func (r webauthnRest) signed(rpID string) []byte {
	app, client := sha256.Sum256([]byte(rpID)), sha256.Sum256(r.ClientData)
	return slices.Concat(app[:], []byte{r.Flags}, binary.BigEndian.AppendUint32(nil, r.Counter), r.Extensions, client[:])
}

// Plain is the signature of a passkey without SSH around it, for any program that verifies ECDSA with SHA-256.
type Plain struct {
	Signed     []byte // authenticatorData ‖ SHA-256(clientDataJSON)
	Signature  []byte // ASN.1
	ClientData []byte // clientDataJSON; its challenge is Challenge of the namespace and the message
}

// AsPlain takes a passkey's armored signature apart; ok is false for the signature of any other key. It verifies nothing.
func AsPlain(armored []byte) (p Plain, ok bool, err error) {
	sig, err := parse(armored)
	if err != nil || sig.Signature.Format != webauthnFormat {
		return p, false, err
	}
	var rest webauthnRest
	var rs struct{ R, S *big.Int }
	rpID, passkey := Passkey(sig.PublicKey)
	if !passkey || ssh.Unmarshal(sig.Signature.Rest, &rest) != nil || ssh.Unmarshal(sig.Signature.Blob, &rs) != nil {
		return p, false, errors.New("the passkey's signature does not parse")
	}
	p.Signed, p.ClientData = rest.signed(rpID), rest.ClientData
	p.Signature, err = asn1.Marshal(rs)
	return p, err == nil, err
}

// verifyPasskey judges the signature of a passkey (WebAuthn L3 §7.2). It accepts nothing that OpenSSH refuses.
func verifyPasskey(pub ssh.PublicKey, rpID string, sig *sshsig.Signature, message []byte) error {
	var rest webauthnRest
	var rs struct{ R, S *big.Int }
	switch {
	case sig.Signature.Format != webauthnFormat:
		return fmt.Errorf("the signature has the format %q; a passkey's is %q", sig.Signature.Format, webauthnFormat)
	case ssh.Unmarshal(sig.Signature.Rest, &rest) != nil || !bytes.Equal(ssh.Marshal(rest), sig.Signature.Rest):
		return errors.New("the passkey's signature is not in its one encoding")
	case ssh.Unmarshal(sig.Signature.Blob, &rs) != nil || !bytes.Equal(ssh.Marshal(rs), sig.Signature.Blob):
		return errors.New("the passkey's signature is not in its one encoding")
	case len(rest.ClientData) > maxClientData || len(rest.Extensions) > maxExtensions:
		return errors.New("the passkey's signature is larger than any browser makes one")
	case rest.Flags&userPresent == 0:
		return errors.New("the passkey did not see a touch: its signature lacks the user-presence flag")
	case rest.Flags&userVerified == 0:
		return errors.New("the passkey did not verify its user: its signature lacks the user-verification flag; set a PIN, fingerprint or face for it")
	case rest.Flags&attestedData != 0 || rest.Flags&extensionData != 0 != (len(rest.Extensions) != 0):
		return errors.New("the passkey's flags and its data disagree")
	}
	d, err := parseClientData(rest.ClientData)
	if err != nil {
		return err
	}
	if d.origin != rest.Origin || !OriginOf(d.origin, rpID) {
		return fmt.Errorf("the passkey signed at %q, which is not a secure origin of %s", d.origin, rpID)
	}
	if err := sig.HashAlgorithm.Available(); err != nil {
		return fmt.Errorf("the signature does not fit the text and the key: %w", err)
	}
	h := sig.HashAlgorithm.Hash()
	h.Write(message)
	if want := base64.RawURLEncoding.EncodeToString(toBeSigned(sig.Namespace, sig.HashAlgorithm, h.Sum(nil))); d.challenge != want {
		return errors.New("the signature does not fit the text and the key: the passkey was given another challenge")
	}
	point, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("the passkey does not show its point")
	}
	key, ok := point.CryptoPublicKey().(*ecdsa.PublicKey)
	if !ok {
		return errors.New("the passkey is not an ECDSA key")
	}
	digest := sha256.Sum256(rest.signed(rpID))
	if !ecdsa.Verify(key, digest[:], rs.R, rs.S) {
		return errors.New("the signature does not fit the text and the key")
	}
	return nil
}

// clientData is what decides of a clientDataJSON.
type clientData struct {
	challenge string // base64url without padding
	origin    string
}

// parseClientData reads the serialisation that WebAuthn L3 §5.8.1.1 fixes, byte by byte up to crossOrigin: type,
// challenge, origin, then what the browser adds. OpenSSH compares the same prefix. Level 1 browsers leave crossOrigin
// out; where it is true, or a topOrigin is named, another site framed the page.
func parseClientData(b []byte) (clientData, error) {
	var d clientData
	fail := func(what string) (clientData, error) {
		return clientData{}, fmt.Errorf("the passkey's client data is not what WebAuthn says (§5.8.1.1): %s", what)
	}
	if !utf8.Valid(b) || !json.Valid(b) {
		return fail("it is not JSON")
	}
	rest, ok := bytes.CutPrefix(b, []byte(`{"type":"webauthn.get","challenge":"`))
	if !ok {
		return fail("it does not begin with the type webauthn.get and the challenge")
	}
	if d.challenge, rest, ok = cutString(rest); !ok || strings.Trim(d.challenge, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fail("its challenge is not base64url")
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"origin":"`)); !ok {
		return fail("the origin does not follow the challenge")
	}
	if d.origin, rest, ok = cutString(rest); !ok {
		return fail("its origin needs an escape, which no origin does")
	}
	rest, _ = bytes.CutPrefix(rest, []byte(`,"crossOrigin":false`))
	if string(rest) == "}" {
		return d, nil
	}
	// What else there is, is of no account, as long as it says nothing a second time.
	more, ok := bytes.CutPrefix(rest, []byte(","))
	if !ok {
		return fail("something else than further members follows")
	}
	dec := json.NewDecoder(bytes.NewReader(append([]byte("{"), more...)))
	if _, err := dec.Token(); err != nil {
		return fail("its further members are no JSON")
	}
	seen := []string{"type", "challenge", "origin", "crossOrigin", "topOrigin"}
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			return fail("its further members are no JSON")
		}
		text, _ := name.(string)
		if slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, text) }) {
			return fail(fmt.Sprintf("its member %.40q stands twice, is out of its place, or names a page that framed this one", text))
		}
		seen = append(seen, text)
	}
	return d, nil
}

// cutString takes a JSON string without escapes, whose first quote is gone, off b.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	before, after, ok := bytes.Cut(b, []byte(`"`))
	return string(before), after, ok && !bytes.ContainsAny(before, `\`)
}

// OriginOf tells whether a page at origin may use passkeys of rpID (WebAuthn L3 §5.1.4.1): its host is that domain or
// lies below it, and it is reached by TLS, or on this machine.
func OriginOf(origin, rpID string) bool {
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || len(origin) > maxOrigin {
		return false
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port || scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			return false
		}
	}
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if scheme != "https" && (scheme != "http" || !local) {
		return false
	}
	return relyingParty(host) && (host == rpID || strings.HasSuffix(host, "."+rpID))
}

// relyingParty tells whether s can be an RP ID: a lower-case domain name (RFC 1123 §2.1). An address is none.
func relyingParty(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	// A top-level domain is not all digits (RFC 3696 §2), so 127.0.0.1 is none.
	last := labels[len(labels)-1]
	return (len(labels) > 1 || s == "localhost") && strings.Trim(last, "0123456789") != ""
}
