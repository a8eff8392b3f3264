//go:build unix

package real

import (
	"fmt"
	"os/exec"
	"testing"
)

// Judge has Tessera's fsck read a log as C2SP tlog-tiles, at an HTTPS address or in a directory, and gives what it finds
// wrong. Flags are those of tools/judge: the CA and the bearer token of a server.
func Judge(t testing.TB, where, verifierKey string, flags ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "judge"), append(flags, where, verifierKey)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
