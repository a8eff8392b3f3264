package shell

import (
	"os"
	"strings"
	"testing"
)

// The table of examples says what Classify says.
func TestTheTableInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../doc/shell.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x01"), "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		n++
		command := strings.ReplaceAll(strings.Trim(cells[1], " `"), "\x01", "|")
		f := Classify(command, here())
		if f.Class.String() != strings.TrimSpace(cells[2]) || strings.Join(f.Why, ", ") != strings.TrimSpace(cells[3]) {
			t.Errorf("%q is %v %q; the table says%s|%s", command, f.Class, f.Why, cells[2], cells[3])
		}
	}
	if n < 25 {
		t.Errorf("the table has %d rows", n)
	}
}
