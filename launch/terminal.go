//go:build unix

package launch

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminal is the one that the command reads from, if it is this process's controlling terminal. nil is none.
type terminal struct {
	file  *os.File
	state *term.State // as it was
	given bool
}

// openTerminal looks whether f is a terminal that this process is in a session with.
func openTerminal(f *os.File) *terminal {
	if f == nil || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	if _, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP); err != nil {
		return nil
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil
	}
	return &terminal{file: f, state: state}
}

// has tells whether group is in the foreground.
func (t *terminal) has(group int) bool {
	if t == nil {
		return false
	}
	now, err := unix.IoctlGetInt(int(t.file.Fd()), unix.TIOCGPGRP)
	return err == nil && now == group
}

// give puts group in the foreground, if this process's own group is there.
func (t *terminal) give(group int) bool {
	if t == nil || !t.has(unix.Getpgrp()) {
		return false
	}
	if err := unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, group); err != nil {
		return false
	}
	t.given = true
	return true
}

// takeBack puts this process's group in the foreground again; after a command that was killed it also resets modes
// that the command could not reset any more.
func (t *terminal) takeBack(reset bool) {
	if t == nil || !t.given {
		return
	}
	// A background process that does this is stopped, unless it ignores the signal (tcsetpgrp(3)).
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	if err := unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, unix.Getpgrp()); err == nil && reset {
		_ = term.Restore(int(t.file.Fd()), t.state)
	}
	t.given = false
}
