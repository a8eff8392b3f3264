package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

// explanation is a decision with for whom it was.
type explanation struct {
	remit.DecisionView
	Requester string `json:"requester,omitempty"`
	Intent    string `json:"intent,omitempty"` // the requester's words
}

func newWhy(a *app) *cobra.Command {
	var file, trust string
	c := &cobra.Command{
		Use:   "why ENTRY",
		Short: "Say why something was allowed, denied or held",
		Long: `Explains the decision at an entry of the log: the verdict, the rules that made it, the sentence that the agent was told, who
asked, for whom and what. It is derived again while you wait, so that you see that it still follows from what was known
then. With --file it is derived from an exported log, without any server.`,
		Example: `  remit why 118
  remit why 118 --file log.bundle --trust log.trust`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 63)
			if err != nil {
				return usagef("%q is not the number of an entry; denials and remit trace show it", args[0])
			}
			if trust != "" && file == "" {
				return usagef("--trust goes with --file, the exported log")
			}
			var x explanation
			if file != "" {
				x, err = explainFromBundle(cmd.Context(), file, trust, remit.EntryIndex(n))
				if err == nil && trust == "" {
					a.notef("remit: without --trust this shows only that the bundle is consistent with itself")
				}
			} else {
				x, err = a.explainOnline(cmd, remit.EntryIndex(n))
			}
			if err != nil {
				return err
			}
			return a.print(x, func() { a.printExplanation(x) })
		},
	}
	c.Flags().StringVar(&file, "file", "", "exported log to derive it from, instead of asking the server")
	c.Flags().StringVar(&trust, "trust", "", "trust file for it, from remit log checkpoint")
	return c
}

func (a *app) explainOnline(cmd *cobra.Command, entry remit.EntryIndex) (explanation, error) {
	s, err := a.connect(cmd.Context())
	if err != nil {
		return explanation{}, err
	}
	d, err := s.Decision(cmd.Context(), entry)
	if err != nil {
		return explanation{}, err
	}
	x := explanation{DecisionView: d}
	if d.Task != "" {
		t, err := s.Task(cmd.Context(), d.Task)
		if err != nil && !isCode(err, remit.NotFound) {
			return x, err
		}
		x.Requester, x.Intent = t.Requester, t.Intent
	}
	return x, nil
}

func (a *app) printExplanation(x explanation) {
	verdict := x.Verdict.String()
	a.printf("%s  entry %d, %s", a.paint(tone(verdict), verdict), x.Entry, stamp(x.At))
	if x.Code != "" {
		a.printf("  [%s]", visible(string(x.Code)))
	}
	a.printf("\n")
	sentence := x.Sentence
	if sentence == "" {
		sentence = x.Meaning
	}
	a.field("because", visibleText(sentence))
	a.field("rules", list(x.Rules))
	a.field("observed", observedLines(x.Observed))
	who := visible(x.Agent)
	if who != "" {
		who = "agent " + who
	}
	if x.Instance != "" {
		who += ", instance " + visible(string(x.Instance))
	}
	if x.Executor != "" {
		who += ", carried out by " + visible(x.Executor)
	}
	a.field("who", who)
	if x.Task != "" {
		whom := visible(x.Requester)
		if whom == "" {
			whom = "(gone)"
		}
		a.field("for whom", whom+", task "+visible(string(x.Task)))
	}
	a.field("intent", quoted(x.Intent))
	a.field("what", stepLines(x.Steps))
	a.field("refs", refLines(x.Refs))
	a.field("at", "gateway "+visible(x.Gateway))
	a.field("request", visible(string(x.Access)))
	a.field("outcome", visible(string(x.Outcome)))
	if !x.Policy.IsZero() {
		a.field("policy", x.Policy.String())
	}
	if x.ErasedBy != 0 {
		a.field("derived", a.paint(yellow, fmt.Sprintf("not derived again: what it was decided on was erased by entry %d", x.ErasedBy)))
	} else if x.Derived {
		a.field("derived", a.paint(green, "deciding it again just now gave the same"))
	} else {
		a.field("derived", a.paint(yellow, "not derived again: what it was decided on is gone, or it was a limit such as a time-out"))
	}
	if x.Verdict != remit.Allow && x.Task != "" {
		a.printf("\n%s\n", fmt.Sprintf("the whole story: remit trace %s", visible(string(x.Task))))
	}
}
