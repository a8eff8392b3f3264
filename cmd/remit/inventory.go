package main

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newInventory(a *app) *cobra.Command {
	var q remit.InventoryQuery
	var unused span
	var asCSV bool
	c := &cobra.Command{
		Use:   "inventory [KIND]",
		Short: "List what there is, who answers for it and its last use",
		Long: `Lists what the log knows: people, agents, instances, entitlements, grants, leases, credentials, tools, repositories,
pipelines, artifacts, environments and secrets, each with who answers for it, its state, and the entries of the log that made
it and used it last. What nobody answers for comes first. KIND is one of those words, in the singular.`,
		Example: `  remit inventory
  remit inventory agent
  remit inventory --unused 30d
  remit inventory --owner -               # what nobody answers for
  remit inventory entitlement --csv > entitlements.csv`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("it takes one kind, not %d: %s", len(args), usageOf(c))
			}
			if len(args) == 1 && !slices.Contains(remit.AssetKinds(), args[0]) {
				return fmt.Errorf("there is no kind %q; there are %s", args[0], strings.Join(remit.AssetKinds(), ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Unused = time.Duration(unused); len(args) == 1 {
				q.Kind = args[0]
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			var all remit.Inventory
			for q.Limit = 500; ; q.After = all.After {
				page, err := s.Inventory(cmd.Context(), q)
				if err != nil {
					return err
				}
				page.Assets = append(all.Assets, page.Assets...)
				if all = page; all.After == "" {
					break
				}
			}
			if asCSV {
				return a.inventoryCSV(all.Assets)
			}
			return a.print(all, func() { a.printInventory(all, time.Duration(unused)) })
		},
	}
	c.Flags().StringVar(&q.Owner, "owner", "", "only what this person, or \"group NAME\", answers for; - for what nobody does")
	c.Flags().Var(&unused, "unused", "only what was not used for so long, such as 30d")
	c.Flags().BoolVar(&asCSV, "csv", false, "print comma-separated values (RFC 4180)")
	c.AddCommand(newScan(a))
	return c
}

func (a *app) printInventory(all remit.Inventory, unused time.Duration) {
	if len(all.Assets) == 0 {
		a.printf("there is nothing like that\n")
		return
	}
	rows := make([][]string, len(all.Assets))
	for i, x := range all.Assets {
		owner := visible(x.Owner)
		if x.Owner == "" {
			owner = "nobody: " + visible(x.Unowned)
		}
		rows[i] = []string{x.Kind, visible(x.Name), visible(x.State), owner, a.entryTime(x.Created, x.CreatedAt, "-"), a.entryTime(x.Last, x.LastAt, "never"), short(x.Text, 60)}
	}
	a.table([]string{"KIND", "NAME", "STATE", "ANSWERS FOR IT", "CREATED", "LAST USE", "WHAT"}, rows)
	var kinds, unowned, idle []string
	for _, n := range all.Counts {
		kinds = append(kinds, countedKind(n.All, n.Kind))
		if n.Unowned > 0 {
			unowned = append(unowned, countedKind(n.Unowned, n.Kind))
		}
		if n.Unused > 0 {
			idle = append(idle, countedKind(n.Unused, n.Kind))
		}
	}
	a.printf("\n%s\n", strings.Join(kinds, ", "))
	if len(unowned) > 0 {
		a.printf("%s %s\n", a.paint(red, "nobody answers for"), strings.Join(unowned, ", "))
	}
	if unused > 0 {
		a.printf("not used for %s: %s\n", spanText(unused), strings.Join(idle, ", "))
	}
	if all.Forgotten {
		a.printf("%s more was used than is remembered: where no last use is said, there may be one\n", a.paint(yellow, "note:"))
	}
}

// countedKind is so many things of a kind: 1 person, 2 people, 3 repositories.
func countedKind(n int, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	switch kind {
	case "person":
		return fmt.Sprintf("%d people", n)
	case "repository":
		return fmt.Sprintf("%d repositories", n)
	}
	return fmt.Sprintf("%d %ss", n, kind)
}

// entryTime is a time with the entry of the log that says so; none is what stands there where no entry does.
func (a *app) entryTime(entry remit.EntryIndex, at *time.Time, none string) string {
	switch {
	case at == nil && entry == 0:
		return none
	case at == nil:
		return fmt.Sprintf("entry %d", entry)
	}
	return fmt.Sprintf("%s (entry %d)", a.when(*at), entry)
}

// inventoryCSV writes a line for each thing, with a header. A cell that a spreadsheet would run as a formula is written
// as text.
func (a *app) inventoryCSV(list []remit.Asset) error {
	w := csv.NewWriter(a.stdout)
	date := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	lines := [][]string{{"kind", "name", "owner", "unowned", "state", "text", "created", "created_at", "last", "last_at"}}
	for _, x := range list {
		lines = append(lines, []string{x.Kind, x.Name, x.Owner, x.Unowned, x.State, x.Text, fmt.Sprint(x.Created), date(x.CreatedAt), fmt.Sprint(x.Last), date(x.LastAt)})
	}
	for _, l := range lines {
		for i := range l {
			if l[i] = visible(l[i]); l[i] != "" && strings.ContainsRune("=+-@", rune(l[i][0])) {
				l[i] = "'" + l[i]
			}
		}
	}
	return w.WriteAll(lines)
}
