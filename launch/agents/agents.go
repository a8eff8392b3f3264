// Package agents knows the coding agents that people use: how to tell from a command line which one is started, and what
// to give it for one run, so that its tools go through Remit and nothing in it has to be changed. It starts nothing and
// writes nothing; launch does.
package agents

import (
	"cmp"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Run is what is known of a run before its agent is set up.
type Run struct {
	Dir    string // of this run and this agent alone, absolute, and not below the system's temporary directory (Codex)
	Home   string // the person's
	Tree   string // the directory that the agent works in, absolute
	Remit  string // the remit binary, absolute
	Socket string // the instance's
	Org    remit.Org
	Front  string   // http://127.0.0.1:PORT
	Bearer string   // of the front
	MCP    []string // names of the MCP servers that the task reaches
	// Unattended says that nobody is there whom the agent could show a page: a call that people must see then waits.
	Unattended bool
	// Sandboxed says that agents' settings in the work tree cannot be written, and that no further sandbox can be made.
	Sandboxed   bool
	Getenv      func(string) string
	underscores bool // in the names of MCP servers
	// ReadFile reads a file of the person's or of the repository's, as os.ReadFile does.
	ReadFile func(string) ([]byte, error)
}

// Setup is what makes one run of an agent Remit's.
type Setup struct {
	Name    string   // Claude Code
	Host    string   // as remit hook calls it; empty: the agent has no hooks
	Command []string // with our arguments before the person's own
	Set     []Variable
	Unset   []string // variables that would switch hooks off, or point elsewhere
	Needs   []string // variables that the agent reaches its model with: it gets these and no other agent's
	Files   []File
	Logins  []Login
	Canary  *Canary
	Trust   *Trust
	// GitInEnviron says that the agent's shell has git read no configuration file and ask no credential helper.
	GitInEnviron bool
	Observed     []string // what besides is judged only where the agent asks, or not at all
}

type (
	// Variable is set in the agent's environment.
	Variable struct{ Name, Value string }
	// File is written below Run.Dir, mode 0600.
	File struct {
		Name    string
		Content []byte
	}
	// Login is the person's own login at the model's provider: it is copied to Name, below Run.Dir, and what the agent
	// makes of it, because such logins are renewed, is copied back where nothing keeps the agent from the original.
	Login struct{ From, Name string }
	// Canary is a call that must be denied: Line is what the agent's shell is given as the hook, Input what it reads. It
	// must exit with 2 and say each of Wants on standard error.
	Canary struct {
		Line, Input string
		Wants       []string
	}
	// Trust is how the agent is made to trust the hooks: Command is started in the run's environment, and Converse speaks
	// with it. What it returns is appended to File, below Run.Dir.
	Trust struct {
		Command []string
		Line    string // of the hooks that are to be trusted
		Tree    string
		Hooks   int // how many there are
		File    string
	}
)

// agent is one that we know.
type agent struct {
	name, host string
	bins       []string // base names
	packages   []string // of npm
	needs      []string
	hosts      []string // HOST:PORT of its model
	bases      []string // variables with the base URL of another
	refused    []banned
	setup      func(*agent, Run, []string) (Setup, error)
}

// banned is a flag that a person may not give under remit run, and why.
type banned struct {
	name string // --name
	why  string
}

func known() []*agent {
	return []*agent{claude(), codex(), gemini(), copilot(), opencode()}
}

// Names are the agents that --agent-setup can name.
func Names() []string {
	var names []string
	for _, a := range known() {
		names = append(names, a.bins[0])
	}
	return names
}

// ModelKeys are the variables that any known agent reaches its model with.
func ModelKeys() []string {
	var keys []string
	for _, a := range known() {
		keys = append(keys, a.needs...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Agent is an agent that a command line starts.
type Agent struct {
	agent *agent
	args  int // where the agent's own arguments begin
}

// Name is what people call it.
func (a Agent) Name() string { return a.agent.name }

// Needs are the variables that it reaches its model with.
func (a Agent) Needs() []string { return a.agent.needs }

// Hosts are the HOST:PORT that it reaches its model at, in the environment that it has.
func (a Agent) Hosts(getenv func(string) string) []string {
	hosts := slices.Clone(a.agent.hosts)
	for _, name := range a.agent.bases {
		if u, err := url.Parse(getenv(name)); err == nil && u.Scheme == "https" && u.Hostname() != "" {
			hosts = append(hosts, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
		}
	}
	return hosts
}

// Named finds an agent by one of Names: the first word of the command is its program, whatever that is called.
func Named(name string) (Agent, bool) {
	for _, a := range known() {
		if a.bins[0] == name {
			return Agent{a, 1}, true
		}
	}
	return Agent{}, false
}

// Recognise tells which agent a command line starts: by the name of its program, also where npx and the like, or node
// with the path of the program's script, starts it. A shell that starts an agent later is not looked into.
func Recognise(argv []string) (Agent, bool) {
	if len(argv) == 0 {
		return Agent{}, false
	}
	program := path.Base(filepath.ToSlash(argv[0]))
	if a := byProgram(argv[0]); a != nil {
		return Agent{a, 1}, true
	}
	if program == "node" {
		return byScript(argv)
	}
	return byRunner(program, argv)
}

// byProgram knows a program by its base name, or as the script of a package.
func byProgram(p string) *agent {
	p = filepath.ToSlash(p)
	base := path.Base(p)
	for _, a := range known() {
		if slices.Contains(a.bins, base) {
			return a
		}
		for _, pkg := range a.packages {
			if strings.Contains(p, "/node_modules/"+pkg+"/") || strings.HasPrefix(p, "node_modules/"+pkg+"/") {
				return a
			}
		}
	}
	return nil
}

// byScript looks at `node [flags] SCRIPT …`.
func byScript(argv []string) (Agent, bool) {
	for i := 1; i < len(argv); i++ {
		switch arg := argv[i]; {
		case slices.Contains([]string{"-r", "--require", "--import", "--loader", "--env-file", "-C", "--conditions"}, arg):
			i++
		case slices.Contains([]string{"-e", "--eval", "-p", "--print", "-"}, arg):
			return Agent{}, false
		case strings.HasPrefix(arg, "-"):
		default:
			if a := byProgram(arg); a != nil {
				return Agent{a, i + 1}, true
			}
			return Agent{}, false
		}
	}
	return Agent{}, false
}

// byRunner looks at `npx [flags] PACKAGE[@VERSION] …` and its like.
func byRunner(program string, argv []string) (Agent, bool) {
	verbs, ok := map[string][]string{"npx": nil, "bunx": nil, "npm": {"exec", "x"}, "pnpm": {"dlx", "exec"}, "yarn": {"dlx", "exec"}, "bun": {"x"}}[program]
	if !ok {
		return Agent{}, false
	}
	i := 1
	if verbs != nil {
		if len(argv) < 2 || !slices.Contains(verbs, argv[1]) {
			return Agent{}, false
		}
		i = 2
	}
	for ; i < len(argv); i++ {
		switch arg := argv[i]; {
		case arg == "-c" || arg == "--call" || strings.HasPrefix(arg, "--call="):
			return Agent{}, false
		case arg == "-p" || arg == "--package":
			i++
		case strings.HasPrefix(arg, "-"):
		default:
			name := arg
			if at := strings.LastIndex(name, "@"); at > 0 {
				name = name[:at]
			}
			for _, a := range known() {
				if slices.Contains(a.packages, name) || slices.Contains(a.bins, name) {
					return Agent{a, i + 1}, true
				}
			}
			return Agent{}, false
		}
	}
	return Agent{}, false
}

// Setup says how to start it for one run. An error is a sentence for the person: what about the command line or the
// repository would take the agent out of Remit's hands.
func (a Agent) Setup(r Run, argv []string) (Setup, error) {
	own := argv[min(a.args, len(argv)):]
	for _, arg := range own {
		if arg == "--" {
			break
		}
		for _, f := range a.agent.refused {
			if arg == f.name || strings.HasPrefix(arg, f.name+"=") {
				return Setup{}, remit.Errorf(remit.BadRequest, "%s under remit run cannot have %s: %s", a.agent.name, f.name, f.why)
			}
		}
	}
	s, err := a.agent.setup(a.agent, r, own)
	if err != nil {
		return Setup{}, err
	}
	s.Name, s.Host, s.Needs = a.agent.name, a.agent.host, a.agent.needs
	s.Command = slices.Concat(argv[:a.args], s.Command, own)
	if s.Trust != nil {
		s.Trust.Command = slices.Concat(argv[:a.args], s.Trust.Command)
	}
	return s, nil
}
