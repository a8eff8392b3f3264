//go:build unix

// Package real starts real servers for tests: a forge, a cluster's API, a registry. Each is one process group on
// loopback with its data in the test's own directory, and it is gone when the test ends, however it ends. Where one
// cannot be had the test is skipped with the reason, except with CI=true: there it fails.
package real

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTime = 2 * time.Minute
	pollEvery = 20 * time.Millisecond
	nobody    = 65534
)

// program builds or finds one real server with tools/real/build and gives its path.
func program(t testing.TB, name string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "tools", "real", "build"), name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	path := strings.TrimSpace(string(out))
	if err == nil && path != "" {
		return path
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	missing(t, "%s cannot be had; say: tools/real/build %s (%v: %s)", name, name, err, lines[len(lines)-1])
	return ""
}

func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "tools", "real", "build")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("tools/real/build is in no directory above the test's")
		}
		dir = up
	}
}

// ports picks n free ports of 127.0.0.1, all held at once so that they differ.
func ports(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// secret is random text that passes for a password everywhere.
func secret() string { return "Aa1-" + rand.Text() }

// process is a running server.
type process struct {
	name string
	done chan struct{} // closed when it has ended
	log  tail
}

// guard runs "$@" and ends the whole process group as soon as the program or whoever holds its standard input is gone:
// a test binary that is killed leaves no server behind.
const guard = `{ "$@" </dev/null; kill -KILL 0; } & cat >/dev/null; kill -KILL 0`

// start runs a server in a process group of its own, as an unprivileged user if unprivileged is set and the test runs
// as root, and ends the group when the test does.
func start(t testing.TB, unprivileged bool, dir string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(argv[0]), done: make(chan struct{})}
	cmd := exec.Command("sh", append([]string{"-c", guard, "sh"}, argv...)...)
	cmd.Dir, cmd.Env = dir, append(plainEnv(dir), env...)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.WaitDelay = 5 * time.Second // a straggler that holds the output open does not hold the test
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if unprivileged {
		cmd.SysProcAttr.Credential = credential()
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // it is killed, always
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = stdin.Close()
		<-p.done
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", p.name, p.log.String())
		}
	})
	return p
}

// credential is that of nobody if the test runs as root: some servers refuse to be root, and none needs to be.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false}
}

// plainEnv is an environment in which nothing of the machine's own configuration is read.
func plainEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
}

// ready polls until ask succeeds.
func (p *process) ready(t testing.TB, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it was ready: %s", p.name, p.log.String())
		case <-ctx.Done():
			t.Fatalf("%s is not ready after %v: %v; %s", p.name, readyTime, err, p.log.String())
		case <-tick.C:
		}
	}
}

// tail keeps the end of what a server says.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if over := len(l.buf) - tailSize; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// directory is a directory of the test that unprivileged servers can reach and write.
func directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 {
		return dir
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write writes one file of a server's, which the server's user owns and only it can read.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

const maxAnswer = 16 << 20

// call makes one JSON request and reads its answer into out, if that is not nil. It gives the status, and an error for
// every status but 2xx.
func call(ctx context.Context, c *http.Client, method, url, authorization string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return answer.StatusCode, err
	}
	if answer.StatusCode/100 != 2 {
		return answer.StatusCode, fmt.Errorf("%s %s: %s: %.500s", method, url, answer.Status, raw)
	}
	if out == nil || len(raw) == 0 {
		return answer.StatusCode, nil
	}
	return answer.StatusCode, json.Unmarshal(raw, out)
}
