package remit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RestoreNamespace is the SSHSIG namespace in which administrators sign that a log goes on from a backup.
const RestoreNamespace = "restore@remit"

// RestoreStatement is what they sign: of which log, what the backup has, and what was signed of it before it was lost.
type RestoreStatement struct {
	Origin   string
	Size     uint64 // entries of the backup
	Root     Digest // of them
	Lost     uint64 // entries that the newest checkpoint covers; where none is left, Size
	LostRoot Digest // zero where none is left
	At       time.Time
}

// Bytes is the one encoding of s: a line each, in this order, every line ended by LF.
func (s RestoreStatement) Bytes() []byte {
	return fmt.Appendf(nil, "remit restore v1\norigin: %s\nbackup: %d\nbackup-root: %s\nlost: %d\nlost-root: %s\nat: %s\n",
		s.Origin, s.Size, s.Root, s.Lost, s.LostRoot, s.At.UTC().Format(time.RFC3339))
}

// ParseRestoreStatement reads what Bytes writes and nothing else.
func ParseRestoreStatement(b []byte) (s RestoreStatement, err error) {
	bad := func(format string, args ...any) (RestoreStatement, error) {
		return RestoreStatement{}, Errorf(BadRequest, "the statement of a restore: "+format, args...)
	}
	lines := strings.Split(string(b), "\n")
	names := []string{"origin", "backup", "backup-root", "lost", "lost-root", "at"}
	if len(b) > 1024 || len(lines) != len(names)+2 || lines[0] != "remit restore v1" {
		return bad("it begins with the line %q and has %d more, in at most 1,024 bytes", "remit restore v1", len(names))
	}
	values := make([]string, len(names))
	for i, n := range names {
		v, ok := strings.CutPrefix(lines[i+1], n+": ")
		if !ok {
			return bad("line %d is %q; it begins with %q", i+2, lines[i+1], n+": ")
		}
		values[i] = v
	}
	s.Origin = values[0]
	for i, n := range map[int]*uint64{1: &s.Size, 3: &s.Lost} {
		if *n, err = strconv.ParseUint(values[i], 10, 62); err != nil {
			return bad("line %d is no number of entries", i+2)
		}
	}
	for i, d := range map[int]*Digest{2: &s.Root, 4: &s.LostRoot} {
		if err := d.UnmarshalText([]byte(values[i])); err != nil {
			return bad("line %d: %w", i+2, err)
		}
	}
	if s.At, err = time.Parse(time.RFC3339, values[5]); err != nil {
		return bad("line 7: %w", err)
	}
	if !bytes.Equal(s.Bytes(), b) {
		return bad("it is not in its one encoding")
	}
	return s, nil
}
