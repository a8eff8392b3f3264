package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/sarif"
	"github.com/remit-dev/remit/scan"
)

func newScan(a *app) *cobra.Command {
	var file, failOn, accepted, draft string
	var asJSON, last bool
	c := &cobra.Command{
		Use:   "scan UPSTREAM",
		Short: "Look for authority outside Remit at an upstream, read-only",
		Long: `Looks at an upstream with the read-only credential that is declared for it (observer), and changes nothing there: personal
tokens, deploy and SSH keys, Apps, secrets and runners of CI, who passes gates, default permissions of workflows, service
accounts, role bindings and their tokens, checks that fail open, hooks. Upstreams of kind gitea (also Forgejo), kubernetes
and registry are looked at, and kind http with forge: github.

What could not be seen is said, with the reason. A scan is clean only if nothing was found and everything was seen. The exit
code is 1 if there is a finding of the level of --fail-on or worse, else 4 if anything could not be seen, else 0.

--accepted FILE names what somebody knows of, with a reason and a last day: findings by rule and subject, and what cannot be
seen by unseen and code, as -o json has them. Only what is not accepted, or not any more, counts for the exit code then, and
the rest is suppressed in SARIF. An entry that nothing is found for, or whose day has passed, is said. --draft FILE writes an
entry for each thing that is not accepted yet; it is taken once a person has filled in the reasons and the days.`,
		Example: `  remit inventory scan forge
  remit inventory scan forge --sarif forge.sarif --fail-on warning
  remit inventory scan forge --accepted forge-accepted.yaml
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
			var list *remit.ScanAccepted
			if accepted != "" {
				var err error
				if list, err = readAccepted(accepted, args[0]); err != nil {
					return err
				}
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
			out := struct {
				remit.ScanView
				Known *remit.ScanKnown `json:"known,omitempty"`
			}{ScanView: view}
			rest := view.Report
			if list != nil {
				known, err := list.Judge(view.Report, a.now())
				if err != nil {
					return err
				}
				out.Known, rest.Findings, rest.Unseen = &known, known.New, known.Unseen
			}
			if file != "" {
				var b bytes.Buffer
				if err := sarif.Write(&b, scan.SARIF(view.Report, version, out.Known)); err != nil {
					return fmt.Errorf("writing SARIF: %w", err)
				}
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					return fmt.Errorf("writing %s: %w", file, err)
				}
			}
			if draft != "" {
				if err := a.writeTo(draft, func(w io.Writer) error { return draftAccepted(w, rest) }); err != nil {
					return err
				}
			}
			if err := a.print(out, func() {
				a.printScan(remit.ScanView{Entry: view.Entry, Stale: view.Stale, Report: rest})
				switch {
				case out.Known != nil:
					a.printKnown(*out.Known)
				case view.Report.Complete() && len(view.Report.Findings) == 0:
					a.printf("%s: nothing was found, and everything that a scan looks at was seen\n", a.paint(green, "clean"))
				}
			}); err != nil {
				return err
			}
			switch worst := rest.Worst(); {
			case failOn != "never" && worst.Rank() >= level.Rank():
				return exitCode(remit.ExitError)
			case !rest.Complete():
				return exitCode(remit.ExitUnseen)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "sarif", "", "also write it to this file as SARIF 2.1.0")
	c.Flags().StringVar(&accepted, "accepted", "", "a file of findings and gaps that are known; only others count")
	c.Flags().StringVar(&draft, "draft", "", "also write what is not accepted to this file, for --accepted")
	c.Flags().StringVar(&failOn, "fail-on", "error", "exit with 1 if there is a finding of this level or worse: error, warning, note; never")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, as -o json does")
	c.Flags().BoolVar(&last, "last", false, "do not look; show what the last look found")
	return c
}

// readAccepted reads what is accepted of an upstream.
func readAccepted(file, upstream string) (*remit.ScanAccepted, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading what is accepted: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, declare.MaxAccepted+1))
	if err != nil {
		return nil, fmt.Errorf("reading what is accepted: %w", err)
	}
	list, err := declare.ReadAccepted(file, text)
	if err == nil && list.Upstream != upstream {
		err = remit.Errorf(remit.BadRequest, "%s is of upstream %q, not of %q", file, list.Upstream, upstream)
	}
	return list, err
}

// draftAccepted writes what a report has as a file of what is accepted, without reasons and days.
func draftAccepted(w io.Writer, r remit.ScanReport) error {
	quoted := func(s string) string {
		b, _ := json.Marshal(s) // a text of YAML as well
		return string(b)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "upstream: %s\naccepted:\n", quoted(r.Upstream))
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  # %s\n  - rule: %s\n    subject: %s\n    where: %s\n    reason: \"\"\n    until: \"\"\n", visible(f.Text), quoted(f.Rule), quoted(f.Subject), quoted(f.Where))
	}
	for _, g := range r.Unseen {
		fmt.Fprintf(&b, "  # %s\n  - unseen: %s\n    code: %s\n    reason: \"\"\n    until: \"\"\n", visible(g.Why), quoted(g.What), quoted(g.Code))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printKnown says what is accepted, and what of it should be looked at.
func (a *app) printKnown(k remit.ScanKnown) {
	for _, x := range k.Expired {
		a.printf("%s %s until %s: %s\n", a.paint(red, "accepted no more:"), visible(x.Name()), visible(x.Until), visible(x.Reason))
	}
	for _, x := range k.Unmet {
		a.printf("%s %s\n", a.paint(yellow, "accepted, and not there, or not seen:"), visible(x.Name()))
	}
	if len(k.Accepted) > 0 {
		a.printf("%s accepted and not shown; the first of them ends on %s\n", counted(len(k.Accepted), "known thing"),
			slices.MinFunc(k.Accepted, func(x, y remit.ScanAccept) int { return strings.Compare(x.Until, y.Until) }).Until)
	}
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
		a.printf("  %s%s %s\n", visible(f.Text), tail, a.paint(faint, "["+visible(f.Subject)+"]"))
	}
	if len(r.Unseen) > 0 {
		if len(r.Findings) > 0 {
			a.printf("\n")
		}
		a.printf("%s\n", a.paint(yellow, "not seen"))
		for _, g := range r.Unseen {
			a.printf("  %s: %s %s\n", visible(g.What), visible(g.Why), a.paint(faint, "["+visible(g.Code)+"]"))
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
	if !r.Complete() {
		a.printf("%s: %s could not be seen, and may hide more\n", a.paint(yellow, "not clean"), counted(len(r.Unseen), "thing"))
	}
}
