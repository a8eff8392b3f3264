package export_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/export"
)

func ocsfLine(n string) string {
	return `{"metadata":{"sequence":` + n + `},"x":"` + strings.Repeat("y", 100) + `"}` + "\n"
}

// An export goes on after the last whole line, and touches no file that is not one.
func TestAnExportGoesOnWhereItWas(t *testing.T) {
	for name, test := range map[string]struct {
		is, becomes string
		last        remit.EntryIndex
		some, wrong bool
	}{
		"new":                      {},
		"one line":                 {ocsfLine("0"), ocsfLine("0"), 0, true, false},
		"two":                      {ocsfLine("6") + ocsfLine("7"), ocsfLine("6") + ocsfLine("7"), 7, true, false},
		"cut short":                {ocsfLine("6") + ocsfLine("7")[:20], ocsfLine("6"), 6, true, false},
		"cut short in the first":   {ocsfLine("7")[:20], "", 0, false, false},
		"without its last newline": {ocsfLine("6") + strings.TrimSpace(ocsfLine("7")), ocsfLine("6"), 6, true, false},
		"longer than is read":      {strings.Repeat(ocsfLine("1"), 30_000) + ocsfLine("2"), strings.Repeat(ocsfLine("1"), 30_000) + ocsfLine("2"), 2, true, false},
		"another format":           {`{"specversion":"1.0","id":"7"}` + "\n", "", 0, false, true},
		"somebody's text":          {"dear diary\n", "", 0, false, true},
		"somebody's text, no line": {"dear diary", "", 0, false, true},
		"a large file of no lines": {strings.Repeat("x", 3<<20), "", 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			if test.is != "" {
				if err := os.WriteFile(path, []byte(test.is), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f, last, some, err := export.OpenFile(path, "ocsf")
			if err == nil {
				defer f.Close()
			}
			if (err != nil) != test.wrong || last != test.last || some != test.some {
				t.Fatalf("last %d %v, %v", last, some, err)
			}
			want := test.becomes
			if test.wrong {
				want = test.is
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Fatalf("it is now %.80q (%d bytes), %v", got, len(got), err)
			}
			if err != nil {
				return
			}
			if _, err := f.WriteString(ocsfLine("9")); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want+ocsfLine("9") {
				t.Errorf("after the next line: %.200q %v", got, err)
			}
		})
	}
}
