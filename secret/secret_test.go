package secret_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/seal"
	"github.com/remit-dev/remit/secret"
)

const value = "s3cret-of-the-database"

func open(t *testing.T) (*secret.Store, string, *seal.Box) {
	t.Helper()
	box, err := seal.New(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := secret.Open(dir, box)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir, box
}

func coded(t *testing.T, err error, code remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if strings.Contains(err.Error(), value) {
		t.Fatalf("the error has the secret: %v", err)
	}
}

func TestAValueIsSealedForItsNameAndVersion(t *testing.T) {
	s, dir, box := open(t)
	if err := s.Put("payments/db", 1, []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("payments/db", 2, []byte(value+"2")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Value("payments/db", 1); err != nil || string(got) != value {
		t.Fatalf("%q %v", got, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil || bytes.Contains(raw, []byte(value)) || strings.Contains(f, "payments") {
			t.Fatalf("%s is readable: %v", f, err)
		}
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
	}
	// Whoever moves files about gets nothing: a value opens under its own name and version only.
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[1], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, one := s.Value("payments/db", 1)
	_, two := s.Value("payments/db", 2)
	if (one == nil) == (two == nil) {
		t.Fatal("a value opens as another version")
	}
	again, err := secret.Open(dir, box)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Keep("payments/db", 2); err != nil {
		t.Fatal(err)
	}
	_, err = again.Value("payments/db", 1)
	coded(t, err, remit.NotFound)
	if err := again.Keep("payments/db", 0); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 0 {
		t.Fatalf("%v %v", files, err)
	}
}

func TestWhatIsNoValueIsRefused(t *testing.T) {
	s, dir, box := open(t)
	coded(t, s.Put("a", 1, nil), remit.BadRequest)
	coded(t, s.Put("a", 1, bytes.Repeat([]byte("x"), secret.MaxValue+1)), remit.BadRequest)
	if err := s.Put("a", 1, bytes.Repeat([]byte("x"), secret.MaxValue)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Value("b", 1)
	coded(t, err, remit.NotFound)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = secret.Open(dir, box)
	coded(t, err, remit.Forbidden)
}

func TestAValueThatCannotBeKeptIsNotKept(t *testing.T) {
	s, dir, _ := open(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	coded(t, s.Put("a", 1, []byte(value)), remit.NoSpace)
}
