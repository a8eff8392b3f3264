package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	attackRow = regexp.MustCompile(`(?m)^\| ([AHTPV][0-9]+b?) \|.*\| ([^|]*) \|$`)
	proof     = regexp.MustCompile("`([^`]+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
)

// TestEveryAttackHasAProof holds doc/attacks.md against what there is: each class has one row, each row names scripts and
// tests, and all of them exist.
func TestEveryAttackHasAProof(t *testing.T) {
	root := filepath.Join("..", "..")
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllSubmatch(text, -1) {
				known[filepath.Base(filepath.Dir(path))+"."+string(m[1])] = true
			}
		case strings.HasSuffix(path, ".txtar") && filepath.Base(filepath.Dir(path)) == "live":
			known[d.Name()] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "doc", "attacks.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, m := range attackRow.FindAllStringSubmatch(string(text), -1) {
		rows[m[1]]++
		proofs := proof.FindAllStringSubmatch(m[2], -1)
		if len(proofs) == 0 {
			t.Errorf("%s has no proof: %q", m[1], m[2])
		}
		for _, p := range proofs {
			if !known[p[1]] {
				t.Errorf("%s: there is no %s", m[1], p[1])
			}
		}
	}
	classes := []string{"A27b", "A56b"}
	for _, span := range [][2]int{{1, 18}, {20, 27}, {30, 43}, {50, 59}, {60, 68}, {70, 74}} {
		for n := span[0]; n <= span[1]; n++ {
			classes = append(classes, fmt.Sprintf("A%d", n))
		}
	}
	for n := 1; n <= 12; n++ {
		classes = append(classes, fmt.Sprintf("H%d", n))
	}
	for n := 1; n <= 18; n++ {
		classes = append(classes, fmt.Sprintf("T%d", n))
	}
	for n := 1; n <= 24; n++ {
		classes = append(classes, fmt.Sprintf("P%d", n))
	}
	for n := 1; n <= 5; n++ {
		classes = append(classes, fmt.Sprintf("V%d", n))
	}
	for _, c := range classes {
		if rows[c] != 1 {
			t.Errorf("%s has %d rows", c, rows[c])
		}
	}
	if len(rows) != len(classes) {
		t.Errorf("%d classes have rows, want %d", len(rows), len(classes))
	}
}
