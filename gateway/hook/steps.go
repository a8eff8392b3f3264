package hook

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	sh "github.com/remit-dev/remit/shell"
)

const (
	maxPrograms = 8        // of one command: each is a step of its own
	maxProgram  = 64       // bytes of a program's name
	maxCommand  = 24 << 10 // bytes; what waits for people is shown whole
	maxWhy      = 8        // codes
	maxPatches  = 64       // paths of one call
	maxHosts    = 16       // addresses of one call
	canary      = "remit-canary"
)

// finding is what a call would do.
type finding struct {
	steps []remit.Step // none: no objection, and nothing to write down
	why   []string
	args  map[string]any // as policies see them, under the same names whatever the host; all that tells one call from another
}

// The steps, by what they are on: tool:local/NAME.
func (f *finding) add(action remit.Action, name string) {
	f.steps = append(f.steps, remit.Step{Action: action, Resource: remit.Resource("tool:" + remit.LocalTools + "/" + name)})
}

// because notes why a call is judged more strictly.
func (f *finding) because(why ...string) {
	for _, w := range why {
		if remit.Label(w) && !slices.Contains(f.why, w) && len(f.why) < maxWhy {
			f.why = append(f.why, w)
		}
	}
}

// ordinary is one step, that is privileged where there is a reason.
func (f *finding) ordinary(action remit.Action, name string) {
	if len(f.why) > 0 {
		action = "tool.call"
	}
	f.add(action, name)
}

// judge says what a call would do.
func (c *call) judge() (finding, error) {
	f := finding{args: map[string]any{"host": c.host, "tool": c.tool}}
	for name, v := range map[string]string{"tree": c.said.tree, "home": c.said.home, "agent": c.agent, "server": c.server} {
		if v != "" {
			f.args[name] = v
		}
	}
	f.because(c.why...)
	if c.kind != nothing && c.kind != shell { // beside the command stand its description and time limit, which models word anew
		input, err := canonical(c.input)
		if err != nil {
			return finding{}, err
		}
		f.args["input"] = remit.Hash(input)
		if c.kind == other {
			f.args["input"] = input
		}
	}
	switch c.kind {
	case nothing:
		return finding{}, nil
	case shell:
		return f, f.shell(c)
	case write, read, search:
		return f, f.files(c)
	case web:
		return f, f.web(c)
	case agent:
		f.ordinary("tool.write", "agent")
		return f, nil
	}
	f.because("unknown-tool")
	f.add("tool.call", "other")
	return f, nil
}

// exported are the variables by which the launcher tells a command where it may push and what its task is. Their values
// are refs and ids: one word each, no option, no path. Which one it is changes nothing of what the command is, so another
// of the same shape stands in for it.
func exported(name string) (value string, ok bool) {
	switch name {
	case "REMIT_BRANCH":
		return "refs/heads/remit/T", true
	case "REMIT_TASK":
		return "T", true
	}
	return "", false
}

func (f *finding) shell(c *call) error {
	if len(c.command) > maxCommand {
		return remit.Errorf(remit.TooLargeToJudge, "the command has %d bytes, and at most %d are judged; write a file with the tool for that, and run it", len(c.command), maxCommand)
	}
	at, dialect := c.place(), c.dialect
	if dialect == "" {
		dialect = c.said.dialect
	}
	f.args["command"], f.args["cwd"], f.args["shell"] = c.command, at.dir, dialect
	if len(c.why) > 0 {
		f.args["how"] = c.why
	}
	if oddPath(at.dir) || oddPath(at.tree) {
		f.because("odd-path")
	}
	found := sh.Classify(c.command, sh.Options{Dialect: dialect, Dir: at.dir, Home: at.home, Tree: at.tree, Env: exported})
	strict := len(f.why) > 0
	f.because(found.Why...)
	run := make([]string, 0, len(found.Programs))
	for _, p := range found.Programs {
		name, ok := segment(p)
		if !ok {
			strict = true
		}
		run = append(run, name)
	}
	// A push to a remote by its name is judged by the gateway that it goes through, by every commit in it; a second hold
	// here would say less. What else it is, is running git, with the hooks of the repository.
	if slices.Equal(found.Why, []string{sh.WhyGitPush}) {
		found.Class = sh.Run
		if !slices.Contains(run, "git") {
			run = append(run, "git")
		}
	}
	switch {
	case strict:
	case found.Class == sh.Read:
		f.add("tool.read", "shell")
		return nil
	case found.Class == sh.Write:
		f.add("tool.write", "shell")
		return nil
	case found.Class == sh.Run && len(run) > 0 && len(run) <= maxPrograms:
		for _, name := range run {
			f.add("tool.run", "run/"+name)
		}
		if len(found.Writes) > 0 {
			f.add("tool.write", "shell")
		}
		return nil
	}
	f.add("tool.call", "shell")
	return nil
}

// place is where a command runs or a path is looked for. Without a word from the launcher the work tree is where the host
// stands.
func (c *call) place() place {
	l := place{dir: c.cwd, tree: c.said.tree, home: c.said.home}
	if c.dir != "" {
		l.dir = l.abs(c.dir)
	}
	if l.tree == "" {
		l.tree = c.cwd
	}
	l.dir, l.tree = path.Clean(l.dir), path.Clean(l.tree)
	return l
}

func (f *finding) files(c *call) error {
	if len(c.paths) > maxPatches {
		return remit.Errorf(remit.TooLargeToJudge, "the call names %d files, and at most %d are judged; change fewer at a time", len(c.paths), maxPatches)
	}
	at := c.place()
	var all []string
	for _, p := range c.paths {
		all = append(all, at.abs(p))
		switch c.kind {
		case write:
			f.because(at.write(p)...)
		case read:
			f.because(at.read(p)...)
		case search:
			f.because(at.search(p)...)
		}
	}
	if len(all) == 0 {
		f.because("no-path")
	}
	f.args["cwd"], f.args["paths"] = at.dir, all
	if c.kind == write {
		f.ordinary("tool.write", "file")
		return nil
	}
	f.ordinary("tool.read", "file")
	return nil
}

func (f *finding) web(c *call) error {
	if len(c.urls) > maxHosts {
		return remit.Errorf(remit.TooLargeToJudge, "the call names %d addresses, and at most %d are judged; fetch fewer at a time", len(c.urls), maxHosts)
	}
	var hosts []string
	for _, u := range c.urls {
		host, why := judgeURL(u)
		f.because(why)
		if host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if c.query != "" {
		f.args["query"] = c.query
	} else {
		f.args["urls"], f.args["hosts"] = c.urls, hosts
	}
	f.ordinary("tool.read", "web")
	return nil
}

// segment writes a program's name as one segment of a resource's name; not ok: it is none, or too long.
func segment(s string) (string, bool) {
	if s == "" || s == "." || s == ".." || len(s) > maxProgram {
		return "", false
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String(), true
}

// canonical is JSON with sorted members and no spaces; numbers stay as they came.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage("null"), nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the tool's arguments cannot be read: %w", err)
	}
	return encode(v)
}

// encode is the JSON of a value with sorted members, < and > and & as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, remit.Errorf(remit.Internal, "the call cannot be encoded: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
