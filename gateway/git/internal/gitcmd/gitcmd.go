// Package gitcmd runs git's own programs in the way Remit does: without the configuration of the machine or a user, without
// hooks, replace objects, prompts or the network, and with exactly one repository declared safe.
package gitcmd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Git is an installed git.
type Git struct {
	path string
	exec string // directory of git's helper programs
	dir  string // of the generated configuration files
}

// Find looks for git at path, or in PATH if that is empty. Its configuration files are generated in dir, which is
// made, readable by nobody else.
func Find(ctx context.Context, path, dir string) (*Git, error) {
	if path == "" {
		path = "git"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("git is needed and was not found: %w", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for git's configuration: %w", err)
	}
	g := &Git{path: found, dir: dir}
	out, err := exec.CommandContext(ctx, found, "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its programs: %w", found, err)
	}
	g.exec = strings.TrimSpace(string(out))
	return g, nil
}

// config is what holds for every run. An upstream's hooks do not run under Remit's identity.
var config = []string{
	"core.hooksPath", os.DevNull, "core.fsmonitor", "false", "gc.auto", "0", "maintenance.auto", "false",
	"protocol.allow", "never", "advice.graftFileDeprecated", "false",
}

// Environ is the whole environment of a git process that works on repository; settings are names and values in turn.
// rules.md, confinement: git refuses repositories of other owners unless they are listed, so the one is.
func (g *Git) Environ(repository string, settings ...string) ([]string, error) {
	sum := sha256.Sum256([]byte(repository))
	name := filepath.Join(g.dir, fmt.Sprintf("gitconfig-%x", sum[:12]))
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if err := g.write(name, repository); err != nil {
			return nil, fmt.Errorf("generating git's configuration: %w", err)
		}
	}
	env := []string{
		"PATH=" + g.exec + ":" + filepath.Dir(g.path) + ":/usr/bin:/bin", "HOME=", "XDG_CONFIG_HOME=", "LC_ALL=C",
		"GIT_CONFIG_GLOBAL=" + name, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0",
	}
	all := append(append([]string{}, config...), settings...)
	for i := 0; i+1 < len(all); i += 2 {
		n := strconv.Itoa(i / 2)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+all[i], "GIT_CONFIG_VALUE_"+n+"="+all[i+1])
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(all)/2)), nil
}

func (g *Git) write(name, repository string) error {
	f, err := os.CreateTemp(g.dir, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "[safe]\n\tdirectory = \"%s\"\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(repository))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// Command prepares git with args in the bare repository. When ctx ends it is asked to end, so that it removes its lock
// files, and killed five seconds later.
func (g *Git) Command(ctx context.Context, repository string, args ...string) (*exec.Cmd, error) {
	env, err := g.Environ(repository)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, g.path, append([]string{"--git-dir=" + repository}, args...)...)
	cmd.Env, cmd.Dir = env, repository
	gently(cmd)
	return cmd, nil
}

// Backend prepares git http-backend for a bare repository (git-http-backend(1)); the caller adds the CGI variables of
// the request.
func (g *Git) Backend(ctx context.Context, repository string, settings ...string) (*exec.Cmd, error) {
	env, err := g.Environ(repository, settings...)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(g.exec, "git-http-backend"))
	cmd.Env = env
	gently(cmd)
	return cmd, nil
}

func gently(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
}
