package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

func newLog(a *app) *cobra.Command {
	return group("log", "Verify, export and follow the log",
		`Everything that Remit decides stands in one log, a Merkle tree whose head is signed. Whoever has an exported log and the
verifier key can check on a laptop, offline, that nothing was changed and that every decision follows from the rules and
the policy of its time.`,
		`  remit log checkpoint > log.trust
  remit log export --file log.bundle
  remit log verify --file log.bundle --trust log.trust
  remit log tail -f`,
		newLogVerify(a), newLogExport(a), newLogCheckpoint(a), newLogTail(a),
		newLogReceipt(a), newLogCheckReceipt(a), newLogTiles(a), newLogVotes(a))
}

func newLogVerify(a *app) *cobra.Command {
	var file, trust string
	var noTrust bool
	c := &cobra.Command{
		Use:   "verify --file FILE --trust TRUST",
		Short: "Verify an exported log, without any server",
		Long: `Checks every byte of an exported log: hashes, tree and signature, and that each decision follows from the rules and the policy
of its time, by deciding it again. Against the key in the trust file any changed byte is found; against the checkpoint in
it, also any cut or fork before that. Without --trust the bundle can only be found consistent with itself, and the exit
code is 1 unless --no-trust says that this will do.`,
		Example: `  remit log verify --file log.bundle --trust log.trust
  remit log verify --file log.bundle --no-trust -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if trust != "" && noTrust {
				return usagef("--trust and --no-trust contradict each other; give one")
			}
			v, err := verifyBundleFile(cmd.Context(), file, trust)
			if err != nil && len(v.Meaning.Wrong) == 0 {
				return err
			}
			if perr := a.print(v, func() { a.printVerification(v) }); perr != nil || err != nil {
				return errors.Join(perr, err)
			}
			if trust == "" && !noTrust {
				return remit.Errorf(remit.Unauthenticated, "%w", errUntrusted)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "the exported log")
	c.Flags().StringVar(&trust, "trust", "", "trust file: the verifier key and, if you have one, the newest checkpoint that you saw")
	c.Flags().BoolVar(&noTrust, "no-trust", false, "be content with a bundle that is consistent with itself")
	required(c, "file")
	return c
}

func (a *app) printVerification(v verification) {
	m := v.Meaning
	a.field("log", visible(v.Origin))
	a.field("size", fmt.Sprintf("%d entries", v.Size))
	a.field("root", v.Root.String())
	a.field("payloads", fmt.Sprintf("%d, %d erased", v.Payloads, v.Erased))
	derived := fmt.Sprintf("%d derived again, %d bound (erased), %d wrong", m.Derived, m.Bound, len(m.Wrong))
	if m.Limits > 0 {
		derived += fmt.Sprintf(", %d denials for limits that no replay derives", m.Limits)
	}
	a.field("commands", derived)
	for _, by := range slices.Sorted(maps.Keys(m.Erased)) {
		a.field("bound", fmt.Sprintf("entries %v, erased by entry %d", m.Erased[by], by))
	}
	for _, w := range m.Wrong {
		a.printf("%s %s\n", a.paint(red, "wrong"), visible(w))
	}
	switch {
	case !v.Trusted:
		a.field("trust", a.paint(yellow, "self-consistent only"))
	case v.Since == 0:
		a.field("trust", a.paint(green, "signed by the trusted key"))
	default:
		a.field("trust", a.paint(green, fmt.Sprintf("signed by the trusted key, and an extension of the %d entries seen before", v.Since)))
	}
}

func newLogExport(a *app) *cobra.Command {
	var file, trust string
	c := &cobra.Command{
		Use:   "export --file FILE",
		Short: "Export the log for verification elsewhere",
		Long: `Writes the whole log as one file, with the payloads that were not erased and the policies that judged. It holds the texts that
the log commits to, names and intents among them: the file is yours alone (mode 0600), give it on with care.
--trust-file also keeps what a verifier needs besides; an auditor should have that from elsewhere, and from before.`,
		Example: `  remit log export --file log.bundle
  remit log export --file log.bundle --trust-file log.trust`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := exportLog(cmd.Context(), s.Client, file, trust); err != nil {
				return err
			}
			out := struct {
				File  string `json:"file"`
				Trust string `json:"trust,omitempty"`
			}{file, trust}
			return a.print(out, func() { a.printf("%s\n", file) })
		},
	}
	c.Flags().StringVar(&file, "file", "", "file to write")
	c.Flags().StringVar(&trust, "trust-file", "", "also write the trust file here")
	required(c, "file")
	return c
}

// exportLog writes the log to a file and, if a name is given, the trust file. A file is there whole or not at all.
func exportLog(ctx context.Context, c *client.Client, file, trust string) error {
	// The checkpoint is taken first, so that the bundle, which comes later, extends it.
	head, err := c.LogHead(ctx)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".remit-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	err = c.ExportLog(ctx, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if trust == "" {
		return nil
	}
	if err := replaceFile(trust, []byte(head.Trust)); err != nil {
		return fmt.Errorf("writing the trust file: %w", err)
	}
	return nil
}

func newLogCheckpoint(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the verifier key and the signed head, as a trust file",
		Long: `Prints what an outsider keeps to check later exports against: the log's verifier key and its signed head as it is now. Keep it
where whoever runs the server cannot reach it, and fetch a new one now and then.`,
		Example: `  remit log checkpoint > log.trust
  remit log checkpoint -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			h, err := s.LogHead(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(h, func() { _, _ = io.WriteString(a.stdout, h.Trust) })
		},
	}
}

func newLogTail(a *app) *cobra.Command {
	var follow bool
	var from int64
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the last entries of the log, and those that come",
		Long: `Prints the last twenty entries, or all from an entry on; -f goes on with those that come, until you interrupt it. With -o json
each entry is one line: a JSON object.`,
		Example: `  remit log tail
  remit log tail -f
  remit log tail --from 0 -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if from < 0 {
				h, err := s.LogHead(cmd.Context())
				if err != nil {
					return err
				}
				from = max(0, int64(h.Size)-20)
			}
			return a.tail(cmd.Context(), s, remit.EntryIndex(from), follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	c.Flags().Int64Var(&from, "from", -1, "entry to begin with; by default the last twenty")
	return c
}

// tail prints entries; when the session ends while following, it signs in again and goes on.
func (a *app) tail(ctx context.Context, s *signed, from remit.EntryIndex, follow bool) error {
	for {
		var failed error
		begun := from
		for e, err := range s.LogEntries(ctx, from, follow) {
			if err != nil {
				failed = err
				break
			}
			if err := a.printEntry(e); err != nil {
				return err
			}
			from = e.Entry + 1
		}
		switch {
		case ctx.Err() != nil:
			return nil // interrupted, which is how following ends
		case isCode(failed, remit.Unauthenticated) && follow && from > begun:
		case failed != nil || !follow:
			return failed
		case from == begun:
			return remit.Errorf(remit.UpstreamDown, "the server ended the stream at entry %d", from)
		}
		again, err := a.connect(ctx)
		if err != nil {
			return err
		}
		s = again
	}
}

func (a *app) printEntry(e remit.LogEntry) error {
	if a.output == "json" {
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("writing entry %d: %w", e.Entry, err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", visibleJSON(b))
		return err
	}
	var leaf struct {
		Kind  string          `json:"kind"`
		Time  string          `json:"time"`
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
		return remit.Errorf(remit.Internal, "entry %d cannot be read: %w", e.Entry, err)
	}
	when, _, _ := strings.Cut(leaf.Time, ".")
	when = strings.TrimSuffix(when, "Z")
	_, err := fmt.Fprintf(a.stdout, "%s %-20s %s\n", a.paint(faint, fmt.Sprintf("%6d  %s", e.Entry, visible(when))), visible(leaf.Kind), a.members(leaf.Event))
	return err
}

// members is the short members of an event, in their order: NAME=VALUE. Digests and what is nested are left out; -o json
// has them.
func (a *app) members(event json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	var out []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			break
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			break
		}
		var text string
		switch {
		case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
			continue
		case raw[0] == '"':
			if json.Unmarshal(raw, &text) != nil || len(text) >= 64 {
				continue
			}
		default:
			text = string(raw)
		}
		text = visible(text)
		out = append(out, fmt.Sprintf("%s=%s", visible(fmt.Sprint(name)), a.paint(tone(text), text)))
	}
	return strings.Join(out, " ")
}
