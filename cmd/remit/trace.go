package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newTrace(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "trace TASK",
		Short: "Tell the story of a task from intent to outcome",
		Long: `Draws everything that happened in a task as a tree: who asked, what was tried, how it was decided, who voted, what came of it.
The numbers are entries of the log; remit why explains the decisions among them.`,
		Example: `  remit trace T-12
  remit trace T-12 -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			t, err := s.Trace(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.print(t, func() { a.printTrace(t) })
		},
	}
}

func (a *app) printTrace(t remit.Trace) { a.printStory(t, "") }

// printStory prints a task's story, and those of the tasks that it asked for below it, further to the right.
func (a *app) printStory(t remit.Trace, in string) {
	a.printf("%s%s  %s  agent %s for %s\n", in, a.paint(bold, visible(string(t.Task.ID))), a.paint(tone(string(t.Task.Status)), visible(string(t.Task.Status))),
		visible(t.Task.Agent), visible(t.Task.Requester))
	if t.Task.Intent != "" {
		a.printf("%s%s\n", in, quoted(t.Task.Intent))
	}
	day := ""
	for i, s := range t.Steps {
		at := s.At.Local()
		if d := at.Format("2006-01-02"); d != day {
			day = d
			a.printf("%s%s\n", in, a.paint(faint, day))
		}
		a.printf("%s%s %s %s\n", in, a.paint(faint, fmt.Sprintf("%6d  %s", s.Entry, at.Format("15:04:05"))), branchOf(t.Steps, i), a.traceLine(s))
	}
	for _, child := range t.Children {
		a.printf("\n")
		a.printStory(child, in+"    ")
	}
}

// branchOf is how a line hangs in the tree: depth 1 hangs from the line before it at depth 0.
func branchOf(steps []remit.TraceStep, i int) string {
	follows := func(i int) bool { return i < len(steps) && steps[i].Depth > 0 }
	last := true // no other line at depth 0 comes after
	for _, s := range steps[i+1:] {
		last = last && s.Depth > 0
	}
	trunk, own := "│", "├─"
	if last {
		own = "└─"
		trunk = " "
	}
	if steps[i].Depth == 0 {
		return own
	}
	if follows(i + 1) {
		return trunk + "  ├─"
	}
	return trunk + "  └─"
}

func (a *app) traceLine(s remit.TraceStep) string {
	parts := []string{visible(s.Actor)}
	if s.Action != "" {
		parts = append(parts, visible(s.Action))
	}
	if s.Resource != "" {
		parts = append(parts, visible(s.Resource))
	}
	if s.Verdict != "" {
		parts = append(parts, a.paint(tone(s.Verdict), visible(s.Verdict)))
	}
	line := strings.Join(parts, " ")
	switch {
	case s.Sentence == "" && s.Action == "" && s.Verdict == "":
		line += " " + visible(s.Kind)
	case s.Sentence != "" && s.Action == "" && s.Verdict == "":
		line += " " + visible(s.Sentence)
	case s.Sentence != "":
		line += ": " + visible(s.Sentence)
	}
	if s.Code != "" {
		line += " [" + visible(string(s.Code)) + "]"
	}
	if s.ErasedBy != 0 {
		line += a.paint(faint, fmt.Sprintf(" (what it was decided on was erased by entry %d)", s.ErasedBy))
	}
	return line
}
