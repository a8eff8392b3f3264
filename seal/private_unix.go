//go:build unix

package seal

import (
	"io/fs"
	"syscall"
)

// ownedByUs tells whether the file belongs to the user that this process runs as.
func ownedByUs(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == syscall.Geteuid()
}

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
