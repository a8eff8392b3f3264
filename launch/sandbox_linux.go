package launch

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch/isolate"
	"golang.org/x/sys/unix"
)

// sandboxNamespaces are those that a sandbox is made of. The cgroup namespace is not among them: what a command may use
// of memory and processor stays what its person's session may.
const sandboxNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// passFD is where `remit __enter` finds the socket over which it gives the launcher its listener.
const passFD = 5

// box is what a command has that is isolated; the zero value is that of one which is not.
type box struct {
	inside net.Listener // in the sandbox's network; nil without one
	served bool         // somebody else closes it
	share  isolate.Share
	weak   *isolate.Weak
	port   int

	tree   string // and what was made in it
	made   []string
	say    func(format string, args ...any)
	status atomic.Pointer[unix.WaitStatus] // of the command; the process that we wait for is its parent
}

// prepareSandbox starts the process in a sandbox, or with Landlock alone where that is wanted rather than nothing.
func (l *Launcher) prepareSandbox(o Options, hide []string) (*command, error) {
	b, err := boxOf(o, hide)
	if err != nil {
		return nil, err
	}
	cmd, err := l.start(o, enterConfine{Namespace: ownNamespaces, Box: &b})
	if err == nil {
		cmd.box.say = l.say
		return cmd, nil
	}
	var bad *remit.Error
	if errors.As(err, &bad) { // asked for what is no work tree, say
		return nil, err
	}
	err = isolate.Why(err)
	if o.Isolate != IsolateBest {
		return nil, fmt.Errorf("the command cannot be isolated here: %w (with --isolate=best it runs with what can be had)", err)
	}
	if weak := isolate.CanWeak(); weak != nil {
		return nil, fmt.Errorf("the command cannot be isolated here: %w; and not even by Landlock alone: %w", err, weak)
	}
	l.say("the command is isolated by Landlock alone (%v). It may write git's hooks and agents' settings in the work tree, connect to sockets in the file system and, where it knows the launcher's port, to that port of other hosts; confinement is home, not sandbox", err)
	tmp, err := os.MkdirTemp("", "remit-isolated-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the command: %w", err)
	}
	w := isolate.Weak{Box: b, Temporary: tmp}
	if cmd, err = l.start(o, enterConfine{Weak: &w}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	cmd.box.weak, cmd.box.say = &w, l.say
	return cmd, nil
}

// ProbeIsolation tells whether a sandbox can be had, by making one: nil, or why not and what would be right.
func (l Launcher) ProbeIsolation() error {
	l, err := l.withSelf()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "remit-probe-")
	if err != nil {
		return fmt.Errorf("making a directory to try it in: %w", err)
	}
	defer os.RemoveAll(dir)
	cmd, err := l.start(Options{}, enterConfine{Namespace: ownNamespaces, Box: &isolate.Box{UID: os.Geteuid(), GID: os.Getegid(), Dir: dir}})
	if err != nil {
		return isolate.Why(err)
	}
	cmd.close()
	return nil
}

// boxOf gathers what the sandbox of o is made from.
func boxOf(o Options, hide []string) (isolate.Box, error) {
	b := isolate.Box{UID: os.Geteuid(), GID: os.Getegid(), Dir: o.Dir, Homes: homesOf(o.Environ)}
	hide = slices.Clone(hide)
	for _, home := range b.Homes {
		for _, pattern := range isolate.InPrograms {
			if found, err := filepath.Glob(filepath.Join(home, pattern)); err == nil {
				hide = append(hide, found...)
			}
		}
	}
	b.Hide = present(hide)
	if b.Dir == "" {
		var err error
		if b.Dir, err = os.Getwd(); err != nil {
			return b, fmt.Errorf("finding the working directory: %w", err)
		}
	}
	for _, dir := range filepath.SplitList(value(o.Environ, "PATH")) {
		if filepath.IsAbs(dir) {
			b.Path = append(b.Path, dir)
		}
	}
	b.Program = programOf(o.Command[0], b.Dir, b.Path)
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return b, fmt.Errorf("looking for sockets to hide: %w", err)
	}
	b.Sockets = boundSockets(string(sockets))
	return b, nil
}

// programOf is where a command lies, if it lies anywhere.
func programOf(name, dir string, path []string) string {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return filepath.Clean(name)
	}
	for _, d := range path {
		p := filepath.Join(d, name)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// boundSockets are the pathname sockets in /proc/net/unix (proc(5)): the path is the eighth column.
func boundSockets(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		if i := strings.Index(line, " /"); i >= 0 {
			out = append(out, strings.TrimRight(line[i+1:], "\n"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// listener is the socket that is the sandbox's only way out, for the launcher to serve and to close; nil where there is no
// sandbox.
func (c *command) listener() net.Listener {
	c.box.served = true
	return c.box.inside
}

// show lets the command see paths that its sandbox hides, and write to some. It is called before exec.
func (c *command) show(read, write []string) {
	c.box.share.Read = append(c.box.share.Read, read...)
	c.box.share.Write = append(c.box.share.Write, write...)
}

// only says which TCP port a command may connect to that is isolated by Landlock alone.
func (c *command) only(port int) { c.box.port = port }

// environ is env with the directories that an isolated command has of its own.
func (b *box) environ(env []string) []string {
	var set [][2]string
	switch {
	case b.inside != nil:
		set = [][2]string{{"TMPDIR", "/tmp"}, {"XDG_RUNTIME_DIR", ""}}
	case b.weak != nil:
		set = [][2]string{{"TMPDIR", b.weak.Temporary}, {"HOME", b.weak.Temporary}, {"XDG_RUNTIME_DIR", ""}, {"XDG_CACHE_HOME", ""}, {"XDG_CONFIG_HOME", ""}, {"XDG_DATA_HOME", ""}, {"XDG_STATE_HOME", ""}}
	}
	for _, s := range set {
		env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, s[0]+"=") })
		if s[1] != "" {
			env = append(env, s[0]+"="+s[1])
		}
	}
	return env
}

// close removes what was made for the command, which has ended.
func (b *box) close() {
	if b.inside != nil && !b.served {
		b.inside.Close()
	}
	var err error
	if b.tree != "" {
		err = isolate.Unmake(b.tree, b.made)
	}
	if b.weak != nil {
		err = errors.Join(err, os.RemoveAll(b.weak.Temporary))
	}
	if err != nil && b.say != nil {
		b.say("clearing up after the command: %v", err)
	}
}

// watchSandbox passes on what process 1 of the sandbox sees of the command, until that ends.
func (c *command) watchSandbox(out chan<- change) {
	for {
		var a enterAnswer
		if err := c.answers.Decode(&a); err != nil {
			return
		}
		if a.Ended {
			status := unix.WaitStatus(a.Status)
			c.box.status.Store(&status)
			return
		}
		if a.Stopped {
			out <- change{}
		}
	}
}

// enterSandbox is Enter in a sandbox, as process 1 of it.
func enterSandbox(c enterConfine, read *gob.Decoder, write *gob.Encoder) int {
	refuse := func(code int, a enterAnswer, err error) int {
		var bad *remit.Error
		a.Err, a.Code = err.Error(), code
		if a.Bad = errors.As(err, &bad); a.Bad {
			a.Err = bad.Sentence
		}
		_ = write.Encode(a)
		return code
	}
	room, err := c.Box.Enter()
	made := enterAnswer{Tree: room.Tree, Made: room.Made}
	if err != nil {
		return refuse(ExitLauncher, made, err)
	}
	if err := errors.Join(unix.Sendmsg(passFD, []byte{0}, unix.UnixRights(int(room.Listener.Fd())), nil, 0), room.Listener.Close(), unix.Close(passFD)); err != nil {
		return refuse(ExitLauncher, made, fmt.Errorf("handing the sandbox's listener over: %w", err))
	}
	if err := write.Encode(made); err != nil {
		return ExitLauncher
	}
	var x enterExec
	if err := read.Decode(&x); err != nil {
		return ExitLauncher // the launcher gave up, and says why
	}
	// The end of a launcher that was killed is the end of this pipe as well.
	go func() {
		var more enterExec
		_ = read.Decode(&more)
		os.Exit(ExitLauncher)
	}()
	if err = room.Close(x.Show); err == nil {
		if err = dropPrivileges(ownNamespaces); err == nil {
			err = room.Restrict(x.Show)
		}
	}
	if err != nil {
		return refuse(ExitLauncher, enterAnswer{}, err)
	}
	path, err := lookPathIn(room.Dir, x)
	if err != nil {
		return refuse(exitCode(err), enterAnswer{}, fmt.Errorf("the command cannot be executed: %w", err))
	}
	if err := x.Ready.check(x.Env, room.Dir); err != nil {
		return refuse(ExitLauncher, enterAnswer{}, err)
	}
	run := isolate.Command{Path: path, Args: x.Command, Env: x.Env, Dir: room.Dir}
	status, err := isolate.Init(run, func(err error) {
		a := enterAnswer{Code: exitCode(err)}
		if err != nil {
			a.Err = err.Error()
		}
		_ = write.Encode(a)
	}, func() { _ = write.Encode(enterAnswer{Stopped: true}) })
	if err != nil {
		return ExitLauncher
	}
	_ = write.Encode(enterAnswer{Ended: true, Status: uint32(status)})
	return 0
}

// lookPathIn finds the command as seen from dir.
func lookPathIn(dir string, x enterExec) (string, error) {
	if err := os.Chdir(dir); err != nil {
		return "", refused{fmt.Errorf("the command cannot start in %s: %w", dir, err)}
	}
	return lookPath(x)
}

// socketPair is two ends of a connection over which a file can be handed.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "launcher"), os.NewFile(uintptr(fds[1]), "sandbox"), nil
}

// receiveListener takes the listening socket that came over from a sandbox.
func receiveListener(from *os.File) (net.Listener, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	var fds []int
	if err == nil {
		var messages []unix.SocketControlMessage
		if messages, err = unix.ParseSocketControlMessage(oob[:n]); err == nil && len(messages) == 1 {
			fds, err = unix.ParseUnixRights(&messages[0])
		}
	}
	if err == nil && len(fds) != 1 {
		err = errors.New("none came")
	}
	if err != nil {
		return nil, fmt.Errorf("taking over the sandbox's listener: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over the sandbox's listener: %w", err)
	}
	return ln, nil
}
