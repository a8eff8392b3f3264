package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/gateway/mcp"
	"github.com/remit-dev/remit/ledger"
)

func newMCP(a *app) *cobra.Command {
	return group("mcp", "Admit servers of tools, and see what has changed in them",
		`A server of tools (Model Context Protocol) is an upstream like others. What its tools do is declared, so that each call can
be judged by its arguments, and the definition of each tool is pinned: when a server says something else of it, its calls
wait for a person.`,
		`  remit mcp import hub --url https://mcp.example/mcp --token-env HUB_TOKEN --zone S
  remit mcp list --declarations ./declarations
  remit mcp diff hub/create_issue --declarations ./declarations`,
		newMCPImport(a), newMCPList(a), newMCPDiff(a))
}

// drafting is what a draft is made with.
type drafting struct {
	url, ca, token, zone, forge string
	insecure                    bool
	env                         []string
}

func newMCPImport(a *app) *cobra.Command {
	var d drafting
	c := &cobra.Command{
		Use:   "import NAME --url URL | import NAME -- COMMAND…",
		Short: "Draft the declarations of a server's tools from what it says of them",
		Long: `Asks a server what tools it has, and drafts the YAML that declares them: with the pins of their definitions, and for
well-known servers with what each tool does. The draft is for a person to look at and to put into the declarations. What a
server says of itself is no judgement, so of a tool that is not known here its hints are only a comment, and it is
privileged until you say otherwise. Of a well-known server, the tools that cannot be judged by their calls are left out.

The credential is read from a variable of this command's environment and is not printed. A COMMAND is started with PATH,
HOME, LANG and the variables that --env names.`,
		Example: `  remit mcp import hub --url https://mcp.example/mcp --token-env HUB_TOKEN --zone S
  remit mcp import github --zone S --forge forge --env GITHUB_PERSONAL_ACCESS_TOKEN -- /usr/local/bin/github-mcp-server stdio`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			up, err := d.upstream(args[0], args[1:])
			if err != nil {
				return err
			}
			seen, err := a.seen(cmd.Context(), up)
			if err != nil {
				return err
			}
			like, known, err := likeness(seen, up.Name, d.forge)
			if err != nil {
				return err
			}
			drafted, left := draft(seen, known, d.zone)
			set := remit.Declarations{Upstreams: []remit.Upstream{up}}
			for _, t := range drafted {
				set.Tools = append(set.Tools, t.Tool)
			}
			for _, t := range known { // what such a server has besides tools
				if strings.HasPrefix(t.Name, up.Name+"/-/") {
					set.Tools = append(set.Tools, placed(t, d.zone))
				}
			}
			return a.print(set, func() { a.printDraft(set, drafted, left, like, d) })
		},
	}
	f := c.Flags()
	f.StringVar(&d.url, "url", "", "the server's address, https://HOST/PATH")
	f.StringVar(&d.ca, "upstream-ca", "", "file of PEM certificates to trust for it")
	f.BoolVar(&d.insecure, "insecure", false, "http:// to a loopback address is meant")
	f.StringVar(&d.token, "token-env", "", "the variable that has the server's bearer token")
	f.StringArrayVar(&d.env, "env", nil, "a variable that COMMAND gets (repeatable)")
	f.StringVar(&d.zone, "zone", "", "zone of the server's credential: S, B or P")
	f.StringVar(&d.forge, "forge", "", "the declared upstream that has the repositories which the tools act on")
	return c
}

// upstream is the server as it would be declared.
func (d drafting) upstream(name string, command []string) (remit.Upstream, error) {
	up := remit.Upstream{Name: name, Kind: remit.KindMCP, Location: d.url, CA: d.ca, Insecure: d.insecure}
	switch {
	case d.zone != "" && d.zone != "S" && d.zone != "B" && d.zone != "P":
		return up, usagef("--zone is S, B or P, not %q", d.zone)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" || name == remit.LocalTools:
		return up, usagef("the name of a server is a-z, 0-9 and -, and not %s: it becomes that of an upstream", remit.LocalTools)
	case (d.url == "") == (len(command) == 0):
		return up, usagef("say where the server is: --url URL, or -- COMMAND…")
	case d.url != "":
		if d.token != "" {
			up.Write = remit.Source{From: "env", Name: d.token}
		}
		return up, nil
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return up, remit.Errorf(remit.NotFound, "%s cannot be started: %w", command[0], err)
	}
	up.Command = append([]string{path}, command[1:]...)
	for _, name := range d.env {
		if up.Env == nil {
			up.Env = map[string]remit.Source{}
		}
		up.Env[name] = remit.Source{From: "env", Name: name}
	}
	return up, nil
}

// seen asks a server for its tools, from this machine and with this machine's credentials.
func (a *app) seen(ctx context.Context, up remit.Upstream) ([]mcp.Definition, error) {
	s := mcp.Server{Name: up.Name, URL: up.Location, Command: up.Command, Observer: observes(up)}
	if len(up.Command) > 0 {
		home, _ := a.env("HOME")
		s.Env = func(ctx context.Context) ([]string, error) { return environment(ctx, up, home) }
	} else {
		var err error
		if s.Transport, err = (&upstreams{}).dial(ctx, up); err != nil {
			return nil, err
		}
	}
	g := mcp.New(mcp.Config{})
	defer g.Close()
	return g.Tools(ctx, s)
}

// likeness finds the shipped declarations of the server that these tools are of: those that know at least half of them.
func likeness(seen []mcp.Definition, server, forge string) (name string, tools []remit.Tool, err error) {
	files, err := fs.Glob(mcp.Shipped(), "*.yaml")
	if err != nil {
		return "", nil, err
	}
	most := len(seen)/2 + len(seen)%2
	for _, file := range files {
		text, err := fs.ReadFile(mcp.Shipped(), file)
		if err != nil {
			return "", nil, err
		}
		known, err := shippedTools(text, server, forge)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", file, err)
		}
		n := 0
		for _, d := range seen {
			if slices.ContainsFunc(known, func(t remit.Tool) bool { return t.Name == d.Resource.Name() }) {
				n++
			}
		}
		if n >= most && n > 0 {
			most, name, tools = n+1, strings.TrimSuffix(file, ".yaml"), known
		}
	}
	return name, tools, nil
}

// shippedTools reads declarations that are shipped. Without a forge, what acts on its repositories has no such step, and is
// privileged: nobody can say where it acts.
func shippedTools(text []byte, server, forge string) ([]remit.Tool, error) {
	plain, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	var set remit.Declarations
	if err := json.Unmarshal(plain, &set); err != nil {
		return nil, err
	}
	for i := range set.Tools {
		t := &set.Tools[i]
		t.Name = strings.Replace(t.Name, "SERVER/", server+"/", 1)
		for j := range t.Steps {
			if forge == "" && strings.Contains(t.Steps[j].Resource, ":FORGE/") {
				t.Steps, t.Impact = nil, ""
				break
			}
			t.Steps[j].Resource = strings.Replace(t.Steps[j].Resource, ":FORGE/", ":"+forge+"/", 1)
		}
	}
	return set.Tools, nil
}

// placed is a tool in a zone. Of a server that is shipped with one, another one says what its credential does.
func placed(t remit.Tool, zone string) remit.Tool {
	if zone != "" {
		t.Zone = zone
	}
	return t
}

// draftedTool is a tool, as it would be declared and as its server defines it.
type draftedTool struct {
	remit.Tool
	seen mcp.Definition
}

// draft declares tools by what is known of them. Of a server that is not known, they are privileged; of one that is, those
// that its declarations leave out are left out: undeclared, a tool lies in zone P.
func draft(seen []mcp.Definition, known []remit.Tool, zone string) (tools []draftedTool, left []mcp.Definition) {
	for _, d := range seen {
		t := remit.Tool{Name: d.Resource.Name()}
		i := slices.IndexFunc(known, func(t remit.Tool) bool { return t.Name == d.Resource.Name() })
		if i < 0 && len(known) > 0 {
			left = append(left, d)
			continue
		}
		if i >= 0 {
			t = known[i]
		}
		t.Pin = d.Pin
		tools = append(tools, draftedTool{placed(t, zone), d})
	}
	return tools, left
}

func (a *app) printDraft(set remit.Declarations, drafted []draftedTool, left []mcp.Definition, like string, d drafting) {
	a.printf("# Drafted from what the server says. Look at each line before you apply it.\n")
	if like != "" {
		a.printf("# Its tools are those of %s; what they do was looked at for that one.\n", like)
	}
	if like != "" && d.forge == "" && slices.ContainsFunc(set.Tools, func(t remit.Tool) bool { return len(t.Steps) == 0 && t.Impact == "" }) {
		a.printf("# Some act on repositories: say with --forge which upstream has them; without that they are privileged.\n")
	}
	if d.zone == "" {
		a.printf("# zone: S, B or P, the same for all tools of the server, by what its credential can reach; P where none is said.\n")
	}
	a.stdout.Write(declare.Write(&remit.Declarations{Upstreams: set.Upstreams})["repositories.yaml"])
	a.printf("\ntools:\n")
	for i, t := range set.Tools {
		if i < len(drafted) {
			a.printf("  # %s\n", says(drafted[i].seen))
			if like == "" {
				a.printf("  # not known here: impact: read | write | privileged, steps, recovery and taints are for you to say\n")
			}
		}
		text := declare.Write(&remit.Declarations{Tools: []remit.Tool{t}})["tools.yaml"]
		a.stdout.Write(bytes.TrimPrefix(text, []byte("tools:\n")))
	}
	for _, d := range left {
		a.printf("  # left out, because nobody has said what a call of it does: %s, pin %s\n  # %s\n", visible(d.Resource.Name()), d.Pin, says(d))
	}
}

// says is what a server says of a tool, in a line.
func says(d mcp.Definition) string {
	var v struct {
		Description string `json:"description"`
		Annotations struct {
			ReadOnly    *bool `json:"readOnlyHint"`
			Destructive *bool `json:"destructiveHint"`
			Idempotent  *bool `json:"idempotentHint"`
			OpenWorld   *bool `json:"openWorldHint"`
		} `json:"annotations"`
	}
	_ = json.Unmarshal(d.Raw, &v) // what cannot be read is not told
	out := "the server says: " + short(v.Description, 100)
	for _, h := range []struct {
		name string
		is   *bool
	}{{"readOnlyHint", v.Annotations.ReadOnly}, {"destructiveHint", v.Annotations.Destructive}, {"idempotentHint", v.Annotations.Idempotent}, {"openWorldHint", v.Annotations.OpenWorld}} {
		if h.is != nil {
			out += fmt.Sprintf(" [%s: %t]", h.name, *h.is)
		}
	}
	return out
}

// toolState is how a tool stands: as it is declared, and as its server says.
type toolState struct {
	Tool   string       `json:"tool"`
	State  string       `json:"state"` // admitted | drifted | undeclared | gone | pattern
	Impact string       `json:"impact,omitempty"`
	Zone   string       `json:"zone,omitempty"`
	Pin    remit.Digest `json:"pin,omitzero"`
	Seen   remit.Digest `json:"seen,omitzero"`
}

func newMCPList(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "list [SERVER]",
		Short: "Compare the declared tools with what their servers say now",
		Long: `Asks each declared server what tools it has, from this machine and with the sources of credentials that are declared, and
says of each tool whether it is the one that was admitted. Ends with 1 where one has drifted or is gone.`,
		Example: "  remit mcp list --declarations ./declarations",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, _, err := readDeclarations(dir)
			if err != nil {
				return err
			}
			var all []toolState
			for _, up := range set.Upstreams {
				if up.Kind != remit.KindMCP || len(args) > 0 && up.Name != args[0] {
					continue
				}
				seen, err := a.seen(cmd.Context(), up)
				if err != nil {
					return err
				}
				all = append(all, compare(up.Name, set.Tools, seen)...)
			}
			if err := a.print(all, func() { a.printTools(all) }); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(s toolState) bool { return s.State == "drifted" || s.State == "gone" }) {
				return exitCode(1)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "declarations", "declarations", "directory of the *.yaml files")
	return c
}

// compare says of each tool of a server how it stands.
func compare(server string, declared []remit.Tool, seen []mcp.Definition) []toolState {
	var out []toolState
	for _, d := range seen {
		s := toolState{Tool: d.Resource.Name(), State: "undeclared", Seen: d.Pin}
		for _, t := range declared {
			switch {
			case t.Name == s.Tool:
				s.Impact, s.Zone, s.Pin, s.State = t.Impact, t.Zone, t.Pin, "admitted"
				if t.Pin != d.Pin {
					s.State = "drifted"
				}
			case s.Pin.IsZero() && remit.Pattern(t.Name).Match(remit.Resource(s.Tool)):
				s.Impact, s.Zone, s.State = t.Impact, t.Zone, "pattern"
			}
		}
		out = append(out, s)
	}
	for _, t := range declared {
		if remit.ToolServer(t.Name) != server || t.Pin.IsZero() || slices.ContainsFunc(seen, func(d mcp.Definition) bool { return d.Resource.Name() == t.Name }) {
			continue
		}
		out = append(out, toolState{Tool: t.Name, State: "gone", Impact: t.Impact, Zone: t.Zone, Pin: t.Pin})
	}
	return out
}

func (a *app) printTools(all []toolState) {
	rows := make([][]string, len(all))
	for i, s := range all {
		impact, zone := s.Impact, s.Zone
		if impact == "" {
			impact = remit.Privileged.String()
		}
		if zone == "" {
			zone = string(remit.ZoneProduction)
		}
		rows[i] = []string{visible(s.Tool), s.State, impact, zone}
	}
	a.table([]string{"TOOL", "STATE", "IMPACT", "ZONE"}, rows)
}

func newMCPDiff(a *app) *cobra.Command {
	var dir, data string
	c := &cobra.Command{
		Use:   "diff SERVER/TOOL",
		Short: "Show what a server says of a tool that it did not say when it was admitted",
		Long: `Shows by lines what the definition of a tool has that the admitted one had not. The definitions that were admitted are kept
by the server, in its data directory: say --data where that is. Without it, all of what the server says now is shown, with
the pin that admits it.`,
		Example: "  remit mcp diff hub/create_issue --declarations ./declarations --data /var/lib/remit",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			set, _, err := readDeclarations(dir)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(set.Upstreams, func(u remit.Upstream) bool { return u.Kind == remit.KindMCP && u.Name == remit.ToolServer(args[0]) })
			if at < 0 {
				return remit.Errorf(remit.UnknownResource, "no server of tools %s is declared in %s", remit.ToolServer(args[0]), dir)
			}
			seen, err := a.seen(cmd.Context(), set.Upstreams[at])
			if err != nil {
				return err
			}
			i := slices.IndexFunc(seen, func(d mcp.Definition) bool { return d.Resource.Name() == args[0] })
			if i < 0 {
				return remit.Errorf(remit.NotFound, "the server does not list the tool %s now", args[0])
			}
			var pin remit.Digest
			if j := slices.IndexFunc(set.Tools, func(t remit.Tool) bool { return t.Name == args[0] }); j >= 0 {
				pin = set.Tools[j].Pin
			}
			v := toolChange{Tool: args[0], Admitted: pin, Seen: seen[i].Pin}
			if pin != v.Seen {
				v.Difference = mcp.Difference(admitted(data, pin), seen[i].Raw)
			}
			return a.print(v, func() {
				if v.Difference == "" {
					a.printf("%s is as it was admitted\n", visible(v.Tool))
					return
				}
				a.printf("%s\npin: %q\n", v.Difference, v.Seen)
			})
		},
	}
	c.Flags().StringVar(&dir, "declarations", "declarations", "directory of the *.yaml files")
	c.Flags().StringVar(&data, "data", "", "the server's data directory")
	return c
}

// toolChange is what has changed of a tool.
type toolChange struct {
	Tool       string       `json:"tool"`
	Admitted   remit.Digest `json:"admitted,omitzero"`
	Seen       remit.Digest `json:"seen"`
	Difference string       `json:"difference,omitempty"`
}

// admitted is a definition that a server keeps, nil where it does not.
func admitted(data string, pin remit.Digest) []byte {
	if data == "" || pin.IsZero() {
		return nil
	}
	blobs, err := ledger.OpenBlobDir(layout(data).blobs(), ledger.BlobOptions{})
	if err != nil {
		return nil
	}
	b, _ := (&tools{blobs: blobs}).Definition(context.Background(), pin)
	return b
}
