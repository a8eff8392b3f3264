// Package passkey registers passkeys of people and turns what a browser says they signed into signatures of package
// sshsig (WebAuthn Level 3). Nothing of WebAuthn is kept but the SSH key and the id by which a browser finds it.
package passkey

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit/sshsig"
)

const (
	// MaxBody is the largest credential that a browser sends, in bytes of JSON.
	MaxBody = 64 << 10
	// MaxCredential is the longest id of a credential, in bytes (WebAuthn L3 §5.8.3).
	MaxCredential = 1023
	// MaxHandle is the longest user handle, in bytes (WebAuthn L3 §5.4.3).
	MaxHandle = 64
	// timeout is how long a browser waits for its person, in milliseconds (WebAuthn L3 §15.1 recommends five minutes).
	timeout = 300_000
)

// Site is the relying party: the web site that passkeys are made for.
type Site struct {
	ID     string // RP ID, a domain or localhost; passkeys are bound to it for ever
	Name   string // as the authenticator shows it
	Origin string // the one at which its pages are, https://remit.example
}

// NewSite is the site at origin, with the host of origin as its RP ID.
func NewSite(origin, name string) (Site, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return Site{}, fmt.Errorf("the origin %q of passkeys does not parse: %w", origin, err)
	}
	host := u.Hostname()
	if u.Scheme+"://"+u.Host != origin {
		return Site{}, fmt.Errorf("%q is no origin; it should be a scheme and a host, such as https://remit.example", origin)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return Site{}, fmt.Errorf("passkeys are made for a name, and %q has an address; use a domain, or localhost on this machine", origin)
	}
	if !sshsig.OriginOf(origin, host) {
		return Site{}, fmt.Errorf("%q is no origin of passkeys; it should be https:// and a lower-case domain, or http://localhost", origin)
	}
	if name == "" {
		name = host
	}
	return Site{ID: host, Name: name, Origin: origin}, nil
}

// User is whom a passkey is made for.
type User struct {
	Handle []byte // what a browser gives back with each assertion; nothing personal, at most MaxHandle bytes
	Name   string // as the authenticator shows it
}

// Credential is a passkey that was registered. That its owner can sign with it takes a signature.
type Credential struct {
	ID       []byte
	Key      ssh.PublicKey
	BackedUp bool // a copy is kept by its provider (WebAuthn L3 §6.1.3)
}

// Creation is what navigator.credentials.create takes, as JSON with base64url members: a discoverable passkey of ES256
// that verifies its user, without attestation. Credentials in exclude are not made a second time on one authenticator.
func (s Site) Creation(challenge []byte, u User, exclude [][]byte) ([]byte, error) {
	if len(u.Handle) == 0 || len(u.Handle) > MaxHandle || u.Name == "" {
		return nil, fmt.Errorf("a passkey is made for a user with a handle of 1 to %d bytes and a name", MaxHandle)
	}
	return json.Marshal(protocol.CredentialCreation{Response: protocol.PublicKeyCredentialCreationOptions{
		RelyingParty:          protocol.RelyingPartyEntity{CredentialEntity: protocol.CredentialEntity{Name: s.Name}, ID: s.ID},
		User:                  protocol.UserEntity{CredentialEntity: protocol.CredentialEntity{Name: u.Name}, DisplayName: u.Name, ID: protocol.URLEncodedBase64(u.Handle)},
		Challenge:             challenge,
		Parameters:            es256(),
		Timeout:               timeout,
		CredentialExcludeList: descriptors(exclude),
		AuthenticatorSelection: protocol.AuthenticatorSelection{RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired},
		Attestation: protocol.PreferNoAttestation,
	}})
}

// Request is what navigator.credentials.get takes, as JSON with base64url members. With no credentials allowed, the
// person picks one of those that the authenticator has for this site. The challenge of a signature is sshsig.Challenge.
func (s Site) Request(challenge []byte, allow [][]byte) ([]byte, error) {
	return json.Marshal(protocol.CredentialAssertion{Response: protocol.PublicKeyCredentialRequestOptions{
		Challenge: challenge, Timeout: timeout, RelyingPartyID: s.ID, AllowedCredentials: descriptors(allow), UserVerification: protocol.VerificationRequired}})
}

func es256() []protocol.CredentialParameter {
	return []protocol.CredentialParameter{{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256}}
}

func descriptors(ids [][]byte) []protocol.CredentialDescriptor {
	var out []protocol.CredentialDescriptor
	for _, id := range ids {
		out = append(out, protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: id})
	}
	return out
}

// Register judges what create answered to Creation with challenge (WebAuthn L3 §7.1): the JSON of a
// PublicKeyCredential (toJSON). An attestation is not asked for, so one by the passkey itself is the most that comes.
func (s Site) Register(challenge, body []byte) (Credential, error) {
	if len(body) > MaxBody {
		return Credential{}, tooLarge(body)
	}
	p, err := protocol.ParseCredentialCreationResponseBytes(body)
	if err != nil {
		return Credential{}, explain("the new passkey does not parse", err)
	}
	if f := p.Response.AttestationObject.Format; f != string(protocol.AttestationFormatNone) && f != string(protocol.AttestationFormatPacked) {
		return Credential{}, fmt.Errorf("the new passkey comes with an attestation of format %.40q, which was not asked for", f)
	}
	if len(p.RawID) > MaxCredential {
		return Credential{}, fmt.Errorf("the id of the new passkey has %d bytes; at most %d are kept", len(p.RawID), MaxCredential)
	}
	if _, err := p.Verify(base64.RawURLEncoding.EncodeToString(challenge), s.ID, []string{s.Origin}, nil, nil, protocol.TopOriginImplicitVerificationMode, false, true, true, nil,
		es256(), protocol.AttestationPolicy{}, protocol.SignaturePolicy{}); err != nil {
		return Credential{}, explain("the new passkey was not made for this page, now, with its user verified", err)
	}
	data := p.Response.AttestationObject.AuthData
	if data.Flags.HasBackupState() && !data.Flags.HasBackupEligible() {
		return Credential{}, errors.New("the new passkey says that it is backed up and cannot be (WebAuthn L3 §6.1.3)")
	}
	point, err := publicKey(data.AttData.CredentialPublicKey)
	if err != nil {
		return Credential{}, err
	}
	key, err := sshsig.NewPasskey(point, s.ID)
	if err != nil {
		return Credential{}, err
	}
	return Credential{ID: p.RawID, Key: key, BackedUp: data.Flags.HasBackupState()}, nil
}

// publicKey reads an ES256 key in COSE (RFC 9053 §7.1.1).
func publicKey(cose []byte) (*ecdsa.PublicKey, error) {
	k, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return nil, explain("the key of the new passkey does not parse", err)
	}
	ec, ok := k.(webauthncose.EC2PublicKeyData)
	if !ok || ec.Algorithm != int64(webauthncose.AlgES256) {
		return nil, errors.New("the key of the new passkey is not of ES256")
	}
	return ec.ToECDSA()
}

// Asserted is what an authenticator says that it signed, before anybody believes it.
type Asserted struct {
	Credential []byte // id
	User       []byte // handle; a browser may leave it out where credentials were named
	sshsig.Assertion
}

// Assertion reads what get answered: the JSON of a PublicKeyCredential. It judges nothing.
func (s Site) Assertion(body []byte) (Asserted, error) {
	p, err := parseAssertion(body)
	if err != nil {
		return Asserted{}, err
	}
	raw := p.Raw.AssertionResponse
	return Asserted{Credential: p.RawID, User: raw.UserHandle,
		Assertion: sshsig.Assertion{ClientData: raw.ClientDataJSON, Authenticator: raw.AuthenticatorData, Signature: raw.Signature}}, nil
}

func parseAssertion(body []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(body) > MaxBody {
		return nil, tooLarge(body)
	}
	p, err := protocol.ParseCredentialRequestResponseBytes(body)
	if err != nil {
		return nil, explain("the passkey's answer does not parse", err)
	}
	return p, nil
}

// Sign makes the armored signature of message for namespace from what get answered to Request with
// sshsig.Challenge(namespace, message). Two judges must agree on it: go-webauthn, for exactly this origin, and sshsig,
// whose judgement everybody repeats who reads the log.
func (s Site) Sign(pub ssh.PublicKey, namespace string, message, body []byte) ([]byte, error) {
	p, err := parseAssertion(body)
	if err != nil {
		return nil, err
	}
	if rpID, ok := sshsig.Passkey(pub); !ok || rpID != s.ID {
		return nil, fmt.Errorf("the key %s is no passkey of %s", ssh.FingerprintSHA256(pub), s.ID)
	}
	cose, err := coseOf(pub)
	if err != nil {
		return nil, err
	}
	if err := p.Verify(base64.RawURLEncoding.EncodeToString(sshsig.Challenge(namespace, message)), s.ID, "", []string{s.Origin}, nil, nil,
		protocol.TopOriginImplicitVerificationMode, false, true, true, cose, protocol.SignaturePolicy{}); err != nil {
		return nil, explain("the passkey did not sign this, on this page, with its user verified", err)
	}
	raw := p.Raw.AssertionResponse
	return sshsig.FromAssertion(pub, namespace, message, sshsig.Assertion{ClientData: raw.ClientDataJSON, Authenticator: raw.AuthenticatorData, Signature: raw.Signature})
}

func tooLarge(body []byte) error {
	return fmt.Errorf("the passkey's answer has %d bytes; at most %d are read", len(body), MaxBody)
}

// explain is a sentence for people with what the library found; it puts what it means into two members.
func explain(what string, err error) error {
	var e *protocol.Error
	if errors.As(err, &e) && e.DevInfo != "" && !strings.Contains(e.Details, e.DevInfo) {
		return fmt.Errorf("%s: %s: %.200s", what, e.Details, strings.Join(strings.Fields(e.DevInfo), " "))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// coseOf is an ES256 key in COSE (RFC 9053 §7.1.1), as WebAuthn judges by.
func coseOf(pub ssh.PublicKey) ([]byte, error) {
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return nil, errors.New("the passkey does not show its point")
	}
	k, ok := c.CryptoPublicKey().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the passkey is not an ECDSA key")
	}
	point, err := k.Bytes() // SEC 1 §2.3.3: 04, x, y
	if err != nil {
		return nil, fmt.Errorf("the passkey is no point of its curve: %w", err)
	}
	if len(point) != 65 {
		return nil, errors.New("the passkey is not on P-256")
	}
	return webauthncbor.Marshal(webauthncose.EC2PublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256)},
		Curve:         int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:]})
}
