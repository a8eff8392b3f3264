package card

import (
	"strings"
	"testing"
)

func FuzzDifference(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\n")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		out := Difference(a, b)
		for line := range strings.SplitSeq(a, "\n") {
			if line != "" && !strings.Contains(b, line) && !strings.Contains(out, "- "+line+"\n") {
				t.Fatalf("%q is gone, and %q does not say so", line, out)
			}
		}
	})
}
