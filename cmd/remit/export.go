package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/export"
)

func newExport(a *app) *cobra.Command {
	var format, file string
	var from int64
	var follow bool
	c := &cobra.Command{
		Use:   "export --format ocsf|cloudevents|intoto",
		Short: "Export what happens as OCSF, CloudEvents or in-toto, for other tools to collect",
		Long: `Writes each entry of the log as one line of JSON: an OCSF 1.8 event or a CloudEvents 1.0 event. Only what stands in the log
itself is exported: names that were declared, ids, refs, codes, counts and digests; no person's name, no intent, no path.
intoto writes votes and outcomes only, each as an in-toto statement in a DSSE envelope that the server signs; its public
key is what ` + "`remit artifact key`" + ` prints.

With --file the lines are appended, and the next export to the same file goes on after the last whole line in it, also
after a crash: an entry may come twice, none is left out. The log's origin and the entry's index tell a line that came
twice (OCSF metadata.uid, CloudEvents source and id).`,
		Example: `  remit export --format ocsf --follow --file /var/log/remit/events.jsonl
  remit export --format cloudevents --from 100`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, next := io.Writer(a.stdout), remit.EntryIndex(max(from, 0))
			if file != "" {
				f, last, some, err := export.OpenFile(file, format)
				if err != nil {
					return err
				}
				defer f.Close()
				out = f
				if some && from < 0 {
					next = last + 1
				}
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			return a.export(cmd.Context(), s, out, format, next, follow)
		},
	}
	c.Flags().StringVar(&format, "format", "", "ocsf, cloudevents or intoto")
	c.Flags().StringVar(&file, "file", "", "file to append to; standard output by default")
	c.Flags().Int64Var(&from, "from", -1, "entry to begin with; by default after the last one in the file, or the first of the log")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	required(c, "format")
	return c
}

// export writes lines; when the session or the connection ends while following, it signs in again and goes on.
func (a *app) export(ctx context.Context, s *signed, out io.Writer, format string, next remit.EntryIndex, follow bool) error {
	for {
		var failed error
		begun := next
		for line, err := range s.Export(ctx, format, next, follow) {
			if err != nil {
				failed = err
				break
			}
			at, err := export.Last(format, line)
			if err != nil {
				return remit.Errorf(remit.Internal, "the server's line cannot be read: %w", err)
			}
			// One write for one line: whoever reads along, or cuts the power, meets at most the last one unfinished.
			if _, err := out.Write(append(bytes.Clone(line), '\n')); err != nil {
				return fmt.Errorf("writing entry %d: %w", at, err)
			}
			next = at + 1
		}
		switch {
		case ctx.Err() != nil:
			return nil // interrupted, which is how following ends
		case isCode(failed, remit.Unauthenticated) && follow && next > begun:
		case failed != nil || !follow:
			return failed
		case next == begun:
			return remit.Errorf(remit.UpstreamDown, "the server ended the stream at entry %d", next)
		}
		again, err := a.connect(ctx)
		if err != nil {
			return err
		}
		s = again
	}
}
