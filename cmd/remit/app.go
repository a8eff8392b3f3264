package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/policy"
)

// app is what every command has: where it reads and writes, whose environment it runs in, and how it is asked to
// speak. One app is one invocation.
type app struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(name string) (string, bool)
	now            func() time.Time
	more           []func(*app) *cobra.Command // commands that other files bring: server, init, quickstart …

	output      string // -o: text (or empty) or json
	flags       profile
	started     bool              // a command ran: what goes wrong from here on is not a mistake in the command line
	passphrases map[string][]byte // by path of the key; asked once per invocation
}

// newApp is the invocation of this process. ctx ends when the person interrupts.
func newApp(ctx context.Context) *app {
	return &app{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, now: machine.Now,
		more: []func(*app) *cobra.Command{newQuickstart, newInit, newServer, newRestore, newBackup, newInspect, newMCP, newDoctor}}
}

// exitCode ends a command with a code and nothing more to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a mistake in the command line.
type usageError struct {
	err  error
	hint string // where to read what would be right
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: remit.Errorf(remit.BadRequest, format, args...)}
}

// run executes one command line and gives its exit code: 0 done, 1 error, 2 usage, 3 denied, 75 waiting for people.
func (a *app) run(args []string) int {
	if code, ok := hidden(a, args); ok {
		return code
	}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(a.ctx)
	if err == nil {
		return remit.ExitOK
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	var usage *usageError
	if !a.started && !errors.As(err, &usage) {
		if wantsJSON(args) {
			a.output = "json"
		}
		err = &usageError{err: remit.Errorf(remit.BadRequest, "%s", strings.TrimSpace(firstLine(err.Error())))}
	}
	if errors.As(err, &usage) && usage.hint == "" {
		usage.hint = cmd.CommandPath() + " --help"
	}
	return a.fail(err)
}

// wantsJSON finds -o json in a command line that could not be parsed.
func wantsJSON(args []string) bool {
	for i, s := range args {
		switch {
		case s == "--":
			return false
		case s == "-ojson", s == "-o=json", s == "--output=json":
			return true
		case (s == "-o" || s == "--output") && i+1 < len(args) && args[i+1] == "json":
			return true
		}
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// problem is an error as -o json shows it, one object on stderr.
type problem struct {
	Code   remit.Code `json:"code"`
	Detail string     `json:"detail"`
	Path   string     `json:"path,omitempty"`
}

// fail prints err and gives its exit code.
func (a *app) fail(err error) int {
	p, exit := describe(err)
	if a.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		p, exit = problem{Code: remit.Internal, Detail: "interrupted"}, 130
	}
	if a.output == "json" {
		writeJSON(a.stderr, p)
		return exit
	}
	code := ""
	if p.Code != "" && p.Detail != "interrupted" {
		code = " [" + string(p.Code) + "]"
	}
	fmt.Fprintf(a.stderr, "remit: %s%s\n", visibleText(p.Detail), code)
	var usage *usageError
	if errors.As(err, &usage) && usage.hint != "" {
		fmt.Fprintf(a.stderr, "see: %s\n", usage.hint)
	}
	return exit
}

// finding is something wrong in what a command was given to look at, not in how it was called: exit code 1.
type finding struct{ error }

func (f finding) Unwrap() error { return f.error }

// describe gives the stable code, the sentence and the exit code of an error. A mistake in the command line is 2; what
// is wrong in declarations, a policy or an exported log is a finding, and 1; the rest stands in the registry of codes.
func describe(err error) (problem, int) {
	var usage *usageError
	isUsage := errors.As(err, &usage)
	var place *declare.Error
	var places declare.Errors
	var member *remit.DeclarationError
	var coded *remit.Error
	var found finding
	var policies policy.Problems
	exit := remit.ExitError
	switch {
	case errors.As(err, &places) && len(places) > 0:
		return problem{remit.BadRequest, err.Error(), places[0].Path}, exit
	case errors.As(err, &place):
		return problem{remit.BadRequest, err.Error(), place.Path}, exit
	case errors.As(err, &member):
		return problem{remit.BadRequest, err.Error(), member.Path}, exit
	case errors.As(err, &coded):
		switch {
		case isUsage:
			exit = remit.ExitUsage
		case !errors.As(err, &found) && !errors.As(err, &policies):
			exit = coded.Code.Info().Exit
		}
		return problem{Code: coded.Code, Detail: strings.Replace(err.Error(), " ["+string(coded.Code)+"]", "", 1)}, exit
	case errors.Is(err, fs.ErrNotExist):
		return problem{Code: remit.NotFound, Detail: err.Error()}, remit.ExitError
	}
	return problem{Code: remit.Internal, Detail: err.Error()}, remit.ExitError
}

// getenv is a variable, or the empty text.
func (a *app) getenv(name string) string {
	v, _ := a.env(name)
	return v
}

// isCode tells whether err carries one of codes.
func isCode(err error, codes ...remit.Code) bool {
	var e *remit.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

func writeJSON(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{"code":"INTERNAL","detail":"the error cannot be written as JSON"}`)
	}
	fmt.Fprintf(w, "%s\n", visibleJSON(b))
}

// file is v as a file, where it is one.
func file(v any) *os.File {
	f, _ := v.(*os.File)
	return f
}
