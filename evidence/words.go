package evidence

import (
	"strconv"
	"strings"
	"time"
)

// some is a number with the word for one or for many.
func some(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }

// days is a span for people.
func days(nanos int64) string {
	return some(int(time.Duration(nanos)/(24*time.Hour)), "day", "days")
}

// names lists names, and how many more there are.
func names(all []string) string {
	if len(all) > 8 {
		return strings.Join(all[:8], ", ") + " and " + strconv.Itoa(len(all)-8) + " more"
	}
	return strings.Join(all, ", ")
}
