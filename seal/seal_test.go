package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/seal"
)

const secret = "the-secret-itself"

func box(t *testing.T, dir string) *seal.Box {
	t.Helper()
	b, err := seal.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sealed(t *testing.T, b *seal.Box, label, plain string) []byte {
	t.Helper()
	s, err := b.SealFor(label, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(s, []byte(plain)) && plain != "" {
		t.Fatal("what is sealed shows what it seals")
	}
	return s
}

func opens(t *testing.T, b *seal.Box, label string, s []byte, want string) {
	t.Helper()
	if got, err := b.OpenFor(label, s); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func refused(t *testing.T, err error, code remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "AGE-SECRET-KEY") {
		t.Fatalf("the error shows a secret: %v", err)
	}
}

func TestWhatIsSealedOpensAfterARestartAndUnderItsNameOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	b := box(t, dir)
	for _, plain := range []string{"", secret, strings.Repeat("x", seal.MaxPlain)} {
		s := sealed(t, b, "lease/L-1", plain)
		opens(t, box(t, dir), "lease/L-1", s, plain)
		for _, other := range []string{"", "lease/L-11", "lease/L-", "secret/L-1"} {
			_, err := b.OpenFor(other, s)
			refused(t, err, remit.Internal)
		}
	}
	s, err := b.Seal([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Open(s); err != nil || string(got) != secret {
		t.Fatal(err)
	}
	_, err = b.Seal(make([]byte, seal.MaxPlain+1))
	refused(t, err, remit.TooLarge)
	_, err = b.Open(make([]byte, 2*seal.MaxPlain))
	refused(t, err, remit.TooLarge)
}

func TestWhatIsDamagedOrOfAnotherKeyDoesNotOpen(t *testing.T) {
	b := box(t, t.TempDir())
	s := sealed(t, b, "", secret)
	_, err := box(t, t.TempDir()).Open(s)
	refused(t, err, remit.Internal)
	for i := range s {
		bad := bytes.Clone(s)
		bad[i] ^= 1
		_, err := b.Open(bad)
		refused(t, err, remit.Internal)
		_, err = b.Open(s[:i])
		refused(t, err, remit.Internal)
	}
}

func TestRotationSealsWithANewKeyAndRetiringForgetsTheOldOnes(t *testing.T) {
	dir := t.TempDir()
	b := box(t, dir)
	before := box(t, dir) // has the first key only
	old := sealed(t, b, "a", secret)
	if err := b.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := sealed(t, b, "a", secret)
	if _, err := before.OpenFor("a", fresh); err == nil {
		t.Fatal("the old key opens what was sealed after the rotation")
	}
	for _, b := range []*seal.Box{b, box(t, dir)} {
		opens(t, b, "a", old, secret)
		opens(t, b, "a", fresh, secret)
	}
	if err := b.Retire(); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*seal.Box{b, box(t, dir)} {
		opens(t, b, "a", fresh, secret)
		_, err := b.OpenFor("a", old)
		refused(t, err, remit.Internal)
	}
}

func TestAKeyThatOthersMayReadIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o610} {
		dir := t.TempDir()
		box(t, dir)
		key := filepath.Join(dir, seal.KeyFile)
		if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o600 {
			t.Fatalf("made with %v, %v", fi.Mode(), err)
		}
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		_, err := seal.New(dir)
		refused(t, err, remit.Forbidden)
	}
	for name, make := range map[string]func(path string) error{
		"a link":      func(p string) error { return os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), p) },
		"a directory": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, seal.KeyFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.New(dir); err == nil {
			t.Fatalf("%s is taken for a key", name)
		}
	}
}

func TestAFileThatIsNoKeyIsSaidToBeNone(t *testing.T) {
	for _, text := range []string{"", "# only words\n", secret + "\n", "AGE-SECRET-KEY-1" + secret, strings.Repeat("#\n", 1<<17)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, seal.KeyFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := seal.New(dir)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Fatalf("%.20q: %v", text, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	b, err := seal.New(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	s, err := b.SealFor("a", []byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := b.OpenFor("a", raw); err == nil && string(got) != secret {
			t.Fatalf("opened %q, which was never sealed", got)
		}
	})
}
