package launch

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"
)

// What the launcher and the process that becomes the command say to each other: gob over two pipes, because arguments
// and variables may be any bytes. First the launcher sends an order to confine and gets an answer; then, when the
// instance is there, what to execute. An answer to that is a failure: success closes the pipe.
type (
	enterConfine struct {
		Launcher  int // pid: if it is not the parent any more, the launcher is dead
		UID, GID  int // in the namespace that the launcher is in
		Namespace namespace
		Hide      []string
	}
	enterExec struct {
		Command, Env []string
		Dir          string
	}
	enterAnswer struct {
		Err  string
		Code int
	}
)

// namespace is what the kernel let the process be made in.
type namespace string

const (
	noNamespace    namespace = ""
	mountNamespace namespace = "mount" // of root's own
	userNamespace  namespace = "user"  // a user namespace, and a mount namespace in it
)

// exitCode is what a shell would exit with when a command cannot be executed.
func exitCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return ExitNotFound
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, exec.ErrDot) || errors.Is(err, syscall.EISDIR) {
		return ExitNotExecutable
	}
	return ExitLauncher
}
