package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

func newApply(a *app) *cobra.Command {
	return newApplying(a, false, &cobra.Command{
		Use:   "apply -f DIR",
		Short: "Put declarations in force",
		Long: `Reads every *.yaml in DIR and the Rego modules in DIR/policy as one set, and puts it in force whole or not at all: what is
not in it is removed. Each change is shown with the reason if it widens what somebody may do. A widening change waits
for a second administrator where there is one: then the exit code is 75, and the request to approve is shown.`,
		Example: `  remit diff -f declarations        # first look
  remit apply -f declarations
  remit approvals approve A-41      # the other administrator, when it is held`,
	})
}

func newDiff(a *app) *cobra.Command {
	return newApplying(a, true, &cobra.Command{
		Use:   "diff -f DIR",
		Short: "Show what applying declarations would change",
		Long: `Reads DIR as apply does, checks it against what is in force and shows what would change: + for what is new, ~ for what
changes, - for what is removed, and which paths of attackers it would add (remit paths). Nothing is changed. The exit code
is that of apply: 75 when it would wait for a second administrator.`,
		Example: `  remit diff -f declarations
  remit diff -f declarations -o json`,
	})
}

func newApplying(a *app, dry bool, c *cobra.Command) *cobra.Command {
	var dir string
	c.Args = none
	c.Flags().StringVarP(&dir, "file", "f", "", "directory of the declarations")
	required(c, "file")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		set, pos, err := readDeclarations(dir)
		if err != nil {
			return err
		}
		s, err := a.connect(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.Apply(cmd.Context(), remit.ApplyRequest{Declarations: *set, DryRun: dry})
		if err != nil {
			return locate(err, dir, pos)
		}
		var out any = answer
		var paths *remit.PathsChange
		if dry && len(answer.Changes) > 0 {
			if paths, err = s.newPaths(cmd.Context(), *set); err != nil {
				a.notef("%s", visible("what it adds to the paths of attackers is not known: "+err.Error()))
			}
			out = struct {
				remit.ApplyAnswer
				Paths *remit.PathsChange `json:"paths,omitempty"`
			}{answer, paths}
		}
		if err := a.print(out, func() { a.printChanges(answer, dry); a.printAdded(paths) }); err != nil {
			return err
		}
		return verdictError(answer.Decision)
	}
	return c
}

// readDeclarations reads a directory; what is wrong in it is told with its file and line.
func readDeclarations(dir string) (*remit.Declarations, *declare.Positions, error) {
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, nil, remit.Errorf(remit.NotFound, "%s is not a directory; give the one that holds the *.yaml files", dir)
	}
	set, pos, err := declare.Read(os.DirFS(dir))
	var wrong declare.Errors
	if errors.As(err, &wrong) {
		for _, e := range wrong {
			if e.File != "" {
				e.File = filepath.Join(dir, e.File)
			} else {
				e.File = dir
			}
		}
		return nil, pos, wrong
	}
	return set, pos, err
}

// locate gives the file and line of what a server found wrong.
func locate(err error, dir string, pos *declare.Positions) error {
	var at *remit.DeclarationError
	if !errors.As(err, &at) {
		return err
	}
	file, line, ok := pos.Locate(at.Path)
	if !ok {
		return err
	}
	return &declare.Error{File: filepath.Join(dir, file), Line: line, Path: at.Path, Sentence: at.Sentence}
}

// verdictError is what a decision means to a shell.
func verdictError(d remit.Decision) error {
	switch d.Verdict {
	case remit.Allow:
		return nil
	case remit.Hold:
		return exitCode(remit.ExitWaiting)
	}
	code := d.Code
	if code == "" {
		code = remit.Forbidden
	}
	return &remit.Error{Code: code, Sentence: d.Sentence}
}

func (a *app) printChanges(answer remit.ApplyAnswer, dry bool) {
	signs := map[string]string{"add": a.paint(green, "+"), "change": a.paint(yellow, "~"), "remove": a.paint(red, "-")}
	for _, ch := range answer.Changes {
		sign, ok := signs[ch.Op]
		if !ok {
			sign = visible(ch.Op)
		}
		a.printf("%s %s %s", sign, visible(ch.Kind), visible(ch.Name))
		if ch.Details != "" {
			a.printf("  %s", visible(ch.Details))
		}
		a.printf("\n")
		if ch.Widens != "" {
			a.printf("    %s %s\n", a.paint(yellow, "widens:"), visible(ch.Widens))
		}
	}
	n, d := len(answer.Changes), answer.Decision
	switch {
	case d.Verdict == remit.Deny:
	case n == 0:
		a.printf("nothing changes\n")
	case d.Verdict == remit.Hold && dry:
		a.printf("\n%s: %s\napplying it would wait for a second administrator\n", counted(n, "change"), visible(d.Sentence))
	case d.Verdict == remit.Hold:
		a.printf("\n%s: %s\n", a.paint(yellow, "waits for a second administrator"), visible(d.Sentence))
		a.printf("%s\n", howToApprove(d.Access))
	case dry:
		a.printf("\n%s; nothing was changed\n", counted(n, "change"))
	default:
		a.printf("\n%s in force (entry %d)\n", counted(n, "change"), d.Entry)
	}
}

// howToApprove says what people type for a hold.
func howToApprove(id remit.ID) string {
	return fmt.Sprintf("  look     remit approvals show %[1]s\n  approve  remit approvals approve %[1]s\n  wait     remit wait %[1]s", visible(string(id)))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// required marks flags that must be given; a name that is no flag is a fault of the program.
func required(c *cobra.Command, names ...string) {
	for _, n := range names {
		if err := c.MarkFlagRequired(n); err != nil {
			panic(err)
		}
	}
}

func newDeclarations(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "declarations",
		Short: "Print the declarations in force",
		Long: `Prints the whole set in force as YAML, as remit apply reads it. With --dir the files are written instead: change them there
and apply the directory again. The policy's modules are written beside them; without --dir they are left out (remit
policy show prints them).`,
		Example: `  remit declarations
  remit declarations --dir declarations`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			set, err := s.Declarations(cmd.Context())
			if err != nil {
				return err
			}
			if dir != "" {
				return a.writeDeclarations(&set, dir)
			}
			return a.print(set, func() {
				set.Policy = nil
				files := declare.Write(&set)
				for _, name := range slices.Sorted(maps.Keys(files)) {
					a.printf("# %s\n%s\n", name, files[name])
				}
			})
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "directory to write the files to; files of the same names in it are replaced")
	return c
}

func (a *app) writeDeclarations(set *remit.Declarations, dir string) error {
	files := declare.Write(set)
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if !filepath.IsLocal(name) {
			return remit.Errorf(remit.Internal, "the server names a policy module %q, which would lie outside %s; nothing more was written", visible(name), dir)
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("writing the declarations: %w", err)
		}
		if err := os.WriteFile(to, files[name], 0o644); err != nil {
			return fmt.Errorf("writing the declarations: %w", err)
		}
	}
	return a.print(set, func() {
		for _, name := range names {
			a.printf("%s\n", filepath.Join(dir, name))
		}
	})
}
