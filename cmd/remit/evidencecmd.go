package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
)

// evidenceOptions are what remit evidence is told.
type evidenceOptions struct {
	framework, since, until string
	control                 string
	html, json, oscal, pack string
}

func newEvidence(a *app) *cobra.Command {
	var o evidenceOptions
	c := &cobra.Command{
		Use:   "evidence --framework FRAMEWORK",
		Short: "What the log has of the controls that a framework asks for",
		Long: `For each item of a published framework: which control of Remit answers it, how that stands now, its figures over the period with
the entries that they rest on, and what is not covered. Everything is read from the log; what no entry speaks of is said so,
and nothing is in force because nobody looked.

--pack writes it with the proof of every entry that it lists, signed by the log's key: remit evidence verify checks that
offline, and with the exported log it counts every figure again.`,
		Example: `  remit evidence --framework owasp-asi-2026 --since 90d
  remit evidence --framework nist-ai-rmf --since 2026-01-01 --until 2026-04-01 --html q1.html --pack q1.pack
  remit evidence verify q1.pack --trust log.trust --log log.bundle`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("remit evidence has no command %q; it has verify, frameworks", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.evidence(cmd.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.framework, "framework", "", strings.Join(evidence.Names(), " | "))
	f.StringVar(&o.since, "since", "90d", "from when: a duration before the end such as 90d, a date, or a time")
	f.StringVar(&o.until, "until", "", "until when: a date or a time; now by default")
	f.StringVar(&o.control, "control", "", "print one control with its figures and entries instead of the items")
	f.StringVar(&o.html, "html", "", "also write a page for a browser or paper here")
	f.StringVar(&o.json, "json", "", "also write the report as JSON here")
	f.StringVar(&o.oscal, "oscal", "", "also write it as OSCAL assessment results (JSON) here")
	f.StringVar(&o.pack, "pack", "", "also write a pack that is verified offline here")
	c.AddCommand(newEvidenceVerify(a), newEvidenceFrameworks(a))
	return c
}

func newEvidenceFrameworks(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "frameworks",
		Short: "List the frameworks and where their maps come from",
		Long: `Lists the frameworks of which evidence is shown, with the public texts that their maps rest on. The maps are part of this
release, and the same on every machine.`,
		Example: `  remit evidence frameworks
  remit evidence frameworks -o json`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			out := []remit.EvidenceFramework{}
			for _, name := range evidence.Names() {
				m, err := evidence.Load(name)
				if err != nil {
					return err
				}
				out = append(out, m.About())
			}
			return a.print(out, func() {
				for _, f := range out {
					a.printf("%s  %s, %s\n", a.paint(bold, f.ID), f.Title, f.Version)
					for _, s := range f.Sources {
						a.printf("  %s\n", a.paint(faint, s.URL))
					}
				}
			})
		},
	}
}

// moment reads a time: a date, or a time of RFC 3339.
func moment(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("--%s: %q is no date such as 2026-04-01 and no time such as 2026-04-01T12:00:00Z", flag, text)
}

// period is what --since and --until say; the end is zero for now.
func (o evidenceOptions) period(now time.Time) (since, until time.Time, err error) {
	if o.until != "" {
		if until, err = moment("until", o.until); err != nil {
			return since, until, err
		}
		now = until
	}
	var back span
	if err := back.Set(o.since); err == nil {
		return now.Add(-time.Duration(back)), until, nil
	}
	if since, err = moment("since", o.since); err != nil {
		return since, until, usagef("--since: %q is no duration such as 90d, no date and no time", o.since)
	}
	return since, until, nil
}

func (a *app) evidence(ctx context.Context, o evidenceOptions) error {
	if !slices.Contains(evidence.Names(), o.framework) {
		return usagef("--framework is one of %s", strings.Join(evidence.Names(), ", "))
	}
	if o.control != "" && !slices.Contains(evidence.ControlNames(), o.control) {
		return usagef("--control: there is no %q; there are %s", o.control, strings.Join(evidence.ControlNames(), ", "))
	}
	since, until, err := o.period(a.now())
	if err != nil {
		return err
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	var r remit.EvidenceReport
	if o.pack != "" {
		// What is shown is what the pack says, and not another reading of a log that has grown.
		var b bytes.Buffer
		if err := s.EvidencePack(ctx, &b, o.framework, since, until); err != nil {
			return err
		}
		var p remit.EvidencePack
		if err := remit.DecodeStrict(bytes.NewReader(b.Bytes()), evidence.MaxPack, &p); err != nil {
			return remit.Errorf(remit.UpstreamDown, "the server's pack cannot be read: %w", err)
		}
		if err := replaceFile(o.pack, b.Bytes()); err != nil {
			return fmt.Errorf("writing the pack: %w", err)
		}
		r = p.Report
	} else if r, err = s.Evidence(ctx, o.framework, since, until); err != nil {
		return err
	}
	if err := writeEvidence(o, r); err != nil {
		return err
	}
	return a.print(r, func() {
		if o.control != "" {
			a.printControl(r, o.control)
			return
		}
		a.printEvidence(r)
	})
}

// writeEvidence writes the files that were asked for.
func writeEvidence(o evidenceOptions, r remit.EvidenceReport) error {
	for _, x := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{o.html, func(w io.Writer) error { return evidence.HTML(w, r) }},
		{o.json, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(r)
		}},
		{o.oscal, func(w io.Writer) error {
			b, err := evidence.OSCAL(r)
			if err != nil {
				return err
			}
			_, err = w.Write(b)
			return err
		}},
	} {
		if x.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := x.write(&b); err != nil {
			return err
		}
		if err := replaceFile(x.path, b.Bytes()); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Base(x.path), err)
		}
	}
	return nil
}

// stateTone is the colour of a state.
func stateTone(s remit.EvidenceState) colour {
	switch s {
	case remit.EvidenceInForce:
		return green
	case remit.EvidencePartly:
		return yellow
	case remit.EvidenceNotInForce:
		return red
	}
	return faint
}

func (a *app) printEvidence(r remit.EvidenceReport) {
	a.printf("%s\n", a.paint(bold, r.Framework.Title+", "+r.Framework.Version))
	a.field("period", r.Since.Format("2006-01-02 15:04")+" until "+r.Until.Format("2006-01-02 15:04")+" UTC")
	a.field("log", fmt.Sprintf("%s, %d entries, %d of them in the period", visible(r.Origin), r.Size, r.Entries))
	silent := map[string]bool{}
	states := map[string]remit.EvidenceState{}
	for _, c := range r.Controls {
		silent[c.Name], states[c.Name] = c.Silent, c.State
	}
	for _, item := range r.Items {
		a.printf("\n%s %s: %s\n", a.paint(bold, item.ID), item.Title, a.paint(stateTone(item.State), string(item.State)))
		for _, name := range item.Controls {
			note := ""
			if silent[name] {
				note = a.paint(faint, ", no evidence in this period")
			}
			a.printf("  %-22s %s%s\n", name, a.paint(stateTone(states[name]), string(states[name])), note)
		}
		if len(item.Controls) == 0 {
			a.printf("  no control answers it\n")
		}
		for _, gap := range item.Gaps {
			a.printf("  %s\n", a.paint(faint, "not covered: "+gap))
		}
	}
	a.printf("\nremit evidence --framework %s --control NAME shows why, and the entries\n", r.Framework.ID)
}

func (a *app) printControl(r remit.EvidenceReport, name string) {
	i := slices.IndexFunc(r.Controls, func(c remit.EvidenceControl) bool { return c.Name == name })
	if i < 0 {
		a.printf("no item of %s asks for control %s\n", r.Framework.ID, name)
		return
	}
	c := r.Controls[i]
	a.printf("%s: %s\n%s\n", a.paint(bold, c.Title), a.paint(stateTone(c.State), string(c.State)), c.Claim)
	for _, w := range c.Why {
		a.printf("  %s: %s%s\n", a.paint(stateTone(w.State), string(w.State)), visible(w.Text), a.onEntries(w.Entries))
	}
	if c.Silent {
		a.printf("  no evidence in this period\n")
	}
	for _, x := range c.Figures {
		a.printf("  %8s  %s%s\n", x.Shown(), x.Text, a.onEntries(x.Entries))
	}
}

func (a *app) onEntries(e remit.EvidenceEntries) string {
	if e.Count == 0 {
		return ""
	}
	return a.paint(faint, " (entries "+evidence.Entries(e)+")")
}

// verifiedPack is what was found of a pack.
type verifiedPack struct {
	Framework string    `json:"framework"`
	Org       remit.Org `json:"org"`
	Origin    string    `json:"origin"`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`
	Size      uint64    `json:"size"`   // entries of the log when the pack was made
	Proven    int       `json:"proven"` // entries that its receipts prove
	// Recounted: every state and figure was derived again from the log, and is the same.
	Recounted bool                        `json:"recounted"`
	Current   bool                        `json:"current"` // its map is the one that this release ships
	Items     map[remit.EvidenceState]int `json:"items"`
}

func newEvidenceVerify(a *app) *cobra.Command {
	var trust, log string
	c := &cobra.Command{
		Use:   "verify PACK --trust TRUST",
		Short: "Verify a pack, without any server",
		Long: `Checks a pack of evidence against the verifier key in the trust file: every byte of it, the signature of the log's key, the proof
of every entry that it lists, and that each figure rests on entries of the right kind and time. With --log, an exported log,
that is verified as well, and every state and figure is derived from it again and compared.

Without the log, figures over more entries than are listed are as the log's key signed them.`,
		Example: `  remit evidence verify q1.pack --trust log.trust
  remit evidence verify q1.pack --trust log.trust --log log.bundle`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := verifyPackFile(cmd.Context(), args[0], trust, log)
			if err != nil {
				return finding{err}
			}
			return a.print(v, func() {
				a.field("pack", v.Framework+" of "+visible(string(v.Org)))
				a.field("period", v.Since.Format("2006-01-02 15:04")+" until "+v.Until.Format("2006-01-02 15:04")+" UTC")
				a.field("log", fmt.Sprintf("%s, %d entries", visible(v.Origin), v.Size))
				a.field("proven", fmt.Sprintf("%d entries, under the head that the trusted key signed", v.Proven))
				a.field("items", fmt.Sprintf("%d in force, %d partly, %d not in force, %d not seen", v.Items[remit.EvidenceInForce], v.Items[remit.EvidencePartly], v.Items[remit.EvidenceNotInForce], v.Items[remit.EvidenceNotSeen]))
				if !v.Current {
					a.field("map", a.paint(yellow, "not the one that this release ships; the pack's own was used"))
				}
				if v.Recounted {
					a.field("figures", a.paint(green, "derived from the log again, and the same"))
				} else {
					a.field("figures", a.paint(yellow, "as signed; with --log they are derived again"))
				}
			})
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "trust file: the verifier key and, if you have one, the newest checkpoint that you saw")
	c.Flags().StringVar(&log, "log", "", "the exported log (remit log export), at least as long as the pack")
	required(c, "trust")
	return c
}

func verifyPackFile(ctx context.Context, file, trustFile, log string) (out verifiedPack, err error) {
	b, err := readBounded(trustFile)
	if err != nil {
		return out, fmt.Errorf("reading the trust file: %w", err)
	}
	trust, err := ledger.ParseTrust(b)
	if err != nil {
		return out, err
	}
	f, err := os.Open(file)
	if err != nil {
		return out, fmt.Errorf("opening the pack: %w", err)
	}
	defer f.Close()
	if b, err = io.ReadAll(io.LimitReader(f, evidence.MaxPack+1)); err != nil {
		return out, fmt.Errorf("reading the pack: %w", err)
	}
	c, err := evidence.OpenPack(b, trust)
	if err != nil {
		return out, err
	}
	r := c.Pack.Report
	out = verifiedPack{Framework: r.Framework.ID, Org: r.Org, Origin: r.Origin, Since: r.Since, Until: r.Until, Size: r.Size, Proven: c.Proven, Current: c.Current, Items: map[remit.EvidenceState]int{}}
	for _, item := range r.Items {
		out.Items[item.State]++
	}
	if log == "" {
		return out, nil
	}
	// The log extends what the verifier saw before, and what the pack was made of: each is a head to be checked.
	if _, err := verifyBundleFile(ctx, log, trustFile); err != nil {
		return out, err
	}
	again, err := c.Recount()
	if err != nil {
		return out, err
	}
	bundle, err := os.Open(log)
	if err != nil {
		return out, fmt.Errorf("opening the log: %w", err)
	}
	defer bundle.Close()
	_, err = ledger.VerifyBundle(ctx, bundle, ledger.Trust{Verifier: trust.Verifier, Checkpoint: []byte(c.Pack.Checkpoint)}, func(_ *ledger.Bundle, i remit.EntryIndex, l ledger.Leaf) error {
		return again.Entry(i, l)
	})
	if err != nil {
		return out, err
	}
	out.Recounted = true
	return out, again.Compare()
}
