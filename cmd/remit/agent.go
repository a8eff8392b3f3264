package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newAgent(a *app) *cobra.Command {
	return group("agent", "Look at the registered agents, stop and resume them",
		`An agent is a registered non-human identity with an owner, one function and a list of what it may ever be given. It is
registered by declarations (remit apply); here you look at it, and stop it.`,
		`  remit agent list
  remit agent show coder
  remit agent suspend coder`,
		newAgentList(a), newAgentShow(a),
		newAgentChange(a, "suspend", "Stop an agent until it is resumed",
			"Ends everything that the agent is doing and lets nothing new begin, until remit agent resume."),
		newAgentChange(a, "resume", "Let a suspended agent work again",
			"Lets a suspended agent work again. What was ended when it was suspended stays ended."),
		newAgentChange(a, "retire", "End an agent for good",
			"Ends everything that the agent is doing, for good: its name is never used again. You are asked before, unless --yes is given."),
		newRevive(a))
}

func newAgentList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the registered agents",
		Long:  "Lists every registered agent with its function, owner, state, live tasks and when it last did something.",
		Example: `  remit agent list
  remit agent list -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			agents, err := s.Agents(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(agents, func() {
				if len(agents) == 0 {
					a.printf("no agents are declared\n")
					return
				}
				rows := make([][]string, len(agents))
				for i, g := range agents {
					last := "never"
					if g.LastUse != nil {
						last = a.when(*g.LastUse)
					}
					rows[i] = []string{visible(g.Name), visible(string(g.Function)), visible(string(g.Status)), visible(g.Owner), fmt.Sprint(len(g.Tasks)), last, short(g.Purpose, 50)}
				}
				a.table([]string{"AGENT", "FUNCTION", "STATUS", "OWNER", "TASKS", "LAST USE", "PURPOSE"}, rows)
			})
		},
	}
}

func newAgentShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show AGENT",
		Short:   "Show one agent and what it may ever be given",
		Long:    "Shows an agent's identity, owner and state, what it may ever be given, who may request work from it, and its live tasks.",
		Example: "  remit agent show coder\n  remit agent show coder -o json",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			g, err := s.Agent(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(g, func() { a.printAgent(g) })
		},
	}
}

func (a *app) printAgent(g remit.AgentView) {
	a.printf("%s  %s\n", a.paint(bold, visible(g.Name)), a.paint(tone(string(g.Status)), visible(string(g.Status))))
	a.field("function", visible(string(g.Function)))
	a.field("identity", visible(g.SPIFFEID))
	a.field("owner", visible(g.Owner))
	a.field("purpose", visibleText(g.Purpose))
	a.field("may ever", scopeLines(g.Entitlements))
	a.field("requesters", list(g.Requesters))
	if g.Expires != nil {
		a.field("expires", stamp(*g.Expires)+" ("+a.when(*g.Expires)+")")
	}
	if g.Review != nil {
		a.field("review by", stamp(*g.Review)+" ("+a.when(*g.Review)+")")
	}
	if g.LastUse != nil {
		a.field("last use", a.when(*g.LastUse))
	}
	if g.Idle != nil {
		a.field("unused", fmt.Sprintf("it is %s by itself since %s: remit agent revive %s", visible(string(g.Status)), stamp(*g.Idle), visible(g.Name)))
	}
	a.field("tasks", list(g.Tasks))
}

func newAgentChange(a *app, how, summary, long string) *cobra.Command {
	yes := how != "retire"
	c := &cobra.Command{
		Use: how + " AGENT", Short: summary, Long: long, Args: one,
		Example: "  remit agent " + how + " coder",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.confirm(yes, fmt.Sprintf("retire agent %s for good?", visible(args[0]))); err != nil {
				return err
			}
			if err := s.ChangeAgent(cmd.Context(), args[0], how); err != nil {
				return err
			}
			g, err := s.Agent(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(g, func() { a.printf("%s is %s\n", visible(g.Name), visible(string(g.Status))) })
		},
	}
	if how == "retire" {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
		c.Example += "\n  remit agent retire coder --yes"
	}
	return c
}
