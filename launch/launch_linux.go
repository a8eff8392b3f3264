package launch

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"golang.org/x/sys/unix"
)

// command is the process that becomes the command: from its start as `remit __enter` to its end.
type command struct {
	pid         int
	confinement remit.Confinement
	terminal    *terminal
	sole        bool

	box   box   // what belongs to a sandbox
	ready ready // what must hold before the command is executed

	files   []*os.File // our ends of the pipes
	orders  *gob.Encoder
	answers *gob.Decoder
	once    sync.Once
	status  unix.WaitStatus // after close
	stop    func()          // ends the reaping of adopted processes
}

// change is that the command stopped, or ended.
type change struct{ ended bool }

// prepare starts the process and has it confine itself, as far as the kernel lets it and o asks for it.
func (l *Launcher) prepare(o Options) (*command, error) {
	if l.Sole {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("adopting what the command leaves behind: %w", err)
		}
	}
	hide := append(hidden(o.Environ), o.Hide...)
	if o.Isolate != IsolateNo {
		return l.prepareSandbox(o, hide)
	}
	var attempts []namespace
	switch {
	case o.Confinement == remit.ConfineNone:
	case os.Geteuid() == 0:
		attempts = []namespace{mountNamespace, userNamespace} // root of a container may have the second only
	default:
		attempts = []namespace{userNamespace}
	}
	var failed error
	for _, ns := range attempts {
		cmd, err := l.start(o, enterConfine{Namespace: ns, Hide: hide})
		if err == nil {
			return cmd, nil
		}
		failed = errors.Join(failed, err)
	}
	if o.Confinement == remit.ConfineHome {
		return nil, fmt.Errorf("confinement home cannot be had here: %w", failed)
	}
	if failed != nil {
		l.Log.Info("no namespaces", "err", failed)
	}
	if readable := present(hide); len(readable) > 0 {
		l.say("confinement is none: the command runs as you, and can read or use %s", strings.Join(readable, ", "))
	}
	return l.start(o, enterConfine{})
}

// start starts `remit __enter` in the namespaces of order. PDEATHSIG and the process group are set before it executes.
func (l *Launcher) start(o Options, order enterConfine) (_ *command, err error) {
	theirOrders, ourOrders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer theirOrders.Close()
	ourAnswers, theirAnswers, err := os.Pipe()
	if err != nil {
		ourOrders.Close()
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer theirAnswers.Close()
	cmd := &command{
		confinement: remit.ConfineNone, terminal: openTerminal(o.Stdin), sole: l.Sole, stop: func() {},
		files: []*os.File{ourOrders, ourAnswers}, orders: gob.NewEncoder(ourOrders), answers: gob.NewDecoder(ourAnswers),
	}
	defer func() {
		if err != nil {
			cmd.close()
		}
	}()
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	switch order.Namespace {
	case mountNamespace:
		attr.Cloneflags = unix.CLONE_NEWNS
	case userNamespace:
		attr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWUSER
		// The process maps itself: this one is not dumpable, so what it forks cannot be mapped before it executes. Until
		// then it is nobody in its namespace, and only ambient capabilities outlive the execution.
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	case ownNamespaces:
		attr.Cloneflags = sandboxNamespaces
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN, unix.CAP_SYS_RESOURCE}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", os.DevNull, err)
	}
	defer null.Close()
	files := []*os.File{o.Stdin, o.Stdout, o.Stderr, theirOrders, theirAnswers}
	for i, f := range files {
		if f == nil {
			files[i] = null
		}
	}
	var passes *os.File // over which a listener comes
	if order.Namespace == ownNamespaces {
		var theirs *os.File
		if passes, theirs, err = socketPair(); err != nil {
			return nil, err
		}
		defer passes.Close()
		defer theirs.Close()
		files = append(files, theirs)
	}
	p, err := os.StartProcess(l.Self, []string{l.Self, EnterCommand}, &os.ProcAttr{Env: []string{}, Files: files, Sys: attr})
	if err != nil {
		return nil, fmt.Errorf("starting the process that becomes the command: %w", err)
	}
	cmd.pid = p.Pid
	if err := p.Release(); err != nil {
		return nil, fmt.Errorf("taking charge of process %d: %w", cmd.pid, err)
	}
	order.Launcher, order.UID, order.GID = os.Getpid(), os.Geteuid(), os.Getegid()
	if err := cmd.orders.Encode(order); err != nil {
		return nil, fmt.Errorf("telling process %d what to hide: %w", cmd.pid, err)
	}
	var a enterAnswer
	theirAnswers.Close() // or its end could not be seen
	if err := cmd.answers.Decode(&a); err != nil {
		return nil, fmt.Errorf("the process that becomes the command ended early: %w", err)
	}
	cmd.box.tree, cmd.box.made = a.Tree, a.Made
	if a.Bad {
		return nil, remit.Errorf(remit.BadRequest, "%s", a.Err)
	}
	if a.Err != "" {
		return nil, errors.New(a.Err)
	}
	switch {
	case order.Namespace == ownNamespaces:
		cmd.confinement = remit.ConfineSandbox
		if cmd.box.inside, err = receiveListener(passes); err != nil {
			return nil, err
		}
	case order.Namespace != noNamespace, order.Weak != nil:
		cmd.confinement = remit.ConfineHome
	}
	return cmd, nil
}

// exec has the process become the command. With an error it has not; the code says which kind of error.
func (c *command) exec(argv, env []string, dir string) (int, error) {
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return ExitLauncher, fmt.Errorf("finding the working directory: %w", err)
		}
	}
	c.terminal.give(c.pid)
	if err := c.orders.Encode(enterExec{Command: argv, Env: c.box.environ(env), Dir: dir, Ready: c.ready, Show: c.box.share, Port: c.box.port}); err != nil {
		return ExitLauncher, fmt.Errorf("telling process %d what to execute: %w", c.pid, err)
	}
	var a enterAnswer
	if err := c.answers.Decode(&a); err == nil && a.Err != "" {
		return a.Code, errors.New(a.Err)
	}
	if c.sole {
		c.stop = c.reapAdopted()
	}
	return 0, nil
}

// changes reports each stop and, last, the end. The ended process is not reaped, so its number stays its group's.
func (c *command) changes() <-chan change {
	out := make(chan change)
	go func() {
		if c.confinement == remit.ConfineSandbox {
			c.watchSandbox(out)
		}
		for {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && info.Code == cldStopped {
				// Take the stop, and not an end that may have come since.
				_ = unix.Waitid(unix.P_PID, c.pid, nil, unix.WSTOPPED|unix.WNOHANG, nil)
				out <- change{}
				continue
			}
			out <- change{ended: true}
			return
		}
	}()
	return out
}

const cldStopped = 5 // CLD_STOPPED of siginfo(2), sigaction(2)

// signal sends s to the command's process group.
func (c *command) signal(s syscall.Signal) { _ = unix.Kill(-c.pid, s) }

// close kills what is left of the process group, and with it of all descendants where they were adopted, and takes
// the terminal back. It may be called at any time, and again.
func (c *command) close() {
	c.once.Do(func() {
		for _, f := range c.files {
			f.Close()
		}
		if c.pid != 0 {
			c.signal(syscall.SIGKILL)
			c.stop()
			for {
				_, err := unix.Wait4(c.pid, &c.status, 0, nil)
				if !errors.Is(err, unix.EINTR) {
					break
				}
			}
			if c.sole {
				killAdopted()
			}
		}
		c.box.close()
		inner := c.box.status.Load()
		c.terminal.takeBack(c.status.Signaled() || inner != nil && inner.Signaled())
	})
}

// code reaps the command and is its exit code as a shell tells it.
func (c *command) code() int {
	c.close()
	status := c.status
	if inner := c.box.status.Load(); inner != nil {
		status = *inner
	}
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// owns tells whether whoever connected belongs to this instance: it is of our user and descends from the command, or
// was left behind by it and adopted by us.
func (c *command) owns(conn *net.UnixConn) error {
	pid, uid, err := identity.PeerPID(conn)
	if err != nil {
		return err
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("process %d is of user %d", pid, uid)
	}
	leaders := map[int]bool{c.pid: true}
	if c.sole {
		leaders[os.Getpid()] = true
	}
	ok, err := identity.DescendsFrom(pid, leaders, os.DirFS("/proc"))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("process %d is not part of the instance", pid)
	}
	return nil
}

// reapAdopted reaps adopted processes that end while the command runs, and never the command.
func (c *command) reapAdopted() (stop func()) {
	ended, quit, done := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-ended:
			}
			for {
				var info unix.Siginfo
				if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
					break
				}
				pid := childOf(&info)
				if pid == 0 || pid == c.pid { // none, or the end is here
					break
				}
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}()
	return func() {
		signal.Stop(ended)
		close(quit)
		<-done
	}
}

// childOf is the pid in a SIGCHLD's siginfo: the first word after three ints, aligned as a pointer is.
func childOf(info *unix.Siginfo) int {
	offset := (3*unsafe.Sizeof(int32(0)) + unsafe.Alignof(uintptr(0)) - 1) &^ (unsafe.Alignof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

// killAdopted kills every child of this process, and those that become its children by that, until none is left.
func killAdopted() {
	for {
		children := childrenOf(os.Getpid(), os.DirFS("/proc"))
		for _, pid := range children {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_, err := unix.Wait4(-1, nil, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			return
		}
	}
}

// childrenOf reads the parents of all processes: /proc/PID/stat, proc(5).
func childrenOf(parent int, proc fs.FS) []int {
	entries, err := fs.ReadDir(proc, ".")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := fs.ReadFile(proc, e.Name()+"/stat")
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; what follows the last ')' is: state, ppid, …
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) > 1 && rest[1] == strconv.Itoa(parent) {
			out = append(out, pid)
		}
	}
	return out
}
