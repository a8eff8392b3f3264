package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sarif"
	"github.com/remit-dev/remit/scan"
)

func newScan(a *app) *cobra.Command {
	var file, failOn string
	var asJSON, last bool
	c := &cobra.Command{
		Use:   "scan UPSTREAM",
		Short: "Look for authority outside Remit at an upstream, read-only",
		Long: `Looks at an upstream with the read-only credential that is declared for it (observer), and changes nothing there: personal
tokens, deploy and SSH keys, Apps, secrets and runners of CI, who passes gates, default permissions of workflows, service
accounts, role bindings and their tokens, checks that fail open, hooks. Upstreams of kind gitea (also Forgejo), kubernetes
and registry are looked at, and kind http with forge: github.

What could not be seen is said, with the reason. A scan is clean only if nothing was found and everything was seen. The exit
code is 1 if there is a finding of the level of --fail-on or worse, else 4 if anything could not be seen, else 0.`,
		Example: `  remit inventory scan forge
  remit inventory scan forge --sarif forge.sarif --fail-on warning
  remit inventory scan cluster --last -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			level := remit.ScanLevel(failOn)
			if level.Rank() == 0 && failOn != "never" {
				return remit.Errorf(remit.BadRequest, "--fail-on %q: it is error, warning, note or never", failOn)
			}
			if asJSON {
				a.output = "json"
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			look := s.Scan
			if last {
				look = s.LastScan
			}
			view, err := look(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if file != "" {
				var b bytes.Buffer
				if err := sarif.Write(&b, scan.SARIF(view.Report, version)); err != nil {
					return fmt.Errorf("writing SARIF: %w", err)
				}
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					return fmt.Errorf("writing %s: %w", file, err)
				}
			}
			if err := a.print(view, func() { a.printScan(view) }); err != nil {
				return err
			}
			switch worst := view.Report.Worst(); {
			case failOn != "never" && worst.Rank() >= level.Rank():
				return exitCode(remit.ExitError)
			case !view.Report.Complete():
				return exitCode(remit.ExitUnseen)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "sarif", "", "also write it to this file as SARIF 2.1.0")
	c.Flags().StringVar(&failOn, "fail-on", "error", "exit with 1 if there is a finding of this level or worse: error, warning, note; never")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, as -o json does")
	c.Flags().BoolVar(&last, "last", false, "do not look; show what the last look found")
	return c
}

func (a *app) printScan(v remit.ScanView) {
	r := v.Report
	if v.Stale {
		a.printf("%s: %s is declared otherwise since this was looked at; scan it again\n\n", a.paint(yellow, "stale"), visible(r.Upstream))
	}
	tones := map[remit.ScanLevel]colour{remit.ScanError: red, remit.ScanWarning: yellow}
	counts := map[remit.ScanLevel]int{}
	rule := ""
	for _, f := range r.Findings {
		counts[f.Level]++
		if f.Rule != rule {
			if rule != "" {
				a.printf("\n")
			}
			rule = f.Rule
			a.printf("%s %s  %s\n", a.paint(tones[f.Level], fmt.Sprintf("%-7s", visible(string(f.Level)))), a.paint(bold, visible(f.Rule)), visible(f.Help))
		}
		var more []string
		if f.AgeDays != nil && !strings.Contains(f.Text, "days old") {
			more = append(more, counted(*f.AgeDays, "day")+" old")
		}
		switch {
		case f.LastUse != nil:
			more = append(more, "last used "+f.LastUse.UTC().Format("2006-01-02"))
		case f.Never:
			more = append(more, "never used")
		}
		tail := ""
		if len(more) > 0 {
			tail = a.paint(faint, " ("+strings.Join(more, ", ")+")")
		}
		a.printf("  %s%s\n", visible(f.Text), tail)
	}
	if len(r.Unseen) > 0 {
		if len(r.Findings) > 0 {
			a.printf("\n")
		}
		a.printf("%s\n", a.paint(yellow, "not seen"))
		for _, g := range r.Unseen {
			a.printf("  %s: %s\n", visible(g.What), visible(g.Why))
		}
	}
	if len(r.Findings)+len(r.Unseen) > 0 {
		a.printf("\n")
	}
	things := 0
	for _, s := range r.Seen {
		things += s.Count
	}
	a.printf("%s: %d errors, %d warnings, %d notes; %d things in %d places were seen; entry %d\n", visible(r.Upstream), counts[remit.ScanError], counts[remit.ScanWarning], counts[remit.ScanNote],
		things, len(r.Seen), v.Entry)
	switch {
	case !r.Complete():
		a.printf("%s: %s could not be seen, and may hide more\n", a.paint(yellow, "not clean"), counted(len(r.Unseen), "thing"))
	case len(r.Findings) == 0:
		a.printf("%s: nothing was found, and everything that a scan looks at was seen\n", a.paint(green, "clean"))
	}
}
