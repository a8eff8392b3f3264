package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newFindings(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "findings",
		Short: "What the detections found in the log",
		Long: `Lists what the server's detections found, newest first: an agent that keeps being refused or feels its way along its limits,
one task at work on two hosts, work at hours when its person's tasks never worked, a ref that moved outside Remit, a broad
grant that nobody uses. Each finding names the entries in which it shows: remit why ENTRY explains a decision.

A declaration of kind detection with suspend: true has the agent suspended; otherwise a finding is recorded and nothing
else happens.`,
		Example: `  remit findings
  remit findings -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			list, err := s.Findings(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() {
				if len(list) == 0 {
					a.printf("the detections found nothing\n")
				}
				for _, f := range list {
					about := []string{}
					for _, x := range []struct{ name, value string }{{"agent", f.Agent}, {"task", string(f.Task)}, {"instance", string(f.Instance)}} {
						if x.value != "" {
							about = append(about, x.name+" "+visible(x.value))
						}
					}
					entries := []string{}
					for _, e := range f.Entries {
						entries = append(entries, fmt.Sprint(e))
					}
					done := ""
					if f.Suspended {
						done = "; " + a.paint(red, "the agent was suspended")
					}
					a.printf("%s %s: %s, %d times, in entries %s%s\n", a.paint(faint, fmt.Sprintf("%6d  %s", f.Entry, f.At.Format(time.RFC3339))),
						a.paint(yellow, visible(f.Detection)), strings.Join(about, ", "), f.Count, strings.Join(entries, " "), done)
				}
			})
		},
	}
}
