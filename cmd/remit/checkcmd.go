package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/graphfile"
	"github.com/remit-dev/remit/policy"
)

func newCheck(a *app) *cobra.Command {
	d, against, only := &drawn{}, "", false
	c := &cobra.Command{
		Use:   "check -f DIR [--against DIR|COMMIT]",
		Short: "Fail if declarations add an attack path, or a rule that does nothing; for CI",
		Long: `Checks the declarations and the policy of DIR as apply would, runs the policy's tests, and compares the paths of attackers and
what remit policy lint finds with a baseline: another directory, or what DIR was at a commit. No server is needed then.
Without --against it is compared with what is in force on the server. What lint finds in the baseline as well fails nothing.

The exit code is 0 where nothing is new, 1 where there is a new path or a new finding of lint (unindexed rules apart), or
where the declarations or the policy are wrong, and 2 for a mistake in the command line. --sarif has all that lint finds.`,
		Example: `  remit check -f declarations --against origin/main
  remit check -f declarations --against origin/main --free --sarif remit.sarif
  remit check -f declarations`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, pos, err := readDeclarations(d.dir)
			if err != nil {
				return err
			}
			change, base, where, err := a.change(cmd.Context(), d, set, pos, against)
			if err != nil {
				return err
			}
			found, err := lintSet(cmd.Context(), set, pos, d.dir)
			if err != nil {
				return err
			}
			before, err := lintSet(cmd.Context(), base, &declare.Positions{}, "")
			if err != nil {
				return err
			}
			added := newIn(found, before)
			if only {
				change.New = free(change.New)
			}
			if d.sarif != "" {
				if err := a.writeSARIF(d, graphfile.Change(change), change.Unseen, pos, lintRun(found)); err != nil {
					return err
				}
			}
			if d.sarif != "-" {
				out := struct {
					remit.PathsChange
					Lint []lint `json:"lint"` // that the baseline does not have
				}{change, added}
				if err := a.print(out, func() {
					a.printChange(change, where)
					a.printLints(added)
					if old := len(found) - len(added); old > 0 {
						a.printf("%s\n", a.paint(faint, fmt.Sprintf("%s of lint as before; remit policy lint shows all", counted(old, "finding"))))
					}
				}); err != nil {
					return err
				}
			}
			if len(change.New) > 0 || failing(added, false) {
				return exitCode(remit.ExitError)
			}
			return nil
		},
	}
	d.whom(c)
	required(c, "file")
	d.sarifFlag(c)
	c.Flags().StringVar(&against, "against", "", "a directory of declarations, or a commit or branch of the repository that DIR lies in")
	c.Flags().BoolVar(&only, "free", false, "fail only on new paths on which nobody is asked")
	return c
}

func free(list []remit.PathNew) []remit.PathNew {
	out := []remit.PathNew{}
	for _, p := range list {
		if p.Approvals == 0 {
			out = append(out, p)
		}
	}
	return out
}

// change is what the declarations of a directory add to the paths, and since what.
func (a *app) change(ctx context.Context, d *drawn, set *remit.Declarations, pos *declare.Positions, against string) (_ remit.PathsChange, base *remit.Declarations, where string, err error) {
	none := remit.PathsChange{}
	if against == "" {
		s, err := a.connect(ctx)
		if err != nil {
			return none, nil, "", err
		}
		was, err := s.Declarations(ctx)
		if err != nil {
			return none, nil, "", err
		}
		change, err := s.ComparePaths(ctx, *set)
		return change, &was, "what is in force", locate(err, d.dir, pos)
	}
	if len(set.Policy) > 0 {
		report, err := policy.Test(ctx, set.Policy)
		if err != nil {
			return none, nil, "", err
		}
		if failed := report.Failed(); len(failed) > 0 {
			return none, nil, "", finding{remit.Errorf(remit.BadRequest, "the policy's own test %s fails: %s", failed[0].Name, failed[0].Why)}
		}
	}
	base, basePos, where, err := readBaseline(ctx, d.dir, against)
	if err != nil {
		return none, nil, "", err
	}
	before, err := a.draft(ctx, *base, where, basePos, d.profile)
	if err != nil {
		return none, nil, "", err
	}
	defer before.Close()
	now, notes, err := completed(*set)
	if err != nil {
		return none, nil, "", err
	}
	for _, n := range notes {
		a.notef("%s", visible(n))
	}
	change, err := before.ComparePaths(ctx, before.by, now)
	return change, base, where, locate(err, d.dir, pos)
}

// newPaths is what declarations would add to the paths.
func (s *signed) newPaths(ctx context.Context, set remit.Declarations) (*remit.PathsChange, error) {
	change, err := s.ComparePaths(ctx, set)
	if err != nil {
		return nil, err
	}
	return &change, nil
}

// maxAdded is how many new paths are shown beside something else.
const maxAdded = 10

// printAdded shows new paths, a sentence each, beside what adds them.
func (a *app) printAdded(c *remit.PathsChange) {
	if c == nil || len(c.New) == 0 {
		return
	}
	a.printf("\n%s:\n", counted(len(c.New), "new attack path"))
	for _, p := range c.New[:min(len(c.New), maxAdded)] {
		a.printf("  %s %s\n", a.paint(red, "+"), visible(p.Sentence()))
	}
	if left := len(c.New) - maxAdded; left > 0 || c.More {
		a.printf("  and more; remit check shows all that are known, and why\n")
	}
}

func (a *app) printChange(c remit.PathsChange, where string) {
	asked := 0
	for _, p := range c.New {
		a.printf("%s %s\n", a.paint(red, "+"), visible(p.Sentence()))
		switch {
		case p.Before < 0:
			a.printf("  there was no such path\n")
		case p.Approvals < p.Before:
			a.printf("  before, people were asked %s\n", times(p.Before))
		}
		for i, e := range p.Edges {
			a.printf("  %d. %s\n", i+1, visible(e.Why))
			a.printAsk(p.PathWay, i)
		}
		if p.Approvals > 0 {
			asked++
		}
	}
	switch n := len(c.New); {
	case n == 0:
		a.printf("no new path, compared with %s\n", visible(where))
	default:
		a.printf("%s, on %d of them nobody is asked; compared with %s\n", counted(n, "new path"), n-asked, visible(where))
	}
	if c.More {
		a.printf("there are others; these are the first of them\n")
	}
	a.printUnseen(c.Unseen)
}
