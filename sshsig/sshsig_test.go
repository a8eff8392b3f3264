package sshsig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const space = "vote@remit"

var text = []byte("remit vote v1\norigin: test\n")

// token is a FIDO token in software: it signs as PROTOCOL.u2f says, with whatever flags the test wants.
type token struct {
	key         crypto.Signer
	application string
	flags       byte
}

func (k token) PublicKey() ssh.PublicKey {
	var wire []byte
	switch pub := k.key.Public().(type) {
	case ed25519.PublicKey:
		wire = ssh.Marshal(struct{ Type, Key, App string }{ssh.KeyAlgoSKED25519, string(pub), k.application})
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes()
		wire = ssh.Marshal(struct{ Type, Curve, Point, App string }{ssh.KeyAlgoSKECDSA256, "nistp256", string(point), k.application})
	}
	pub, err := ssh.ParsePublicKey(wire)
	if err != nil {
		panic(err)
	}
	return pub
}

func (k token) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, msg := sha256.Sum256([]byte(k.application)), sha256.Sum256(data)
	rest := []byte{k.flags, 0, 0, 0, 7}
	signed := append(append(append([]byte{}, app[:]...), rest...), msg[:]...)
	switch key := k.key.(type) {
	case ed25519.PrivateKey:
		return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(key, signed), Rest: rest}, nil
	case *ecdsa.PrivateKey:
		h := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(rand.Reader, key, h[:])
		return &ssh.Signature{Format: ssh.KeyAlgoSKECDSA256, Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}), Rest: rest}, err
	}
	panic("no such key")
}

// rawSign signs without judging the result, as an attacker would.
func rawSign(t testing.TB, s ssh.Signer, namespace string, h sshsig.HashAlgorithm) []byte {
	t.Helper()
	sig, err := sshsig.Sign(bytes.NewReader(text), s, h, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return sshsig.Armor(sig)
}

func newEd(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func newEC(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		panic(err)
	}
	return k
})

func signerOf(t testing.TB, key any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newToken(t testing.TB, ec bool, flags byte) token {
	if ec {
		return token{newEC(t, elliptic.P256()), "ssh:", flags}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return token{key, "ssh:", flags}
}

func keygen(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed, so OpenSSH cannot be asked for its judgement")
	}
	return path
}

// opensshAccepts asks ssh-keygen -Y verify.
func opensshAccepts(t *testing.T, pub ssh.PublicKey, namespace string, armored []byte) bool {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "allowed"), "mia "+string(ssh.MarshalAuthorizedKey(pub)))
	write(t, filepath.Join(dir, "sig"), string(armored))
	cmd := exec.Command(keygen(t), "-Y", "verify", "-f", filepath.Join(dir, "allowed"), "-I", "mia", "-n", namespace, "-s", filepath.Join(dir, "sig"))
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("ssh-keygen: %s", out)
	}
	return err == nil
}

func write(t *testing.T, path, s string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSign(t *testing.T) {
	for name, c := range map[string]struct {
		signer ssh.Signer
		touch  bool
	}{
		"an ed25519 key signs and OpenSSH agrees":               {newEd(t), false},
		"an ECDSA P-256 key signs and OpenSSH agrees":           {signerOf(t, newEC(t, elliptic.P256())), false},
		"an ECDSA P-384 key signs and OpenSSH agrees":           {signerOf(t, newEC(t, elliptic.P384())), false},
		"an ECDSA P-521 key signs and OpenSSH agrees":           {signerOf(t, newEC(t, elliptic.P521())), false},
		"an RSA key of 3,072 bits signs and OpenSSH agrees":     {signerOf(t, rsaKey()), false},
		"a touched ed25519 token proves touch, OpenSSH agrees":  {newToken(t, false, 1), true},
		"a touched ECDSA token proves touch and OpenSSH agrees": {newToken(t, true, 1), true},
		"a touch with user verification is a touch":             {newToken(t, true, 5), true},
	} {
		t.Run(name, func(t *testing.T) {
			armored, err := Sign(c.signer, space, text)
			if err != nil {
				t.Fatal(err)
			}
			touch, err := Verify(c.signer.PublicKey(), space, text, armored)
			if err != nil || touch != c.touch {
				t.Fatalf("touch %v, %v; want touch %v", touch, err, c.touch)
			}
			if pub, err := Signer(armored); err != nil || !bytes.Equal(pub.Marshal(), c.signer.PublicKey().Marshal()) {
				t.Fatalf("the signer is %v, %v", pub, err)
			}
			if !opensshAccepts(t, c.signer.PublicKey(), space, armored) {
				t.Fatal("ssh-keygen refuses it")
			}
			if opensshAccepts(t, c.signer.PublicKey(), "other@remit", armored) {
				t.Fatal("ssh-keygen accepts it for another namespace")
			}
		})
	}
}

func TestATokenThatWasNotTouchedIsRefusedAlthoughItsSignatureIsSound(t *testing.T) {
	for _, ec := range []bool{false, true} {
		for _, flags := range []byte{0, 4} {
			k := newToken(t, ec, flags)
			armored := rawSign(t, k, space, sshsig.HashSHA512)
			// The control: OpenSSH finds nothing wrong with the bytes, so only the missing flag can be the reason.
			t.Logf("ssh-keygen -Y verify accepts: %v", opensshAccepts(t, k.PublicKey(), space, armored))
			if touch, err := Verify(k.PublicKey(), space, text, armored); touch || err == nil || !strings.Contains(err.Error(), "touch") {
				t.Fatalf("flags %d: touch %v, %v", flags, touch, err)
			}
			if _, err := Sign(k, space, text); err == nil {
				t.Fatal("Sign hands out a signature without touch")
			}
			// Setting the flag afterwards breaks the signature, because the token signs its flags.
			sig, err := sshsig.Unarmor(armored)
			if err != nil {
				t.Fatal(err)
			}
			sig.Signature.Rest[0] |= userPresent
			if touch, err := Verify(k.PublicKey(), space, text, sshsig.Armor(sig)); touch || err == nil {
				t.Fatalf("a flag that was set afterwards counts: touch %v, %v", touch, err)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	me, other := newEd(t), newEd(t)
	good := rawSign(t, me, space, sshsig.HashSHA512)
	resigned := func(f func(*sshsig.Signature)) []byte {
		sig, err := sshsig.Unarmor(good)
		if err != nil {
			t.Fatal(err)
		}
		f(sig)
		return sshsig.Armor(sig)
	}
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	web := newToken(t, false, 1)
	web.application = "https://forge.example"
	for name, c := range map[string]struct {
		pub     ssh.PublicKey
		space   string
		text    []byte
		armored []byte
		says    string
	}{
		"a signature of another text":              {me.PublicKey(), space, []byte("another"), good, "does not fit"},
		"a signature for another namespace":        {me.PublicKey(), "signin@remit", text, good, "is for \"vote@remit\""},
		"a signature by another key":               {other.PublicKey(), space, text, good, "not by"},
		"a signature relabelled to another key":    {other.PublicKey(), space, text, resigned(func(s *sshsig.Signature) { s.PublicKey = other.PublicKey() }), "does not fit"},
		"a signature relabelled to another space":  {me.PublicKey(), "x@remit", text, resigned(func(s *sshsig.Signature) { s.Namespace = "x@remit" }), "does not fit"},
		"a signature relabelled to another hash":   {me.PublicKey(), space, text, resigned(func(s *sshsig.Signature) { s.HashAlgorithm = sshsig.HashSHA256 }), "does not fit"},
		"a hash that the format does not name":     {me.PublicKey(), space, text, resigned(func(s *sshsig.Signature) { s.HashAlgorithm = "md5" }), "hash"},
		"bytes after a signature that proves none": {me.PublicKey(), space, text, resigned(func(s *sshsig.Signature) { s.Signature.Rest = []byte{1, 0, 0, 0, 0} }), "after its end"},
		"no namespace at all":                      {me.PublicKey(), "", text, good, "none was given"},
		"text before the armor":                    {me.PublicKey(), space, text, append([]byte("hello\n"), good...), "should begin"},
		"text after the armor":                     {me.PublicKey(), space, text, append(bytes.Clone(good), "hello"...), "follows"},
		"two signatures":                           {me.PublicKey(), space, text, append(bytes.Clone(good), good...), "follows"},
		"an empty signature":                       {me.PublicKey(), space, text, nil, "should begin"},
		"an oversized signature":                   {me.PublicKey(), space, text, append(bytes.Clone(good), bytes.Repeat([]byte("\n"), MaxArmored)...), "at most"},
		"an RSA key of 2,048 bits":                 {signerOf(t, short).PublicKey(), space, text, rawSign(t, signerOf(t, short), space, sshsig.HashSHA512), "2048 bits"},
		"a FIDO key made for a web site":           {web.PublicKey(), space, text, rawSign(t, web, space, sshsig.HashSHA512), "ssh:"},
	} {
		t.Run(name, func(t *testing.T) {
			touch, err := Verify(c.pub, c.space, c.text, c.armored)
			if err == nil || touch || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("touch %v, error %v; want one that says %q", touch, err, c.says)
			}
		})
	}
	if _, err := Verify(me.PublicKey(), space, text, rawSign(t, me, space, sshsig.HashSHA256)); err != nil {
		t.Fatalf("SHA-256 is allowed: %v", err)
	}
}

func TestParseAuthorizedKey(t *testing.T) {
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newEd(t).PublicKey())))
	wire := strings.Fields(line)[1]
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(wire)
	for name, c := range map[string]struct{ line, says string }{
		"a line of a public key file":          {line, ""},
		"a line with a comment and an LF":      {line + " mia on her laptop\n", ""},
		"a line ended by CRLF":                 {line + " mia\r\n", ""},
		"an RSA key of 3,072 bits":             {string(ssh.MarshalAuthorizedKey(signerOf(t, rsaKey()).PublicKey())), ""},
		"a hardware key":                       {string(ssh.MarshalAuthorizedKey(newToken(t, true, 1).PublicKey())), ""},
		"nothing":                              {" \n", "empty"},
		"options in front of the key":          {"no-touch-required " + line, "no options"},
		"a principal in front of the key":      {"mia@example.org " + line, "no options"},
		"two keys":                             {line + "\n" + line, "second line"},
		"a key of a type that is broken":       {"ssh-dss AAAAB3NzaC1kc3MAAACBAA==", "not a type"},
		"a certificate instead of a key":       {"ssh-ed25519-cert-v01@openssh.com " + wire, "not a type"},
		"a private key":                        {"-----BEGIN OPENSSH PRIVATE KEY-----", "not a type"},
		"a type without a key":                 {"ssh-ed25519", "no key"},
		"a key that is not base64":             {"ssh-ed25519 ====", "base64"},
		"a key under the name of another type": {"ecdsa-sha2-nistp256 " + wire, "in it is ssh-ed25519"},
		"a key with bytes after its end":       {"ssh-ed25519 " + base64.StdEncoding.EncodeToString(append(raw, 0)), "parse"},
		"an RSA key of 2,048 bits":             {string(ssh.MarshalAuthorizedKey(signerOf(t, short).PublicKey())), "2048 bits"},
		"a line without end":                   {line + strings.Repeat("x", MaxLine), "at most"},
		"a comment with an escape sequence":    {line + " \x1b[2J", "control"},
	} {
		t.Run(name, func(t *testing.T) {
			pub, err := ParseAuthorizedKey(c.line)
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if again, err := ParseKey(pub.Marshal()); err != nil || !bytes.Equal(again.Marshal(), pub.Marshal()) {
					t.Fatalf("its wire format does not come back: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v; want one that says %q", err, c.says)
			}
		})
	}
}

func TestSignFile(t *testing.T) {
	dir := t.TempDir()
	ed := newEd(t)
	_, priv, _ := ed25519.GenerateKey(rand.Reader)
	plain, err := ssh.MarshalPrivateKey(priv, "mia")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(priv, "mia", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "plain"), string(pem.EncodeToMemory(plain)))
	write(t, filepath.Join(dir, "locked"), string(pem.EncodeToMemory(locked)))
	write(t, filepath.Join(dir, "stranger.pub"), string(ssh.MarshalAuthorizedKey(ed.PublicKey())))
	write(t, filepath.Join(dir, "mia.pub"), string(ssh.MarshalAuthorizedKey(signerOf(t, priv).PublicKey())))
	write(t, filepath.Join(dir, "garbage"), "no key at all")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", maxKeyFile+1))
	socket := serveAgent(t, priv)
	answer := func(s string) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return []byte(s), nil }
	}
	for name, c := range map[string]struct {
		file string
		who  Person
		says string
	}{
		"a plain key":                               {"plain", Person{}, ""},
		"a key whose passphrase is known":           {"locked", Person{Passphrase: answer("secret")}, ""},
		"a public key whose private one is loaded":  {"mia.pub", Person{Agent: socket}, ""},
		"a key whose passphrase is wrong":           {"locked", Person{Passphrase: answer("guess")}, "opening"},
		"a key with a passphrase and nobody to ask": {"locked", Person{}, "nobody to ask"},
		"a public key that the agent does not have": {"stranger.pub", Person{Agent: socket}, "ssh-add it"},
		"a public key without an agent":             {"mia.pub", Person{}, "SSH_AUTH_SOCK"},
		"a file that holds no key":                  {"garbage", Person{}, "ssh-keygen"},
		"a file that is too large":                  {"large", Person{}, "larger"},
		"a file that is not there":                  {"nowhere", Person{}, "opening"},
		"a directory":                               {".", Person{}, "regular"},
	} {
		t.Run(name, func(t *testing.T) {
			armored, err := SignFile(t.Context(), filepath.Join(dir, c.file), space, text, c.who)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("error %v; want one that says %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(signerOf(t, priv).PublicKey(), space, text, armored); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("ssh-keygen signs what x/crypto cannot", func(t *testing.T) {
		keygen(t)
		armored, err := signKeygen(t.Context(), filepath.Join(dir, "plain"), space, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(signerOf(t, priv).PublicKey(), space, text, armored); err != nil {
			t.Fatal(err)
		}
	})
}

func serveAgent(t *testing.T, key any) string {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return filepath.Join(dir, "s")
}

func TestAnAgentThatDoesNotAnswerIsLeftWhenTheContextEnds(t *testing.T) {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 1)) // the question has arrived
		cancel()
		_, _ = io.Copy(io.Discard, c)
	}()
	if _, err := SignAgent(ctx, filepath.Join(dir, "s"), newEd(t).PublicKey(), space, text); err == nil {
		t.Fatal("signed without an agent")
	}
}

// What ssh-keygen signs with the keys that it makes is accepted.
func TestKeysMadeByOpenSSH(t *testing.T) {
	bin := keygen(t)
	for _, args := range [][]string{{"-t", "ed25519"}, {"-t", "ecdsa", "-b", "384"}, {"-t", "rsa", "-b", "3072"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "id")
			if out, err := exec.Command(bin, append(args, "-q", "-N", "", "-f", path)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			line, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			pub, err := ParseAuthorizedKey(string(line))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bin, "-Y", "sign", "-n", space, "-f", path)
			cmd.Stdin = bytes.NewReader(text)
			armored, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if touch, err := Verify(pub, space, text, armored); err != nil || touch {
				t.Fatalf("touch %v, %v", touch, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []ssh.Signer{newEd(f), newToken(f, true, 1), newToken(f, false, 0), signerOf(f, rsaKey())} {
		f.Add(rawSign(f, s, space, sshsig.HashSHA512))
	}
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"))
	stranger := newEd(f).PublicKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(stranger, space, text, b); err == nil {
			t.Fatal("a signature that was never made is accepted")
		}
		sig, err := parse(b)
		if err != nil {
			return
		}
		// What is accepted has one encoding, whatever its armor looked like.
		again, err := parse(sshsig.Armor(sig))
		if err != nil || !bytes.Equal(again.Marshal(), sig.Marshal()) {
			t.Fatalf("it does not come back: %v", err)
		}
	})
}

func FuzzParseAuthorizedKey(f *testing.F) {
	f.Add(string(ssh.MarshalAuthorizedKey(newEd(f).PublicKey())))
	f.Add(string(ssh.MarshalAuthorizedKey(newToken(f, true, 1).PublicKey())))
	f.Add("ssh-rsa AAAA comment")
	f.Fuzz(func(t *testing.T, s string) {
		pub, err := ParseAuthorizedKey(s)
		if err != nil {
			return
		}
		again, err := ParseAuthorizedKey(string(ssh.MarshalAuthorizedKey(pub)))
		if err != nil || !bytes.Equal(again.Marshal(), pub.Marshal()) {
			t.Fatalf("it does not come back: %v", err)
		}
	})
}
