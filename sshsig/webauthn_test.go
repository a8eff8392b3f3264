package sshsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// browser is a passkey and the browser before it, in software; its members are what a test bends.
type browser struct {
	key        *ecdsa.PrivateKey
	rpID       string
	origin     string
	flags      byte
	counter    uint32
	extensions []byte
	client     func(challenge, origin string) string // clientDataJSON; nil: as Chromium writes it
}

func newBrowser(t testing.TB) *browser {
	return &browser{key: newEC(t, elliptic.P256()), rpID: "remit.example", origin: "https://remit.example", flags: userPresent | userVerified, counter: 7}
}

func (b *browser) public(t testing.TB) ssh.PublicKey {
	t.Helper()
	pub, err := NewPasskey(&b.key.PublicKey, b.rpID)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func chromium(challenge, origin string) string {
	return `{"type":"webauthn.get","challenge":"` + challenge + `","origin":"` + origin + `","crossOrigin":false}`
}

func (b *browser) get(t testing.TB, challenge []byte) Assertion {
	t.Helper()
	client := b.client
	if client == nil {
		client = chromium
	}
	app := sha256.Sum256([]byte(b.rpID))
	auth := append(binary.BigEndian.AppendUint32(append(bytes.Clone(app[:]), b.flags), b.counter), b.extensions...)
	data := []byte(client(base64.RawURLEncoding.EncodeToString(challenge), b.origin))
	hash := sha256.Sum256(data)
	digest := sha256.Sum256(append(bytes.Clone(auth), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, b.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return Assertion{ClientData: data, Authenticator: auth, Signature: sig}
}

// forge makes a signature of the passkey without judging it, as an attacker would.
func (b *browser) forge(t testing.TB, change func(*sshsig.Signature, *webauthnRest)) []byte {
	t.Helper()
	a := b.get(t, Challenge(space, text))
	rest := webauthnRest{a.Authenticator[32], binary.BigEndian.Uint32(a.Authenticator[33:]), b.origin, a.ClientData, a.Authenticator[37:]}
	sig := &sshsig.Signature{Version: 1, PublicKey: b.public(t), Namespace: space, HashAlgorithm: sshsig.HashSHA512, Signature: &ssh.Signature{Format: webauthnFormat, Blob: blobOf(t, a.Signature)}}
	if change != nil {
		change(sig, &rest)
	}
	if sig.Signature.Rest == nil {
		sig.Signature.Rest = ssh.Marshal(rest)
	}
	return sshsig.Armor(sig)
}

func TestAPasskeySignsAndOpenSSHAgrees(t *testing.T) {
	for name, bend := range map[string]func(*browser){
		"as Chromium writes client data": func(*browser) {},
		"as a browser of level 1 writes it, without crossOrigin": func(b *browser) {
			b.client = func(c, o string) string {
				return `{"type":"webauthn.get","challenge":"` + c + `","origin":"` + o + `"}`
			}
		},
		"with what browsers add so that nobody compares with a template": func(b *browser) {
			b.client = func(c, o string) string {
				return strings.TrimSuffix(chromium(c, o), "}") + `,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template","x":{"origin":"https://evil.example"}}`
			}
		},
		"with extensions that the authenticator signed": func(b *browser) { b.flags |= extensionData; b.extensions = []byte("\xa1\x61x\xf5") },
		"at a host below the RP ID and another port":    func(b *browser) { b.origin = "https://a.remit.example:8443" },
		"on this machine, without TLS":                  func(b *browser) { b.rpID, b.origin = "localhost", "http://localhost:8080" },
		"a passkey that is backed up and never counts":  func(b *browser) { b.flags |= 0x18; b.counter = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			bend(b)
			pub := b.public(t)
			armored, err := FromAssertion(pub, space, text, b.get(t, Challenge(space, text)))
			if err != nil {
				t.Fatal(err)
			}
			if touch, err := Verify(pub, space, text, armored); err != nil || !touch {
				t.Fatalf("touch %v, %v", touch, err)
			}
			if o, err := Origin(armored); err != nil || o != b.origin {
				t.Fatalf("the origin is %q, %v", o, err)
			}
			if !opensshAccepts(t, pub, space, armored) {
				t.Fatal("ssh-keygen refuses it")
			}
			if opensshAccepts(t, pub, "other@remit", armored) {
				t.Fatal("ssh-keygen accepts it for another namespace")
			}
		})
	}
}

// go-webauthn judges the same assertion, as a web server would that knows nothing of SSH.
func TestAPasskeySignsAndGoWebauthnAgrees(t *testing.T) {
	b := newBrowser(t)
	challenge := Challenge(space, text)
	point, err := b.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	cose, err := webauthncbor.Marshal(webauthncose.EC2PublicKeyData{PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256)},
		Curve: int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:]})
	if err != nil {
		t.Fatal(err)
	}
	judge := func(a Assertion) error {
		enc := base64.RawURLEncoding.EncodeToString
		body, err := json.Marshal(map[string]any{"id": enc([]byte("one")), "rawId": enc([]byte("one")), "type": "public-key",
			"response": map[string]string{"clientDataJSON": enc(a.ClientData), "authenticatorData": enc(a.Authenticator), "signature": enc(a.Signature)}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := protocol.ParseCredentialRequestResponseBytes(body)
		if err != nil {
			return err
		}
		return p.Verify(base64.RawURLEncoding.EncodeToString(challenge), b.rpID, "", []string{b.origin}, nil, nil, protocol.TopOriginImplicitVerificationMode, false, true, true, cose, protocol.SignaturePolicy{})
	}
	good := b.get(t, challenge)
	if err := judge(good); err != nil {
		t.Fatalf("%v", err)
	}
	if _, err := FromAssertion(b.public(t), space, text, good); err != nil {
		t.Fatal(err)
	}
	for name, bend := range map[string]func(*browser){
		"without user verification": func(b *browser) { b.flags = userPresent },
		"without presence":          func(b *browser) { b.flags = userVerified },
		"at another origin":         func(b *browser) { b.origin = "https://evil.example" },
		"for another type": func(b *browser) {
			b.client = func(c, o string) string {
				return strings.Replace(chromium(c, o), "webauthn.get", "webauthn.create", 1)
			}
		},
		"in a frame of another site": func(b *browser) {
			b.client = func(c, o string) string {
				return strings.Replace(chromium(c, o), `"crossOrigin":false`, `"crossOrigin":true`, 1)
			}
		},
	} {
		bent := *b
		bend(&bent)
		a := bent.get(t, challenge)
		if judge(a) == nil {
			t.Errorf("%s: go-webauthn accepts it", name)
		}
		if _, err := FromAssertion(b.public(t), space, text, a); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
}

func TestWhatAPasskeySignedForSomethingElseIsRefused(t *testing.T) {
	member := func(s string) func(c, o string) string {
		return func(c, o string) string { return strings.TrimSuffix(chromium(c, o), "}") + s + "}" }
	}
	for name, c := range map[string]struct {
		bend  func(*browser)
		forge func(*sshsig.Signature, *webauthnRest)
		says  string
	}{
		"no touch":             {bend: func(b *browser) { b.flags = userVerified }, says: "touch"},
		"no user verification": {bend: func(b *browser) { b.flags = userPresent }, says: "user-verification"},
		"a flag that was set afterwards": {bend: func(b *browser) { b.flags = userPresent },
			forge: func(_ *sshsig.Signature, r *webauthnRest) { r.Flags |= userVerified }, says: "does not fit"},
		"another site's page":                  {bend: func(b *browser) { b.origin = "https://evil.example" }, says: "not a secure origin"},
		"a site whose name only ends the same": {bend: func(b *browser) { b.origin = "https://notremit.example" }, says: "not a secure origin"},
		"a page without TLS":                   {bend: func(b *browser) { b.origin = "http://remit.example" }, says: "not a secure origin"},
		"an app instead of a page":             {bend: func(b *browser) { b.origin = "android:apk-key-hash:abc" }, says: "not a secure origin"},
		"an origin with a path":                {bend: func(b *browser) { b.origin = "https://remit.example/x" }, says: "not a secure origin"},
		"an origin with a user":                {bend: func(b *browser) { b.origin = "https://evil@remit.example" }, says: "not a secure origin"},
		"an origin with its default port":      {bend: func(b *browser) { b.origin = "https://remit.example:443" }, says: "not a secure origin"},
		"an origin in capitals":                {bend: func(b *browser) { b.origin = "https://REMIT.example" }, says: "not a secure origin"},
		"an origin that is told twice":         {forge: func(_ *sshsig.Signature, r *webauthnRest) { r.Origin = "https://a.remit.example" }, says: "not a secure origin"},
		"a frame of another site": {bend: func(b *browser) {
			b.client = func(c, o string) string { return strings.Replace(chromium(c, o), "false", "true", 1) }
		}, says: "out of its place"},
		"a top origin":       {bend: func(b *browser) { b.client = member(`,"topOrigin":"https://evil.example"`) }, says: "framed"},
		"a second origin":    {bend: func(b *browser) { b.client = member(`,"Origin":"https://evil.example"`) }, says: "twice"},
		"a second challenge": {bend: func(b *browser) { b.client = member(`,"challenge":"AA"`) }, says: "twice"},
		"a member twice":     {bend: func(b *browser) { b.client = member(`,"x":1,"x":2`) }, says: "twice"},
		"another order of members": {bend: func(b *browser) {
			b.client = func(c, o string) string {
				return `{"challenge":"` + c + `","type":"webauthn.get","origin":"` + o + `"}`
			}
		}, says: "begin"},
		"a space in the client data":  {bend: func(b *browser) { b.client = func(c, o string) string { return " " + chromium(c, o) } }, says: "begin"},
		"bytes after the client data": {bend: func(b *browser) { b.client = func(c, o string) string { return chromium(c, o) + "x" } }, says: "not JSON"},
		"an escape in the origin":     {bend: func(b *browser) { b.origin = `https:\/\/remit.example` }, says: "escape"},
		"a registration": {bend: func(b *browser) {
			b.client = func(c, o string) string { return strings.Replace(chromium(c, o), ".get", ".create", 1) }
		}, says: "webauthn.get"},
		"a padded challenge":          {bend: func(b *browser) { b.client = func(c, o string) string { return chromium(c+"=", o) } }, says: "base64url"},
		"another challenge":           {bend: func(b *browser) { b.client = func(c, o string) string { return chromium(c+"AA", o) } }, says: "another challenge"},
		"huge client data":            {bend: func(b *browser) { b.client = member(`,"x":"` + strings.Repeat("x", maxClientData) + `"`) }, says: "larger"},
		"huge extensions":             {bend: func(b *browser) { b.flags |= extensionData; b.extensions = make([]byte, maxExtensions+1) }, says: "larger"},
		"extensions without the flag": {bend: func(b *browser) { b.extensions = []byte{0xa0} }, says: "disagree"},
		"the flag without extensions": {bend: func(b *browser) { b.flags |= extensionData }, says: "disagree"},
		"an attested key":             {bend: func(b *browser) { b.flags |= attestedData }, says: "disagree"},
		"bytes after its end":         {forge: func(s *sshsig.Signature, r *webauthnRest) { s.Signature.Rest = append(ssh.Marshal(*r), 0) }, says: "encoding"},
		"numbers with zeroes before them": {forge: func(s *sshsig.Signature, _ *webauthnRest) {
			s.Signature.Blob = append([]byte{0, 0, 0, byte(s.Signature.Blob[3] + 1), 0}, s.Signature.Blob[4:]...)
		}, says: "encoding"},
		"the format of another FIDO key": {forge: func(s *sshsig.Signature, r *webauthnRest) {
			s.Signature.Format, s.Signature.Rest = ssh.KeyAlgoSKECDSA256, append([]byte{r.Flags}, 0, 0, 0, 7)
		}, says: "format"},
		"another counter":     {forge: func(_ *sshsig.Signature, r *webauthnRest) { r.Counter++ }, says: "does not fit"},
		"another hash":        {forge: func(s *sshsig.Signature, _ *webauthnRest) { s.HashAlgorithm = sshsig.HashSHA256 }, says: "another challenge"},
		"a hash that is none": {forge: func(s *sshsig.Signature, _ *webauthnRest) { s.HashAlgorithm = "md5" }, says: "hash"},
		"another namespace":   {forge: func(s *sshsig.Signature, _ *webauthnRest) { s.Namespace = "signin@remit" }, says: "is for"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			if c.bend != nil {
				c.bend(b)
			}
			armored := b.forge(t, c.forge)
			touch, err := Verify(b.public(t), space, text, armored)
			if err == nil || touch || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("touch %v, error %v; want one that says %q", touch, err, c.says)
			}
			if c.forge == nil {
				if _, err := FromAssertion(b.public(t), space, text, b.get(t, Challenge(space, text))); err == nil {
					t.Fatal("FromAssertion hands it out")
				}
			}
		})
	}
	b, other := newBrowser(t), newBrowser(t)
	if _, err := Verify(other.public(t), space, text, b.forge(t, func(s *sshsig.Signature, _ *webauthnRest) { s.PublicKey = other.public(t) })); err == nil {
		t.Fatal("relabelled to another passkey")
	}
	moved := *b
	moved.rpID = "other.example"
	if _, err := FromAssertion(moved.public(t), space, text, b.get(t, Challenge(space, text))); err == nil || !strings.Contains(err.Error(), "another site") {
		t.Fatalf("an assertion for another site: %v", err)
	}
	if _, err := FromAssertion(newToken(t, true, 1).PublicKey(), space, text, b.get(t, Challenge(space, text))); err == nil {
		t.Fatal("an SSH key signs for a web page")
	}
	for _, bad := range []Assertion{{}, {ClientData: make([]byte, maxClientData+1)}, {ClientData: b.get(t, nil).ClientData, Authenticator: make([]byte, 36)}} {
		if _, err := FromAssertion(b.public(t), space, text, bad); err == nil {
			t.Fatal("half an assertion is accepted")
		}
	}
	der := b.get(t, Challenge(space, text))
	der.Signature = append(der.Signature, 0)
	if _, err := FromAssertion(b.public(t), space, text, der); err == nil || !strings.Contains(err.Error(), "ASN.1") {
		t.Fatalf("bytes after the ASN.1: %v", err)
	}
}

// A key in hardware made for SSH signs no web page's challenge, however sound the signature.
func TestAnSSHKeyDoesNotSignAsAPasskey(t *testing.T) {
	b := newBrowser(t)
	b.rpID = "ssh:"
	wire := ssh.Marshal(struct{ Type, Curve, Point, App string }{ssh.KeyAlgoSKECDSA256, "nistp256", string(must(t, b.key.PublicKey.Bytes)), "ssh:"})
	pub, err := ParseKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	a := b.get(t, Challenge(space, text))
	armored := sshsig.Armor(&sshsig.Signature{Version: 1, PublicKey: pub, Namespace: space, HashAlgorithm: sshsig.HashSHA512, Signature: &ssh.Signature{Format: webauthnFormat,
		Blob: blobOf(t, a.Signature), Rest: ssh.Marshal(webauthnRest{a.Authenticator[32], 7, b.origin, a.ClientData, nil})}})
	if touch, err := Verify(pub, space, text, armored); err == nil || touch {
		t.Fatalf("touch %v, %v", touch, err)
	}
	if rpID, ok := Passkey(pub); ok {
		t.Fatalf("it is a passkey of %q", rpID)
	}
}

func TestKeysOfPasskeys(t *testing.T) {
	b := newBrowser(t)
	for rpID, ok := range map[string]bool{"remit.example": true, "localhost": true, "a.b-c.example": true, "xn--bcher-kva.example": true, "": false, "Remit.example": false, "example": false,
		"127.0.0.1": false, "remit.example:443": false, "https://remit.example": false, "-a.example": false, "a-.example": false, "a..example": false, ".example": false, "remit.example.": false,
		"ssh.:": false, strings.Repeat("a", 64) + ".example": false, strings.Repeat("a.", 130) + "example": false} {
		pub, err := NewPasskey(&b.key.PublicKey, rpID)
		if (err == nil) != ok {
			t.Errorf("RP ID %q: %v", rpID, err)
			continue
		}
		if !ok {
			continue
		}
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
		again, err := ParseAuthorizedKey(line + " mia's phone")
		if err != nil || !Touch(again) {
			t.Errorf("%s does not come back: %v", line, err)
		}
		if got, ok := Passkey(again); !ok || got != rpID {
			t.Errorf("its RP ID is %q, %v", got, ok)
		}
	}
	if _, err := NewPasskey(&newEC(t, elliptic.P384()).PublicKey, "remit.example"); err == nil {
		t.Error("a passkey on P-384")
	}
	if _, err := NewPasskey(nil, "remit.example"); err == nil {
		t.Error("a passkey that is none")
	}
	if o, err := Origin(rawSign(t, newEd(t), space, sshsig.HashSHA512)); err != nil || o != "" {
		t.Errorf("an SSH key's signature has the origin %q, %v", o, err)
	}
}

func must[T any](t testing.TB, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// blobOf is r and s of an ASN.1 signature as SSH writes them.
func blobOf(t testing.TB, der []byte) []byte {
	t.Helper()
	// 30 LEN 02 LEN r 02 LEN s: short enough for lengths of one byte.
	r := der[4 : 4+der[3]]
	s := der[6+int(der[3]):]
	return ssh.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
}

func FuzzClientData(f *testing.F) {
	f.Add([]byte(chromium("AAAA", "https://remit.example")))
	f.Add([]byte(`{"type":"webauthn.get","challenge":"AA","origin":"https://remit.example","x":[1,{"y":2}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseClientData(b)
		if err != nil {
			return
		}
		// A reader of JSON sees the same, and no page around this one.
		var seen struct {
			Type        string  `json:"type"`
			Challenge   string  `json:"challenge"`
			Origin      string  `json:"origin"`
			CrossOrigin bool    `json:"crossOrigin"`
			TopOrigin   *string `json:"topOrigin"`
		}
		if err := json.Unmarshal(b, &seen); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if seen.Type != "webauthn.get" || seen.Challenge != d.challenge || seen.Origin != d.origin || seen.CrossOrigin || seen.TopOrigin != nil {
			t.Fatalf("%q is read as %+v, and by others as %+v", b, d, seen)
		}
	})
}

func FuzzFromAssertion(f *testing.F) {
	b := newBrowser(f)
	good := b.get(f, Challenge(space, text))
	stranger := newBrowser(f).public(f)
	f.Add(good.ClientData, good.Authenticator, good.Signature)
	f.Add([]byte("{}"), make([]byte, 37), []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, client, auth, sig []byte) {
		if _, err := FromAssertion(stranger, space, text, Assertion{client, auth, sig}); err == nil {
			t.Fatal("an assertion that was never made is accepted")
		}
		if armored, err := FromAssertion(b.public(t), space, text, Assertion{client, auth, sig}); err == nil {
			if !bytes.Equal(client, good.ClientData) || !bytes.Equal(auth, good.Authenticator) {
				t.Fatalf("%q is accepted in the place of what was signed", client)
			}
			if _, err := Verify(b.public(t), space, text, armored); err != nil {
				t.Fatal(err)
			}
		}
	})
}
