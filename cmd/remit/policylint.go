package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/policy"
	"github.com/remit-dev/remit/sarif"
)

// lint is one line of what remit policy lint found.
type lint struct {
	Code     string `json:"code"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Sentence string `json:"sentence"`
	Help     string `json:"help"`
	same     string // what it has in common with the finding of another version of the same files
}

// notes are codes that cost something and break nothing: they are told, and fail nothing.
var notes = []string{"unindexed"}

// wide is the code of entitlements without a bound.
const wide = "wide"

func newPolicyLint(a *app) *cobra.Command {
	var declarations, out string
	var strict bool
	var codes []string
	for _, c := range policy.LintCodes() {
		codes = append(codes, fmt.Sprintf("  %-12s%s", c.Code, c.Meaning))
	}
	c := &cobra.Command{
		Use:   "lint DIR",
		Short: "Find rules that never fire, hold for nobody, or have no test",
		Long: `Looks in the modules of DIR for what compiles and is not as it should be:

` + strings.Join(codes, "\n") + `
  ` + fmt.Sprintf("%-12s%s", wide, "an entitlement to change everything of an upstream, or every ref") + `

The last one and unmeetable need the declarations: those of DIR, where it is their directory, or those of --declarations. It
needs no server. The exit code is 1 where something was found, unindexed rules apart unless --strict.`,
		Example: `  remit policy lint declarations
  remit policy lint declarations/policy --declarations declarations -o json
  remit policy lint declarations --sarif lint.sarif`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			at := args[0]
			if !slices.ContainsFunc(files, func(f remit.PolicyFile) bool { _, err := os.Stat(filepath.Join(at, f.Name)); return err == nil }) {
				at = filepath.Join(at, "policy")
				if declarations == "" {
					declarations = args[0]
				}
			}
			var groups map[string]int
			found := []lint{}
			if declarations != "" {
				set, pos, err := readDeclarations(declarations)
				if err != nil {
					return err
				}
				groups = sizes(set)
				found = append(found, wideIn(set, pos, declarations)...)
			}
			list, err := lintPolicy(cmd.Context(), files, groups, at)
			if err != nil {
				return err
			}
			found = append(found, list...)
			if out != "" {
				if err := a.writeLint(out, found); err != nil {
					return err
				}
			}
			if out != "-" {
				if err := a.print(found, func() { a.printLint(found) }); err != nil {
					return err
				}
			}
			if failing(found, strict) {
				return exitCode(remit.ExitError)
			}
			return nil
		},
	}
	c.Flags().StringVar(&declarations, "declarations", "", "directory of the declarations that the policy stands beside")
	c.Flags().StringVar(&out, "sarif", "", "write the findings to this file as SARIF 2.1.0; - is standard output")
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 for rules that cannot be indexed too")
	return c
}

// lintPolicy lints modules that lie in the directory at.
func lintPolicy(ctx context.Context, files []remit.PolicyFile, groups map[string]int, at string) (found []lint, err error) {
	list, err := policy.LintBundle(ctx, files, groups)
	for _, l := range list {
		found = append(found, lint{l.Code, filepath.Join(at, l.File), l.Line, l.Sentence, l.Help, l.File + " " + l.Code + " " + l.Sentence})
	}
	return found, err
}

// lintSet lints declarations of a directory with their policy.
func lintSet(ctx context.Context, set *remit.Declarations, pos *declare.Positions, dir string) ([]lint, error) {
	found := wideIn(set, pos, dir)
	if len(set.Policy) == 0 {
		return found, nil
	}
	list, err := lintPolicy(ctx, set.Policy, sizes(set), filepath.Join(dir, "policy"))
	return append(found, list...), err
}

// newIn are the findings that before does not have.
func newIn(now, before []lint) []lint {
	had := map[string]int{}
	for _, l := range before {
		had[l.same]++
	}
	out := []lint{}
	for _, l := range now {
		if had[l.same]--; had[l.same] < 0 {
			out = append(out, l)
		}
	}
	return out
}

// failing tells whether a finding is more than a note, or strict.
func failing(found []lint, strict bool) bool {
	return slices.ContainsFunc(found, func(l lint) bool { return strict || !slices.Contains(notes, l.Code) })
}

// sizes are how many members each group has; -1 where a provider says who they are.
func sizes(set *remit.Declarations) map[string]int {
	out := map[string]int{}
	for _, g := range set.Groups {
		out[g.Name] = len(g.Members)
		if len(g.From) > 0 {
			out[g.Name] = -1
		}
	}
	if _, declared := out[remit.Administrators]; !declared {
		out[remit.Administrators] = -1 // genesis made it
	}
	return out
}

// wideIn finds entitlements that name no bound.
func wideIn(set *remit.Declarations, pos *declare.Positions, dir string) (found []lint) {
	say := func(path, format string, args ...any) {
		file, line, _ := pos.Locate(path)
		what := fmt.Sprintf(format, args...)
		found = append(found, lint{wide, filepath.Join(dir, file), line, path + ": " + what, "name the repositories, refs or tools that the agent works on", wide + " " + what})
	}
	for i, agent := range set.Agents {
		for j, e := range agent.Entitlements {
			at := fmt.Sprintf("agents[%d].entitlements[%d]", i, j)
			changes := slices.IndexFunc(e.Actions, func(name remit.Action) bool {
				info, ok := remit.Lookup(name)
				return ok && info.Impact != remit.Read
			})
			for _, r := range e.Resources {
				kind, rest, _ := strings.Cut(string(r), ":")
				if of, all, more := strings.Cut(rest, "/"); changes >= 0 && more && (all == "*" || all == "**") {
					say(at, "agent %s may take %s on every %s of %s", agent.Name, e.Actions[changes], kind, of)
				}
			}
			for _, r := range e.Refs {
				if r == "refs/**" || r == "refs/heads/**" || r == "refs/tags/**" {
					say(at, "agent %s may move every ref of %s", agent.Name, r)
				}
			}
		}
	}
	return found
}

func (a *app) printLint(found []lint) {
	a.printLints(found)
	if len(found) == 0 {
		a.printf("nothing found\n")
		return
	}
	a.printf("%s\n", counted(len(found), "finding"))
}

func (a *app) printLints(found []lint) {
	for _, l := range found {
		tone := red
		if slices.Contains(notes, l.Code) {
			tone = faint
		}
		a.printf("%s:%d: %s %s; %s\n", visible(l.File), l.Line, a.paint(tone, l.Code), visible(l.Sentence), l.Help)
	}
}

func (a *app) writeLint(file string, found []lint) error {
	return a.writeTo(file, func(w io.Writer) error { return sarif.Write(w, sarif.Log{Runs: []sarif.Run{lintRun(found)}}) })
}

// lintRun are findings as a run of SARIF.
func lintRun(found []lint) sarif.Run {
	var rules []sarif.Rule
	for _, c := range append(policy.LintCodes(), policy.LintCode{Code: wide, Meaning: "an entitlement without a bound"}) {
		rules = append(rules, sarif.Rule{ID: "policy/" + c.Code, Short: sarif.Message{Text: c.Meaning}, Default: sarif.Configuration{Level: levelOf(c.Code)}})
	}
	run := sarif.Run{ID: "remit/lint/", Tool: sarif.Tool{Driver: sarif.Driver{Name: "remit", Version: version, Rules: rules}}, Results: []sarif.Result{}}
	for _, l := range found {
		place := &sarif.Physical{Artifact: sarif.Artifact{URI: filepath.ToSlash(l.File)}}
		if l.Line > 0 {
			place.Region = &sarif.Region{StartLine: l.Line}
		}
		run.Results = append(run.Results, sarif.Result{RuleID: "policy/" + l.Code, Level: levelOf(l.Code), Message: sarif.Message{Text: l.Sentence + "; " + l.Help},
			Locations: []sarif.Location{{Physical: place}}})
	}
	return run
}

func levelOf(code string) string {
	if slices.Contains(notes, code) {
		return sarif.Note
	}
	return sarif.Warning
}
