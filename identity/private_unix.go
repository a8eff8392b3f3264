//go:build unix

package identity

import (
	"io/fs"
	"syscall"
)

// OwnedByUs tells whether the file belongs to the user that this process runs as.
func OwnedByUs(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == syscall.Geteuid()
}

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
