package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// patience bounds each step that waits for another process. Nothing here takes a second unless something is wrong.
const patience = time.Minute

// TestLive runs the whole binary: a server that is a process of its own, agents that are started by remit run, people
// with real keys, and real git. Each script in testdata/live is one flow or one attack; testdata/live/README.md says
// what the commands in them do.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers and agents; leave out -short")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the scripts of agents are shell scripts")
	}
	for _, p := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing; install it (Debian: apt-get install git openssh-client)", p)
			}
			t.Skipf("%s is missing; install it (Debian: apt-get install git openssh-client)", p)
		}
	}
	// A file of its own, not a symbolic link: remit run starts itself again by the name of its executable.
	bin := t.TempDir()
	if err := copySelf(filepath.Join(bin, "remit")); err != nil {
		t.Fatal(err)
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"house": cmdHouse, "server": cmdServer, "forge": cmdForge, "as": cmdAs, "remit": cmdRemit, "exits": cmdExits,
		"task": cmdTask, "in": cmdIn, "begin": cmdBegin, "finish": cmdFinish, "kill9": cmdKill9, "set": cmdSet,
		"vote": cmdVote, "flip": cmdFlip, "cut": cmdCut, "listen": cmdListen, "declared": cmdDeclared, "request": cmdRequest, "until": cmdUntil,
	}
	maps.Copy(commands, releaseCommands)
	maps.Copy(commands, wireCommands)
	maps.Copy(commands, pointCommands)
	maps.Copy(commands, crashCommands)
	maps.Copy(commands, mcpCommands)
	maps.Copy(commands, toolsCommands)
	maps.Copy(commands, acsCommands)
	maps.Copy(commands, notifyCommands)
	maps.Copy(commands, signInCommands)
	maps.Copy(commands, approvalCommands)
	maps.Copy(commands, momentCommands)
	maps.Copy(commands, clockCommands)
	maps.Copy(commands, reviewCommands)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/live",
		RequireUniqueNames: true,
		Setup:              func(e *testscript.Env) error { return setUp(e, bin) },
		Condition:          condition,
		Cmds:               commands,
	})
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if os.Link(self, to) == nil {
		return nil
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// world is everything that one script has started.
type world struct {
	dir, data string
	url       string // of the server, the same after a restart
	server    *process
	under     []string // what the server runs under
	pid       int      // of the newest server, also if it did not start
	forge     *forge
	hub       *hub
	runtime   runtimeParts
	raw       rawParts
	signIn    signInParts
	cast      remit.VoteRequest    // that was handed in last
	answered  remit.CertifyRequest // that was handed in last
	people    map[string]string    // person → key file
	tasks     map[string]*work
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world {
	w, ok := ts.Value(worldKey{}).(*world)
	if !ok {
		ts.Fatalf("this script has no world")
	}
	return w
}

// setUp gives a script a home, a git of its own, and a short directory for sockets: their names have at most 108 bytes.
func setUp(e *testscript.Env, bin string) error {
	run, err := os.MkdirTemp("", "rl")
	if err != nil {
		return err
	}
	w := &world{dir: e.WorkDir, data: filepath.Join(e.WorkDir, "data"), people: map[string]string{}, tasks: map[string]*work{}}
	e.Values[worldKey{}] = w
	e.Defer(func() {
		w.end()
		os.RemoveAll(run)
		judged(e, w.data)
	})
	home := filepath.Join(e.WorkDir, "home")
	upstream := filepath.Join(e.WorkDir, "upstream")
	for _, dir := range []string{home, upstream, filepath.Join(e.WorkDir, "people")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	config := "[init]\n\tdefaultBranch = main\n[user]\n\tname = Dev\n\temail = dev@localhost\n[safe]\n\tdirectory = *\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		return err
	}
	e.Setenv("HOME", home)
	e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
	e.Setenv("XDG_RUNTIME_DIR", run)
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	e.Setenv("GIT_TERMINAL_PROMPT", "0")
	e.Setenv("LC_ALL", "C")
	e.Setenv("UP", upstream)
	e.Setenv("DATA", w.data)
	return nil
}

// end kills what is left, in the order in which it would end by itself.
func (w *world) end() {
	for _, t := range w.tasks {
		t.proc.kill()
	}
	if w.server != nil {
		w.server.kill()
	}
	w.runtime.end()
	w.signIn.end()
	if w.forge != nil {
		w.forge.close()
	}
}

// process is a program that runs beside the script.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

func (p *process) kill() {
	p.signal(os.Kill)
	<-p.done
}

// waitFor returns when done is closed, and fails the script when that takes too long.
func waitFor(ts *testscript.TestScript, done <-chan struct{}, what string) {
	select {
	case <-done:
	case <-time.After(patience):
		ts.Fatalf("%s did not happen within %s", what, patience)
	}
}

// command is a program in the script's environment.
func command(ts *testscript.TestScript, w *world, dir, name string, args ...string) *exec.Cmd {
	path := name
	for _, d := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(d, name); !filepath.IsAbs(name) && isExecutable(p) {
			path = p
			break
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = dir, environ(ts)
	if dir == "" {
		cmd.Dir = w.dir
	}
	return cmd
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// scripted are the variables of a script that other processes see.
var scripted = []string{"HOME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT", "LC_ALL",
	"REMIT_SERVER", "REMIT_ORG", "REMIT_CA", "REMIT_KEY", "UP", "FORGE", "WORK", "FORGE_SECRET", "MY_TOKEN", "REGISTRY", "REMIT_ID_TOKEN", clockFile}

func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range scripted {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// cmdHouse makes everything that a script plays in: house team|demo. The profile demo is what quickstart makes; there
// votes from the same machine count.
func cmdHouse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: house team|demo")
	}
	w := worldOf(ts)
	for _, name := range []string{"ana", "ben", "cem", "dan"} {
		key := filepath.Join(w.dir, "people", name)
		ts.Check(command(ts, w, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key).Run())
		pub, err := os.ReadFile(key + ".pub")
		ts.Check(err)
		w.people[name] = key
		ts.Setenv(strings.ToUpper(name)+"_KEY", strings.TrimSpace(string(pub)))
	}
	ana := w.people["ana"] + ".pub"
	switch args[0] {
	case "team":
		ts.Check(ts.Exec("remit", "init", "--data", w.data, "--org", "acme", "--admin", "ana", "--key", ana))
	case "demo":
		ts.Check(found(context.Background(), Founding{Data: w.data, Org: "acme", Profile: remit.Demo, Admin: "ana", Keys: []string{ts.Getenv("ANA_KEY")}}))
	default:
		ts.Fatalf("house team, or house demo")
	}
	if w.forge == nil {
		ts.Setenv("FORGE", ts.Getenv("UP"))
	}
	w.makeUpstream(ts)
	w.declareAll(ts)
	ts.Check(w.startServer(ts))
	ts.Setenv("REMIT_SERVER", w.url)
	ts.Setenv("REMIT_ORG", "acme")
	ts.Setenv("REMIT_CA", filepath.Join(w.data, "ca.crt"))
	ts.Setenv("REMIT_KEY", w.people["ana"])
	ts.Check(ts.Exec("remit", "apply", "-f", "declarations"))
}

// makeUpstream makes payments.git of the files in seed/ of the script, or of a small sample, and other.git.
func (w *world) makeUpstream(ts *testscript.TestScript) {
	seed := filepath.Join(w.dir, "seed")
	if _, err := os.Stat(seed); err != nil {
		for name, text := range sampleFiles {
			ts.Check(writeUnder(seed, name, text))
		}
	}
	for _, name := range []string{"payments", "other"} {
		bare := filepath.Join(ts.Getenv("UP"), name+".git")
		for _, args := range [][]string{
			{"init", "--quiet", "--bare", bare},
			{"-C", seed, "init", "--quiet"}, {"-C", seed, "add", "."}, {"-C", seed, "commit", "--quiet", "--allow-empty", "-m", "Begin " + name},
			{"-C", seed, "push", "--quiet", bare, "HEAD:refs/heads/main"},
			{"-C", bare, "config", "http.receivepack", "true"},
			{"-C", bare, "config", "core.logAllRefUpdates", "always"},
		} {
			if out, err := command(ts, w, "", "git", args...).CombinedOutput(); err != nil {
				ts.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	}
}

func writeUnder(dir, name, text string) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// sampleFiles are what is on main unless a script brings its own seed/.
var sampleFiles = map[string]string{
	"README.md":                "# payments\n",
	"app/fee.go":               "package app\n\n// Fee is in cents.\nfunc Fee(cents int) int { return cents * 29 / 1000 }\n",
	"docs/guide.md":            "Fees are rounded down.\n",
	"deploy/production.sh":     "echo deploy\n",
	".github/workflows/ci.yml": "on: push\njobs:\n  test:\n    steps:\n      - run: go test ./...\n",
}

// declareAll fills in every directory declarations*/ of the script, and writes what declarations/ lacks.
func (w *world) declareAll(ts *testscript.TestScript) {
	for name, text := range declared {
		if _, err := os.Stat(filepath.Join(w.dir, "declarations", name)); err != nil {
			ts.Check(writeUnder(filepath.Join(w.dir, "declarations"), name, text))
		}
	}
	dirs, err := filepath.Glob(filepath.Join(w.dir, "declarations*"))
	ts.Check(err)
	for _, dir := range dirs {
		w.fillIn(ts, dir)
	}
}

// fillIn puts keys and places into declarations: ${ANA_KEY}, ${FORGE} …
func (w *world) fillIn(ts *testscript.TestScript, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	ts.Check(err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		ts.Check(err)
		filled := os.Expand(string(text), func(name string) string {
			if name == "UPSTREAM" {
				return w.upstreamYAML(ts)
			}
			return ts.Getenv(name)
		})
		ts.Check(os.WriteFile(f, []byte(filled), 0o644))
	}
}

func (w *world) upstreamYAML(ts *testscript.TestScript) string {
	if w.forge == nil {
		return "{name: forge, kind: local, location: " + ts.Getenv("UP") + "}"
	}
	return w.forge.yaml()
}

// cmdDeclared makes a copy of declarations/ with single files replaced: declared DIR FROM=TO…; FROM is a file of the
// script.
func cmdDeclared(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: declared DIR [file=NAME …]")
	}
	w := worldOf(ts)
	to := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(to, os.DirFS(filepath.Join(w.dir, "declarations"))))
	for _, a := range args[1:] {
		from, name, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("%s: want FILE=NAME", a)
		}
		ts.Check(writeUnder(to, name, ts.ReadFile(from)))
	}
	w.fillIn(ts, to)
}

// startServer starts remit server, and returns when it says that it serves.
func (w *world) startServer(ts *testscript.TestScript) error {
	listen := strings.TrimPrefix(w.url, "https://")
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	log, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	start := append(slices.Clone(w.under), append([]string{"remit", "server", "--data", w.data, "--listen", listen}, w.runtime.flags...)...)
	cmd := command(ts, w, "", start[0], start[1:]...)
	cmd.Stdout, cmd.Stderr = in, log
	begun, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	p, err := startProcess(cmd)
	in.Close()
	log.Close()
	if err != nil {
		return err
	}
	w.pid = p.cmd.Process.Pid
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		waitFor(ts, p.done, "the end of a server that does not start")
		said := ts.ReadFile(log.Name())[begun:]
		fmt.Fprint(ts.Stderr(), said)
		return fmt.Errorf("the server does not start: %s", said)
	}
	m := regexp.MustCompile(` at (https://\S+);`).FindStringSubmatch(line)
	if m == nil {
		p.kill()
		return fmt.Errorf("the server says %q", line)
	}
	w.server, w.url = p, m[1]
	return nil
}

// cmdServer is server start | stop | kill9 | restart. start may fail: ! server start, and stderr has its words.
func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 1 || neg && args[0] != "start" {
		ts.Fatalf("usage: server start|stop|kill9|restart")
	}
	stop := func() {
		w.server.signal(syscall.SIGTERM)
		waitFor(ts, w.server.done, "the end of the server")
	}
	switch args[0] {
	case "start":
		if err := w.startServer(ts); (err != nil) != neg {
			ts.Fatalf("starting the server: %v", err)
		}
	case "stop":
		stop()
	case "kill9":
		w.server.kill()
	case "restart":
		stop()
		ts.Check(w.startServer(ts))
	default:
		ts.Fatalf("usage: server start|stop|kill9|restart")
	}
}

// cmdAs says who types what follows.
func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) != 1 || w.people[args[0]] == "" {
		ts.Fatalf("usage: as ana|ben|cem|dan")
	}
	ts.Setenv("REMIT_KEY", w.people[args[0]])
}

// cmdRemit is exec remit.
func cmdRemit(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("remit", args...)
	if (err != nil) != neg {
		ts.Fatalf("remit %s: %v", strings.Join(args, " "), err)
	}
}

// cmdExits is exits N COMMAND…: it must end with that code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("%s ended with %d, not %d", strings.Join(args[1:], " "), code, want)
	}
}

// cmdSet puts what a pattern finds in the last output into a variable: set A 'access=(A-[0-9]+)'.
func cmdSet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: set NAME PATTERN")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout") + "\n" + ts.ReadFile("stderr"))
	if len(m) != 2 {
		ts.Fatalf("the last output has nothing of the form %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// cmdVote signs a vote with real ssh-keygen, with what is given changed in it, and hands it in: vote ben A-12
// [effect=…|change=…|card=…|request=…|origin=…|not-after=…|namespace=…|key=cem].
func cmdVote(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: vote PERSON REQUEST [member=value …]")
	}
	w := worldOf(ts)
	err := w.castForged(ts, args[0], remit.ID(args[1]), args[2:])
	if err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
	if (err != nil) != neg {
		ts.Fatalf("vote %s: %v", strings.Join(args, " "), err)
	}
}

func (w *world) castForged(ts *testscript.TestScript, person string, id remit.ID, changes []string) error {
	env := func(name string) (string, bool) {
		if name == "REMIT_KEY" {
			return w.people[person], true
		}
		v := ts.Getenv(name)
		return v, v != ""
	}
	ctx := context.Background()
	a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: env, now: time.Now}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	b, err := prepareVote(ctx, s.Client, id, true)
	if err != nil {
		return err
	}
	text, namespace, key := string(b.statement.Bytes()), remit.VoteNamespace, w.people[person]
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		switch name {
		case "namespace":
			namespace = value
		case "key":
			key = w.people[value]
		default:
			text = regexp.MustCompile(`(?m)^`+name+`: .*$`).ReplaceAllString(text, name+": "+value)
		}
	}
	sign := command(ts, w, "", "ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key)
	sign.Stdin = strings.NewReader(text)
	sig, err := sign.Output()
	if err != nil {
		return fmt.Errorf("ssh-keygen -Y sign: %w", err)
	}
	if _, err := sshsig.Signer(sig); err != nil {
		return err
	}
	w.cast = remit.VoteRequest{Statement: []byte(text), Signature: sig}
	_, err = s.Vote(ctx, id, w.cast)
	return err
}

// cmdFlip changes one bit in the middle of a file, or at an offset: flip FILE [OFFSET].
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: flip FILE [OFFSET]")
	}
	body := []byte(ts.ReadFile(args[0]))
	at := len(body) / 2
	if len(args) > 1 {
		var err error
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	body[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), body, 0o600))
}

// cmdCut takes bytes off the end of a file: cut FILE N.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	body := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(body[:len(body)-n]), 0o600))
}

// asJSON reads the last answer of remit -o json.
func asJSON(ts *testscript.TestScript, v any) {
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), v); err != nil {
		ts.Fatalf("the answer is not JSON: %v", err)
	}
}
