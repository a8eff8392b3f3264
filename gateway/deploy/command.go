package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

const (
	safePath   = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	maxOutput  = 64 << 10
	keptOutput = 16 << 10 // of it in a receipt
	shortest   = 4        // bytes of a secret: what is shorter would be found everywhere
	waitLock   = 30 * time.Second
	waitPipe   = 2 * time.Second // for what a command left running to let go of its output
)

// runCommand deploys with a declared command: look, note, run, look again. The exit code is reported and proves nothing.
func (g *Gateway) runCommand(ctx context.Context, o *order) gateway.Result {
	nothing := func(code remit.Code, why string) gateway.Result {
		return o.result(remit.NotApplied, code, why, "nothing was changed")
	}
	env, err := g.environ(ctx, o)
	if err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		return nothing(e.Code, e.Sentence)
	}
	defer env.clear()
	lock, err := acquire(ctx, g.journal.path(o.Environment, ".lock"), waitLock)
	if err != nil {
		return nothing(remit.Conflict, "a command of an earlier attempt still runs in "+o.Environment+": "+err.Error())
	}
	defer lock.release()
	before, err := env.observe(ctx, o)
	if err != nil {
		return nothing(remit.UpstreamDown, "what is there now cannot be observed: "+err.Error())
	}
	o.receipt.Before = before
	if slices.Equal(before, o.digests()) {
		o.receipt.Now = before
		return o.result(remit.Done, "", "exactly this was there already", "")
	}
	if err := g.journal.write(note{o.Environment, o.attempt, before}); err != nil {
		return nothing(remit.NoSpace, "what is about to be done cannot be noted: "+err.Error())
	}
	if ctx.Err() != nil {
		return nothing(remit.NotLive, "the authority of the attempt ended before the command was started")
	}
	run, cancel := context.WithTimeout(ctx, o.timeout)
	out, err := env.run(run, o.target.Apply, lock)
	expired := run.Err() != nil
	cancel()
	o.receipt.Output = tail(env.scrub(out), keptOutput)
	o.receipt.Exit = "0"
	var started *notStarted
	switch {
	case errors.As(err, &started):
		return nothing(remit.UpstreamDown, err.Error())
	case expired:
		o.receipt.Exit = fmt.Sprintf("killed after %s, or when the attempt's authority ended", o.timeout)
	case err != nil:
		o.receipt.Exit = err.Error()
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), looking)
	defer done()
	return o.observed(env.observe(after, o))
}

// observed says what came of it by what is there now.
func (o *order) observed(now []string, err error) gateway.Result {
	if err != nil {
		return o.result(remit.Ambiguous, remit.UpstreamDown, "what is there now cannot be observed: "+err.Error(), lookThere)
	}
	o.receipt.Now = now
	switch {
	case slices.Equal(now, o.digests()):
		return o.result(remit.Done, "", "", "")
	case slices.Equal(now, o.receipt.Before):
		return o.result(remit.NotApplied, remit.UpstreamDown, "what was there before is there still", "see the output of the command")
	}
	return o.result(remit.Ambiguous, remit.UpstreamDown, "neither what was there before nor what was wanted is there", lookThere)
}

// reconcileCommand looks at what an attempt left behind. It runs the observing command only.
func (g *Gateway) reconcileCommand(ctx context.Context, o *order) gateway.Result {
	blind := func(why string) gateway.Result { return o.result(remit.Ambiguous, remit.UpstreamDown, why, lookThere) }
	n, err := g.journal.read(o.attempt)
	if err != nil {
		return blind("the note of what was begun cannot be read: " + err.Error())
	}
	begun := n != nil && n.Attempt == o.attempt && n.Environment == o.Environment
	if !begun && !g.journal.fresh {
		return o.result(remit.NotApplied, remit.UpstreamDown, "its command was never started", "")
	}
	env, err := g.environ(ctx, o)
	if err != nil {
		return blind(gateway.AsError(remit.UpstreamDown, err).Sentence)
	}
	defer env.clear()
	lock, err := acquire(ctx, g.journal.path(o.Environment, ".lock"), waitLock)
	if err != nil {
		return blind("its command still runs: " + err.Error())
	}
	defer lock.release()
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	if begun {
		o.receipt.Before = n.Before
		return o.observed(env.observe(ctx, o))
	}
	now, err := env.observe(ctx, o)
	if o.receipt.Now = now; err == nil && slices.Equal(now, o.digests()) {
		return o.result(remit.Done, "", "", "")
	}
	return blind("the notes of this executor are gone, so nobody knows whether the command was started")
}

// environ is the clean environment of a target's commands: nothing of the executor's own.
type environ struct {
	home    string
	vars    []string
	secrets map[string][]byte // by variable
}

func (g *Gateway) environ(ctx context.Context, o *order) (*environ, error) {
	e := &environ{secrets: map[string][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(o.target.Secrets)) {
		if g.cfg.Secrets == nil {
			return nil, remit.Errorf(remit.Conflict, "environment %s needs secrets, and there is no store of secrets here", o.Environment)
		}
		v, err := g.cfg.Secrets.Use(ctx, o.attempt, o.target.Secrets[name])
		if err != nil {
			return nil, err
		}
		if bytes.IndexByte(v, 0) >= 0 || name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "REMIT_") || name == "PATH" || name == "HOME" {
			return nil, remit.Errorf(remit.Conflict, "environment %s: the secret %s cannot be handed over as the variable %.64q", o.Environment, o.target.Secrets[name], name)
		}
		e.secrets[name] = v
	}
	home, err := os.MkdirTemp("", "remit-deploy-")
	if err != nil {
		return nil, remit.Errorf(remit.NoSpace, "a home for the command cannot be made: %w", err)
	}
	e.home = home
	var refs []string
	for _, a := range o.Artifacts {
		refs = append(refs, o.refs[a.Resource])
	}
	e.vars = []string{"PATH=" + safePath, "HOME=" + home, "REMIT_ENVIRONMENT=" + o.Environment,
		"REMIT_ARTIFACTS=" + strings.Join(refs, "\n"), "REMIT_ATTEMPT=" + string(o.attempt)}
	for name, v := range e.secrets {
		e.vars = append(e.vars, name+"="+string(v))
	}
	return e, nil
}

func (e *environ) clear() { _ = os.RemoveAll(e.home) } // what is left there is nobody's

// notStarted says that nothing was run.
type notStarted struct{ err error }

func (e *notStarted) Error() string { return "the command cannot be started: " + e.err.Error() }
func (e *notStarted) Unwrap() error { return e.err }

// run runs argv in a process group of its own, without input. When ctx ends, the whole group is killed. The lock goes with
// it, so that it is held as long as anything of the group lives.
func (e *environ) run(ctx context.Context, argv []string, l *lock) ([]byte, error) {
	if len(argv) == 0 {
		return nil, &notStarted{errors.New("none is declared")}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = e.vars, e.home
	out := &limited{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitPipe
	ownGroup(cmd, l)
	if err := cmd.Start(); err != nil {
		return nil, &notStarted{err}
	}
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well, and left something running that kept its output open
	}
	return out.b, err
}

// observe asks the target what is there, as a set of digests.
func (e *environ) observe(ctx context.Context, o *order) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	out, err := e.run(ctx, o.target.Observe, nil)
	if err != nil {
		return nil, fmt.Errorf("the observing command failed: %w: %s", err, tail(e.scrub(out), 512))
	}
	if len(out) >= maxOutput {
		return nil, errors.New("the observing command printed too much")
	}
	digests := []string{}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !remit.IsContentDigest(line) {
			return nil, fmt.Errorf("the observing command printed %.100q, which is no digest; it prints sha256:…, one a line", e.scrub([]byte(line)))
		}
		digests = append(digests, line)
	}
	slices.Sort(digests)
	return slices.Compact(digests), nil
}

// limited keeps the beginning of what is written.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), maxOutput-len(l.b))]...)
	return len(p), nil
}

// scrub takes the secrets out of what a command printed, in the forms that tools print them in.
func (e *environ) scrub(out []byte) string {
	for _, name := range slices.Sorted(maps.Keys(e.secrets)) {
		mark := []byte("[secret " + name + "]")
		for _, form := range append([][]byte{e.secrets[name]}, gateway.Forms(bytes.TrimSpace(e.secrets[name]))...) {
			if len(form) < shortest {
				continue
			}
			out = bytes.ReplaceAll(out, form, mark)
			// The limit may have cut it in two.
			for n := min(len(form)-1, len(out)); n >= shortest; n-- {
				if bytes.HasSuffix(out, form[:n]) {
					out = append(out[:len(out)-n:len(out)-n], mark...)
					break
				}
			}
		}
	}
	return strings.ToValidUTF8(string(out), "�")
}

// tail is the end of a text.
func tail(s string, n int) string {
	if len(s) > n {
		return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}
