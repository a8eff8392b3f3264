package isolate

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// errNoLandlock is why not even the weak form can be had.
var errNoLandlock = errors.New("the kernel has no Landlock with rules for TCP (ABI 4, Linux 6.7)")

// CanWeak tells whether Landlock is there, with rules for TCP.
func CanWeak() error {
	if landlockABI() < 4 {
		return errNoLandlock
	}
	_, err := rulesFor(true)
	return err
}

// Restrict restricts this process to w and s for good.
func (w Weak) Restrict(s Share) error {
	if w.Port <= 0 || w.Port > math.MaxUint16 { // or every port would be open
		return fmt.Errorf("%d is no port that a command could be restricted to", w.Port)
	}
	_, root, err := rootOf(w.Dir, w.Homes)
	if err != nil {
		return err
	}
	read := slices.Concat(system, w.toShow(), s.Read, []string{"/proc"})
	if w.Program != "" {
		read = append(read, w.Program)
		if real, err := filepath.EvalSymlinks(w.Program); err == nil {
			read = append(read, packageOf(real))
		}
	}
	hidden := slices.Concat(w.Hide, secrets)
	read = without(slices.DeleteFunc(read, func(p string) bool { return !exists(p) }), hidden)
	write := slices.Concat([]string{root, w.Temporary}, s.Write)
	if err := landlock(rules{read: read, write: write, sockets: slices.Concat(s.Read, s.Write), tcp: uint16(w.Port)}); err != nil {
		return err
	}
	return filter(true)
}

// without are paths, and where one of hidden lies in one of them, what else lies there: Landlock only adds.
func without(paths, hidden []string) (out []string) {
	for _, p := range paths {
		if !slices.ContainsFunc(hidden, func(h string) bool { return below(h, p) && exists(h) }) {
			out = append(out, p)
			continue
		}
		if slices.Contains(hidden, p) {
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			continue
		}
		var inside []string
		for _, e := range entries {
			inside = append(inside, filepath.Join(p, e.Name()))
		}
		out = append(out, without(inside, hidden)...)
	}
	return out
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
