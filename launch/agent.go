package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch/agents"
)

// NoAgent as Options.Agent sets no agent up.
const NoAgent = "none"

// agentOf says which agent a command is, and whether it is to be set up.
func agentOf(o Options) (a agents.Agent, known, set bool, err error) {
	switch o.Agent {
	case "", NoAgent:
		a, known = agents.Recognise(o.Command)
		return a, known, known && o.Agent == "", nil
	}
	if a, known = agents.Named(o.Agent); !known {
		return a, false, false, remit.Errorf(remit.BadRequest, "%q is no agent that can be set up; there are %s", o.Agent, strings.Join(agents.Names(), ", "))
	}
	// What starts it may be npx; where its arguments begin is then known better than from the name alone.
	if same, ok := agents.Recognise(o.Command); ok && same.Name() == a.Name() {
		a = same
	}
	return a, true, true, nil
}

// agentRun is an agent that is set up for this run only.
type agentRun struct {
	agents.Setup
	dir  string
	lock *os.File
	was  [][]byte // the person's logins, as they were
	keep bool     // what the agent makes of them
}

// agentDirs is the directory in the user's cache that has one directory for each agent that runs. It is no sibling of
// what is hidden from commands, and not below the system's temporary directory, where Codex refuses to have its home.
const agentDirs = "remit-run"

// setUp makes the agent's directory and says with what the command runs in place of o.Command.
func (l *Launcher) setUp(a agents.Agent, o Options, r room, inst client.Instance, w *way) (_ *agentRun, err error) {
	run := &agentRun{keep: !w.inside}
	defer func() {
		if err != nil {
			run.remove()
		}
	}()
	if run.dir, run.lock, err = l.agentDir(inst.ID); err != nil {
		return nil, err
	}
	run.Setup, err = a.Setup(agents.Run{
		Dir: run.dir, Home: value(o.Environ, "HOME"), Tree: o.Dir, Remit: l.Self, Socket: r.socket, Org: inst.Org, Front: w.url(), Bearer: w.bearer, MCP: inst.MCP,
		Sandboxed: w.inside, Unattended: o.Stdin == nil || !term.IsTerminal(int(o.Stdin.Fd())), Getenv: func(name string) string { return value(o.Environ, name) }, ReadFile: readSmall,
	}, o.Command)
	if err != nil {
		return nil, err
	}
	for _, f := range run.Files {
		if err := writeBelow(run.dir, f.Name, f.Content); err != nil {
			return nil, fmt.Errorf("setting %s up: %w", run.Name, err)
		}
	}
	for _, login := range run.Logins {
		b, err := readSmall(login.From)
		if err != nil {
			return nil, fmt.Errorf("reading the login of %s: %w", run.Name, err)
		}
		run.was = append(run.was, b)
		if err := writeBelow(run.dir, login.Name, b); err != nil {
			return nil, fmt.Errorf("setting %s up: %w", run.Name, err)
		}
	}
	return run, nil
}

// command is the command line, and the environment made of env.
func (a *agentRun) command(env []string) (argv, environ []string) {
	for _, name := range a.Unset {
		env = unsetVariable(env, name)
	}
	for _, v := range a.Set {
		env = setVariable(env, v.Name, v.Value)
	}
	return a.Command, env
}

// gitInEnviron is env with all that git has to know, for an agent whose shell has it read no configuration file and ask
// no credential helper: it goes through the front, by the bearer of this run.
func gitInEnviron(ctx context.Context, env []string, w *way, inst client.Instance, environ []string) ([]string, error) {
	n, err := strconv.Atoi(value(env, "GIT_CONFIG_COUNT"))
	if err != nil {
		return nil, fmt.Errorf("GIT_CONFIG_COUNT is no number: %w", err)
	}
	add := func(key, value string) {
		env = setVariable(setVariable(env, fmt.Sprintf("GIT_CONFIG_KEY_%d", n), key), fmt.Sprintf("GIT_CONFIG_VALUE_%d", n), value)
		n++
	}
	for _, kv := range personConfig(ctx, environ) {
		add(kv[0], kv[1])
	}
	add("protocol.ext.allow", "never")
	host := "http." + w.url()
	if w.bearer != "" {
		add(host+".extraHeader", "Authorization: Bearer "+w.bearer)
	}
	add(host+".proxy", "")
	add(host+".followRedirects", "false")
	server := serverOf(inst.Gateway)
	for _, r := range append([]client.Rewrite{{From: []string{inst.Gateway + "/"}, To: inst.Gateway + "/"}}, inst.Rewrites...) {
		to := "url." + w.url() + strings.TrimPrefix(r.To, server)
		for _, from := range r.From {
			add(to+".insteadOf", from)
			add(to+".pushInsteadOf", from)
		}
	}
	return setVariable(env, "GIT_CONFIG_COUNT", strconv.Itoa(n)), nil
}

// ready is what must hold before it starts.
func (a *agentRun) ready() ready {
	return ready{Name: a.Name, Dir: a.dir, Canary: a.Canary, Trust: a.Trust}
}

// remove takes everything away that was made for this run. Logins that the agent renewed are kept, where it could have
// written the person's own as well: the old ones may be good no more.
func (a *agentRun) remove() error {
	var err error
	for i, login := range a.Logins {
		if a.keep && i < len(a.was) {
			err = errors.Join(err, a.keepLogin(login, a.was[i]))
		}
	}
	if a.dir != "" {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	if a.lock != nil {
		a.lock.Close()
	}
	return err
}

func (a *agentRun) keepLogin(login agents.Login, was []byte) error {
	now, err := readSmall(filepath.Join(a.dir, login.Name))
	if err != nil || bytes.Equal(now, was) {
		return nil // logged out, or as before
	}
	real, err := filepath.EvalSymlinks(login.From)
	if err != nil {
		return nil // the person logged out
	}
	if own, err := readSmall(real); err != nil || !bytes.Equal(own, was) {
		return nil // renewed by another agent
	}
	if err := writeBelow(filepath.Dir(real), filepath.Base(real), now); err != nil {
		return fmt.Errorf("keeping the login of %s: %w", a.Name, err)
	}
	return nil
}

// agentDir makes a directory, mode 0700, and holds it by a lock, so that the next run can tell it from what a launcher
// left behind that was killed. Those go first: they may have a login in them.
func (l *Launcher) agentDir(id remit.ID) (string, *os.File, error) {
	base := l.Runtime
	if base == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", nil, fmt.Errorf("finding a directory for the agent: %w", err)
		}
		base = filepath.Join(cache, agentDirs)
		if err := os.MkdirAll(base, 0o700); err != nil {
			return "", nil, fmt.Errorf("making a directory for the agent: %w", err)
		}
		// Whoever else starts or sweeps now waits: a directory is there and not held only under this lock.
		all, err := os.Open(base)
		if err != nil {
			return "", nil, err
		}
		defer all.Close()
		if err := unix.Flock(int(all.Fd()), unix.LOCK_EX); err != nil {
			return "", nil, fmt.Errorf("locking %s: %w", base, err)
		}
		sweepAgents(base)
	}
	dir, err := os.MkdirTemp(base, "agent-"+filepath.Base(string(id))+"-")
	if err != nil {
		return "", nil, fmt.Errorf("making a directory for the agent: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, lock, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepAgents removes what no launcher holds.
func sweepAgents(base string) {
	left, err := filepath.Glob(filepath.Join(base, "agent-*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// maxSmall is the longest file of a person's or a repository's that is read, in bytes.
const maxSmall = 1 << 20

// readSmall reads a regular file, and waits for nobody who would write to a pipe.
func readSmall(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxSmall {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, maxSmall)
	}
	return io.ReadAll(io.LimitReader(f, maxSmall))
}

// writeBelow writes a file, mode 0600, whole or not at all.
func writeBelow(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// sayAgent tells the person what is known of the command's agent, and what it gets.
func (l *Launcher) sayAgent(a agents.Agent, known, set bool, o Options, env []string) {
	var gets, kept []string
	for _, name := range agents.ModelKeys() {
		if value(o.Environ, name) == "" {
			continue
		}
		if value(env, name) != "" {
			gets = append(gets, name)
		} else {
			kept = append(kept, name)
		}
	}
	list := func(names []string) string { return strings.Join(slices.Compact(names), ", ") }
	switch {
	case set && len(gets) > 0:
		l.say("%s is set up for this run, and gets %s for its model", a.Name(), list(gets))
	case set:
		l.say("%s is set up for this run", a.Name())
	case known && len(gets) > 0:
		l.say("%s gets %s for its model, and is not set up: Remit sees only what passes its gateways", a.Name(), list(gets))
	}
	if !known && len(kept) > 0 {
		l.say("%s, keys to a model, are not passed to a command that is no agent Remit knows; pass one with --env NAME", list(kept))
	}
}
