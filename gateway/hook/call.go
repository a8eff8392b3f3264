package hook

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"

	"github.com/remit-dev/remit"
)

// The hosts that are understood.
const (
	claudeCode = "claude-code"
	codex      = "codex"
	gemini     = "gemini"
	copilot    = "copilot"
)

// maxDir is the longest name of a directory, in bytes: PATH_MAX of Linux.
const maxDir = 4096

// kind is what a tool does, whatever its host calls it.
type kind string

const (
	nothing kind = ""      // it concerns the host alone, or comes after the fact, or a gateway judges it: no objection
	shell   kind = "shell" // runs text as a command
	write   kind = "write" // changes files
	read    kind = "read"  // reads files
	search  kind = "search"
	web     kind = "web"
	agent   kind = "agent" // starts a sub-agent
	other   kind = "other" // everything that is not understood
)

// call is what a host asks about, taken apart: the same for all hosts.
type call struct {
	host, event  string
	conversation string // the host's own id of it
	id           string // of this one use of a tool; empty where the host has none
	tool         string // as the host names it
	kind         kind

	cwd     string   // where the host stands, absolute
	dir     string   // where a command runs, if not there
	dialect string   // of a command, if the tool says which
	command string   // or the text of a patch
	paths   []string // as they came
	urls    []string // or, with odd set, what could be one
	query   string
	agent   string // which kind of sub-agent
	server  string // of MCP, where it is none of Remit's own front

	why   []string        // what the host's own arguments make worse
	input json.RawMessage // the tool's arguments, as they came
	said  said
}

// said is what the command line of the hook says of the place. It comes from the agent's settings, which the launcher
// writes, and not from the host's JSON, in which the model has a say.
type said struct {
	tree, home, dialect string
	front               []string // names under which the host has the servers of Remit's own front
}

// members are those of an object, by their exact names: encoding/json takes Command for command, and hosts do not.
type members map[string]json.RawMessage

// decode takes an object apart. A member that stands twice, whatever its case, is refused at every depth: what Remit
// reads and what the host does must be the same.
func decode(body []byte) (members, error) {
	var m members
	if err := remit.DecodeKnown(bytes.NewReader(body), MaxBody, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, remit.Errorf(remit.BadRequest, "the host's JSON is not an object")
	}
	return m, nil
}

// maybe is a text that may be left out or be null.
func (m members) maybe(name string) (string, error) {
	raw, ok := m[name]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || strings.ContainsRune(s, 0) {
		return "", remit.Errorf(remit.BadRequest, "%q in the host's JSON is no text, or has a zero byte in it", name)
	}
	return s, nil
}

// text is a text that must be there.
func (m members) text(name string) (string, error) {
	s, err := m.maybe(name)
	if err == nil && s == "" {
		err = remit.Errorf(remit.BadRequest, "the host's JSON has no %q, which is a text", name)
	}
	return s, err
}

// first is the first of some names that is there: hosts rename their arguments from release to release.
func (m members) first(names ...string) (string, error) {
	for _, name := range names {
		if s, err := m.maybe(name); err != nil || s != "" {
			return s, err
		}
	}
	return "", remit.Errorf(remit.BadRequest, "the tool's arguments have no %q, which is a text", names[0])
}

// texts is a text or a list of texts.
func (m members) texts(name string) ([]string, error) {
	raw, ok := m[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		s, err := m.text(name)
		return []string{s}, err
	}
	for _, s := range list {
		if s == "" || strings.ContainsRune(s, 0) {
			return nil, remit.Errorf(remit.BadRequest, "%q in the host's JSON has an empty text or a zero byte in it", name)
		}
	}
	return list, nil
}

// isTrue tells whether a member is there and true, or something that a host could take for it.
func (m members) isTrue(name string) bool {
	raw, ok := m[name]
	return ok && string(raw) != "false" && string(raw) != "null"
}

// readCall takes the JSON of one event of a host apart.
func readCall(host, event string, s said, body []byte) (call, error) {
	m, err := decode(body)
	if err != nil {
		return call{}, err
	}
	c := call{host: host, event: event, said: s}
	switch host {
	case claudeCode:
		err = c.claude(m)
	case codex:
		err = c.codex(m)
	case gemini:
		err = c.gemini(m)
	case copilot:
		err = c.copilot(m)
	default:
		err = remit.Errorf(remit.NotFound, "there are hooks for %s, %s, %s and %s, not for %.40q", claudeCode, codex, gemini, copilot, host)
	}
	return c, err
}

// named reads what every event of Claude Code, Codex and Gemini CLI begins with. The event stands in the address and in
// the JSON; where they differ, one of them lies.
func (c *call) named(m members) (err error) {
	event, err := m.text("hook_event_name")
	if err != nil {
		return err
	}
	if event != c.event {
		return remit.Errorf(remit.BadRequest, "the host's JSON is of event %.40q, and it was sent as %.40q", event, c.event)
	}
	c.conversation, err = m.text("session_id")
	return err
}

// unknown is an event that nobody registers the hook for.
func (c *call) unknown() error {
	return remit.Errorf(remit.BadRequest, "the hook does not judge event %.40q of %s; register it for those that `remit run` registers", c.event, c.host)
}

// before reads a tool that is about to be used: its name and, taken apart, its arguments.
func (c *call) before(m members, tool, input string) (members, error) {
	var err error
	if c.cwd, err = m.text("cwd"); err != nil {
		return nil, err
	}
	if !path.IsAbs(c.cwd) || len(c.cwd) > maxDir {
		return nil, remit.Errorf(remit.BadRequest, "cwd %.200q is not an absolute path of at most %d bytes", c.cwd, maxDir)
	}
	if c.tool, err = m.text(tool); err != nil {
		return nil, err
	}
	c.input = m[input]
	args, err := decode(c.input)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the arguments of tool %.64q in %s: %w", c.tool, input, err)
	}
	return args, nil
}

// The kinds of calls, by the names of the arguments that say what they do.

func (c *call) runs(args members, names ...string) (err error) {
	c.kind = shell
	c.command, err = args.first(names...)
	return err
}

func (c *call) changes(args members, names ...string) error {
	c.kind = write
	p, err := args.first(names...)
	c.paths = []string{p}
	return err
}

func (c *call) reads(args members, names ...string) error {
	c.kind = read
	p, err := args.first(names...)
	c.paths = []string{p}
	return err
}

// searches goes through everything below a directory: the one that is named, or where the host stands.
func (c *call) searches(args members, names ...string) error {
	c.kind, c.paths = search, []string{c.cwd}
	for _, name := range names {
		p, err := args.maybe(name)
		if err != nil {
			return err
		}
		if p != "" {
			c.paths = []string{p}
			return nil
		}
	}
	return nil
}

func (c *call) fetches(args members, name string) error {
	c.kind = web
	u, err := args.text(name)
	c.urls = []string{u}
	return err
}

func (c *call) asks(args members) (err error) {
	c.kind = web
	c.query, err = args.text("query")
	return err
}

// delegates starts a sub-agent, of the kind that one of the names gives.
func (c *call) delegates(args members, names ...string) error {
	c.kind = agent
	for _, name := range names {
		s, err := args.maybe(name)
		if err != nil {
			return err
		}
		if s != "" {
			c.agent = s
			return nil
		}
	}
	return nil
}

// through is a tool of an MCP server, as prefix, server, separator and tool. What the launcher has set up goes through
// the MCP gateway, which judges it: a second verdict here would only be a second hold. Every other server was started by
// the host itself, and nobody else sees what is sent to it.
func (c *call) through(prefix, separator string) {
	for _, name := range c.said.front {
		if strings.HasPrefix(c.tool, prefix+name+separator) {
			c.kind = nothing
			return
		}
	}
	c.kind = other
	c.server, _, _ = strings.Cut(strings.TrimPrefix(c.tool, prefix), separator)
	c.why = append(c.why, "mcp")
}
