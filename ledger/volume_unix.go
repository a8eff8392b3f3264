//go:build linux || darwin

package ledger

import (
	"os"
	"path/filepath"
	"syscall"
)

// freeBytes is what an unprivileged user may still write on the volume of dir.
func freeBytes(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// sameVolume tells whether a file can be renamed into dir.
func sameVolume(dir, path string) bool {
	a, errA := os.Stat(dir)
	b, errB := os.Stat(filepath.Dir(path))
	if errA != nil || errB != nil {
		return false
	}
	x, okA := a.Sys().(*syscall.Stat_t)
	y, okB := b.Sys().(*syscall.Stat_t)
	return okA && okB && x.Dev == y.Dev
}
