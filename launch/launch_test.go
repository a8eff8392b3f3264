package launch

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// The test binary is also the remit binary (its hidden subcommands), a launcher of its own process, and two programs
// that run inside an instance.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case EnterCommand:
			os.Exit(Enter())
		case CredentialCommand:
			if err := CredentialHelper(context.Background(), os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "hook":
			os.Exit(fakeHook())
		case "__launch":
			os.Exit(launch(os.Args[2]))
		case "__svid":
			os.Exit(fetchSVID())
		case "__trap":
			os.Exit(trap(os.Args[2] == "read"))
		case "__attack":
			os.Exit(tryAll(os.Args[2], os.Args[3] == "outside"))
		case "__poor":
			os.Exit(poor(os.Args[2]))
		case "__connect":
			c, err := net.Dial("unix", os.Args[2])
			if err == nil {
				_, err = io.Copy(os.Stdout, c)
			}
			fmt.Println("closed:", err)
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// launching is what a launcher in a process of its own is told.
type launching struct {
	Options   Options
	Heartbeat string // Unix socket
	Runtime   string
	CA        string // directory
}

func launch(arg string) int {
	var c launching
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		panic(err)
	}
	ca, err := identity.OpenCA(c.CA, "acme", time.Now)
	if err != nil {
		panic(err)
	}
	s := &session{ca: ca, gateway: "https://127.0.0.1:1/v1/orgs/acme/git", heartbeat: c.Heartbeat}
	c.Options.Stdin, c.Options.Stdout, c.Options.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err := Launcher{Session: s, Runtime: c.Runtime, Sole: true}.Run(context.Background(), c.Options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// trap says up, waits for a signal, says got, reads a line if it shall, and exits with 9. (A shell's trap would not do:
// a signal between its last look and read(2) is noticed only after the next line.)
func trap(read bool) int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	fmt.Println("up")
	<-c
	fmt.Println("got")
	if read {
		word, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Println("read", strings.TrimSpace(word))
	}
	return 9
}

func fetchSVID() int {
	svid, err := workloadapi.FetchX509SVID(context.Background())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(svid.ID)
	return 0
}

// session is a server that does what a Session asks, in this process.
type session struct {
	ca         *identity.CA
	gateway    string
	rewrites   []client.Rewrite
	heartbeat  string
	anyGateway bool // tokens for more than git's are given
	held       chan error
	life       time.Duration // of a token
	now        func() time.Time

	mu     sync.Mutex
	starts []client.InstanceStart
	tokens int
	ends   int
}

func (s *session) StartInstance(_ context.Context, i client.InstanceStart) (client.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = append(s.starts, i)
	return client.Instance{
		ID: "I-7", Task: i.Task, Org: "acme", Agent: "coder", SPIFFEID: "spiffe://acme/agent/coder/I-7", Secret: "s3cret", Gateway: s.gateway,
		CA: s.ca.PEM(), Branch: "refs/heads/remit/" + string(i.Task), Rewrites: s.rewrites,
	}, nil
}

func (s *session) check(i remit.ID, secret client.Secret) error {
	if i != "I-7" || secret != "s3cret" {
		return remit.Errorf(remit.Unauthenticated, "no such instance")
	}
	return nil
}

func (s *session) Token(_ context.Context, i remit.ID, secret client.Secret, gateway string) (string, time.Time, error) {
	if err := s.check(i, secret); err != nil || gateway != s.gateway && !s.anyGateway {
		return "", time.Time{}, remit.Errorf(remit.Unauthenticated, "not for this gateway")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++
	now, life := time.Now(), s.life
	if s.now != nil {
		now = s.now()
	}
	if life == 0 {
		life = 5 * time.Minute
	}
	return fmt.Sprintf("remit_%d", s.tokens), now.Add(life), nil
}

func (s *session) SVID(_ context.Context, i remit.ID, secret client.Secret, csr []byte) (chain, bundle []byte, err error) {
	if err := s.check(i, secret); err != nil {
		return nil, nil, err
	}
	chain, err = s.ca.SVID(csr, spiffeid.RequireFromString("spiffe://acme/agent/coder/I-7"), time.Now().Add(5*time.Minute))
	return chain, s.ca.Root(), err
}

func (s *session) Hold(ctx context.Context, i remit.ID, secret client.Secret) (<-chan error, error) {
	if s.heartbeat != "" {
		c, err := net.Dial("unix", s.heartbeat)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { c.Close() })
	}
	return s.held, s.check(i, secret)
}

func (s *session) End(_ context.Context, i remit.ID, secret client.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends++
	return s.check(i, secret)
}

func newSession(t *testing.T) *session {
	t.Helper()
	ca, err := identity.CreateCA(filepath.Join(t.TempDir(), "ca"), "acme", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &session{ca: ca, gateway: "https://127.0.0.1:1/v1/orgs/acme/git", held: make(chan error, 1)}
}

// self is the path of the test binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// short is a directory whose path leaves room for sockets.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// home is a person's home directory and environment.
func home(t *testing.T) (dir string, environ []string) {
	t.Helper()
	dir = t.TempDir()
	return dir, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "LANG=C"}
}

type result struct {
	code     int
	err      error
	out, say string
}

// run runs a command in this process and collects what it and Remit say.
func run(t *testing.T, s *session, o Options) result {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if o.Stdout == nil {
		o.Stdout = out
	}
	o.Stderr = out
	if o.Task == "" {
		o.Task = "T3"
	}
	var said strings.Builder
	r := result{}
	r.code, r.err = Launcher{Session: s, Runtime: short(t), Say: &said, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}.Run(t.Context(), o)
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	r.out, r.say = string(raw), said.String()
	return r
}

func TestTheExitCodeIsTheCommands(t *testing.T) {
	dir, environ := home(t)
	plainFile := filepath.Join(dir, "plain")
	if err := os.WriteFile(plainFile, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		command []string
		code    int
		failed  bool
	}{
		{"success", []string{"true"}, 0, false},
		{"failure", []string{"sh", "-c", "exit 42"}, 42, false},
		{"a signal is 128 and its number", []string{"sh", "-c", "kill -TERM $$"}, 143, false},
		{"what is not found is 127", []string{"no-such-command"}, ExitNotFound, true},
		{"a path that is not there is 127", []string{"/no/such/command"}, ExitNotFound, true},
		{"a file that is not executable is 126", []string{plainFile}, ExitNotExecutable, true},
		{"a directory is 126", []string{dir}, ExitNotExecutable, true},
		{"no command is 125", nil, ExitLauncher, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t)
			r := run(t, s, Options{Command: c.command, Environ: environ})
			if r.code != c.code || (r.err != nil) != c.failed {
				t.Errorf("code %d, error %v; want %d, error %t\n%s", r.code, r.err, c.code, c.failed, r.out)
			}
			if len(s.starts) != s.ends {
				t.Errorf("%d instances started, %d ended", len(s.starts), s.ends)
			}
		})
	}
}

func TestAnArgumentOfAnyBytesArrives(t *testing.T) {
	_, environ := home(t)
	want := "\xff\xfe 'x' $HOME\n\x01"
	r := run(t, newSession(t), Options{Command: []string{"printf", "%s", want}, Environ: append(environ, "ODD=\xff")})
	if r.out != want {
		t.Errorf("got %q", r.out)
	}
}

func TestTheServerRefuses(t *testing.T) {
	_, environ := home(t)
	marker := filepath.Join(t.TempDir(), "ran")
	for _, c := range []struct {
		name string
		make func(*session) Session
	}{
		{"to start an instance", func(s *session) Session { return failing{s, "start"} }},
		{"the heartbeat", func(s *session) Session { return failing{s, "hold"} }},
		{"an SVID", func(s *session) Session { return failing{s, "svid"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t)
			code, err := Launcher{Session: c.make(s), Runtime: short(t), Say: io.Discard}.Run(t.Context(), Options{Command: []string{"touch", marker}, Environ: environ})
			if code != ExitLauncher || err == nil {
				t.Errorf("code %d, error %v", code, err)
			}
			if _, err := os.Stat(marker); err == nil {
				t.Error("the command ran")
			}
			if len(s.starts) != s.ends {
				t.Errorf("%d instances started, %d ended", len(s.starts), s.ends)
			}
		})
	}
}

type failing struct {
	*session
	at string
}

var errRefused = errors.New("refused")

func (f failing) StartInstance(ctx context.Context, i client.InstanceStart) (client.Instance, error) {
	if f.at == "start" {
		return client.Instance{}, errRefused
	}
	return f.session.StartInstance(ctx, i)
}

func (f failing) Hold(ctx context.Context, i remit.ID, secret client.Secret) (<-chan error, error) {
	if f.at == "hold" {
		return nil, errRefused
	}
	return f.session.Hold(ctx, i, secret)
}

func (f failing) SVID(ctx context.Context, i remit.ID, secret client.Secret, csr []byte) (chain, bundle []byte, err error) {
	if f.at == "svid" {
		return nil, nil, errRefused
	}
	return f.session.SVID(ctx, i, secret, csr)
}

// clock stands still; only the grace before KILL is over at once.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	if d != termGrace {
		return nil
	}
	over := make(chan time.Time, 1)
	over <- c.Now()
	return over
}

func TestWhenTheInstanceEndsTheCommandDoes(t *testing.T) {
	for _, c := range []struct {
		name    string
		command []string
		clock   identity.Clock
		code    int
	}{
		{"by TERM, with its own code", []string{self(t), "__trap", "exit"}, identity.SystemClock{}, 9},
		{"by KILL, if TERM does not do it", []string{"sh", "-c", `trap "" TERM; echo up; cat`}, &clock{now: time.Now()}, 137},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, environ := home(t)
			s := newSession(t)
			in, keep, _ := os.Pipe()
			up, out, _ := os.Pipe()
			defer keep.Close()
			defer in.Close()
			go func() {
				_, err := bufio.NewReader(up).ReadString('\n')
				if err != nil {
					t.Error(err)
				}
				s.held <- errors.New("the task was killed")
			}()
			var said strings.Builder
			code, err := Launcher{Session: s, Runtime: short(t), Say: &said, Clock: c.clock}.Run(t.Context(), Options{
				Command: c.command, Environ: environ, Stdin: in, Stdout: out, Task: "T3",
			})
			if code != c.code || err != nil {
				t.Errorf("code %d, error %v", code, err)
			}
			if !strings.Contains(said.String(), "instance I-7 has ended") || !strings.Contains(said.String(), "the task was killed") {
				t.Errorf("Remit said %q", said.String())
			}
		})
	}
}

func TestWhatTheInstanceHadIsGoneAfterwards(t *testing.T) {
	_, environ := home(t)
	dir := short(t)
	code, err := Launcher{Session: newSession(t), Runtime: dir, Say: io.Discard}.Run(t.Context(), Options{Command: []string{"true"}, Environ: environ})
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestTheWorkloadAPIServesTheInstancesSVID(t *testing.T) {
	_, environ := home(t)
	r := run(t, newSession(t), Options{Command: []string{self(t), "__svid"}, Environ: environ})
	if r.code != 0 || r.out != "spiffe://acme/agent/coder/I-7\n" {
		t.Errorf("code %d, error %v: %s", r.code, r.err, r.out)
	}
}

// launcher starts a launcher in a process of its own, and the far end of its heartbeat.
func launcher(t *testing.T, o Options, prepare func(*exec.Cmd)) (cmd *exec.Cmd, stdout *bufio.Reader, heartbeat net.Conn) {
	t.Helper()
	dir := short(t)
	if _, err := identity.CreateCA(filepath.Join(dir, "ca"), "acme", time.Now); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "beat"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	arg, err := json.Marshal(launching{Options: o, Heartbeat: filepath.Join(dir, "beat"), Runtime: dir, CA: filepath.Join(dir, "ca")})
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self(t), "__launch", string(arg))
	cmd.Env = o.Environ
	cmd.Stderr = t.Output()
	var out io.Reader
	if prepare != nil {
		prepare(cmd)
	} else if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if heartbeat, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { heartbeat.Close() })
	if out != nil {
		stdout = bufio.NewReader(out)
	}
	return cmd, stdout, heartbeat
}

func line(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil || strings.TrimSpace(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func code(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err == nil {
		return 0
	}
	return exit.ExitCode()
}

func TestSignalsReachTheCommand(t *testing.T) {
	for _, c := range []struct {
		name string
		sig  syscall.Signal
	}{{"INT", syscall.SIGINT}, {"TERM", syscall.SIGTERM}, {"HUP", syscall.SIGHUP}, {"QUIT", syscall.SIGQUIT}} {
		t.Run(c.name, func(t *testing.T) {
			// A shell starts what it runs in the background with INT and QUIT ignored, and children would inherit that.
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, c.sig)
			defer signal.Stop(caught)
			_, environ := home(t)
			var keep io.WriteCloser
			out, w, _ := os.Pipe()
			cmd, _, _ := launcher(t, Options{Command: []string{self(t), "__trap", "exit"}, Environ: environ}, func(cmd *exec.Cmd) {
				cmd.Stdout = w
				keep, _ = cmd.StdinPipe()
			})
			w.Close()
			defer keep.Close()
			stdout := bufio.NewReader(out)
			line(t, stdout, "up")
			if err := cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			line(t, stdout, "got")
			if got := code(t, cmd.Wait()); got != 9 {
				t.Errorf("code %d", got)
			}
		})
	}
}

// digest is a hash of all files below dir.
func digest(t *testing.T, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	if err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		fmt.Fprintf(h, "%s %d\n", p, len(raw))
		h.Write(raw)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}
