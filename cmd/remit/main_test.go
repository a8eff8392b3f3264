package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// The test binary is also the remit binary, when it is called by that name, and when it calls itself: os.Executable sees
// through a link, and tests that ran in place of git's credential helper would start themselves without end.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__hub" {
		serveHub()
		os.Exit(0)
	}
	moveClock()
	if filepath.Base(os.Args[0]) == "remit" || len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "__") {
		main()
	}
	os.Exit(m.Run())
}

// TestScripts runs what needs no server. In a script, `exec remit` is the whole command line.
func TestScripts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "remit")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExitCode, "makelog": cmdMakeLog, "damage": cmdDamage,
		},
	})
}

// commands walks the command line.
func commands(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		commands(sub, visit)
	}
}

func TestEveryCommandHasASummaryAParagraphAndExamples(t *testing.T) {
	root := newRoot(testApp(t, nil))
	n := 0
	commands(root, func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		n++
		switch {
		case c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 80:
			t.Errorf("%s: its summary is %q; one line, without a full stop", c.CommandPath(), c.Short)
		case len(c.Long) < 60:
			t.Errorf("%s: a paragraph says what it does; this is %q", c.CommandPath(), c.Long)
		case !strings.Contains(c.Example, "remit "):
			t.Errorf("%s: it has no example", c.CommandPath())
		}
	})
	if n < 40 {
		t.Errorf("only %d commands were looked at", n)
	}
}

// Every example in a help text is a command line that parses, and so is one that a reader may copy.
func TestExamplesParse(t *testing.T) {
	commands(newRoot(testApp(t, nil)), func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "  ") // a remark follows
			words := split(line)
			if len(words) < 2 || words[0] != "remit" {
				continue
			}
			for _, stop := range []string{"|", "||", "&&", ">", "<", "#"} {
				for i, w := range words {
					if w == stop {
						words = words[:i]
						break
					}
				}
			}
			a := testApp(t, nil)
			root := newRoot(a)
			found, rest, err := root.Find(words[1:])
			if err != nil || found == root {
				t.Errorf("%s: the example %q is no command: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: the example %q does not parse: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: the example %q: %v", c.CommandPath(), line, err)
			}
		}
	})
}

// split parts a line as a shell would, for the quotes that examples use.
func split(line string) []string {
	var words []string
	var word strings.Builder
	quote, in := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case quote == 0 && r == ' ':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
