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

// fields are the five, in order.
var fields = []string{"minute", "hour", "day of the month", "month", "day of the week"}

// right is what every error says would be right.
const right = "write minute, hour, day of the month, month and day of the week, in UTC, such as `0 9 1 */3 *`: every quarter at nine"

// Parse reads cron's five fields, in UTC. Minute and hour are one number each, so it comes once a day at most; there are
// no zones, no @every and no seconds. One that never comes (0 9 30 2 *) is refused. Errors name the field and what would be
// right.
func Parse(s string) (cron.Schedule, error) {
	given := strings.Split(s, " ")
	if len(s) > longest || len(given) != len(fields) {
		return nil, fmt.Errorf("%.*q is not five fields with one blank between; %s", longest, s, right)
	}
	for i, f := range given {
		allowed := "0123456789"
		if i > 1 {
			allowed += "*,/-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		}
		switch {
		case f == "" || strings.Trim(f, allowed) != "" && i > 1:
			return nil, fmt.Errorf("%q: %q is no %s; %s", s, f, fields[i], right)
		case strings.Trim(f, allowed) != "":
			return nil, fmt.Errorf("%q: %q is no %s, which is one number, so that it comes once a day at most; %s", s, f, fields[i], right)
		}
		alone := []string{"0", "0", "*", "*", "*"}
		alone[i] = f
		if _, err := parser.Parse(strings.Join(alone, " ")); err != nil {
			return nil, fmt.Errorf("%q: %q is no %s (%w); %s", s, f, fields[i], err, right)
		}
	}
	c, err := parser.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q: %w; %s", s, err, right)
	}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("%q: there is no such day, so it would never come; %s", s, right)
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
