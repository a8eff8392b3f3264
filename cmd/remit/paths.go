package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/graphfile"
	"github.com/remit-dev/remit/sarif"
)

// drawn is where answers about paths go besides the terminal, and who is asked.
type drawn struct {
	dir, profile          string
	dot, openGraph, sarif string
}

func (d *drawn) whom(c *cobra.Command) {
	c.Flags().StringVarP(&d.dir, "file", "f", "", "directory of declarations to ask instead of the server; it needs none")
	c.Flags().StringVar(&d.profile, "profile", "", "with --file: the profile that the organisation would have, team, solo or demo; team by default")
}

func (d *drawn) sarifFlag(c *cobra.Command) {
	c.Flags().StringVar(&d.sarif, "sarif", "", "also write the findings to this file as SARIF 2.1.0; - is standard output, instead of text")
}

func newPaths(a *app) *cobra.Command {
	d, q := &drawn{}, remit.PathsQuery{}
	c := &cobra.Command{
		Use:   "paths [--from PATTERN] [--to PATTERN]",
		Short: "Show the ways of an attacker: from what they hold to what they are after",
		Long: `Asks the rules and the policy in force what an attacker could do who holds something: text that an agent reads (untrusted),
a steered agent, a person's key, a repository, a secret. Each way is shown step by step, those on which nobody is asked
first. A pattern is a kind of node (untrusted, person, agent, repo, branch, pipeline, artifact, environment, secret,
tool, credential, control, outside), a node (agent:coder or agent/coder), or a part of names (environment:payments/**).

With --file the declarations and the policy of a directory are asked, and no server is needed. doc/paths.md says what
the analysis sees and what it does not.`,
		Example: `  remit paths --from untrusted --to environment:payments/production
  remit paths --from agent/coder --free
  remit paths -f declarations --dot - | dot -Tsvg -o paths.svg
  remit paths reach secret:deploy-key
  remit paths cut`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.paths(cmd, d, q) },
	}
	d.whom(c)
	d.sarifFlag(c)
	pathEnds(c, &q)
	c.Flags().IntVar(&q.Limit, "limit", 20, "the most paths that are shown, up to 1000")
	c.Flags().BoolVar(&q.Free, "free", false, "only paths on which nobody is asked")
	c.Flags().StringVar(&d.dot, "dot", "", "write what is on the paths to this file in the language of Graphviz; - is standard output, instead of text")
	c.Flags().StringVar(&d.openGraph, "opengraph", "", "write the whole graph to this file as an OpenGraph of BloodHound; - is standard output, instead of text")
	c.AddCommand(newPathsReach(a), newPathsCut(a))
	return c
}

func pathEnds(c *cobra.Command, q *remit.PathsQuery) {
	c.Flags().StringVar(&q.From, "from", "untrusted", "what the attacker holds")
	c.Flags().StringVar(&q.To, "to", "environment", "what they are after")
}

func (a *app) paths(cmd *cobra.Command, d *drawn, q remit.PathsQuery) error {
	if q.Limit < 1 || q.Limit > remit.MaxPaths {
		return usagef("--limit is a number from 1 to %d", remit.MaxPaths)
	}
	who, pos, done, err := a.asks(cmd.Context(), d.dir, d.profile)
	if err != nil {
		return err
	}
	defer done()
	if d.openGraph != "" {
		g, err := who.PathGraph(cmd.Context())
		if err != nil {
			return err
		}
		if err := a.writeTo(d.openGraph, func(w io.Writer) error { return graphfile.OpenGraph(w, g) }); err != nil || d.openGraph == "-" {
			return err
		}
	}
	found, err := who.Paths(cmd.Context(), q)
	if err != nil {
		return err
	}
	if d.dot != "" {
		edges := distinct(found.Paths)
		if err := a.writeTo(d.dot, func(w io.Writer) error { return graphfile.DOT(w, found.Nodes, edges) }); err != nil || d.dot == "-" {
			return err
		}
	}
	if d.sarif != "" {
		if err := a.writeSARIF(d, graphfile.Paths(found.Paths), found.Unseen, pos); err != nil || d.sarif == "-" {
			return err
		}
	}
	return a.print(found, func() { a.printPaths(found, q) })
}

// distinct are the edges of all ways, each once.
func distinct(ways []remit.PathWay) (out []remit.PathEdge) {
	seen := map[string]bool{}
	for _, w := range ways {
		for _, e := range w.Edges {
			if key := strings.Join([]string{e.From, e.To, e.How, string(e.Action), string(e.On), e.Ref}, "\x00"); !seen[key] {
				seen[key] = true
				out = append(out, e)
			}
		}
	}
	return out
}

// writeTo has write write a file, whole or not at all; - is standard output.
func (a *app) writeTo(name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(a.stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".remit-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func (a *app) writeSARIF(d *drawn, found []graphfile.Finding, unseen []string, pos *declare.Positions, more ...sarif.Run) error {
	return a.writeTo(d.sarif, func(w io.Writer) error {
		return graphfile.SARIF(w, version, found, unseen, a.declaredIn(d.dir, pos), more...)
	})
}

// declaredIn finds where a node is declared; nil where no directory was read.
func (a *app) declaredIn(dir string, pos *declare.Positions) graphfile.Place {
	if dir == "" || pos == nil {
		return nil
	}
	lists := map[string]string{"agent": "agents", "person": "people", "repo": "repositories", "environment": "environments", "secret": "secrets", "tool": "tools"}
	return func(node string) (string, int, bool) {
		kind, name, _ := strings.Cut(node, ":")
		file, line, ok := pos.Find(lists[kind], name)
		return filepath.ToSlash(filepath.Join(dir, file)), line, ok
	}
}

func (a *app) printPaths(found remit.PathsAnswer, q remit.PathsQuery) {
	for i, w := range found.Paths {
		if i > 0 {
			a.printf("\n")
		}
		a.printWay(w)
	}
	free := 0
	for _, w := range found.Paths {
		if w.Approvals == 0 {
			free++
		}
	}
	switch n := len(found.Paths); {
	case n == 0 && q.Free:
		a.printf("there is no path from %s to %s on which nobody is asked\n", visible(q.From), visible(q.To))
	case n == 0:
		a.printf("there is no path from %s to %s\n", visible(q.From), visible(q.To))
	case free == 0:
		a.printf("\n%s; people are asked on each\n", counted(n, "path"))
	default:
		a.printf("\n%s, on %d of them nobody is asked\n", counted(n, "path"), free)
	}
	if found.More {
		a.printf("there are, or may be, others: ask for more with --limit, or for less with --from and --to\n")
	}
	a.printUnseen(found.Unseen)
}

// printWay shows one way, a line a step, and what is asked on it.
func (a *app) printWay(w remit.PathWay) {
	a.printf("%s → %s  %s\n", a.paint(bold, visible(w.From())), a.paint(bold, visible(w.To())), a.freeness(w.Approvals))
	for i, e := range w.Edges {
		a.printf("  %d. %s %s", i+1, visible(e.Does()), visible(e.To))
		if e.Crosses != "" {
			a.printf("  %s", a.paint(yellow, visible(e.Crosses)))
		}
		a.printf("\n")
		if e.Why != "" {
			a.printf("     %s\n", visible(e.Why))
		}
		a.printAsk(w, i)
		for _, s := range e.With {
			a.printf("     with: %s\n", visible(s.Text))
		}
	}
}

// printAsk says who is asked at the i-th step of a way, where it waits for anybody.
func (a *app) printAsk(w remit.PathWay, i int) {
	switch e := w.Edges[i]; {
	case w.Asked(i):
		a.printf("     %s %s\n", a.paint(green, "asks:"), askLine(e))
	case e.Verdict != remit.Allow:
		a.printf("     %s %s; the attacker gives these votes alone\n", a.paint(red, "asks nobody else:"), askLine(e))
	}
}

// askLine is what is asked on an edge that holds.
func askLine(e remit.PathEdge) string {
	out := needLine(e.Needs)
	if e.Glass != "" {
		out = strings.TrimPrefix(out+", or break-glass "+visible(e.Glass), ", ")
	}
	if out == "" {
		out = "people"
	}
	if len(e.Rules) > 0 {
		out += " " + bracketed(e.Rules)
	}
	return out
}

func (a *app) freeness(approvals int) string {
	if approvals == 0 {
		return a.paint(red, "nobody is asked")
	}
	return a.paint(green, "asked "+times(approvals))
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (a *app) printUnseen(unseen []string) {
	for _, u := range unseen {
		a.printf("%s %s\n", a.paint(faint, "not seen:"), visible(u))
	}
}

func newPathsReach(a *app) *cobra.Command {
	d := &drawn{}
	c := &cobra.Command{
		Use:   "reach NODE",
		Short: "Show the blast radius of a node: what whoever holds it comes to hold",
		Long: `Shows what whoever holds a node comes to hold: what nobody is asked about, what one approval keeps from them, and what more
than one does. The node may be a pattern: then the attacker holds all that it matches.`,
		Example: `  remit paths reach agent:coder
  remit paths reach person:ana
  remit paths reach secret:deploy-key -f declarations`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			who, _, done, err := a.asks(cmd.Context(), d.dir, d.profile)
			if err != nil {
				return err
			}
			defer done()
			found, err := who.Reach(cmd.Context(), remit.PathsQuery{Node: args[0]})
			if err != nil {
				return err
			}
			return a.print(found, func() { a.printReach(found) })
		},
	}
	d.whom(c)
	return c
}

func (a *app) printReach(found remit.PathsReach) {
	for _, part := range []struct {
		name string
		list []remit.PathReached
	}{{a.paint(red, "nobody is asked"), found.Free}, {a.paint(yellow, "after one approval"), found.One}, {a.paint(green, "after more than one"), found.More}} {
		a.printf("%s: %s\n", part.name, counted(len(part.list), "node"))
		for _, r := range part.list {
			zone := ""
			if r.Node.Zone != "" {
				zone = "  zone " + visible(string(r.Node.Zone))
			}
			a.printf("  %s%s  %s, by %s\n", visible(r.Node.ID), zone, counted(r.Steps, "step"), visible(r.Last.Does()+" it from "+r.Last.From))
		}
	}
	a.printUnseen(found.Unseen)
}

func newPathsCut(a *app) *cobra.Command {
	d, q := &drawn{}, remit.PathsQuery{}
	c := &cobra.Command{
		Use:   "cut [--from PATTERN] [--to PATTERN]",
		Short: "Show the fewest places where an approval cuts every free path",
		Long: `Shows the smallest set of ways on which an approval would leave no path on which nobody is asked, and compares it with where
approvals are: those that are missing, those that stop nobody, and those that another one makes needless.`,
		Example: `  remit paths cut
  remit paths cut --from agent --to environment:payments/production
  remit paths cut -f declarations --sarif cut.sarif`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			who, pos, done, err := a.asks(cmd.Context(), d.dir, d.profile)
			if err != nil {
				return err
			}
			defer done()
			found, err := who.Cut(cmd.Context(), q)
			if err != nil {
				return err
			}
			if d.sarif != "" {
				if err := a.writeSARIF(d, graphfile.Cut(found), found.Unseen, pos); err != nil || d.sarif == "-" {
					return err
				}
			}
			return a.print(found, func() { a.printCut(found) })
		},
	}
	d.whom(c)
	d.sarifFlag(c)
	pathEnds(c, &q)
	return c
}

func (a *app) printCut(found remit.PathsCut) {
	if len(found.Edges) == 0 && len(found.Uncut) == 0 {
		a.printf("there is no path on which nobody is asked; nothing has to be cut\n")
	}
	if len(found.Edges) > 0 {
		a.printf("%s cut every free path that an approval can stop:\n", counted(len(found.Edges), "approval"))
	}
	for _, e := range found.Edges {
		a.printf("  %s %s %s  %s\n", visible(e.From), visible(e.Does()), visible(e.To), a.paint(yellow, visible(e.Crosses)))
	}
	for _, u := range found.Uncut {
		a.printf("%s no approval keeps an attacker from %s\n", a.paint(red, "uncut:"), visible(u.Node))
		if u.Path != nil {
			a.printWay(*u.Path)
		}
	}
	for _, part := range []struct {
		name string
		list []remit.PathPlace
	}{{a.paint(red, "missing:"), found.Missing}, {a.paint(yellow, "vacuous:"), found.Vacuous}, {a.paint(faint, "redundant:"), found.Redundant}} {
		for _, p := range part.list {
			a.printf("%s %s %s %s\n    %s\n", part.name, visible(p.Edge.From), visible(p.Edge.Does()), visible(p.Edge.To), visible(p.Why))
		}
	}
	if found.Elsewhere > 0 {
		a.printf("%s\n", a.paint(faint, counted(found.Elsewhere, "approval")+" elsewhere, on no path of this question"))
	}
	a.printUnseen(found.Unseen)
}
