package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch"
)

// work is one task with a command that runs in it: a shell under remit run, told what to do line by line.
type work struct {
	id   remit.ID
	in   *os.File
	out  chan string // lines that it says
	proc *process
}

// told ends the output of one line that the shell was told.
const told = "@@told:"

// cmdTask requests a task as whoever types, and starts a shell in it: task NAME [--confine none|home] [--env NAME=VALUE]
// [--isolate [--allow-host HOST:PORT]] flags of remit task create…. NAME becomes a variable with the task's id. With --id T-12 the task is one that exists.
func cmdTask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: task NAME flags of remit task create …")
	}
	w := worldOf(ts)
	name, create, run := args[0], []string{"task", "create", "-o", "json"}, []string{}
	id := ""
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "--id":
			id = args[i+1]
			i++
		case "--confine", "--env", "--allow-host":
			run = append(run, args[i], args[i+1])
			i++
		case "--isolate", "--isolate=best":
			run = append(run, args[i])
		default:
			create = append(create, args[i])
		}
	}
	if id == "" {
		ts.Check(ts.Exec("remit", create...))
		var view remit.TaskView
		asJSON(ts, &view)
		id = string(view.ID)
	}
	ts.Setenv(name, id)
	t := &work{id: remit.ID(id), out: make(chan string, 4096)}
	dir := filepath.Join(w.dir, name)
	ts.Check(os.MkdirAll(dir, 0o755))
	cmd := command(ts, w, dir, "remit", append(append([]string{"run", "--task", id}, run...), "--", "sh")...)
	inR, inW, err := os.Pipe()
	ts.Check(err)
	outR, outW, err := os.Pipe()
	ts.Check(err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, outW
	t.proc, err = startProcess(cmd)
	inR.Close()
	outW.Close()
	ts.Check(err)
	t.in = inW
	go func() {
		defer close(t.out)
		defer outR.Close()
		for s := bufio.NewReader(outR); ; {
			line, err := s.ReadString('\n')
			if line != "" {
				t.out <- line
			}
			if err != nil {
				return
			}
		}
	}()
	if old := w.tasks[name]; old != nil {
		old.proc.kill()
	}
	w.tasks[name] = t
	said, code := t.do(ts, ":")
	fmt.Fprint(ts.Stdout(), said)
	if code != 0 {
		ts.Fatalf("remit run did not start its command:\n%s", said)
	}
}

// condition knows [confine]: the kernel lets remit run hide paths from its command, [isolate]: and lets it make a sandbox,
// and [inject]: strace can make system calls fail.
func condition(name string) (bool, error) {
	switch name {
	case "confine":
		return mayConfine(), nil
	case "isolate":
		return launch.Launcher{}.ProbeIsolation() == nil, nil
	case "inject":
		return canInject() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func taskOf(ts *testscript.TestScript, args []string) *work {
	if len(args) < 1 || worldOf(ts).tasks[args[0]] == nil {
		ts.Fatalf("the first argument is a task that `task` has started")
	}
	return worldOf(ts).tasks[args[0]]
}

// cmdIn has the agent's shell do one line, and waits for it: in fix 'git push origin HEAD:main'. What it says is stdout.
func cmdIn(ts *testscript.TestScript, neg bool, args []string) {
	t := taskOf(ts, args)
	said, code := t.do(ts, strings.Join(args[1:], " "))
	report(ts, neg, said, code)
}

// cmdBegin has it do a line, and does not wait. finish waits.
func cmdBegin(ts *testscript.TestScript, neg bool, args []string) {
	t := taskOf(ts, args)
	if neg {
		ts.Fatalf("! begin means nothing; say ! finish")
	}
	t.tell(strings.Join(args[1:], " "))
}

func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	t := taskOf(ts, args)
	said, code := t.hear(ts)
	report(ts, neg, said, code)
}

func report(ts *testscript.TestScript, neg bool, said string, code int) {
	fmt.Fprint(ts.Stdout(), said)
	if (code != 0) != neg {
		ts.Fatalf("it ended with %d:\n%s", code, said)
	}
}

// cmdKill9 kills what runs a task: remit run itself, as somebody who wants its command to live on without it.
func cmdKill9(ts *testscript.TestScript, neg bool, args []string) {
	taskOf(ts, args).proc.kill()
}

func (t *work) do(ts *testscript.TestScript, line string) (string, int) {
	t.tell(line)
	return t.hear(ts)
}

func (t *work) tell(line string) {
	// A write to a shell that has ended fails; hear tells.
	_, _ = fmt.Fprintf(t.in, "{ %s\n} 2>&1 </dev/null; code=$?; echo; echo %s$code\n", line, told)
}

// hear gives what the shell said, and the exit code of the line; 125 when the shell has ended.
func (t *work) hear(ts *testscript.TestScript) (string, int) {
	var b strings.Builder
	late := time.After(patience)
	for {
		select {
		case line, ok := <-t.out:
			if !ok {
				return b.String() + "(the command has ended)\n", 125
			}
			if rest, end := strings.CutPrefix(line, told); end {
				code := 0
				if _, err := fmt.Sscan(rest, &code); err != nil {
					ts.Fatalf("%q: %v", line, err)
				}
				return strings.TrimRight(b.String(), "\n") + "\n", code
			}
			b.WriteString(line)
		case <-late:
			ts.Fatalf("the agent's command says nothing more:\n%s", b.String())
		}
	}
}

// cmdListen takes a port, so that nobody else can, and puts its address into a variable: listen PORT.
func cmdListen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// cmdUntil follows the log until a pattern is found in it, which may go over several entries: until '(?s)a.*b'.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: until PATTERN")
	}
	want := regexp.MustCompile(args[0])
	cmd := command(ts, worldOf(ts), "", "remit", "log", "tail", "--from", "0", "--follow")
	out, in, err := os.Pipe()
	ts.Check(err)
	cmd.Stdout = in
	p, err := startProcess(cmd)
	in.Close()
	ts.Check(err)
	found := make(chan struct{})
	go func() {
		defer out.Close()
		var log strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if want.MatchString(log.String()) {
				close(found)
				return
			}
		}
	}()
	defer p.kill()
	waitFor(ts, found, "an entry like "+args[0])
}

// cmdRequest is request METHOD URL [PASSWORD [BODY]]: one HTTP request with what an instance's git helper gives as its
// password. The status and the body of the answer are stdout; ! request is for what is not answered with 200.
func cmdRequest(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: request METHOD URL [PASSWORD [BODY]]")
	}
	var body string
	if len(args) > 3 {
		body = args[3]
	}
	r, err := http.NewRequest(args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	if len(args) > 2 {
		r.SetBasicAuth("remit", args[2])
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	sendRequest(ts, neg, r)
}

// sendRequest reports the answer to a request, and expects that it is 200.
func sendRequest(ts *testscript.TestScript, neg bool, r *http.Request) {
	if status := exchange(ts, r); (status != http.StatusOK) != neg {
		ts.Fatalf("%s %s: status %d", r.Method, r.URL, status)
	}
}

// exchange makes a request and says on stdout what came.
func exchange(ts *testscript.TestScript, r *http.Request) int {
	client := clientOf(ts)
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "status %d\n%s\n", answer.StatusCode, text)
	return answer.StatusCode
}

// clientOf trusts the server of a script, and nobody else.
func clientOf(ts *testscript.TestScript) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ts.ReadFile(ts.Getenv("REMIT_CA"))))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
}

// declared is what is declared unless a script brings a file of the same name in declarations/.
var declared = map[string]string{
	"people.yaml": `people:
  - {name: ana, keys: ["${ANA_KEY}"]}
  - {name: ben, keys: ["${BEN_KEY}"]}
  - {name: cem, keys: ["${CEM_KEY}"]}
groups:
  - {name: administrators, members: [ana]}
  - {name: reviewers, members: [ana, ben]}
  - {name: operators, members: [ben, cem]}
`,
	"agents.yaml": `agents:
  - name: coder
    function: code
    owner: ana
    purpose: Changes code on branches of its own
    requesters: [reviewers]
    expires: 2099-01-31
    review: 2098-01-31
    entitlements:
      - {actions: [source.read, source.push], resources: ["repo:forge/*"]}
`,
	"places.yaml": `upstreams:
  - ${UPSTREAM}
repositories:
  - name: forge/payments
    default_branch: main
    approvers: [{group: reviewers, n: 1}]
    protected: [deploy/**]
    effects: none
  - name: forge/other
    default_branch: main
    effects: none
`,
}
