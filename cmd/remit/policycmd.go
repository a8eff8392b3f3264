package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/policy"
)

func newPolicy(a *app) *cobra.Command {
	return group("policy", "Check, test and try policy before it is in force",
		`Policy is Rego in files of DIR: it can deny or hold what the compiled rules would allow, and never allows anything. check, test
and digest need no server; try judges what really happened again under DIR. remit apply puts it in force.`,
		`  remit policy check declarations/policy
  remit policy test declarations/policy
  remit policy try declarations/policy --since 7d`,
		newPolicyCheck(a), newPolicyTest(a), newPolicyDigest(a), newPolicyShow(a), newPolicyTry(a), newPolicyTrials(a), newPolicyLint(a), newPolicySuggest(a))
}

// maxModule is the largest module, in bytes.
const maxModule = declare.MaxFile

// readPolicy reads the modules *.rego that lie directly in dir, as remit apply does; for the directory of declarations,
// those in its policy directory.
func readPolicy(dir string) ([]remit.PolicyFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	var files []remit.PolicyFile
	inner := false
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.Name() == "policy" && e.IsDir() {
			inner = true
		}
		if e.IsDir() || filepath.Ext(e.Name()) != ".rego" {
			continue
		}
		fi, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("reading the policy: %w", err)
		}
		if !fi.Mode().IsRegular() || fi.Size() > maxModule {
			return nil, remit.Errorf(remit.BadRequest, "%s is not a file of at most %d bytes", name, maxModule)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the policy: %w", err)
		}
		files = append(files, remit.PolicyFile{Name: e.Name(), Text: string(b)})
	}
	if len(files) == 0 && inner {
		return readPolicy(filepath.Join(dir, "policy"))
	}
	if len(files) == 0 {
		return nil, remit.Errorf(remit.NotFound, "%s has no file *.rego; give the directory that holds the modules", dir)
	}
	return files, nil
}

func newPolicyCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR",
		Short: "Compile a policy and say what is wrong with it",
		Long: `Compiles the modules of DIR as the server would, and finds more that a server would only find when it judges: rules without
a name or a text, misspelt members of input, helpers that do not exist. Warnings name rules that are evaluated for
every request. It needs no server.`,
		Example: `  remit policy check declarations/policy
  remit policy check declarations/policy -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			warnings, err := policy.Check(cmd.Context(), files)
			if err != nil {
				return err
			}
			b, err := policy.Compile(cmd.Context(), files)
			if err != nil {
				return err
			}
			type warning struct {
				File     string `json:"file"`
				Line     int    `json:"line"`
				Column   int    `json:"column"`
				Sentence string `json:"sentence"`
			}
			out := struct {
				Digest   remit.Digest `json:"digest"`
				Modules  int          `json:"modules"`
				Warnings []warning    `json:"warnings"`
			}{Digest: b.Digest(), Modules: len(files), Warnings: []warning{}}
			for _, w := range warnings {
				out.Warnings = append(out.Warnings, warning{w.File, w.Line, w.Column, w.Sentence})
			}
			return a.print(out, func() {
				for _, w := range warnings {
					a.printf("%s %s\n", a.paint(yellow, "warning:"), visible(w.String()))
				}
				a.printf("%s, digest %s\n", counted(len(files), "module"), b.Digest())
			})
		},
	}
}

func newPolicyTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR",
		Short: "Run the tests of a policy",
		Long: `Runs the rules test_… in the modules of DIR, as remit apply does before a policy comes into force. A test that is skipped
did not pass. It needs no server.`,
		Example: `  remit policy test declarations/policy
  remit policy test declarations/policy -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			report, err := policy.Test(cmd.Context(), files)
			if err != nil {
				return err
			}
			type result struct {
				Name   string `json:"name"`
				File   string `json:"file"`
				Line   int    `json:"line"`
				Passed bool   `json:"passed"`
				Why    string `json:"why,omitempty"`
			}
			out := []result{}
			for _, r := range report.Results {
				out = append(out, result{r.Name, r.File, r.Line, r.Passed, r.Why})
			}
			failed := report.Failed()
			if err := a.print(out, func() {
				for _, r := range failed {
					a.printf("%s %s:%d: %s: %s\n", a.paint(red, "FAIL"), visible(r.File), r.Line, visible(r.Name), visible(r.Why))
				}
				if len(out) == 0 {
					a.printf("there are no tests; write rules named test_… in a module whose package ends in _test\n")
					return
				}
				a.printf("%d of %s passed\n", len(out)-len(failed), counted(len(out), "test"))
			}); err != nil {
				return err
			}
			if len(failed) > 0 {
				return exitCode(remit.ExitError)
			}
			return nil
		},
	}
}

func newPolicyDigest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "digest DIR",
		Short: "Print the digest that names a policy in the log",
		Long: `Prints the SHA-256 by which every decision in the log names the policy that it was judged by. It depends on the names and the
texts of the modules only. It needs no server.`,
		Example: `  remit policy digest declarations/policy
  test "$(remit policy digest declarations/policy)" = "$(remit policy show -o json | jq -r .digest)"`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			b, err := policy.Compile(cmd.Context(), files)
			if err != nil {
				return err
			}
			out := struct {
				Digest remit.Digest `json:"digest"`
			}{b.Digest()}
			return a.print(out, func() { a.printf("%s\n", out.Digest) })
		},
	}
}

func newPolicyShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the policy in force",
		Long:  "Prints the modules of the policy in force and the digest that names it in the log.",
		Example: `  remit policy show
  remit policy show -o json | jq -r .digest`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			p, err := s.Policy(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(p, func() {
				a.printf("# digest %s\n", p.Digest)
				for _, f := range p.Files {
					a.printf("\n# --- %s\n%s\n", visible(f.Name), strings.TrimRight(visibleText(f.Text), "\n"))
				}
			})
		},
	}
}
