package launch

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/remit-dev/remit/launch/isolate"
	"golang.org/x/sys/unix"
)

// Confinement home hides credentials from the command; it does not hold the command. What it can still write, a shell's
// start file say, a person's own processes will execute later. Only another uid or another host keeps an agent from its
// person's keys for good.

// Files of Enter, as the launcher hands them over.
const (
	ordersFD  = 3
	answersFD = 4
)

// Harden keeps other processes of this user from reading this one's memory, its environment and its descriptors
// (PR_SET_DUMPABLE, prctl(2)). The launcher holds the instance's secret and the person's session.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing the launcher's memory to other processes: %w", err)
	}
	return nil
}

// Enter is the hidden subcommand `remit __enter`: the process that the launcher starts, that confines itself and becomes
// the command. It holds no secret, so it may be dumpable, which the kernel asks of a process that makes a user
// namespace. It returns only if it failed; the number is the exit code.
func Enter() int {
	// Namespaces aside, all that follows belongs to the thread that executes the command: PDEATHSIG, capabilities.
	runtime.LockOSThread()
	orders, answers := os.NewFile(ordersFD, "orders"), os.NewFile(answersFD, "answers")
	if orders == nil || answers == nil {
		fmt.Fprintln(os.Stderr, "remit: __enter is for the launcher only; use remit run")
		return ExitLauncher
	}
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(answersFD)
	read, write := gob.NewDecoder(orders), gob.NewEncoder(answers)
	answer := func(code int, err error) int {
		a := enterAnswer{Code: code}
		if err != nil {
			a.Err = err.Error()
		}
		if sendErr := write.Encode(a); sendErr != nil && err != nil {
			fmt.Fprintln(os.Stderr, "remit:", err)
		}
		return code
	}

	var c enterConfine
	if err := read.Decode(&c); err != nil {
		return ExitLauncher // the launcher gave up, and says why
	}
	if c.Namespace == ownNamespaces {
		return enterSandbox(c, read, write)
	}
	if err := dieWith(c.Launcher); err != nil {
		return answer(ExitLauncher, err)
	}
	if err := confine(c); err != nil {
		return answer(ExitLauncher, err)
	}
	answer(0, nil)

	var x enterExec
	if err := read.Decode(&x); err != nil {
		return ExitLauncher
	}
	if c.Weak != nil {
		c.Weak.Port = x.Port
		if err := c.Weak.Restrict(x.Show); err != nil {
			return answer(ExitLauncher, err)
		}
	}
	err := execute(x)
	return answer(exitCode(err), err)
}

// dieWith asks the kernel to kill this thread's process when the launcher dies, and makes sure that it has not yet.
func dieWith(launcher int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tying the command's life to the launcher's: %w", err)
	}
	if os.Getppid() != launcher {
		return errors.New("the launcher has ended")
	}
	return nil
}

func confine(c enterConfine) error {
	if c.Namespace == noNamespace {
		return nil
	}
	if c.Namespace == userNamespace {
		if err := isolate.MapSelf(c.UID, c.UID, c.GID, c.GID); err != nil {
			return err
		}
	}
	// A slave still sees what the system mounts later, and shows it nothing.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("taking the mounts out of the system's: %w", err)
	}
	for _, p := range present(c.Hide) {
		if err := hide(p); err != nil {
			return err
		}
	}
	return dropPrivileges(c.Namespace)
}

// hide puts an empty directory over a directory, and /dev/null over everything else, and looks whether it is there.
func hide(path string) error {
	var before, after unix.Stat_t
	if err := unix.Lstat(path, &before); err != nil {
		return fmt.Errorf("hiding %s: %w", path, err)
	}
	switch before.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return nil // a terminal or /dev/null itself: no credential lies in it
	case unix.S_IFDIR:
		const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("remit", path, "tmpfs", flags, "size=1m,mode=0700"); err != nil {
			return fmt.Errorf("hiding the directory %s: %w", path, err)
		}
	default:
		if err := unix.Mount(os.DevNull, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	if err := unix.Lstat(path, &after); err != nil {
		return fmt.Errorf("looking whether %s is hidden: %w", path, err)
	}
	if before.Dev == after.Dev && before.Ino == after.Ino {
		return fmt.Errorf("%s is still there after it was hidden", path)
	}
	return nil
}

// rootKeeps are the capabilities that a command of root keeps: those of an ordinary container, without making device
// nodes. Without the others it can neither unmount what hides nor look through another process's mounts.
var rootKeeps = map[uintptr]bool{
	unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FOWNER: true, unix.CAP_FSETID: true, unix.CAP_KILL: true, unix.CAP_SETGID: true, unix.CAP_SETUID: true,
	unix.CAP_NET_BIND_SERVICE: true, unix.CAP_NET_RAW: true, unix.CAP_SYS_CHROOT: true, unix.CAP_AUDIT_WRITE: true, unix.CAP_SETFCAP: true,
}

// dropPrivileges leaves the command no way to gain what would undo the mounts: not by a set-uid program, not by being
// root in its own user namespace.
func dropPrivileges(ns namespace) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forswearing new privileges: %w", err)
	}
	for c := uintptr(0); c <= lastCapability(); c++ {
		if ns == mountNamespace && rootKeeps[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("dropping ambient capabilities: %w", err)
	}
	// Inheritable ones would survive exec; permitted and effective ones are computed anew from the bounding set.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	for i := range sets {
		sets[i].Inheritable = 0
		if ns != mountNamespace {
			sets[i] = unix.CapUserData{}
		}
	}
	if err := unix.Capset(&head, &sets[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return nil
}

// lastCapability is the highest that this kernel knows; a guess that is too high would fail.
func lastCapability() uintptr {
	raw, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		if n, err := strconv.Atoi(string(raw[:max(0, len(raw)-1)])); err == nil {
			return uintptr(n)
		}
	}
	return unix.CAP_LAST_CAP
}

// execute replaces this process by the command. It returns only with an error.
func execute(x enterExec) error {
	// After the mounts: a working directory from before would still lead below them.
	if err := os.Chdir(x.Dir); err != nil {
		return refused{fmt.Errorf("the command cannot start in %s, which is not there or is hidden: %w", x.Dir, err)}
	}
	path, err := lookPath(x)
	if err != nil {
		return fmt.Errorf("the command cannot be executed: %w", err)
	}
	// Descriptors that the launcher itself inherited may lead to what is hidden.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("closing inherited files: %w", err)
	}
	if err := x.Ready.check(x.Env, x.Dir); err != nil {
		return refused{err}
	}
	return fmt.Errorf("executing %s: %w", path, syscall.Exec(path, x.Command, x.Env))
}

// lookPath finds the command by the command's own PATH.
func lookPath(x enterExec) (string, error) {
	path, ok := lookup(x.Env, "PATH")
	if !ok {
		return "", refused{errors.New("PATH is not set")}
	}
	if err := os.Setenv("PATH", path); err != nil {
		return "", err
	}
	found, err := exec.LookPath(x.Command[0])
	if err != nil {
		return "", err
	}
	return filepath.Clean(found), nil
}

// refused is an error that is the launcher's, whatever it wraps.
type refused struct{ cause error }

func (r refused) Error() string { return r.cause.Error() }
