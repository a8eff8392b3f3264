package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/policy"
)

func newPolicySuggest(a *app) *cobra.Command {
	var out string
	least := 5
	last := span(90 * 24 * time.Hour)
	c := &cobra.Command{
		Use:   "suggest",
		Short: "Draft a rule from what people approve again and again",
		Long: `Drafts Rego from requests that were the same as far as rules can tell and that people approved each time: who asks, for what,
on which refs and paths. The draft changes nothing. It says by which line a rule of the policy would stop asking for that,
comes with tests, and ends by itself. Somebody reviews it, puts it beside the policy and applies that: remit policy try
shows first what would have been decided otherwise.

What is compiled in or declared (approvers, protected paths) no policy takes back; the draft says so.`,
		Example: `  remit policy suggest
  remit policy suggest --least 10 --for 30d --out declarations/policy`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if least < 2 {
				return usagef("--least is 2 or more: what was approved once is no routine")
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			gates, err := s.Gates(cmd.Context())
			if err != nil {
				return err
			}
			in, err := s.Policy(cmd.Context())
			if err != nil {
				return err
			}
			d := policy.Suggest(in.Files, gates, least, a.now().Add(time.Duration(last)))
			if err := tryDraft(cmd.Context(), in.Files, d); err != nil {
				return err
			}
			if out != "" {
				if err := writeDraft(out, d); err != nil {
					return err
				}
			}
			return a.print(d, func() { a.printRoutine(d, out) })
		},
	}
	c.Flags().IntVar(&least, "least", least, "how often the same was approved")
	c.Flags().Var(&last, "for", "how long the draft holds")
	c.Flags().StringVar(&out, "out", "", "write the draft to this directory")
	return c
}

// tryDraft sees that a draft compiles beside the policy in force, and that its tests pass.
func tryDraft(ctx context.Context, files []remit.PolicyFile, d policy.Draft) error {
	if len(d.Files) == 0 {
		return nil
	}
	report, err := policy.Test(ctx, slices.Concat(files, d.Files))
	if err != nil {
		return remit.Errorf(remit.Conflict, "the draft does not stand beside the policy in force, which has a %s of its own perhaps: %w", policy.RoutineFile, err)
	}
	for _, r := range report.Failed() {
		if r.File == policy.RoutineTestFile {
			return remit.Errorf(remit.Internal, "the draft does not mean what was approved: %s: %s", r.Name, r.Why)
		}
	}
	return nil
}

// writeDraft writes files that are not there yet.
func writeDraft(dir string, d policy.Draft) error {
	for _, f := range d.Files {
		file, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("writing the draft: %w", err)
		}
		_, err = file.WriteString(f.Text)
		if cerr := file.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("writing the draft: %w", err)
		}
	}
	return nil
}

func (a *app) printRoutine(d policy.Draft, out string) {
	if len(d.Files) == 0 {
		a.printf("nothing that a rule of the policy asks for was approved so often\n")
	}
	for _, f := range d.Files {
		if out != "" {
			a.printf("%s\n", visible(filepath.Join(out, f.Name)))
			continue
		}
		a.printf("# --- %s\n%s\n", visible(f.Name), strings.TrimRight(visibleText(f.Text), "\n"))
	}
	for _, e := range d.Edits {
		a.printf("%s rule %s in %s, as a line of its body:\n    %s\n", a.paint(yellow, "to use it:"), visible(e.Rule), visible(e.File), visible(e.Line))
	}
	for _, s := range d.Elsewhere {
		a.printf("%s %s\n", a.paint(faint, "not by policy:"), visible(s))
	}
}
