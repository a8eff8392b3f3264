package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/remit-dev/remit/launch/agents"
)

// readyWithin bounds what is done before an agent starts.
const readyWithin = 30 * time.Second

// maxHookSays is how much of a hook's sentence is read, in bytes.
const maxHookSays = 64 << 10

// ready is what must hold before an agent is executed, looked at by the process that becomes the agent: what it can
// reach then, the agent's hook can reach.
type ready struct {
	Name   string // the agent's
	Dir    string // its own for this run
	Canary *agents.Canary
	Trust  *agents.Trust
}

// check makes the agent trust the hook, and sees that the hook denies a call that must be denied.
func (r ready) check(env []string, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if r.Canary != nil {
		if err := r.fly(ctx, env, dir); err != nil {
			return fmt.Errorf("%s is not started, because Remit's hook does not hold: %w", r.Name, err)
		}
	}
	if r.Trust != nil {
		if err := r.trust(ctx, env, dir); err != nil {
			return fmt.Errorf("%s is not started, because it cannot be made to trust Remit's hook: %w", r.Name, err)
		}
	}
	return nil
}

// fly sends the canary through the very line that the agent is given.
func (r ready) fly(ctx context.Context, env []string, dir string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", r.Canary.Line)
	cmd.Env, cmd.Dir, cmd.Stdin = env, dir, strings.NewReader(r.Canary.Input)
	said := &bounded{max: maxHookSays}
	cmd.Stderr = said
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("its line cannot be executed: %w", err)
	}
	text := strings.TrimSpace(said.String())
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		return fmt.Errorf("a call that must be denied was answered with exit code %d: %.500q", code, text)
	}
	for _, want := range r.Canary.Wants {
		if !strings.Contains(text, want) {
			return fmt.Errorf("the call that must be denied was denied by something else than Remit's server: %.500q", text)
		}
	}
	return nil
}

// trust has the agent say what it calls the hooks, and writes down that they are trusted.
func (r ready) trust(ctx context.Context, env []string, dir string) error {
	// sh finds the program as the command's own environment has it.
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `exec "$@"`, "sh"}, r.Trust.Command...)...)
	cmd.Env, cmd.Dir = env, dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", r.Trust.Command[0], err)
	}
	text, err := r.Trust.Converse(in, out)
	in.Close()
	// It ends when nobody speaks with it any more; one that does not is ended when the time is over.
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.Dir, r.Trust.File), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte("\n"), text...))
	return errors.Join(err, f.Close())
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	max int
}

// Write takes everything, and keeps what there is room for.
func (b *bounded) Write(p []byte) (int, error) {
	if room := b.max - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
