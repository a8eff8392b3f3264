package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The hook must have answered before the libraries of the rest are initialised: they take several times as long.
func TestTheHookAnswersBeforeTheRestIsInitialised(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	remit := filepath.Join(t.TempDir(), "remit")
	if err := os.Symlink(self, remit); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		cmd := exec.Command(remit, args...)
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1", "REMIT_SOCKET=", "REMIT_ORG=")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		return errs.String(), cmd.ProcessState.ExitCode()
	}
	said, code := run("hook", "claude-code")
	if code != 2 || !strings.Contains(said, "the call is denied") {
		t.Fatalf("%d %s", code, said)
	}
	for _, late := range []string{"init net/http ", "init k8s.io/", "init github.com/open-policy-agent/opa/v1/ast ", "init github.com/prometheus/client_golang/prometheus "} {
		if strings.Contains(said, late) {
			t.Errorf("%sis done before the hook has answered", late)
		}
	}
	if said, code := run("hook", "--help"); code != 0 || !strings.Contains(said, "init net/http ") {
		t.Errorf("help is no other command's: %d", code)
	}
}
