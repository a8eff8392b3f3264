package declare

import (
	"fmt"

	"github.com/remit-dev/remit"
)

// asks checks how often groups may be asked.
func (c *checker) asks() {
	for i, g := range c.set.Groups {
		if a := g.Asks; a != (remit.Asks{}) && (a.Most < 1 || a.Most > 1000 || a.Hours < 1 || a.Hours > 168) {
			c.wrong(fmt.Sprintf("groups[%d].asks", i), "write {most: 20, hours: 24}: at most 1 to 1,000 requests in 1 to 168 hours")
		}
	}
}

// glass checks break-glass.
func (c *checker) glass() {
	for i := range c.set.BreakGlass {
		at, g := fmt.Sprintf("break_glass[%d]", i), &c.set.BreakGlass[i]
		c.name(at+".name", g.Name)
		for j, w := range g.Who {
			c.isGroup(fmt.Sprintf("%s.who[%d]", at, j), w)
		}
		if len(g.Who) == 0 {
			c.wrong(at+".who", "who names the groups whose members open it")
		}
		c.isGroup(at+".reviewers", g.Reviewers)
		if g.Minutes < 1 || g.Minutes > 240 {
			c.wrong(at+".minutes", "it is open for 1 to 240 minutes")
		}
		if g.ReviewHours < 1 || g.ReviewHours > 168 {
			c.wrong(at+".review_hours", "it is reviewed within 1 to 168 hours")
		}
		if len(g.Scope) == 0 {
			c.wrong(at+".scope", "scope says what passes under it")
		}
		for j := range g.Scope {
			c.scope(fmt.Sprintf("%s.scope[%d]", at, j), &g.Scope[j], "", false)
		}
	}
}
