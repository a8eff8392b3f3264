package web

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/remit-dev/remit"
)

func TestGuard(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		left int64
		want remit.Code
	}{
		"plain text":           {strings.Repeat("x", 100<<10), 1 << 20, ""},
		"nothing":              {"", 10, ""},
		"the beginning of one": {"upstream-lease-secre", 100, ""},
		"a secret":             {"a upstream-lease-secret b", 100, remit.UpstreamDown},
		"a secret at the end":  {"a upstream-lease-secret", 100, remit.UpstreamDown},
		"too much":             {"0123456789a", 10, remit.TooLarge},
	} {
		for how, r := range map[string]io.Reader{"at once": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text)), "with the end": iotest.DataErrReader(strings.NewReader(c.text))} {
			got, err := io.ReadAll(&guard{r: r, left: c.left, secrets: secrets("token " + leaseToken)})
			var e *remit.Error
			if c.want == "" && (err != nil || string(got) != c.text) || c.want != "" && (!errors.As(err, &e) || e.Code != c.want) {
				t.Errorf("%s, %s: %d bytes, %v", name, how, len(got), err)
			}
			if strings.Contains(string(got), leaseToken) {
				t.Errorf("%s, %s: the secret came through", name, how)
			}
		}
	}
	if got := secrets("Basic a2VlcGVyOmNvcnJlY3QgaG9yc2U="); len(got) != 2 || got[1] != "correct horse" {
		t.Errorf("%q", got)
	}
}
