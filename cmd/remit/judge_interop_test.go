//go:build interop && unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit/internal/real"
)

// A server that is running serves its log to Tessera's fsck, which knows the format and nothing of us; so do the files
// that remit log tiles writes, also after the log has gone on.
func TestInteropTesseraReadsTheLogOfARunningServer(t *testing.T) {
	s := newStreet(t)
	ana := s.person("ana")
	head, err := ana.LogHead(t.Context())
	s.ok(err)
	bearer, dir := s.secret("bearer", ana.session.Token), filepath.Join(s.dir, "mirror")
	tiles, ca := s.url+"/v1/orgs/acme/log/tiles/", filepath.Join(s.data, "ca.crt")
	declared := filepath.Join(s.dir, "declarations")
	s.ok(os.Mkdir(declared, 0o700))
	for _, who := range []string{"ana", "ben", "cem"} {
		s.ok(real.Judge(t, tiles, head.Verifier, "-ca", ca, "-bearer", bearer))
		s.remit("ana", "log", "tiles", dir)
		s.ok(real.Judge(t, dir, head.Verifier))
		if real.Judge(t, tiles, head.Verifier, "-ca", ca) == nil {
			t.Error("entries are read by somebody who is nobody here")
		}
		line, err := os.ReadFile(s.people[who] + ".pub")
		s.ok(err)
		person := fmt.Sprintf("people:\n  - {name: %s, keys: [%q]}\n", who, strings.TrimSpace(string(line)))
		s.ok(os.WriteFile(filepath.Join(declared, who+".yaml"), []byte(person), 0o600))
		s.remit("ana", "apply", "-f", declared)
	}
}
