package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch"
)

// shell is a command of an agent that is told what to do line by line: one instance, many steps.
type shell struct {
	in   *os.File
	out  *bufio.Reader
	done chan error
	code int
}

// mark ends the output of one line that the shell was told.
const mark = "@@remit-quickstart:"

// startShell launches `sh` inside the task's remit, as `remit run` launches any command.
func startShell(ctx context.Context, c *client.Client, task remit.ID, dir string) (*shell, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &shell{in: inW, out: bufio.NewReader(outR), done: make(chan error, 1)}
	l := launch.Launcher{Session: c.Session(), Say: outW, Runtime: filepath.Dir(dir)}
	go func() {
		defer inR.Close()
		defer outW.Close()
		code, err := l.Run(ctx, launch.Options{Task: task, Command: []string{"sh"}, Dir: dir, Confinement: remit.ConfineNone,
			Stdin: inR, Stdout: outW, Stderr: outW})
		s.code = code
		s.done <- err
	}()
	return s, nil
}

// do runs one line and gives what it said and its exit code.
func (s *shell) do(line string) (said string, code int, err error) {
	if _, err := fmt.Fprintf(s.in, "{ %s\n} 2>&1; code=$?; echo; echo %s$code\n", line, mark); err != nil {
		return "", 0, s.ended(err)
	}
	var b strings.Builder
	for {
		text, err := s.out.ReadString('\n')
		if err != nil {
			return b.String(), 0, s.ended(err)
		}
		if rest, ok := strings.CutPrefix(text, mark); ok {
			if _, err := fmt.Sscan(rest, &code); err != nil {
				return "", 0, err
			}
			return strings.TrimSpace(b.String()), code, nil
		}
		b.WriteString(text)
	}
}

func (s *shell) ended(err error) error {
	select {
	case e := <-s.done:
		s.done <- e
		if e != nil {
			return e
		}
	case <-time.After(5 * time.Second):
	}
	return fmt.Errorf("the agent's shell ended: %w", err)
}

// remoteLines are what git's server side and its push summary said: what an agent reads.
func remoteLines(said string) string {
	var out []string
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "remote:") || strings.HasPrefix(l, "!") || strings.HasPrefix(l, "*") || strings.HasPrefix(l, "fatal:") ||
			strings.Contains(l, " -> ") || strings.HasPrefix(l, "Everything") {
			if l != "remote:" {
				out = append(out, l)
			}
		}
	}
	return strings.Join(out, "\n")
}

// story is the agent's work; an error says which step went otherwise than it must.
func (q *quickstart) story(ctx context.Context) error {
	ana, err := q.as(ctx, "ana")
	if err != nil {
		return err
	}
	q.say.scene("ana requests a task, and the coder works on a branch of its own")
	task, err := ana.CreateTask(ctx, remit.TaskRequest{Agent: "coder", Intent: "Describe how payments are rounded, and have CI check it",
		Scope: []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{remit.Pattern("repo:" + q.name)}}}})
	if err != nil {
		return err
	}
	q.say.note("task %s for agent coder: read %s, push to %s/**", task.ID, q.name, strings.TrimPrefix(task.Branch, "refs/heads/"))
	agentDir := filepath.Join(q.dir, "agent")
	if err := os.MkdirAll(agentDir, 0o700); err != nil {
		return err
	}
	sh, err := startShell(ctx, ana, task.ID, agentDir)
	if err != nil {
		return err
	}
	defer sh.in.Close()
	st := &telling{q: q, c: ana, task: task.ID, sh: sh}
	for _, act := range []func(context.Context, *telling) error{q.pushes, q.denied, q.held, q.elsewhere, q.ends, q.proves} {
		if err := act(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// telling is where the story is.
type telling struct {
	q      *quickstart
	c      *client.Client // ana
	task   remit.ID
	sh     *shell
	seen   remit.EntryIndex // the last entry told of
	lesson remit.EntryIndex // the denial that is explained at the end
}

// must runs a line of the agent that has to succeed, or has to fail.
func (t *telling) must(line string, succeed bool) (string, error) {
	said, code, err := t.sh.do(line)
	if err != nil {
		return said, err
	}
	if (code == 0) != succeed {
		want := "succeed"
		if !succeed {
			want = "be refused"
		}
		return said, fmt.Errorf("step %d went otherwise: `%s` was to %s and ended with %d:\n%s", t.q.say.step, line, want, code, said)
	}
	return said, nil
}

// tell finds the newest decision on an action and tells it; it must be the verdict that the story needs.
func (t *telling) tell(ctx context.Context, action string, want remit.Verdict, words string) (line, error) {
	trace, err := t.c.Trace(ctx, t.task)
	if err != nil {
		return line{}, err
	}
	for i := len(trace.Steps) - 1; i >= 0; i-- {
		s := trace.Steps[i]
		if s.Kind != "decision" || s.Action != action || s.Entry <= t.seen {
			continue
		}
		d, err := t.c.Decision(ctx, s.Entry)
		if err != nil {
			return line{}, err
		}
		if d.Verdict != want {
			return line{}, fmt.Errorf("step %d went otherwise: entry %d says %s, not %s: %s", t.q.say.step, s.Entry, d.Verdict, want, d.Sentence)
		}
		t.seen = s.Entry
		l := line{Actor: "agent/" + trace.Task.Agent, Action: s.Action, Resource: s.Resource, Decision: d.Verdict.String(), Rules: d.Rules, Entry: s.Entry}
		if d.Executor != "" {
			l.Actor = "remit:" + d.Executor
		}
		t.q.say.did(l, words)
		return l, nil
	}
	return line{}, fmt.Errorf("step %d went otherwise: the log has no decision on %s", t.q.say.step, action)
}

// pushes: inside the task, nothing is in the way.
func (q *quickstart) pushes(ctx context.Context, t *telling) error {
	if _, err := t.must("git clone --quiet "+quote(q.upstream)+" work && cd work && git config user.name coder && git config user.email coder@localhost", true); err != nil {
		return err
	}
	if _, err := t.tell(ctx, "source.read", remit.Allow, "git clone "+q.upstream); err != nil {
		return err
	}
	if _, err := t.must("printf 'Fees are rounded down to whole cents.\\n' > remit-quickstart.md && git add remit-quickstart.md && git commit --quiet -m 'Describe rounding'", true); err != nil {
		return err
	}
	said, err := t.must("git push origin HEAD:refs/heads/remit/$REMIT_TASK/rounding", true)
	if err != nil {
		return err
	}
	_, err = t.tell(ctx, "source.push", remit.Allow, remoteLines(said))
	return err
}

// denied: a push elsewhere teaches where to push.
func (q *quickstart) denied(ctx context.Context, t *telling) error {
	q.say.scene("it tries the default branch")
	said, err := t.must("git push origin HEAD:refs/heads/"+quote(q.branch), false)
	if err != nil {
		return err
	}
	l, err := t.tell(ctx, "source.push", remit.Deny, remoteLines(said))
	t.lesson = l.Entry
	return err
}

// held: what runs by itself waits for a person, and Remit completes it.
func (q *quickstart) held(ctx context.Context, t *telling) error {
	q.say.scene("it changes a workflow file, which would run by itself")
	if _, err := t.must("mkdir -p .github/workflows && printf 'name: rounding\\non: workflow_dispatch\\njobs:\\n  check:\\n    runs-on: ubuntu-latest\\n    steps:\\n      - run: echo rounded\\n' > .github/workflows/remit-quickstart.yml && git add . && git commit --quiet -m 'Check rounding in CI'", true); err != nil {
		return err
	}
	said, err := t.must("git push origin HEAD:refs/heads/remit/$REMIT_TASK/rounding", false)
	if err != nil {
		return err
	}
	if _, err := t.tell(ctx, "source.push", remit.Hold, remoteLines(said)); err != nil {
		return err
	}
	open, err := t.c.Accesses(ctx, false)
	if err != nil {
		return err
	}
	if len(open) != 1 {
		return fmt.Errorf("step %d went otherwise: there are %d open access requests, not 1", q.say.step, len(open))
	}
	id := open[0].ID
	q.say.note("card    %s", open[0].Link)
	if _, err := castVote(ctx, t.c, id, q.people["ana"], true); err == nil {
		return fmt.Errorf("step %d went otherwise: ana, who requested the task, could approve it", q.say.step)
	} else {
		q.say.did(line{Actor: "person/ana", Action: "approve", Resource: string(id), Decision: "deny", Rules: []string{"R3"}, Entry: open[0].Entry}, err.Error())
	}
	ben, err := q.as(ctx, "ben")
	if err != nil {
		return err
	}
	if _, err := castVote(ctx, ben, id, q.people["ben"], true); err != nil {
		return fmt.Errorf("step %d went otherwise: ben could not approve %s: %w", q.say.step, id, err)
	}
	card, err := q.await(ctx, ben, id)
	if err != nil {
		return err
	}
	q.say.did(line{Actor: "person/ben", Action: "approve", Resource: string(id), Decision: "allow", Entry: card.Entry}, "")
	if _, err := t.tell(ctx, "source.push", remit.Allow, "Remit pushed the pack that was held; the agent sent nothing again"); err != nil {
		return err
	}
	if said, err = t.must("git push origin HEAD:refs/heads/remit/$REMIT_TASK/rounding", true); err != nil {
		return err
	}
	q.say.note("the agent's own retry: %s", remoteLines(said))
	return nil
}

// await waits until an approved order was carried out.
func (q *quickstart) await(ctx context.Context, c *client.Client, id remit.ID) (remit.AccessView, error) {
	for {
		card, err := c.WaitAccess(ctx, id, "", nil)
		if err != nil {
			return card, err
		}
		switch card.Status {
		case remit.AccessUsed:
			if card.Outcome != remit.Done {
				return card, fmt.Errorf("step %d went otherwise: the outcome of %s is %s", q.say.step, id, card.Outcome)
			}
			return card, nil
		case remit.AccessVoid:
			return card, fmt.Errorf("step %d went otherwise: %s is void: %s", q.say.step, id, card.Why)
		}
	}
}

// elsewhere: another repository is outside the task, though the agent's entitlement would cover it.
func (q *quickstart) elsewhere(ctx context.Context, t *telling) error {
	q.say.scene("it tries another repository, which its task does not name")
	said, err := t.must("git push "+quote(filepath.Join(filepath.Dir(q.upstream), otherRepository+".git"))+" HEAD:refs/heads/remit/$REMIT_TASK/rounding", false)
	if err != nil {
		return err
	}
	_, err = t.tell(ctx, "source.read", remit.Deny, remoteLines(said))
	return err
}

// ends: with the task everything ends that rested on it, copies of the credential too.
func (q *quickstart) ends(ctx context.Context, t *telling) error {
	q.say.scene("the task completes, and a copy of its credential is dead")
	gatewayURL, err := t.must("git config --get-urlmatch remote.origin.url x >/dev/null 2>&1; git ls-remote --get-url origin", true)
	if err != nil {
		return err
	}
	said, err := t.must("printf 'url=%s\\n\\n' "+quote(gatewayURL)+" | git credential fill", true)
	if err != nil {
		return err
	}
	password := ""
	for l := range strings.Lines(said) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(l), "password="); ok {
			password = p
		}
	}
	if password == "" {
		return fmt.Errorf("step %d went otherwise: git's helper gave no password", q.say.step)
	}
	header := "http.extraHeader=Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("remit:"+password))
	ca := "http.sslCAInfo=" + layout(filepath.Join(q.dir, "data")).roots()
	clone := filepath.Join(q.dir, "agent", "work")
	if _, err := q.git.run(ctx, clone, "-c", header, "-c", ca, "ls-remote", gatewayURL); err != nil {
		return fmt.Errorf("step %d went otherwise: the copied credential did not work while the task lived: %w", q.say.step, err)
	}
	if err := t.c.EndTask(ctx, t.task, "complete", remit.EndRequest{}); err != nil {
		return err
	}
	task, err := t.c.Task(ctx, t.task)
	if err != nil {
		return err
	}
	if task.Live || len(task.Instances) > 0 {
		return fmt.Errorf("step %d went otherwise: the completed task still lives", q.say.step)
	}
	_, err = q.git.run(ctx, clone, "-c", header, "-c", ca, "push", gatewayURL, "HEAD:refs/heads/remit/"+string(t.task)+"/late")
	if err == nil {
		return fmt.Errorf("step %d went otherwise: a push after the end of the task passed", q.say.step)
	}
	trace, err := t.c.Trace(ctx, t.task)
	if err != nil {
		return err
	}
	end := trace.Steps[len(trace.Steps)-1].Entry
	q.say.did(line{Actor: "a copy of the credential", Action: "source.push", Resource: "repo:" + q.name, Decision: "deny", Rules: []string{"R2"}, Entry: end},
		"the task ended in this entry; whoever holds its token is nobody now")
	return nil
}

// proves: the log goes out, is verified without the server, and a changed byte is found.
func (q *quickstart) proves(ctx context.Context, t *telling) error {
	q.say.scene("the log is exported, and verified without the server")
	bundle, trust := filepath.Join(q.dir, "log.bundle"), filepath.Join(q.dir, "log.trust")
	if err := exportLog(ctx, t.c, bundle, trust); err != nil {
		return err
	}
	report, err := verifyBundleFile(ctx, bundle, trust)
	if err != nil {
		return fmt.Errorf("step %d went otherwise: the exported log does not verify: %w", q.say.step, err)
	}
	q.say.note("%s", report)
	body, err := os.ReadFile(bundle)
	if err != nil {
		return err
	}
	body[len(body)/2] ^= 1
	bad := filepath.Join(q.dir, "log.changed")
	if err := os.WriteFile(bad, body, 0o600); err != nil {
		return err
	}
	if _, err = verifyBundleFile(ctx, bad, trust); err == nil {
		return fmt.Errorf("step %d went otherwise: a changed byte was not found", q.say.step)
	}
	q.say.note("one bit flipped in the middle: %v", err)
	if err := os.Remove(bad); err != nil {
		return err
	}
	why, err := explainFromBundle(ctx, bundle, trust, t.lesson)
	if err != nil {
		return err
	}
	q.say.did(line{Actor: "anyone", Action: "verify", Resource: "log:" + bundle, Decision: "allow", Entry: t.lesson},
		fmt.Sprintf("entry %d, derived again from the bundle: %s: %s", t.lesson, why.Verdict, why.Sentence))
	q.say.printf("\n   remit log verify --file %s --trust %s\n", bundle, trust)
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
