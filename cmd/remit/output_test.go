package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

func TestJSONKeepsItsValueAndShowsNothingThatMisleads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("\u202e\u2066\u200b\u009b\ufeff\U000e0041\u3164\x7f")))).Draw(t, "in")
		in = strings.ToValidUTF8(in, "?")
		b, err := json.Marshal(map[string]string{"intent": in})
		if err != nil {
			t.Fatal(err)
		}
		shown := visibleJSON(b)
		for _, r := range string(shown) {
			if r >= 0x7f && remit.Hidden(r) {
				t.Fatalf("%q shows U+%04X", shown, r)
			}
		}
		var back map[string]string
		if err := json.Unmarshal(shown, &back); err != nil || back["intent"] != in {
			t.Fatalf("%q became %q: %v", in, back["intent"], err)
		}
	})
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "4h": 4 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "0d": 0} {
		var s span
		if err := s.Set(text); text != "0d" && (err != nil || time.Duration(s) != want) {
			t.Errorf("%s: %v, %v", text, time.Duration(s), err)
		}
	}
	for _, text := range []string{"", "d", "-4h", "-1d", "1.5d", "4", "1d-1h", "+4h", "7 d", "99999d", "1h1d"} {
		var s span
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken for %v", text, time.Duration(s))
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 61 * time.Second: "1m1s", 36 * time.Hour: "1d12h", 24*time.Hour + time.Minute: "1d", 4 * time.Hour: "4h"} {
		if got := spanText(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestErrorsHaveTheirExitCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		exit int
		code remit.Code
	}{
		{"a denial", remit.Errorf(remit.OutOfScope, "no"), remit.ExitDenied, remit.OutOfScope},
		{"a hold", remit.Errorf(remit.PathProtected, "wait"), remit.ExitWaiting, remit.PathProtected},
		{"a wrapped denial", fmt.Errorf("starting an instance: %w", remit.Errorf(remit.NotLive, "ended")), remit.ExitDenied, remit.NotLive},
		{"a mistake in the command line", usagef("--agent"), remit.ExitUsage, remit.BadRequest},
		{"what the server cannot read", remit.Errorf(remit.BadRequest, "no"), remit.ExitUsage, remit.BadRequest},
		{"a damaged log", finding{remit.Errorf(remit.BadRequest, "changed")}, remit.ExitError, remit.BadRequest},
		{"a wrong declaration", &remit.DeclarationError{Path: "agents[0]", Sentence: "no"}, remit.ExitError, remit.BadRequest},
		{"wrong declarations", declare.Errors{{File: "a.yaml", Line: 2, Path: "agents[0]", Sentence: "no"}}, remit.ExitError, remit.BadRequest},
		{"anything else", errors.New("no"), remit.ExitError, remit.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, exit := describe(c.err)
			if exit != c.exit || p.Code != c.code {
				t.Errorf("exit %d, code %s; want %d, %s", exit, p.Code, c.exit, c.code)
			}
			if strings.Contains(p.Detail, "["+string(c.code)+"]") {
				t.Errorf("the code stands in the sentence as well: %s", p.Detail)
			}
		})
	}
}

func TestTraceIsATree(t *testing.T) {
	steps := []remit.TraceStep{{Depth: 0}, {Depth: 1}, {Depth: 1}, {Depth: 0}, {Depth: 1}}
	want := []string{"├─", "│  ├─", "│  └─", "└─", "   └─"}
	for i := range steps {
		if got := strings.TrimRight(branchOf(steps, i), " "); got != want[i] {
			t.Errorf("line %d hangs by %q, want %q", i, got, want[i])
		}
	}
}
