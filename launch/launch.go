// Package launch is the launcher behind remit run, which puts a command inside its remit: an instance of its own, no
// credential of its person, and git through the gateway. The processes of an instance, and the steps of a CI job, ask it
// for tokens.
package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/launch/sub"
)

// Exit codes of Run besides the command's own; a command that a signal ended has 128 and the signal's number.
const (
	ExitLauncher      = 125 // Remit could not start the command, or will not
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// Names of the hidden subcommands with which the binary calls itself: `remit __enter` becomes the command (Enter),
// `remit __credential SOCKET get` is git's credential helper (CredentialHelper).
const (
	EnterCommand      = "__enter"
	CredentialCommand = "__credential"
)

const (
	termGrace = 5 * time.Second // between TERM and KILL, when the instance has ended
	endWithin = 5 * time.Second // to tell the server that the command ended
	instances = "remit"         // in the user's runtime directory
)

// Session is the server, as the launcher sees it.
type Session interface {
	StartInstance(context.Context, client.InstanceStart) (client.Instance, error)
	// Token is a password for gateway, bound to instance and task, and when it ends.
	Token(ctx context.Context, instance remit.ID, secret client.Secret, gateway string) (token string, notAfter time.Time, err error)
	// SVID certifies the key of csr (PKCS #10, DER). chain is concatenated DER, leaf first; bundle likewise.
	SVID(ctx context.Context, instance remit.ID, secret client.Secret, csr []byte) (chain, bundle []byte, err error)
	// Hold opens the instance's heartbeat and returns when the server has it. The channel gives one value, the reason,
	// when the instance has ended: because the connection did, or because the server says so. Cancelling ctx lets go.
	Hold(ctx context.Context, instance remit.ID, secret client.Secret) (<-chan error, error)
	End(ctx context.Context, instance remit.ID, secret client.Secret) error
}

// Options are one `remit run`.
type Options struct {
	Task    remit.ID
	Command []string
	Dir     string   // where the command starts; the working directory by default
	Environ []string // the person's environment; os.Environ() by default
	// Pass is what --env asks to hand to the command although it would be dropped: NAME, or NAME=VALUE.
	Pass []string
	// Confinement is the least that will do: "" is what can be had, none does not try, home fails where the kernel
	// refuses.
	Confinement remit.Confinement
	// Isolate puts the command into a sandbox; Confinement is not asked for then.
	Isolate Isolation
	// Allow are the HOST:PORT that a command in a sandbox reaches besides Remit.
	Allow []string
	// Agent says which agent the command is, one of agents.Names; "" recognises it, and NoAgent sets none up.
	Agent string
	// Hide lists more paths to hide: the server's data, if it lies on this machine under this uid.
	Hide []string
	// Done, when set, is called with the command's code when the command has ended, and its instance not yet.
	Done func(code int) error `json:"-"`
	// Stdin, Stdout and Stderr become the command's; nil is /dev/null.
	Stdin, Stdout, Stderr *os.File
}

// Launcher runs commands inside their remit. Session is needed; the rest has working zero values.
type Launcher struct {
	Session Session
	Self    string    // the remit binary; os.Executable() by default
	Runtime string    // directory for instances' directories; XDG_RUNTIME_DIR, else the system's temporary directory
	Say     io.Writer // sentences for the person; os.Stderr by default
	Log     *slog.Logger
	Clock   identity.Clock
	// Sole says that this process does nothing but Run once: then it adopts what the command leaves behind, and ends
	// that too when the command ends. A program with other child processes must leave it false.
	Sole bool
}

func (l Launcher) withDefaults() (Launcher, error) {
	if l.Session == nil {
		return l, errors.New("a launcher needs a session with a server")
	}
	l, err := l.withSelf()
	if err != nil {
		return l, err
	}
	if l.Say == nil {
		l.Say = os.Stderr
	}
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	if l.Clock == nil {
		l.Clock = identity.SystemClock{}
	}
	return l, nil
}

func (l Launcher) withSelf() (Launcher, error) {
	if l.Self == "" {
		self, err := os.Executable()
		if err != nil {
			return l, fmt.Errorf("finding Remit's own binary: %w", err)
		}
		l.Self = self
	}
	return l, nil
}

func (l *Launcher) say(format string, args ...any) {
	fmt.Fprintf(l.Say, "remit: "+format+"\n", args...)
}

// Run starts an instance, runs the command inside it and ends it. The code is the command's; 128+n if signal n ended
// it, also when Remit sent that signal because the instance had ended. With an error the command never ran, and the
// code is 125, 126 (not executable) or 127 (not found).
//
// The order is the point of it. The process that will be the command exists and is confined before the server is told
// how it is confined; the heartbeat is open before the command runs; the process group is dead before the server is
// told that the command ended. If this process is killed with -9, the kernel kills the command, and the connection's
// end tells the server.
//
// The command has a process group of its own. When stdin is the terminal that this process is in the foreground of,
// the command's group takes the foreground, so that ctrl-C and full-screen agents work as without Remit, and gives it
// back at the end. Otherwise INT, TERM, HUP and QUIT that reach this process are passed to the group.
//
// A descendant that left the command's process group ends with the command only where Launcher.Sole is set, on Linux,
// and not when this process was killed with -9. What outlives the command has no authority: the sockets that it could
// renew a token at are gone.
func (l Launcher) Run(ctx context.Context, o Options) (code int, err error) {
	l, err = l.withDefaults()
	if err != nil {
		return ExitLauncher, err
	}
	if len(o.Command) == 0 || o.Command[0] == "" {
		return ExitLauncher, remit.Errorf(remit.BadRequest, "no command is given; write it after --, as in: remit run -- make test")
	}
	switch o.Confinement {
	case "", remit.ConfineNone, remit.ConfineHome:
	default:
		return ExitLauncher, remit.Errorf(remit.BadRequest, "the launcher gives confinement none or home, not %q", o.Confinement)
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Dir == "" {
		if o.Dir, err = os.Getwd(); err != nil {
			return ExitLauncher, fmt.Errorf("finding the working directory: %w", err)
		}
	}
	agent, known, set, err := agentOf(o)
	if err != nil {
		return ExitLauncher, err
	}
	needs, hosts := []string(nil), o.Allow
	if known {
		needs = agent.Needs()
		hosts = slices.Concat(hosts, agent.Hosts(func(name string) string { return value(o.Environ, name) }))
	}
	env, ungoverned, err := inherit(o.Environ, o.Pass, needs)
	if err != nil {
		return ExitLauncher, err
	}
	// PDEATHSIG fires when the thread that started the command ends, not the process: keep that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := Harden(); err != nil {
		return ExitLauncher, err
	}
	signals := catchSignals()
	defer signal.Stop(signals)

	cmd, err := l.prepare(o)
	if err != nil {
		return ExitLauncher, err
	}
	defer cmd.close()

	// Deferred calls run last first: the group dies, the sockets go, the server is told, the heartbeat is let go.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inst, err := l.Session.StartInstance(ctx, client.InstanceStart{Task: o.Task, Confinement: cmd.confinement, Ungoverned: ungoverned})
	if err != nil {
		return ExitLauncher, fmt.Errorf("starting an instance: %w", err)
	}
	defer l.end(ctx, inst)
	held, err := l.Session.Hold(ctx, inst.ID, inst.Secret)
	if err != nil {
		return ExitLauncher, fmt.Errorf("opening the heartbeat of %s: %w", inst.ID, err)
	}
	dir, err := l.instanceDir(inst.ID)
	if err != nil {
		return ExitLauncher, err
	}
	defer os.RemoveAll(dir)
	room := newRoom(dir)
	tokens, err := newTokens(&l, inst)
	if err != nil {
		return ExitLauncher, err
	}
	way, err := l.openWay(inst, cmd, tokens, o.Isolate != IsolateNo, hosts)
	if err != nil {
		return ExitLauncher, err
	}
	defer way.Close()
	seen := way.seen(inst)
	if err := l.writeGitConfig(ctx, room, seen, o.Environ); err != nil {
		return ExitLauncher, err
	}
	subs := sub.New(sub.Config{Session: l.Session, Instance: inst, Confinement: cmp.Or(inst.Confinement, cmd.confinement), Ungoverned: ungoverned, Owns: cmd.owns, Log: l.Log,
		Wait: func(i client.Instance) http.HandlerFunc { return waits{&l, i}.answer }})
	workload, err := l.serveWorkload(ctx, room, inst, subs.Allow)
	if err != nil {
		return ExitLauncher, err
	}
	defer workload.Close()
	closeSocket, err := l.serveInstance(room, inst, subs, tokens, way.front)
	if err != nil {
		return ExitLauncher, err
	}
	defer closeSocket()
	defer cmd.close()

	exports, err := l.exports(room, seen, cmp.Or(inst.Confinement, cmd.confinement), workload.Addr(), env)
	if err == nil {
		exports, err = way.exports(room, exports)
	}
	if err != nil {
		return ExitLauncher, err
	}
	argv, shown := o.Command, []string(nil)
	if set {
		run, err := l.setUp(agent, o, room, inst, way)
		if err != nil {
			return ExitLauncher, err
		}
		// After the command is dead: only then does nothing change any more.
		defer func() {
			cmd.close()
			if err := run.remove(); err != nil {
				l.say("%v", err)
			}
		}()
		argv, exports = run.command(exports)
		if run.GitInEnviron {
			if exports, err = gitInEnviron(ctx, exports, way, seen, o.Environ); err != nil {
				return ExitLauncher, err
			}
		}
		cmd.ready, shown = run.ready(), []string{run.dir}
	}
	l.sayAgent(agent, known, set, o, env)
	cmd.show([]string{room.dir, l.Self}, shown)
	if code, err := cmd.exec(argv, exports, o.Dir); err != nil {
		return code, err
	}
	code = l.supervise(ctx, cmd, inst, signals, held)
	if o.Done != nil {
		if err := o.Done(code); err != nil {
			l.say("%v", err)
		}
	}
	return code, nil
}

// supervise waits for the command, passes signals on, and ends it when its instance has ended.
func (l *Launcher) supervise(ctx context.Context, cmd *command, inst client.Instance, signals <-chan os.Signal, held <-chan error) int {
	changes := cmd.changes()
	done := ctx.Done()
	var kill <-chan time.Time
	terminate := func() {
		cmd.signal(syscall.SIGTERM)
		cmd.signal(syscall.SIGCONT) // a stopped process sees TERM only when it goes on
		if kill == nil {
			kill = l.Clock.After(termGrace)
		}
	}
	for {
		select {
		case c := <-changes:
			if c.ended {
				return cmd.code()
			}
			// A launcher that stopped with its command would miss its heartbeat, and the instance would end. A command
			// that was stopped from the keyboard therefore goes on; one that is in the background and wants the
			// terminal waits until it is brought to the foreground.
			if cmd.terminal.has(cmd.pid) {
				l.say("a stopped command would lose its instance, so it goes on; end it with ctrl-C")
				cmd.signal(syscall.SIGCONT)
			}
		case s := <-signals:
			if s != syscall.SIGCONT {
				cmd.signal(s.(syscall.Signal))
				continue
			}
			if cmd.terminal.give(cmd.pid) { // the shell's fg
				cmd.signal(syscall.SIGCONT)
			}
		case err := <-held:
			held = nil
			if ctx.Err() != nil {
				continue // let go of by our caller
			}
			if err == nil {
				err = errors.New("the server ended it")
			}
			l.say("instance %s has ended, so the command is stopped: %v", inst.ID, err)
			terminate()
		case <-done:
			done = nil
			terminate()
		case <-kill:
			kill = nil
			cmd.signal(syscall.SIGKILL)
		}
	}
}

// end tells the server that the command ended, also when the caller's context did. If it cannot be told, the end of
// the heartbeat tells it.
func (l *Launcher) end(ctx context.Context, inst client.Instance) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if err := l.Session.End(ctx, inst.ID, inst.Secret); err != nil {
		l.Log.Warn("ending an instance", "instance", inst.ID, "err", err)
	}
}

// catchSignals takes the signals that are passed on. What was ignored when this process started (nohup) stays so.
func catchSignals() chan os.Signal {
	c := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCONT} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c
}

// room is the directory of one instance and what lies in it.
type room struct {
	dir, gitconfig, ca, nodeCA string
	socket                     string // REMIT_SOCKET
	bearer                     string // of the instance's port
}

func newRoom(dir string) room {
	in := func(name string) string { return filepath.Join(dir, name) }
	return room{dir: dir, gitconfig: in("gitconfig"), ca: in("ca.pem"), nodeCA: in("node-ca.pem"), socket: in("instance.sock"), bearer: in("front.bearer")}
}

// maxSocket is the longest path of a Unix socket that every system takes, in bytes.
const maxSocket = 103

// instanceDir makes the instance's own directory, mode 0700, that nobody else could have prepared.
func (l *Launcher) instanceDir(id remit.ID) (string, error) {
	var bases []string // the first in which a socket has room
	if l.Runtime != "" {
		bases = append(bases, l.Runtime)
	}
	own := os.Getenv("XDG_RUNTIME_DIR")
	if fi, err := os.Lstat(own); err == nil && fi.IsDir() && fi.Mode().Perm()&0o077 == 0 && identity.OwnedByUs(fi) {
		bases = append(bases, own)
	}
	var long error
	for _, base := range append(bases, os.TempDir()) {
		dir, err := os.MkdirTemp(base, instances+"-"+filepath.Base(string(id))+"-")
		if err != nil {
			return "", fmt.Errorf("making a directory for instance %s: %w", id, err)
		}
		n := len(newRoom(dir).socket)
		if n <= maxSocket {
			return dir, nil
		}
		os.Remove(dir)
		long = fmt.Errorf("%s is too long for a socket in it (%d bytes, at most %d); set XDG_RUNTIME_DIR or TMPDIR to a shorter directory", dir, n, maxSocket)
	}
	return "", long
}
