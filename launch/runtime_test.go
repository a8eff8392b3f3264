package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestASocketHasRoom: a directory whose name is too long for a socket is passed over for one that is not.
func TestASocketHasRoom(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", maxSocket))
	short, err := os.MkdirTemp("/tmp", "rt")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	for _, dir := range []string{long, short} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", short)
	dir, err := (&Launcher{Runtime: long}).instanceDir("I-1")
	if err != nil || filepath.Dir(dir) != short {
		t.Fatalf("%s, %v", dir, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", long)
	t.Setenv("TMPDIR", long)
	if dir, err := (&Launcher{}).instanceDir("I-1"); err == nil || !strings.Contains(err.Error(), "too long for a socket") {
		t.Fatalf("%s, %v", dir, err)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) != 0 {
		t.Fatalf("%v was left behind, %v", left, err)
	}
}
