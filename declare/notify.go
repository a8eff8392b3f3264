package declare

import (
	"fmt"

	"github.com/remit-dev/remit"
)

// told checks who is told of what. No error repeats a URL: what is wrong with one may be a password.
func (c *checker) told() {
	for i, x := range c.set.Notify {
		c.name(fmt.Sprintf("notify[%d].name", i), x.Name)
	}
	for i, x := range c.set.Escalations {
		c.name(fmt.Sprintf("escalations[%d].name", i), x.Name)
	}
	remit.CheckNotify(c.set, c.wrong)
}
