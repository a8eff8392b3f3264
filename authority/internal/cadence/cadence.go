// Package cadence reads when a campaign comes again. It is a function of its arguments: all times are UTC, whatever the
// machine says.
package cadence

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// longest bounds the text of a cadence, in bytes.
const longest = 64

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Parse reads cron's five fields, in UTC. Minute and hour are one number each, so it comes once a day at most; there are
// no zones, no @every and no seconds. One that never comes (30 2 30 2 *) is refused.
func Parse(s string) (cron.Schedule, error) {
	fields := strings.Split(s, " ")
	if len(s) > longest || len(fields) != 5 {
		return nil, fmt.Errorf("%.*q is not five fields, minute hour day month weekday, with one blank between: 0 9 1 */3 *", longest, s)
	}
	for i, f := range fields {
		allowed := "0123456789"
		if i > 1 {
			allowed += "*,/-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		}
		if f == "" || strings.Trim(f, allowed) != "" {
			return nil, fmt.Errorf("%q: field %d is %q; minute and hour are one number each, in UTC", s, i+1, f)
		}
	}
	c, err := parser.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s, err)
	}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("%q: there is no such day", s)
	}
	return c, nil
}

// Slot is the newest time of a cadence after last, and at now at the latest; 0: there is none, or the cadence is none.
// Times that passed while nobody looked are one. All are Unix nanoseconds.
func Slot(s string, last, now int64) int64 {
	c, err := Parse(s)
	if err != nil {
		return 0
	}
	var out int64
	// Once a day at most: ten years that nobody looked are some thousand steps, once.
	for t := c.Next(time.Unix(0, last).UTC()); !t.IsZero() && t.UnixNano() <= now; t = c.Next(t) {
		out = t.UnixNano()
	}
	return out
}
