package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/declare"
)

// inspect drafts the effects of the repository at path from the workflow files on its default branch.
func inspect(ctx context.Context, path, name string) (analysis.Draft, string, error) {
	tmp, err := os.MkdirTemp("", "remit-inspect-")
	if err != nil {
		return analysis.Draft{}, "", err
	}
	defer os.RemoveAll(tmp)
	abs, err := filepath.Abs(path)
	if err != nil {
		return analysis.Draft{}, "", err
	}
	g, err := newPlainGit(tmp, abs, filepath.Join(abs, ".git"))
	if err != nil {
		return analysis.Draft{}, "", err
	}
	head, err := g.run(ctx, abs, "symbolic-ref", "HEAD")
	if err != nil {
		return analysis.Draft{}, "", remit.Errorf(remit.BadRequest, "%s: not a git repository with a branch checked out: %w", path, err)
	}
	branch := strings.TrimPrefix(head, "refs/heads/")
	files, err := g.workflowFiles(ctx, abs, branch)
	if err != nil {
		return analysis.Draft{}, "", err
	}
	return analysis.DraftEffects(name, branch, files), branch, nil
}

func newInspect(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Draft a repository's effects from its workflow files",
		Long: `Reads the workflow files on the default branch of a repository and drafts what a push to it sets off: builds, whether
they see secrets, deployments. The draft is YAML for a person to confirm and to put into the declarations; what cannot
be told counts as the widest.`,
		Example: `  remit inspect ~/src/payments --name forge/acme/payments`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				name = "forge/" + filepath.Base(strings.TrimSuffix(args[0], "/"))
			}
			d, branch, err := inspect(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"repository": name, "default_branch": branch, "effects": d.Effects, "environments": d.Environments, "notes": d.Notes}, func() {
				effects := d.Effects
				set := &remit.Declarations{Environments: d.Environments, Repositories: []remit.Repository{{Name: name, DefaultBranch: branch, Effects: &effects}}}
				for _, n := range d.Notes {
					fmt.Fprintf(a.stdout, "# %s\n", visible(n))
				}
				files := declare.Write(set)
				for _, f := range []string{"environments.yaml", "repositories.yaml"} {
					a.stdout.Write(files[f])
				}
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "the name that the repository is declared by, UPSTREAM/PATH")
	return c
}
