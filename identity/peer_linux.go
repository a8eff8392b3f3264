package identity

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerPID is the process and the user that connected (SO_PEERCRED, unix(7)), as the kernel noted them at connect(2): the
// process may have handed the connection on, or ended and left its number to another.
func PeerPID(conn *net.UnixConn) (pid, uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, fmt.Errorf("asking who connected: %w", err)
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, sockErr); err != nil {
		return 0, 0, fmt.Errorf("asking who connected: %w", err)
	}
	if cred.Pid <= 0 {
		return 0, 0, errors.New("who connected lives in another pid namespace and cannot be named")
	}
	return int(cred.Pid), int(cred.Uid), nil
}
