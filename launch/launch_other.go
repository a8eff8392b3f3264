//go:build !linux

package launch

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/remit-dev/remit"
	"golang.org/x/sys/unix"
)

// Outside Linux there are no mount namespaces and no signal at a parent's death: confinement is always none, and a
// command outlives a launcher that was killed with -9, without its instance.

// Harden does nothing here: there is no portable way to close a process to others of its user.
func Harden() error { return nil }

var errNoSandbox = errors.New("a command can be isolated on Linux only, by its namespaces; run it in a container or a virtual machine with nothing in it")

// ProbeIsolation says that there is no sandbox here.
func (l Launcher) ProbeIsolation() error { return errNoSandbox }

func (c *command) listener() net.Listener { return nil }

func (c *command) show(_, _ []string) {}

func (c *command) only(int) {}

// Enter is not used here.
func Enter() int {
	fmt.Fprintln(os.Stderr, "remit: __enter is for Linux only")
	return ExitLauncher
}

type command struct {
	pid         int
	confinement remit.Confinement
	terminal    *terminal
	files       [3]*os.File
	ready       ready // what must hold before the command is executed
	once        sync.Once
	reaped      bool
	status      unix.WaitStatus
}

type change struct{ ended bool }

func (l *Launcher) prepare(o Options) (*command, error) {
	switch o.Isolate {
	case IsolateYes:
		return nil, errNoSandbox
	case IsolateBest:
		l.say("the command is not isolated: %v", errNoSandbox)
	}
	if o.Confinement == remit.ConfineHome {
		return nil, errors.New("confinement home needs Linux's mount namespaces; this system has none")
	}
	if readable := present(append(hidden(o.Environ), o.Hide...)); len(readable) > 0 {
		l.say("confinement is none: the command runs as you, and can read or use %s", strings.Join(readable, ", "))
	}
	return &command{confinement: remit.ConfineNone, terminal: openTerminal(o.Stdin), files: [3]*os.File{o.Stdin, o.Stdout, o.Stderr}}, nil
}

func (c *command) exec(argv, env []string, dir string) (int, error) {
	path, err := lookPath(argv[0], env, dir)
	if err != nil {
		return exitCode(err), fmt.Errorf("the command cannot be executed: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return ExitLauncher, fmt.Errorf("opening %s: %w", os.DevNull, err)
	}
	defer null.Close()
	files := make([]*os.File, 3)
	for i, f := range c.files {
		files[i] = f
		if f == nil {
			files[i] = null
		}
	}
	if err := c.ready.check(env, dir); err != nil {
		return ExitLauncher, err
	}
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Env: env, Dir: dir, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return exitCode(err), fmt.Errorf("executing %s: %w", path, err)
	}
	c.pid = p.Pid
	c.terminal.give(c.pid)
	return 0, p.Release()
}

// lookPath finds name by the command's own PATH; a relative directory in PATH is not searched.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return exec.LookPath(name)
	}
	err := error(exec.ErrNotFound)
	for _, d := range filepath.SplitList(value(env, "PATH")) {
		if !filepath.IsAbs(d) {
			continue
		}
		found, lookErr := exec.LookPath(filepath.Join(d, name))
		if lookErr == nil {
			return found, nil
		}
		if errors.Is(lookErr, os.ErrPermission) {
			err = lookErr
		}
	}
	return "", err
}

func (c *command) changes() <-chan change {
	out := make(chan change)
	go func() {
		for {
			var status unix.WaitStatus
			_, err := unix.Wait4(c.pid, &status, unix.WUNTRACED, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && status.Stopped() {
				out <- change{}
				continue
			}
			c.status, c.reaped = status, true
			out <- change{ended: true}
			return
		}
	}()
	return out
}

func (c *command) signal(s syscall.Signal) { _ = unix.Kill(-c.pid, s) }

func (c *command) close() {
	c.once.Do(func() {
		if c.pid != 0 {
			c.signal(syscall.SIGKILL)
			if !c.reaped {
				_, _ = unix.Wait4(c.pid, &c.status, 0, nil)
			}
		}
		c.terminal.takeBack(c.status.Signaled())
	})
}

func (c *command) code() int {
	c.close()
	if c.status.Signaled() {
		return 128 + int(c.status.Signal())
	}
	return c.status.ExitStatus()
}

// owns relies on the modes of the socket and of its directory: connecting needs the right to write to it.
func (c *command) owns(*net.UnixConn) error { return nil }
