package declare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/cadence"
)

// reviews checks campaigns and what else is declared of reviews.
func (c *checker) reviews() {
	for i := range c.set.Campaigns {
		c.campaign(fmt.Sprintf("campaigns[%d]", i), &c.set.Campaigns[i])
	}
	r := c.set.Reviews
	if r == nil {
		return
	}
	declared, err := c.set.DeclaredReviews()
	if c.member(err) && declared.SuspendAfter > 0 && declared.RetireAfter > 0 && declared.RetireAfter <= declared.SuspendAfter {
		c.wrong("reviews.retire_after", "an agent retires after it was suspended, so this is longer than suspend_after (%s), not %s",
			remit.FormatSpan(declared.SuspendAfter), remit.FormatSpan(declared.RetireAfter))
	}
	if r.Fallback != "" {
		c.isGroup("reviews.fallback", r.Fallback)
	}
}

// member says what an error of the declarations' own says; true: there is none.
func (c *checker) member(err error) bool {
	var at *remit.DeclarationError
	if errors.As(err, &at) {
		c.wrong(at.Path, "%s", at.Sentence)
	}
	return err == nil
}

func (c *checker) campaign(at string, x *remit.Campaign) {
	c.name(at+".name", x.Name)
	agents := map[string]bool{}
	for _, a := range c.set.Agents {
		agents[a.Name] = true
	}
	for i, p := range x.Agents {
		line := fmt.Sprintf("%s.agents[%d]", at, i)
		begin, starred := strings.CutSuffix(p, "*")
		switch {
		case begin == "" && starred:
			c.wrong(line, "all agents are meant where agents is left out")
		case begin == "" || strings.Contains(begin, "*"):
			c.wrong(line, "%q: write the name of an agent, or the beginning of names and one * at its end", p)
		case starred && !slices.ContainsFunc(c.set.Agents, func(a remit.Agent) bool { return strings.HasPrefix(a.Name, begin) }):
			c.wrong(line, "no declared agent's name begins with %q", begin)
		case !starred && !agents[p]:
			c.wrong(line, "no agent %q is declared%s", p, c.near(p, agents))
		}
	}
	c.functions(at+".functions", x.Functions)
	for i, o := range x.Owners {
		c.isPerson(fmt.Sprintf("%s.owners[%d]", at, i), o)
	}
	if _, err := cadence.Parse(x.Cadence); err != nil {
		c.wrong(at+".cadence", "%v", err)
	}
	_, err := x.Declared(at, nil)
	c.member(err)
	for i, g := range x.Reviewers {
		c.isGroup(fmt.Sprintf("%s.reviewers[%d]", at, i), g)
	}
	if x.Fallback != "" {
		c.isGroup(at+".fallback", x.Fallback)
	}
	if x.Canaries < 0 || x.Canaries > remit.MaxCanaries {
		c.wrong(at+".canaries", "a run has 0 to %d canaries, not %d", remit.MaxCanaries, x.Canaries)
	}
}

// activations holds the declarations of what is tried before it is in force to their form.
func (c *checker) activations() {
	for i := range c.set.Activation {
		at, a := fmt.Sprintf("activation[%d]", i), &c.set.Activation[i]
		c.oneOf(at+".name", a.Name, "policy", "declarations")
		if q := a.MaxMoreQuestions; q != nil && *q < 0 {
			c.wrong(at+".max_more_questions", "a bound on questions is 0 or more; leave it out for none")
		}
	}
}
