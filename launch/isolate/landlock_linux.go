package isolate

import (
	"fmt"
	"os"

	ll "github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// rules are what Landlock (landlock(7)) lets a command do with files. tcp, where it is not 0, is the only port that it
// may connect to, and on none it may listen.
type rules struct {
	read, write []string
	sockets     []string // directories whose sockets may be connected to
	tcp         uint16
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// landlock restricts this process and what it starts, as far as the kernel can.
func landlock(r rules) error {
	config := ll.V11.BestEffort()
	fs := []ll.Rule{ll.RWDirs("/dev").WithIoctlDev().IgnoreIfMissing()}
	for _, path := range r.read {
		if isDir(path) {
			fs = append(fs, ll.RODirs(path).IgnoreIfMissing())
		} else {
			fs = append(fs, ll.ROFiles(path).IgnoreIfMissing())
		}
	}
	for _, path := range r.write {
		if isDir(path) {
			fs = append(fs, ll.RWDirs(path).WithRefer().IgnoreIfMissing())
		} else {
			fs = append(fs, ll.RWFiles(path).IgnoreIfMissing())
		}
	}
	for _, path := range r.sockets {
		if isDir(path) {
			fs = append(fs, ll.RODirs(path).WithResolveUnix().IgnoreIfMissing())
		}
	}
	err := config.RestrictPaths(fs...)
	if err == nil && r.tcp != 0 {
		err = config.RestrictNet(ll.ConnectTCP(r.tcp))
	}
	if err == nil {
		err = config.RestrictScoped()
	}
	if err != nil {
		return fmt.Errorf("restricting the command by Landlock: %w", err)
	}
	return nil
}

// landlockABI is the kernel's version of Landlock, 0 where it has none.
func landlockABI() int {
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 {
		return 0
	}
	return int(v)
}
