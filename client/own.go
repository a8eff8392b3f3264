package client

import (
	"io/fs"
	"os"
	"syscall"
)

// ownFile tells whether the file belongs to the user that this process runs as.
func ownFile(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
