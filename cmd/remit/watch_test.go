package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
)

// Findings are reported from where the last process was; a house that never searched begins at the head, and one whose
// log was restored from a copy does not wait for entries that may never come.
func TestHowFarTheLogWasSearched(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want remit.EntryIndex
		ok   bool
	}{
		"never": {"", 50, true}, "before": {"20\n", 20, true}, "at the head": {"50", 50, true}, "restored": {"70\n", 50, true},
		"nonsense": {"x", 0, false}, "negative": {"-1", 0, false},
	} {
		path := filepath.Join(t.TempDir(), "detections")
		if test.file != "" {
			if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := readPosition(path, 50); got != test.want || (err == nil) != test.ok {
			t.Errorf("%s: %d %v", name, got, err)
		}
	}
}

// A head that is not signed for is behind since the first try, however often it is tried again.
func TestHowLongTheHeadIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signing
		want := func(size uint64, age, behind time.Duration) {
			t.Helper()
			if n, at, b := s.read(); n != size || b != behind || age < 0 != at.IsZero() || age >= 0 && time.Since(at) != age {
				t.Errorf("%d %s %s", n, at, b)
			}
		}
		want(0, -1, 0)
		s.begin()
		time.Sleep(time.Minute)
		s.begin()
		time.Sleep(time.Minute)
		want(0, -1, 2*time.Minute)
		s.done(7, true)
		want(7, 0, 0)
		time.Sleep(time.Hour)
		s.begin()
		s.done(7, false) // nothing to sign
		want(7, time.Hour, 0)
	})
}
