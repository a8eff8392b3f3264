// Package sshsig makes and verifies signatures of people with the SSH keys that they already have, in the format of
// ssh-keygen -Y sign (PROTOCOL.sshsig of OpenSSH), and reads their authorized_keys lines. It accepts less than OpenSSH
// does: the keys that Remit lets a person declare, one encoding of each, and nothing that is not bounded.
package sshsig

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	// MaxLine is the longest authorized_keys line, in bytes.
	MaxLine = 4 << 10
	// MaxArmored is the largest armored signature, in bytes; one of an RSA key of 8,192 bits has about 3,000.
	MaxArmored = 8 << 10
	// MinRSA and MaxRSA bound RSA keys, in bits: 3,072 is what NIST SP 800-57 part 1 asks for 128 bits of security, and
	// larger than 8,192 only makes the verifier work.
	MinRSA = 3072
	MaxRSA = 8192
)

// types are the keys that a person may have; true: the key lives in a FIDO token and proves that it was touched.
var types = map[string]bool{
	ssh.KeyAlgoED25519:    false,
	ssh.KeyAlgoECDSA256:   false,
	ssh.KeyAlgoECDSA384:   false,
	ssh.KeyAlgoECDSA521:   false,
	ssh.KeyAlgoRSA:        false,
	ssh.KeyAlgoSKED25519:  true,
	ssh.KeyAlgoSKECDSA256: true,
}

const allowed = "ssh-ed25519, ecdsa-sha2-nistp256, -384 or -521, ssh-rsa of 3,072 bits or more, sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com"

// ParseAuthorizedKey reads the one line of a public key file: type, base64, and a comment if there is one. Options in
// front of the key, further lines and keys of other types are refused, because Remit would not honour what they say.
func ParseAuthorizedKey(line string) (ssh.PublicKey, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("a public key is one line of at most %d bytes; this has %d", MaxLine, len(line))
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return nil, fmt.Errorf("a public key is one line of text; this has a control character or a second line at byte %d", i)
	}
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, errors.New("this line is empty; it should be a public key, such as the content of ~/.ssh/id_ed25519.pub")
	}
	if _, ok := types[fields[0]]; !ok {
		for _, f := range fields[1:] {
			if _, ok := types[f]; ok {
				return nil, fmt.Errorf("this line has %q in front of the key; Remit honours no options, so leave them out", fields[0])
			}
		}
		return nil, fmt.Errorf("%q is not a type of key that Remit accepts: %s", fields[0], allowed)
	}
	if len(fields) < 2 {
		return nil, fmt.Errorf("this line has the type %s and no key after it", fields[0])
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil {
		return nil, fmt.Errorf("the key after %s is not base64: %w", fields[0], err)
	}
	pub, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("the key after %s does not parse: %w", fields[0], err)
	}
	if pub.Type() != fields[0] {
		return nil, fmt.Errorf("the line says %s, and the key in it is %s", fields[0], pub.Type())
	}
	if !bytes.Equal(pub.Marshal(), raw) {
		return nil, fmt.Errorf("the key after %s is not in its one encoding", fields[0])
	}
	return pub, check(pub)
}

// ParseKey reads a public key in the wire format of SSH (RFC 4253 §6.6), under the same conditions.
func ParseKey(wire []byte) (ssh.PublicKey, error) {
	return ParseAuthorizedKey(wireType(wire) + " " + base64.StdEncoding.EncodeToString(wire))
}

func wireType(wire []byte) string {
	var w struct {
		Type string
		Rest []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(wire, &w) != nil || len(strings.Fields(w.Type)) != 1 {
		return "unknown"
	}
	return w.Type
}

// Touch tells whether signatures of pub prove that a person touched a hardware key.
func Touch(pub ssh.PublicKey) bool { return types[pub.Type()] }

// check refuses keys that a person may not have. It judges the type and the size; the curves are bound to their types.
func check(pub ssh.PublicKey) error {
	touch, ok := types[pub.Type()]
	if !ok {
		return fmt.Errorf("%q is not a type of key that Remit accepts: %s", pub.Type(), allowed)
	}
	if touch {
		return checkApplication(pub)
	}
	if pub.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("the RSA key does not show its size")
	}
	k, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return errors.New("the RSA key does not show its size")
	}
	if bits := k.N.BitLen(); bits < MinRSA || bits > MaxRSA {
		return fmt.Errorf("the RSA key has %d bits; Remit accepts %d to %d", bits, MinRSA, MaxRSA)
	}
	return nil
}

// checkApplication refuses FIDO keys that were made neither for SSH nor as a passkey. PROTOCOL.u2f of OpenSSH: the
// application of a key for SSH is "ssh:" or begins with it; the one of a passkey is an RP ID.
func checkApplication(pub ssh.PublicKey) error {
	app, err := application(pub)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(app, "ssh:") && (pub.Type() != ssh.KeyAlgoSKECDSA256 || !relyingParty(app)) {
		return fmt.Errorf("the FIDO key was made for %.80q; one for SSH is made for an application that begins with %q, and a passkey is of type %s and made for a domain",
			app, "ssh:", ssh.KeyAlgoSKECDSA256)
	}
	return nil
}

// application is what a FIDO key was made for.
func application(pub ssh.PublicKey) (string, error) {
	var app string
	var err error
	switch pub.Type() {
	case ssh.KeyAlgoSKECDSA256:
		var w struct{ Type, Curve, Point, Application string }
		err = ssh.Unmarshal(pub.Marshal(), &w)
		app = w.Application
	case ssh.KeyAlgoSKED25519:
		var w struct{ Type, Key, Application string }
		err = ssh.Unmarshal(pub.Marshal(), &w)
		app = w.Application
	default:
		return "", errors.New("only a FIDO key has an application")
	}
	if err != nil {
		return "", fmt.Errorf("the FIDO key does not parse: %w", err)
	}
	return app, nil
}

// Verify judges an armored signature of message by pub, made for namespace. touch says that a person touched a hardware
// key: the FIDO token asserted user presence (PROTOCOL.u2f of OpenSSH); a passkey's user was verified as well. The hash is SHA-256 or SHA-512, whichever the
// signature names (PROTOCOL.sshsig allows these two); RSA signatures are rsa-sha2-256 or rsa-sha2-512.
func Verify(pub ssh.PublicKey, namespace string, message, armored []byte) (touch bool, err error) {
	if namespace == "" {
		return false, errors.New("a signature is judged for a namespace, and none was given")
	}
	if err := check(pub); err != nil {
		return false, err
	}
	sig, err := parse(armored)
	if err != nil {
		return false, err
	}
	if sig.Namespace != namespace {
		return false, fmt.Errorf("the signature is for %q; it should be for %q (ssh-keygen -Y sign -n %s)", sig.Namespace, namespace, namespace)
	}
	if !bytes.Equal(sig.PublicKey.Marshal(), pub.Marshal()) {
		return false, fmt.Errorf("the signature is by the key %s, not by %s", ssh.FingerprintSHA256(sig.PublicKey), ssh.FingerprintSHA256(pub))
	}
	if rpID, ok := Passkey(pub); ok {
		if err := verifyPasskey(pub, rpID, sig, message); err != nil {
			return false, err
		}
		return true, nil
	}
	touch = types[pub.Type()]
	// x/crypto judges the flag as well from v0.53 on; what Remit calls touch must not hang on the version of a library.
	if touch && (len(sig.Signature.Rest) != 5 || sig.Signature.Rest[0]&userPresent == 0) {
		return false, errors.New("the hardware key did not see a touch: its signature lacks the user-presence flag")
	}
	if !touch && len(sig.Signature.Rest) != 0 {
		return false, errors.New("the signature has bytes after its end")
	}
	if err := sshsig.Verify(bytes.NewReader(message), sig, pub, sig.HashAlgorithm, namespace); err != nil {
		return false, fmt.Errorf("the signature does not fit the text and the key: %w", err)
	}
	return touch, nil
}

// userPresent is the UP bit of a FIDO assertion's flags.
const userPresent = 0x01

// Signer is the key that an armored signature says it is by. That it really is takes Verify.
func Signer(armored []byte) (ssh.PublicKey, error) {
	sig, err := parse(armored)
	if err != nil {
		return nil, err
	}
	return sig.PublicKey, check(sig.PublicKey)
}

// parse reads one armored signature, the whole of it and nothing around it.
func parse(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > MaxArmored {
		return nil, fmt.Errorf("an SSH signature has at most %d bytes; this has %d", MaxArmored, len(armored))
	}
	const begin = "-----BEGIN SSH SIGNATURE-----"
	if !bytes.HasPrefix(armored, []byte(begin)) {
		return nil, fmt.Errorf("not an SSH signature: it should begin with %q", begin)
	}
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) != 0 {
		return nil, errors.New("not an SSH signature: its armor is broken")
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("something follows the SSH signature")
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not an SSH signature: %w", err)
	}
	if !bytes.Equal(sig.Marshal(), block.Bytes) {
		return nil, errors.New("the SSH signature is not in its one encoding")
	}
	return sig, nil
}
