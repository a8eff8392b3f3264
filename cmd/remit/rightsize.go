package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

func newRightsize(a *app) *cobra.Command {
	since := span(30 * 24 * time.Hour)
	var dir, patch string
	c := &cobra.Command{
		Use:   "rightsize [AGENT]",
		Short: "Print the smallest declarations that would have covered what was done",
		Long: `Reads from the log what agents did with their entitlements, and proposes the smallest ones that would have covered it, as a
patch to the declarations. Nothing is changed. What is proposed is never more than what is declared; names take the place of
patterns as long as they are few, and limits are powers of two, at least 1 MiB and 16 commits a push. It says what these would
have refused of what came before, and what the tasks took at most.

With --declarations the patch is of the files in that directory, and keeps their comments and order; without, of what
remit declarations --dir writes. Look at it, apply it (git apply, patch -p1), and remit diff shows what it means.`,
		Example: `  remit rightsize coder
  remit rightsize --since 90d --declarations declarations --patch smaller.patch
  git -C declarations apply ../smaller.patch`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("it takes one agent, not %d: %s", len(args), usageOf(c))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if since <= 0 {
				return usagef("--since is how far back use counts, such as 30d")
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			agent := ""
			if len(args) == 1 {
				agent = args[0]
			}
			if a.terminal() {
				a.notef("reading the log of the last %s", spanText(time.Duration(since)))
			}
			r, err := s.Rightsize(cmd.Context(), agent, time.Duration(since))
			if err != nil {
				return err
			}
			text := ""
			switch {
			case dir != "":
				text, err = rightsizePatch(dir, r.Agents)
			case patch != "":
				var set remit.Declarations
				if set, err = s.Declarations(cmd.Context()); err == nil {
					text, err = rightsizeInForce(set, r.Agents)
				}
			}
			if err != nil {
				return err
			}
			if patch != "" {
				if err := os.WriteFile(patch, []byte(text), 0o644); err != nil {
					return fmt.Errorf("writing the patch: %w", err)
				}
			}
			return a.print(r, func() {
				for _, f := range r.Agents {
					a.printFit(f, r.Since, dir == "" && patch == "")
				}
				a.printRead(r)
				switch {
				case patch != "" && text == "":
					a.printf("nothing would change: %s is empty\n", patch)
				case patch != "":
					a.printf("the patch is in %s\n", patch)
				case text != "":
					a.printf("\n%s", visibleText(text))
				}
			})
		},
	}
	c.Flags().Var(&since, "since", "how far back use counts")
	c.Flags().StringVar(&dir, "declarations", "", "directory of the declarations that the patch is of")
	c.Flags().StringVar(&patch, "patch", "", "file to write the patch to")
	return c
}

// rightsizePatch is the difference between declarations and smaller ones: of the files of a directory.
func rightsizePatch(dir string, agents []remit.AgentFit) (string, error) {
	if _, _, err := readDeclarations(dir); err != nil { // with the files' names as the caller knows them
		return "", err
	}
	var list []declare.Narrowing
	for _, f := range agents {
		n := declare.Narrowing{Agent: f.Agent}
		for _, e := range f.Entitlements {
			n.Declared, n.Proposed = append(n.Declared, e.Declared), append(n.Proposed, e.Proposed)
		}
		for _, m := range f.MayRequest {
			if m.Change != remit.FitRemove {
				n.MayRequest = append(n.MayRequest, m.Function)
			}
		}
		for _, g := range f.Requesters {
			if g.Change == remit.FitRemove {
				n.Without = append(n.Without, g.Group)
			}
		}
		list = append(list, n)
	}
	changed, err := declare.Narrow(os.DirFS(dir), list)
	var at *declare.Error
	if errors.As(err, &at) {
		at.File = filepath.Join(dir, at.File)
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		old, err := fs.ReadFile(os.DirFS(dir), name)
		if err != nil {
			return "", fmt.Errorf("reading the declarations: %w", err)
		}
		b.Write(diff.Diff("a/"+name, old, "b/"+name, changed[name]))
	}
	return b.String(), nil
}

// rightsizeInForce is the same of the files that `remit declarations --dir` writes of a set.
func rightsizeInForce(set remit.Declarations, agents []remit.AgentFit) (string, error) {
	dir, err := os.MkdirTemp("", "remit-declarations-")
	if err != nil {
		return "", fmt.Errorf("writing the declarations: %w", err)
	}
	defer os.RemoveAll(dir)
	set.Policy = nil // it stays as it is, and modules lie in a directory of their own
	for name, body := range declare.Write(&set) {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return "", fmt.Errorf("writing the declarations: %w", err)
		}
	}
	return rightsizePatch(dir, agents)
}

// printFit shows one agent: what is declared, what was done with it, and what would stand in its place.
func (a *app) printFit(f remit.AgentFit, since time.Time, snippet bool) {
	a.printf("%s  %s, owner %s\n", a.paint(bold, visible(f.Agent)), visible(string(f.Function)), visible(f.Owner))
	switch {
	case f.Allowed == 0 && f.Young(since):
		a.printf("  %s, and it is younger than the time looked at: that says little yet\n", a.paint(yellow, "nothing was done with it"))
	case f.Allowed == 0:
		a.printf("  %s: remove it, unless it is kept for later. The patch takes its entitlements; without its record it is retired, for good\n", a.paint(yellow, "nothing was done with it"))
	default:
		a.printf("  %s let through, entries %d to %d\n", counted(f.Allowed, "request"), f.First, f.Last)
	}
	for i, e := range f.Entitlements {
		a.printf("  entitlement %d  %s\n    declared  %s\n", i+1, a.paint(fitTone(e.Change), e.Change), scopeLines([]remit.Scope{e.Declared}))
		if e.GrantedAt != nil {
			young := ""
			if e.Young(since) {
				young = "; younger than the time looked at"
			}
			a.printf("    granted   %s%s\n", a.entryTime(e.Granted, e.GrantedAt, "-"), young)
		}
		if e.Change == remit.FitShrink {
			for _, l := range strings.Split(scopeLines(e.Proposed), "\n") {
				a.printf("    proposed  %s\n", l)
			}
		}
		if len(e.Uses) == 0 {
			a.printf("    used      never\n")
		}
		a.useLines("    used      ", e.Uses)
	}
	for _, m := range f.MayRequest {
		a.printf("  may request %s  %s\n", visible(string(m.Function)), a.paint(fitTone(m.Change), m.Change))
		if m.Count > 0 {
			a.useLines("    used      ", []remit.UseLine{m.UseLine})
		}
	}
	a.printWho(f)
	a.useLines("  would have refused before  ", f.Refused)
	a.useLines("  denied or held since then  ", f.Waited)
	a.useLines("  done under what is not declared any more  ", f.Outside)
	if f.Unread > 0 {
		a.printf("  the paths of %s were erased: they count as any path\n", counted(f.Unread, "push"))
	}
	if f.Cut > 0 {
		a.printf("  %s more not shown\n", counted(f.Cut, "use"))
	}
	if t := f.Tasks; t.Tasks > 0 {
		a.printf("  %s took at most: %s\n", counted(t.Tasks, "task"), taskFlags(t))
	}
	if snippet && f.Changed() {
		a.printf("  in its record, in place of what it says of these:\n")
		a.printf("%s", indented(rightsizeYAML(f), "    "))
	}
}

// printWho shows who may set the agent to work, and until when.
func (a *app) printWho(f remit.AgentFit) {
	for _, g := range f.Requesters {
		a.printf("  requesters: group %s  %s\n", visible(g.Group), a.paint(fitTone(g.Change), g.Change))
		switch {
		case g.Count > 0 && g.Change == remit.FitRemove:
			a.useLines("    used      by people whom another group lets ask as well; ", []remit.UseLine{g.UseLine})
		case g.Count > 0:
			a.useLines("    used      ", []remit.UseLine{g.UseLine})
		default:
			a.printf("    used      never\n")
		}
	}
	for _, j := range f.Jobs {
		a.printf("  CI job %s of repository %s at %s  %s\n", visible(j.Job.Workflow), visible(j.Job.Repository), visible(j.Job.Issuer), a.paint(fitTone(j.Change), j.Change))
		if j.Count == 0 {
			a.printf("    used      never; take it out of the record yourself: the patch leaves jobs\n")
			continue
		}
		a.useLines("    used      ", []remit.UseLine{j.UseLine})
	}
	if e := f.Expires; e.Change == remit.FitShrink {
		was := "it never ends"
		if e.Declared != "" {
			was = "it ends on " + e.Declared
		}
		a.printf("  expires  %s; proposed is %s (the patch leaves it)\n", was, e.Proposed)
	}
}

// rightsizeYAML is what an agent's record would say.
func rightsizeYAML(f remit.AgentFit) string {
	ag := remit.Agent{Name: f.Agent, Expires: f.Expires.Proposed}
	for _, g := range f.Requesters {
		if g.Change != remit.FitRemove {
			ag.Requesters = append(ag.Requesters, g.Group)
		}
	}
	for _, j := range f.Jobs {
		if j.Change != remit.FitRemove {
			ag.Jobs = append(ag.Jobs, j.Job)
		}
	}
	for _, e := range f.Entitlements {
		ag.Entitlements = append(ag.Entitlements, e.Proposed...)
	}
	for _, m := range f.MayRequest {
		if m.Change != remit.FitRemove {
			ag.MayRequest = append(ag.MayRequest, m.Function)
		}
	}
	_, body, _ := strings.Cut(string(declare.Write(&remit.Declarations{Agents: []remit.Agent{ag}})["agents.yaml"]), "\n")
	_, body, _ = strings.Cut(body, "\n") // its name
	if len(ag.Entitlements) == 0 {
		body = "    entitlements: []\n" + body
	}
	return body
}

func indented(text, by string) string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		b.WriteString(by + strings.TrimPrefix(visible(l), "    ") + "\n")
	}
	return b.String()
}

func fitTone(change string) colour {
	switch change {
	case remit.FitKeep:
		return green
	case remit.FitShrink:
		return yellow
	}
	return red
}

// maxUseLines is how many uses of one kind are printed; -o json has more.
const maxUseLines = 10

func (a *app) useLines(head string, list []remit.UseLine) {
	for i, u := range list {
		if i == maxUseLines {
			a.printf("%sand %s more (-o json has them)\n", head, counted(len(list)-i, "way"))
			return
		}
		line := visible(string(u.Action))
		if u.Resource != "" {
			line += " on " + visible(string(u.Resource))
		}
		if u.Ref != "" {
			line += " " + visible(u.Ref)
		}
		if u.Verdict != "" {
			line += ", " + visible(u.Verdict)
		}
		if u.Code != "" {
			line += " " + visible(string(u.Code))
		}
		where := fmt.Sprintf("entry %d", u.First)
		if u.Last != u.First {
			where = fmt.Sprintf("entries %d to %d", u.First, u.Last)
		}
		a.printf("%s%s: %s, %s\n", head, line, times(u.Count), where)
	}
}

// taskFlags are the flags with which the next task would be asked for.
func taskFlags(t remit.TaskFit) string {
	var out []string
	add := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(t.For > 0, "--for %s", spanText(t.For))
	add(t.Budget.Decisions > 0, "--budget-decisions %d", t.Budget.Decisions)
	add(t.Budget.Holds > 0, "--budget-holds %d", t.Budget.Holds)
	add(t.Budget.Bytes > 0, "--budget-bytes %d", t.Budget.Bytes)
	add(t.Envelope.MaxCommits > 0, "--max-commits %d", t.Envelope.MaxCommits)
	add(t.Envelope.MaxBytes > 0, "--max-bytes %d", t.Envelope.MaxBytes)
	for _, p := range t.Envelope.Paths {
		out = append(out, "--envelope-path '"+visible(string(p))+"'")
	}
	return strings.Join(out, " ")
}

func (a *app) printRead(r remit.Rightsizing) {
	a.printf("\nuse since %s, from entry %d of %d on", stamp(r.Since), r.From, r.Size)
	switch {
	case r.Whole:
		a.printf("; all that came before was read as well\n")
	case r.OlderAt != nil:
		a.printf("; %s: before entry %d (%s) nothing was read, so more may have been refused\n", a.paint(yellow, "not all that came before"), r.Older, stamp(*r.OlderAt))
	default:
		a.printf("; %s was read\n", a.paint(yellow, "nothing that came before"))
	}
}
