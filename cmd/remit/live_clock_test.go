package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var clockCommands = map[string]func(*testscript.TestScript, bool, []string){"pass": cmdPass}

// clockFile names the file that says how far the clock of a script's servers is ahead of the machine's.
const clockFile = "REMIT_TEST_CLOCK"

// moveClock puts a clock that can be moved into the place of the machine's, where a script says so.
func moveClock() {
	if path := os.Getenv(clockFile); path != "" {
		machine = ahead{path}
	}
}

// ahead is the machine's clock, ahead by what a file says. Time since boot goes with it: no clock was set, time has passed.
type ahead struct{ path string }

func (c ahead) by() time.Duration {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return 0
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		panic(err)
	}
	return d
}

func (c ahead) Now() time.Time                         { return time.Now().Add(c.by()) }
func (c ahead) Boot() time.Duration                    { return sinceBoot() + c.by() }
func (c ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }

// cmdPass lets time pass for the server and for who types, as if nothing happened meanwhile: pass 36h, pass 14d. Before `house`
// it makes the clock one that can be moved: pass 0d; $WEEKDAY is then today's, 0 to 6 from Sunday in UTC, and $FAR_MONTH the number of
// a month that no script comes to. Certificates and tokens of instances stay where they are.
func cmdPass(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pass TIME, such as 36h or 14d")
	}
	text := args[0]
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
	}
	d, err := time.ParseDuration(text)
	ts.Check(err)
	if strings.HasSuffix(args[0], "d") {
		d *= 24
	}
	path := ts.Getenv(clockFile)
	if path == "" {
		if worldOf(ts).server != nil {
			ts.Fatalf("pass 0d stands before house: the server goes by the machine's clock")
		}
		path = filepath.Join(worldOf(ts).dir, "clock")
		ts.Setenv(clockFile, path)
		today := time.Now().UTC()
		ts.Setenv("WEEKDAY", strconv.Itoa(int(today.Weekday())))
		ts.Setenv("FAR_MONTH", strconv.Itoa(int(today.Month()+5)%12+1))
	}
	next := path + ".next" // in one step: the server reads it at any moment
	ts.Check(os.WriteFile(next, fmt.Append(nil, ahead{path}.by()+d), 0o600))
	ts.Check(os.Rename(next, path))
}
