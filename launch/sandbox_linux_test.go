package launch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/launch/isolate"
	"golang.org/x/sys/unix"
)

// needSandbox skips where no sandbox can be had, and says why; with REMIT_REQUIRE=namespaces that is a failure.
func needSandbox(t *testing.T) {
	t.Helper()
	err := Launcher{}.ProbeIsolation()
	if err != nil && slices.Contains(strings.Split(os.Getenv("REMIT_REQUIRE"), ","), "namespaces") {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
}

// isolated runs a command in a sandbox.
func isolated(t *testing.T, o Options) result {
	t.Helper()
	o.Isolate = IsolateYes
	r := run(t, newSession(t), o)
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r
}

// serve answers "hello" to everybody.
func serve(t *testing.T, network, address string) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		return "" // no IPv6 here, say
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 16))
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	return ln.Addr().String()
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	for path, content := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// setStage makes a work tree, and around it everything that an attack wants to reach.
func setStage(t *testing.T, home string) stage {
	t.Helper()
	dir := short(t)
	s := stage{Tree: dir + "/work/tree", Outside: dir + "/outside", Secret: dir + "/outside/secret", SSH: home + "/.ssh/id_ed25519", Input: dir + "/outside/input"}
	write(t, map[string]string{
		s.Secret: theirSecret, s.SSH: theirSecret, s.Input: "input\n",
		s.Tree + "/.git/HEAD": "ref: refs/heads/main\n", s.Tree + "/.git/config": "[core]\n\thooksPath = tools/hooks\n", s.Tree + "/.git/hooks/sample": "", s.Tree + "/.git/modules/sub/config": "",
		s.Tree + "/vendor/lib/.git/config": "", s.Tree + "/vendor/lib/.git/hooks/sample": "", s.Tree + "/tools/hooks/pre-commit": "",
		s.Tree + "/.claude/settings.json": "{}", s.Tree + "/.github/workflows/ci.yml": "", s.Tree + "/out/file": "",
	})
	s.Abstract = serve(t, "unix", "@remit-test-"+filepath.Base(dir))
	s.Socket, s.TreeSocket = serve(t, "unix", dir+"/socket"), serve(t, "unix", s.Tree+"/out/socket")
	if os.Geteuid() == 0 {
		s.RunSocket = serve(t, "unix", "/run/remit-test-"+filepath.Base(dir)+".sock")
	}
	s.TCP, s.TCP6 = serve(t, "tcp4", "127.0.0.1:0"), serve(t, "tcp6", "[::1]:0")
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	go func() {
		for buf := make([]byte, 64); ; {
			_, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte("hello"), from)
		}
	}()
	s.UDP = udp.LocalAddr().String()
	victim := exec.Command("cat")
	victim.Env = []string{"SECRET=" + theirSecret, "PATH=" + os.Getenv("PATH")}
	in, err := victim.StdinPipe()
	if err == nil {
		err = victim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = victim.Wait() })
	s.Victim = victim.Process.Pid
	f, err := os.Open(s.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s.FD, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD, 30); err != nil { // without close-on-exec
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.FD) })
	s.Shm = 0x52000000 | os.Getpid()&0xffff<<8 | len(t.Name())&0xff
	id, err := unix.SysvShmGet(s.Shm, 4096, unix.IPC_CREAT|0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	return s
}

// broken are the files below dirs that an attack has written, and names that it has made.
func broken(t *testing.T, s stage) (out []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(s.Tree)), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		raw := []byte(nil)
		if d.Type().IsRegular() {
			if raw, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if bytes.Contains(raw, []byte("broken")) || slices.Contains([]string{"tree2", ".git2", ".gemini", ".codex", ".mcp.json", ".vscode", "commondir", "new"}, d.Name()) {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func results(t *testing.T, out string) (got map[string]string) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

// TestNothingGetsOutOfASandbox: each row succeeds without a sandbox, with the same user and the same surroundings, and
// fails inside.
func TestNothingGetsOutOfASandbox(t *testing.T) {
	needSandbox(t)
	dir, environ := home(t)

	out := setStage(t, dir)
	arg, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	input, err := os.Open(out.Input)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	cmd := exec.Command("sh", "-c", `"$@"; exit $?`, "sh", self(t), "__attack", string(arg), "outside")
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = out.Tree, environ, input, t.Output()
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	outside := results(t, string(raw))

	in := setStage(t, dir)
	if arg, err = json.Marshal(in); err != nil {
		t.Fatal(err)
	}
	if input, err = os.Open(in.Input); err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	r := isolated(t, Options{Command: []string{self(t), "__attack", string(arg), "inside"}, Environ: environ, Dir: in.Tree, Stdin: input})
	if r.code != 0 {
		t.Fatalf("%d: %s", r.code, r.out)
	}
	inside := results(t, r.out)

	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			o, tried := outside[a.name]
			if !tried {
				t.Skip("without a sandbox only root can do this")
			}
			if o != "" {
				t.Skipf("it cannot be done here without a sandbox either, so nothing is learnt: %s", o)
			}
			i, tried := inside[a.name]
			if !tried || i == "" && !slices.Contains(harmlessInside, a.name) {
				t.Errorf("it got out")
			}
			t.Logf("inside: %s", i)
		})
	}
	if len(broken(t, out)) == 0 {
		t.Error("the attacks outside have broken nothing, so the judge is blind")
	}
	if b := broken(t, in); len(b) != 0 {
		t.Errorf("the host's files have changed, or what was made for the sandbox is still there: %q", b)
	}
	if raw, err := os.ReadFile(in.Tree + "/.git/config"); err != nil || string(raw) != "[core]\n\thooksPath = tools/hooks\n" {
		t.Errorf("git's configuration says %q, %v", raw, err)
	}
}

func TestASandboxEndsAsItsCommandDoes(t *testing.T) {
	needSandbox(t)
	_, environ := home(t)
	s := newSession(t)
	for _, c := range []struct {
		name    string
		command []string
		code    int
		err     string
	}{
		{"its code", []string{"sh", "-c", "echo $REMIT_CONFINEMENT; exit 7"}, 7, ""},
		{"a signal", []string{"sh", "-c", "kill -9 $$"}, 128 + 9, ""},
		{"a signal to process 1 does nothing", []string{"sh", "-c", "kill -9 1; kill -TERM 1; kill -QUIT 1; kill -INT 1; exit 5"}, 5, ""},
		{"orphans end with it", []string{"sh", "-c", "(setsid sleep 1000 &); exit 3"}, 3, ""},
		{"not found", []string{"no-such-program"}, ExitNotFound, "cannot be executed"},
		{"not executable", []string{"/etc/passwd"}, ExitNotExecutable, "cannot be executed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, s, Options{Command: c.command, Environ: environ, Dir: t.TempDir(), Isolate: IsolateYes})
			if r.code != c.code || (r.err == nil) != (c.err == "") || r.err != nil && !strings.Contains(r.err.Error(), c.err) {
				t.Errorf("code %d, %v: %s", r.code, r.err, r.out)
			}
		})
	}
	for _, start := range s.starts {
		if start.Confinement != remit.ConfineSandbox {
			t.Errorf("the server was told %q", start.Confinement)
		}
	}
}

// TestASandboxShowsLittle: of the machine, programs and configuration; nothing of what was there before.
func TestASandboxShowsLittle(t *testing.T) {
	needSandbox(t)
	_, environ := home(t)
	dir := t.TempDir()
	r := isolated(t, Options{Environ: environ, Dir: dir, Command: []string{"sh", "-c", `ls -A /; echo .; id -u; cat /proc/sys/user/max_user_namespaces; grep -c ' /.old' /proc/self/mountinfo; ls -A /var /run/user/* /tmp/.[!.]* 2>/dev/null; cat /proc/self/status`}})
	root, rest, _ := strings.Cut(r.out, ".\n")
	for name := range strings.FieldsSeq(root) {
		if !slices.Contains([]string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "nix", "gnu", "snap", "sw", "dev", "proc", "sys", "tmp", "run", "var", "root", "home"}, name) && !strings.HasPrefix(dir, "/"+name+"/") && !strings.HasPrefix(value(environ, "HOME"), "/"+name+"/") {
			t.Errorf("/%s is there", name)
		}
	}
	uid := os.Geteuid()
	if uid == 0 {
		uid = isolate.InsideUID
	}
	if want := fmt.Sprintf("%d\n0\n0\n", uid); !strings.HasPrefix(rest, want) {
		t.Errorf("%q, not %q", rest, want)
	}
	for _, line := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "CapInh:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(rest, line) {
			t.Errorf("%q is missing in %s", line, rest)
		}
	}
	person, environ := home(t)
	write(t, map[string]string{person + "/.nvm/versions/node/v1/etc/npmrc": theirSecret, person + "/.nvm/versions/node/v1/bin/tool": "#!/bin/sh\necho a tool\n", person + "/.npmrc": theirSecret, person + "/other": theirSecret})
	if err := os.Chmod(person+"/.nvm/versions/node/v1/bin/tool", 0o700); err != nil {
		t.Fatal(err)
	}
	environ[1] += ":" + person + "/.nvm/versions/node/v1/bin"
	r = isolated(t, Options{Environ: environ, Dir: dir, Command: []string{"sh", "-c", "tool; cat $HOME/.nvm/versions/node/v1/etc/npmrc $HOME/.npmrc $HOME/other; echo x >$HOME/.nvm/x; ls $HOME/.nvm"}})
	if !strings.HasPrefix(r.out, "a tool\n") || strings.Contains(r.out, theirSecret) || !strings.Contains(r.out, "versions") {
		t.Errorf("%s", r.out)
	}
	if _, err := os.Stat(person + "/.nvm/x"); err == nil {
		t.Error("a program's directory was written to")
	}

	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := run(t, newSession(t), Options{Command: []string{"true"}, Environ: environ, Dir: dir, Isolate: IsolateYes, Stdin: f}); r.err == nil || !strings.Contains(r.err.Error(), "is a directory") {
		t.Errorf("a directory as standard input: %v", r.err)
	}
}

// TestASignalReachesAnIsolatedCommand: what the launcher gets is passed to the command, not to process 1.
func TestASignalReachesAnIsolatedCommand(t *testing.T) {
	needSandbox(t)
	_, environ := home(t)
	cmd, stdout, _ := launcher(t, Options{Command: []string{self(t), "__trap", ""}, Environ: environ, Dir: t.TempDir(), Isolate: IsolateYes}, nil)
	line(t, stdout, "up")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	line(t, stdout, "got")
	if got := code(t, cmd.Wait()); got != 9 {
		t.Errorf("code %d", got)
	}
}

// TestWhatProtectsTheTreeGoesAway: nothing is left in the work tree, also when the launcher was killed and another one
// came later, and not while another sandbox of the same tree lives.
func TestWhatProtectsTheTreeGoesAway(t *testing.T) {
	needSandbox(t)
	_, environ := home(t)
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/.github", 0o755); err != nil {
		t.Fatal(err)
	}
	names := func() string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return strings.Join(out, " ")
	}
	in, keep, _ := os.Pipe()
	out, w, _ := os.Pipe()
	defer keep.Close()
	cmd, _, _ := launcher(t, Options{Command: []string{"sh", "-c", "echo up; exec cat"}, Environ: environ, Dir: dir, Isolate: IsolateYes}, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = in, w })
	in.Close()
	w.Close()
	line(t, bufio.NewReader(out), "up")
	if r := isolated(t, Options{Command: []string{"sh", "-c", "echo x >.claude/settings.json"}, Environ: environ, Dir: dir}); r.code == 0 {
		t.Error("the second one could write an agent's settings")
	}
	if got := names(); !strings.Contains(got, ".claude") {
		t.Errorf("the second one has taken the first one's protection away: %q is left", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(out); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if r := isolated(t, Options{Command: []string{"sh", "-c", "echo x >.claude/settings.json"}, Environ: environ, Dir: dir}); r.code == 0 {
		t.Error("a later one could write an agent's settings")
	}
	if got := names(); got != ".github" {
		t.Errorf("%q is left", got)
	}
	if left, err := os.ReadDir(dir + "/.github"); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestGitWorksInASandbox: also in a linked work tree, whose repository lies elsewhere.
func TestGitWorksInASandbox(t *testing.T) {
	needSandbox(t)
	_, environ := home(t)
	dir := short(t)
	script := `git init -q -b main repo && cd repo && git config user.name a && git config user.email a@example.com && echo 1 >f && git add f && git commit -qm one && git worktree add -q ../linked -b linked`
	prepare := exec.Command("sh", "-c", script)
	prepare.Dir, prepare.Env = dir, environ
	if out, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tree := range []string{"repo", "linked"} {
		r := isolated(t, Options{Environ: environ, Dir: filepath.Join(dir, tree), Command: []string{"sh", "-ec", `echo 2 >>f; git add -A; git commit -qm two; git status --porcelain; git log --format=%s
			if git config core.fsmonitor ./evil; then echo CONFIGURED; fi
			for d in $(git rev-parse --git-dir) $(git rev-parse --git-common-dir); do
				if echo ../evil >$d/commondir; then echo LED AWAY; fi
				if mv $d/commondir $d/x; then echo MOVED; fi
				if mv $d $d.old; then echo RENAMED; fi
			done 2>/dev/null`}})
		if got := strings.Fields(strings.ReplaceAll(r.out, "error:", "")); r.code != 0 || len(got) < 2 || !strings.HasPrefix(r.out, "two\none\n") || strings.ContainsAny(r.out, "CMR") && (strings.Contains(r.out, "CONFIGURED") || strings.Contains(r.out, "LED AWAY") || strings.Contains(r.out, "MOVED") || strings.Contains(r.out, "RENAMED")) {
			t.Errorf("%s: %d\n%s", tree, r.code, r.out)
		}
	}
	status := exec.Command("git", "-C", filepath.Join(dir, "repo"), "status", "--porcelain")
	if out, err := status.CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestAWorkTreeIsAProject: an isolated command may write to one directory, so that must not be one in which much else
// lies, nor one that would lead it elsewhere.
func TestAWorkTreeIsAProject(t *testing.T) {
	needSandbox(t)
	dir, environ := home(t)
	tree := func(script string) string {
		d := t.TempDir()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir, cmd.Env = d, environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return d
	}
	for _, c := range []struct{ name, dir, want string }{
		{"a home", dir, "too much else lies in it"},
		{"what a home lies in", filepath.Dir(dir), "too much else lies in it"},
		{"the root", "/", "too much else lies in it"},
		{"/tmp", "/tmp", "too much else lies in it"},
		{"settings that lead elsewhere", tree("mkdir there && ln -s there .claude"), "is a symbolic link"},
		{"hooks that lie elsewhere", tree("mkdir -p there .git && ln -s ../there .git/hooks"), "is a symbolic link"},
		{"a repository that is a link", tree("mkdir there && ln -s there .git"), "neither a directory nor a file"},
		{"a .git that names somebody's directory", tree("mkdir there && echo gitdir: " + dir + " >.git"), "knows this work tree"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, newSession(t), Options{Command: []string{"true"}, Environ: environ, Dir: c.dir, Isolate: IsolateBest})
			if r.code != ExitLauncher || r.err == nil || !strings.Contains(r.err.Error(), c.want) {
				t.Errorf("code %d, %v", r.code, r.err)
			}
		})
	}
}

func TestBoundSockets(t *testing.T) {
	got := boundSockets("Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"ffff: 00000002 00000000 00010000 0001 01 20813 /run/a socket\nffff: 00000003 00000000 00000000 0001 03 23 @abstract\nffff: 00000003 00000000 00000000 0001 03 23\nffff: 2 0 0 1 1 9 /run/b\n")
	if want := []string{"/run/a socket", "/run/b"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// poorly runs a command by a launcher that gets no namespaces, in a process of its own.
func poorly(t *testing.T, o Options) (out, say string, ended int) {
	t.Helper()
	dir := short(t)
	_, err := identity.CreateCA(filepath.Join(dir, "ca"), "acme", time.Now)
	var ln net.Listener
	if err == nil {
		ln, err = net.Listen("unix", filepath.Join(dir, "beat"))
	}
	var arg []byte
	if err == nil {
		arg, err = json.Marshal(launching{Options: o, Heartbeat: filepath.Join(dir, "beat"), Runtime: dir, CA: filepath.Join(dir, "ca")})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	var said strings.Builder
	cmd := exec.Command(self(t), "__poor", string(arg))
	cmd.Env = append(o.Environ, fmt.Sprintf("POOR_UID=%d", os.Geteuid()))
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, AmbientCaps: []uintptr{unix.CAP_SYS_RESOURCE, unix.CAP_SYS_ADMIN}}
	raw, err := cmd.Output()
	return string(raw), said.String(), code(t, err)
}

// TestWithoutNamespaces: what must be isolated does not run; what should be as well as possible has Landlock alone, and
// that is said, to the person and to the server.
func TestWithoutNamespaces(t *testing.T) {
	needSandbox(t)
	if err := isolate.CanWeak(); err != nil {
		t.Skip(err)
	}
	dir, environ := home(t)
	s := setStage(t, dir)
	arg, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Command: []string{self(t), "__attack", string(arg), "inside"}, Environ: environ, Dir: s.Tree, Isolate: IsolateYes}
	if out, say, ended := poorly(t, o); ended != ExitLauncher || out != "" || !strings.Contains(say, "max_user_namespaces") {
		t.Errorf("code %d: %s\n%s", ended, say, out)
	}
	o.Isolate = IsolateBest
	out, say, ended := poorly(t, o)
	if ended != 0 || !strings.Contains(say, "by Landlock alone") {
		t.Fatalf("code %d: %s\n%s", ended, say, out)
	}
	got := results(t, out)
	for _, name := range []string{
		"TCP to the host's loopback", "IPv6 to the host's loopback", "UDP to the host's loopback", "a route to a name server", "Multipath TCP", "environment of a host process", "files through a host process", "ptrace of a host process",
		"inherited descriptor", "nested user namespace", "keys of the session", "io_uring", "the person's keys", "a file outside the tree", "a symbolic link out of the tree",
		"a hard link out of the tree", "writing outside the tree", "writing above the tree", "renaming the tree away",
	} {
		if said, tried := got[name]; !tried || said == "" {
			t.Errorf("%s: it got out", name)
		}
	}
	if out, say, ended := poorly(t, Options{Command: []string{"sh", "-c", "echo $REMIT_CONFINEMENT; touch $HOME/x $TMPDIR/y"}, Environ: environ, Dir: s.Tree, Isolate: IsolateBest}); ended != 0 || out != "home\n" {
		t.Errorf("code %d: %s\n%s", ended, say, out)
	}
}
