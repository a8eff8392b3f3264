package launch

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"

	"github.com/remit-dev/remit/launch/isolate"
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
		Box       *isolate.Box  // of ownNamespaces
		Weak      *isolate.Weak // isolation without namespaces
	}
	enterExec struct {
		Command, Env []string
		Dir          string
		Ready        ready         // what must hold before
		Show         isolate.Share // in a sandbox
		Port         int           // of Weak
	}
	enterAnswer struct {
		Err  string
		Code int
		Bad  bool   // what was asked for is wrong, and not what the kernel gives
		Tree string // the work tree of a sandbox, and what was made in it
		Made []string
		// What process 1 of a sandbox sees of the command.
		Stopped, Ended bool
		Status         uint32 // wait(2), when it has ended
	}
)

// Isolation is whether a command runs in a sandbox (package isolate).
type Isolation string

// IsolateYes fails where a sandbox cannot be had; IsolateBest takes Landlock alone then, and says so.
const (
	IsolateNo   Isolation = ""
	IsolateYes  Isolation = "yes"
	IsolateBest Isolation = "best"
)

// namespace is what the kernel let the process be made in.
type namespace string

const (
	noNamespace    namespace = ""
	mountNamespace namespace = "mount" // of root's own
	userNamespace  namespace = "user"  // a user namespace, and a mount namespace in it
	ownNamespaces  namespace = "own"   // one of every kind that a sandbox is made of
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
