package sshsig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Sign makes the armored signature of message for namespace, with SHA-512 as ssh-keygen does. It is verified before it
// is handed out, so that a key that Remit would refuse is refused here, where its owner reads why.
func Sign(signer ssh.Signer, namespace string, message []byte) ([]byte, error) {
	// Keys in an ssh-agent show their wire format only; parsed, they are judged like any other.
	pub, err := ParseKey(signer.PublicKey().Marshal())
	if err != nil {
		return nil, err
	}
	sig, err := sshsig.Sign(bytes.NewReader(message), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", ssh.FingerprintSHA256(pub), err)
	}
	armored := sshsig.Armor(sig)
	if _, err := Verify(pub, namespace, message, armored); err != nil {
		return nil, err
	}
	return armored, nil
}

// SignAgent asks the ssh-agent behind socket (SSH_AUTH_SOCK) to sign with pub. It waits as long as ctx allows: hardware
// keys wait for a touch.
func SignAgent(ctx context.Context, socket string, pub ssh.PublicKey, namespace string, message []byte) ([]byte, error) {
	if socket == "" {
		return nil, errors.New("there is no ssh-agent: SSH_AUTH_SOCK is not set")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reaching the ssh-agent: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("asking the ssh-agent for its keys: %w", errors.Join(ctx.Err(), err))
	}
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), pub.Marshal()) {
			return Sign(s, namespace, message)
		}
	}
	return nil, fmt.Errorf("the ssh-agent does not have the key %s; ssh-add it", ssh.FingerprintSHA256(pub))
}

// Person is how SignFile reaches the owner of a key.
type Person struct {
	// Passphrase asks for the passphrase of the key at path; nil: there is nobody to ask.
	Passphrase func(path string) ([]byte, error)
	// Screen is where ssh-keygen tells a person to touch the key; nil: nowhere. It asks for a PIN on the terminal.
	Screen io.Writer
	// Agent is the socket of an ssh-agent, for a path that is a public key; empty: none.
	Agent string
}

// maxKeyFile bounds the private key file, in bytes.
const maxKeyFile = 64 << 10

// SignFile makes the armored signature of message for namespace with the key at path: a private key, the stub of a
// hardware key (ssh-keygen drives the token), or a public key whose private part is in an ssh-agent.
func SignFile(ctx context.Context, path, namespace string, message []byte, p Person) ([]byte, error) {
	raw, mode, err := readKey(path)
	if err != nil {
		return nil, err
	}
	if pub, err := ParseAuthorizedKey(string(raw)); err == nil {
		return SignAgent(ctx, p.Agent, pub, namespace, message)
	}
	if mode&0o077 != 0 && runtime.GOOS != "windows" { // as ssh does: whoever reads it signs as this person
		return nil, fmt.Errorf("the private key %s can be read by others, so it is not used; say: chmod 600 %s", path, path)
	}
	key, err := ssh.ParseRawPrivateKey(raw)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) && (missing.PublicKey == nil || !Touch(missing.PublicKey)) {
		if p.Passphrase == nil {
			return nil, fmt.Errorf("the key %s has a passphrase, and there is nobody to ask; add the key to an ssh-agent and give its .pub file", path)
		}
		pass, err := p.Passphrase(path)
		if err != nil {
			return nil, fmt.Errorf("asking for the passphrase of %s: %w", path, err)
		}
		if key, err = ssh.ParseRawPrivateKeyWithPassphrase(raw, pass); err != nil {
			return nil, fmt.Errorf("opening %s: %w", path, err)
		}
	}
	if key != nil {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, fmt.Errorf("using %s: %w", path, err)
		}
		return Sign(signer, namespace, message)
	}
	// x/crypto reads no sk-* private keys: what such a file holds is a handle that only the token understands.
	return signKeygen(ctx, path, namespace, message, p.Screen)
}

func readKey(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("the key %s is not a regular file", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the key %s: %w", path, err)
	}
	if len(raw) > maxKeyFile {
		return nil, 0, fmt.Errorf("%s is larger than any key (%d bytes)", path, maxKeyFile)
	}
	return raw, fi.Mode().Perm(), nil
}

// signKeygen lets ssh-keygen sign what stands on its standard input, and believes its answer only after verifying it.
func signKeygen(ctx context.Context, path, namespace string, message []byte, screen io.Writer) ([]byte, error) {
	if namespace == "" {
		return nil, sshsig.ErrMissingNamespace
	}
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-n", namespace, "-f", path)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), &out, &said
	if screen != nil {
		cmd.Stderr = io.MultiWriter(&said, screen)
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ssh-keygen could not sign with %s: %w: %s", path, err, strings.TrimSpace(said.String()))
	}
	pub, err := Signer(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("ssh-keygen answered something else than a signature: %w", err)
	}
	if _, err := Verify(pub, namespace, message, out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
