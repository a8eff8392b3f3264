package launch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/remit-dev/remit"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// TestAsAnOrdinaryUser runs this package's tests again without root's rights: namespaces are made another way then.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this already is an ordinary user")
	}
	dir := short(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary, tmp := filepath.Join(dir, "launch.test"), filepath.Join(dir, "t")
	raw, err := os.ReadFile(self(t))
	if err == nil {
		err = os.WriteFile(binary, raw, 0o755)
	}
	if err = errors.Join(err, os.Mkdir(tmp, 0o700), os.Chown(tmp, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.count=1"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = tmp
	cmd.Env = []string{"HOME=" + tmp, "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
	runtime.LockOSThread() // or the signal at the parent's death could come early
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// confined runs a shell script with confinement home, or skips where the kernel refuses.
func confined(t *testing.T, s *session, o Options, script string) result {
	t.Helper()
	o.Command, o.Confinement = []string{"sh", "-c", script}, remit.ConfineHome
	r := run(t, s, o)
	if r.err != nil && strings.Contains(r.err.Error(), "confinement home cannot be had here") {
		t.Skip(r.err)
	}
	return r
}

func secretHome(t *testing.T) (string, []string) {
	t.Helper()
	dir, environ := home(t)
	elsewhere := t.TempDir()
	for path, content := range map[string]string{
		dir + "/.ssh/id_ed25519": "secret-ssh", dir + "/.netrc": "secret-netrc", dir + "/.config/gh/hosts.yml": "secret-gh", dir + "/.gitconfig": "[http]\n\textraHeader = secret-git\n",
		elsewhere + "/aws": "secret-aws", elsewhere + "/agent": "secret-agent", elsewhere + "/server/ca.key": "secret-server", dir + "/project/file": "ordinary", dir + "/.claude.json": "login",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(dir+"/.aws", 0o700), os.Symlink(elsewhere+"/aws", dir+"/.aws/credentials")); err != nil {
		t.Fatal(err)
	}
	return dir, append(environ, "SSH_AUTH_SOCK="+elsewhere+"/agent", "ELSEWHERE="+elsewhere)
}

func TestConfinementHomeHidesCredentials(t *testing.T) {
	dir, environ := secretHome(t)
	before := digest(t, dir)
	s := newSession(t)
	elsewhere := value(environ, "ELSEWHERE")
	r := confined(t, s, Options{Environ: environ, Dir: dir + "/.ssh", Hide: []string{elsewhere + "/server"}}, `
		# from below the mounts, and past them
		cat id_ed25519 ../.ssh/id_ed25519 $HOME/.ssh/id_ed25519
		cat $HOME/.netrc $HOME/.config/gh/hosts.yml $HOME/.gitconfig $HOME/.aws/credentials
		cat $ELSEWHERE/aws $ELSEWHERE/agent $ELSEWHERE/server/ca.key
		cat /proc/$PPID/root$HOME/.netrc /proc/$PPID/environ
		umount $HOME/.ssh; umount -l $HOME/.ssh; cat $HOME/.ssh/id_ed25519
		unshare -Urm sh -c 'umount -l $HOME/.ssh; umount -l $HOME/.netrc; cat $HOME/.ssh/id_ed25519 $HOME/.netrc'
		nsenter -t $PPID -m cat $HOME/.netrc
		cat $HOME/project/file $HOME/.claude.json
		touch $HOME/.ssh/known_hosts && echo writable
		id -u; grep -h ^NoNewPrivs /proc/self/status`)
	if r.err != nil {
		t.Fatal(r.err)
	}
	if strings.Contains(r.out, "secret-") {
		t.Errorf("a credential was read:\n%s", r.out)
	}
	for _, want := range []string{"ordinary", "login", "writable", fmt.Sprintf("\n%d\n", os.Geteuid()), "NoNewPrivs:\t1"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in:\n%s", want, r.out)
		}
	}
	if s.starts[0].Confinement != remit.ConfineHome {
		t.Errorf("the server was told %q", s.starts[0].Confinement)
	}
	if digest(t, dir) != before {
		t.Error("the home directory has changed")
	}
}

// A working directory from before the mounts would lead below them.
func TestAHiddenWorkingDirectoryIsEmpty(t *testing.T) {
	dir, environ := secretHome(t)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd, _, _ := launcher(t, Options{Command: []string{"sh", "-c", "cat id_ed25519; pwd; echo $REMIT_CONFINEMENT"}, Environ: environ}, func(cmd *exec.Cmd) {
		cmd.Dir, cmd.Stdout = dir+"/.ssh", out
	})
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(string(raw), "\nnone\n") {
		t.Skip("no namespaces here")
	}
	if got, want := string(raw), dir+"/.ssh\nhome\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConfinementNoneNamesWhatStaysReadable(t *testing.T) {
	dir, environ := secretHome(t)
	s := newSession(t)
	r := run(t, s, Options{Command: []string{"cat", dir + "/.netrc"}, Environ: environ, Confinement: remit.ConfineNone})
	if r.out != "secret-netrc" || s.starts[0].Confinement != remit.ConfineNone {
		t.Errorf("%q, %+v", r.out, s.starts)
	}
	for _, want := range []string{dir + "/.ssh", dir + "/.netrc", value(environ, "SSH_AUTH_SOCK")} {
		if !strings.Contains(r.say, want) {
			t.Errorf("%s is not named in %q", want, r.say)
		}
	}
}

func TestInheritedFilesAreClosed(t *testing.T) {
	_, environ := home(t)
	f, err := os.CreateTemp(t.TempDir(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 20) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r := run(t, newSession(t), Options{Command: []string{"sh", "-c", "ls -l /proc/$$/fd"}, Environ: environ})
	if r.err != nil || strings.Contains(r.out, f.Name()) {
		t.Errorf("%v\n%s", r.err, r.out)
	}
}

func TestKillingTheLauncherEndsTheCommand(t *testing.T) {
	for _, o := range []Options{{Confinement: remit.ConfineNone}, {}, {Isolate: IsolateYes}} {
		t.Run("confinement "+string(o.Confinement+remit.Confinement(o.Isolate)), func(t *testing.T) {
			if o.Isolate != IsolateNo {
				needSandbox(t)
			}
			_, environ := home(t)
			in, keep, _ := os.Pipe()
			out, w, _ := os.Pipe()
			defer keep.Close()
			o.Command, o.Environ, o.Dir = []string{"sh", "-c", "(setsid cat &) ; echo up; exec cat"}, environ, t.TempDir()
			cmd, _, heartbeat := launcher(t, o, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = in, w })
			w.Close()
			in.Close()
			stdout := bufio.NewReader(out)
			line(t, stdout, "up")
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(stdout); err != nil || len(rest) != 0 { // until nobody holds the other end
				t.Errorf("%q, %v", rest, err)
			}
			if _, err := io.ReadAll(heartbeat); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		})
	}
}

func TestWhatTheCommandLeavesBehindEndsWithIt(t *testing.T) {
	_, environ := home(t)
	dir := t.TempDir()
	if err := errors.Join(unix.Mkfifo(dir+"/never", 0o600), unix.Mkfifo(dir+"/up", 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, script string }{
		{"in its group", "cat never & exit 3"},
		{"in a session of its own", "setsid sh -c 'echo >up; exec cat never' & read x <up; exit 3"},
		{"in a session of its own, adopted", "(setsid sh -c 'setsid sh -c \"echo >up; exec cat never\" & exit' &) ; read x <up; exit 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd, stdout, _ := launcher(t, Options{Command: []string{"sh", "-c", c.script}, Environ: environ, Dir: dir}, nil)
			if _, err := io.ReadAll(stdout); err != nil {
				t.Error(err)
			}
			if got := code(t, cmd.Wait()); got != 3 {
				t.Errorf("code %d", got)
			}
		})
	}
}

// pty is a new terminal: our end and the program's.
func pty(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no terminals: ", err)
	}
	// Otherwise the line discipline flushes output after it sent ctrl-C's signal, and with it the answer to the signal.
	modes, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	modes.Lflag |= unix.NOFLSH
	if err := unix.IoctlSetTermios(int(theirs.Fd()), unix.TCSETS, modes); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func TestTheKeyboardReachesTheCommandAndTheTerminalComesBack(t *testing.T) {
	t.Run("confined", func(t *testing.T) { keyboard(t, IsolateNo) })
	t.Run("isolated", func(t *testing.T) {
		needSandbox(t)
		keyboard(t, IsolateYes)
	})
}

func keyboard(t *testing.T, isolate Isolation) {
	_, environ := home(t)
	ours, theirs := pty(t)
	// A shell runs the launcher in its own group, and reads from the terminal afterwards.
	cmd, _, _ := launcher(t, Options{Command: []string{self(t), "__trap", "read"}, Environ: environ, Isolate: isolate, Dir: t.TempDir()}, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `"$@"; echo code $?; read y; echo then $y`, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path, _ = exec.LookPath("sh")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	})
	theirs.Close()
	screen := bufio.NewReader(io.TeeReader(ours, t.Output()))
	expect := func(want string) {
		t.Helper()
		var seen strings.Builder
		for !strings.Contains(seen.String(), want) {
			c, err := screen.ReadByte()
			if err != nil {
				t.Fatalf("%v; the screen shows %q, not %q", err, seen.String(), want)
			}
			seen.WriteByte(c)
			if strings.Contains(seen.String(), fmt.Sprint("code ", ExitLauncher)) {
				t.Fatalf("the command did not run: %q", seen.String())
			}
		}
	}
	type_ := func(s string) {
		if _, err := io.WriteString(ours, s); err != nil {
			t.Fatal(err)
		}
	}
	expect("up")
	type_("\x1a") // ctrl-Z
	expect("goes on")
	type_("\x03") // ctrl-C
	expect("got")
	type_("word\n")
	expect("read word")
	expect("code 9")
	type_("more\n")
	expect("then more")
	if got := code(t, cmd.Wait()); got != 0 {
		t.Errorf("code %d", got)
	}
}

func TestTheInstancesSocketRefusesStrangers(t *testing.T) {
	_, environ := home(t)
	in, keep, _ := os.Pipe()
	out, w, _ := os.Pipe()
	done := make(chan error, 1)
	s := newSession(t)
	go func() {
		_, err := Launcher{Session: s, Runtime: short(t), Say: io.Discard}.Run(t.Context(), Options{Command: []string{"sh", "-c", "echo $REMIT_SOCKET; exec cat"}, Environ: environ, Stdin: in, Stdout: w})
		done <- err
	}()
	socket, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	socket = strings.TrimSpace(socket)
	if fi, err := os.Stat(socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(filepath.Dir(socket)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	var got strings.Builder
	err = CredentialHelper(t.Context(), socket, "get", strings.NewReader("protocol=https\nhost=127.0.0.1:1\n\n"), &got)
	if err == nil || got.Len() != 0 {
		t.Errorf("this process is not of the instance and got %q, %v", got.String(), err)
	}
	keep.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s.tokens != 0 {
		t.Error("a token was made")
	}
}

func TestTheInstancesSocketRefusesOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := short(t)
	raw, err := os.ReadFile(self(t))
	binary, socket := filepath.Join(dir, "b"), filepath.Join(dir, "s")
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(binary, raw, 0o755)); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	owner := &command{pid: os.Getpid()} // who connects descends from it, so that only the user is wrong
	var log strings.Builder
	guard := &guardedListener{Listener: ln, allow: owner.owns, log: slog.New(slog.NewTextHandler(&log, nil))}
	accepted := make(chan error, 1)
	go func() {
		_, err := guard.Accept()
		accepted <- err
	}()
	cmd := exec.Command(binary, "__connect", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "closed:") {
		t.Fatalf("%s %v", out, err)
	}
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if !strings.Contains(log.String(), "is of user 65534") {
		t.Errorf("the log says %q", log.String())
	}
}

func TestProcessesAreFoundByTheirParents(t *testing.T) {
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		t.Fatal(err)
	}
	found := false
	for _, pid := range childrenOf(os.Getpid(), os.DirFS("/proc")) {
		found = found || pid == cmd.Process.Pid
	}
	in.Close()
	if err := cmd.Wait(); err != nil || !found {
		t.Errorf("found: %t, %v", found, err)
	}
}
