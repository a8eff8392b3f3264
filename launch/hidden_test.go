package launch

import (
	"slices"
	"testing"
)

// A person's sessions lie in the runtime directory, or in a cache where there was none: whichever of them this launch
// uses, all of them are hidden.
func TestSessionsAreHiddenWhereverTheyLie(t *testing.T) {
	got := hidden([]string{"HOME=/h", "XDG_RUNTIME_DIR=/r", "XDG_CACHE_HOME=/c"})
	for _, dir := range []string{"/h/.cache/remit", "/r/remit", "/c/remit"} {
		if !slices.Contains(got, dir) {
			t.Errorf("%s stays in sight", dir)
		}
	}
}
