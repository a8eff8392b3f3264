package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/policy"
)

type tryFlags struct {
	since        span
	declarations string
	record, code bool
	file, trust  string
	noTrust      bool
	samples      int
}

func newPolicyTry(a *app) *cobra.Command {
	f := tryFlags{since: span(30 * 24 * time.Hour)}
	c := &cobra.Command{
		Use:   "try [DIR]",
		Short: "Say what another policy, or other declarations, would have decided",
		Long: `Judges the requests of the last days again, each on the state as it was then, under the policy of DIR, and says what would have
been denied, held or allowed instead: by which rule, whose requests, how many more or fewer questions to which people, and
how often rules on trial (observe) apply. With --declarations the declarations there, with their policy, are supposed to
have been in force. What cannot be judged any more is counted apart. Nothing is put in force.

With --record the result is written to the log; a change that must have been tried before it comes into force (activation)
wants that. With --file an exported log is read instead of the server's, without any server: for a policy only, because the
server makes of declarations what decisions read, by its directory of people.

The exit code is 0 whatever the result, with --exit-code 1 where anything would have been otherwise or could not be judged.`,
		Example: `  remit policy try declarations/policy
  remit policy try declarations/policy --since 7d -o json
  remit policy try --declarations declarations --record
  remit policy try declarations/policy --file log.bundle --trust log.trust --exit-code`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.try(cmd.Context(), args, f)
			if err != nil {
				return err
			}
			if err := a.print(answer, func() { a.printTrial(answer) }); err != nil {
				return err
			}
			if f.code && answer.Different+answer.Unjudged > 0 {
				return exitCode(remit.ExitError)
			}
			return nil
		},
	}
	c.Flags().Var(&f.since, "since", "how far back")
	c.Flags().StringVar(&f.declarations, "declarations", "", "directory of declarations that are tried, with the policy in it unless DIR is given")
	c.Flags().BoolVar(&f.record, "record", false, "write the result to the log")
	c.Flags().BoolVar(&f.code, "exit-code", false, "exit with 1 where anything would have been otherwise or could not be judged")
	c.Flags().IntVar(&f.samples, "samples", 200, "differences to show, at most 5000")
	c.Flags().StringVar(&f.file, "file", "", "an exported log to read instead of the server's")
	c.Flags().StringVar(&f.trust, "trust", "", "with --file: the trust file")
	c.Flags().BoolVar(&f.noTrust, "no-trust", false, "with --file: be content with a log that is consistent with itself")
	return c
}

func (a *app) try(ctx context.Context, args []string, f tryFlags) (out remit.TryAnswer, err error) {
	in := remit.TryRequest{Since: a.now().Add(-time.Duration(f.since)), Record: f.record, Samples: f.samples}
	if len(args) > 0 {
		if in.Files, err = readPolicy(args[0]); err != nil {
			return out, err
		}
	}
	switch {
	case f.samples < 1 || f.samples > 5000:
		return out, usagef("--samples is 1 to 5000")
	case f.file != "" && (f.record || f.declarations != ""):
		return out, usagef("--record and --declarations need the server, which writes the log and makes of declarations what decisions read; with --file give DIR, a policy, and try declarations without --file")
	case f.file == "" && (f.trust != "" || f.noTrust):
		return out, usagef("--trust and --no-trust are about --file")
	case f.file != "" && (f.trust == "") != f.noTrust:
		return out, usagef("with --file give --trust FILE, or --no-trust to be content with a log that is consistent with itself")
	case f.declarations == "" && len(args) == 0:
		return out, usagef("give the directory of a policy, or --declarations")
	}
	if len(in.Files) > 0 {
		p, err := policy.Compile(ctx, in.Files)
		if err != nil {
			return out, err
		}
		if f.file != "" {
			return tryBundle(ctx, f, engine.Trial{Policy: p, Since: in.Since, Samples: f.samples})
		}
	}
	if f.declarations != "" {
		set, pos, err := readDeclarations(f.declarations)
		if err != nil {
			return out, err
		}
		defer func() { err = locate(err, f.declarations, pos) }()
		in.Declarations = set
	}
	s, err := a.connect(ctx)
	if err != nil {
		return out, err
	}
	return s.TryPolicy(ctx, in)
}

// tryBundle tries a policy on an exported log, verified as it is read.
func tryBundle(ctx context.Context, f tryFlags, t engine.Trial) (out remit.TryAnswer, err error) {
	var trust ledger.Trust
	if f.trust != "" {
		b, err := readBounded(f.trust)
		if err != nil {
			return out, fmt.Errorf("reading the trust file: %w", err)
		}
		if trust, err = ledger.ParseTrust(b); err != nil {
			return out, err
		}
	}
	file, err := os.Open(f.file)
	if err != nil {
		return out, fmt.Errorf("opening the log: %w", err)
	}
	defer file.Close()
	return engine.Try(ctx, t, nil, func(ctx context.Context, yield func([]*engine.Past) error) error {
		_, err := ledger.VerifyBundle(ctx, file, trust, func(b *ledger.Bundle, i remit.EntryIndex, l ledger.Leaf) error {
			p := &engine.Past{Index: i, Leaf: l}
			if t.Wants(l) {
				if err := p.Load(func(d remit.Digest) ([]byte, error) {
					kept, err := b.Payload(d)
					return kept.Body, err
				}, b.Blob); err != nil {
					return err
				}
			}
			return yield([]*engine.Past{p})
		})
		return err
	})
}

// whyNot says why requests could not be judged.
var whyNot = map[string]string{
	"erased":   "what was asked was erased",
	"missing":  "what was asked is missing, and nobody erased it",
	"facts":    "what it was judged on cannot be made again from the log",
	"limit":    "it was denied for overload or a time-out",
	"time-out": "the policy did not answer in time",
	"refused":  "it would be no decision at all",
}

func (a *app) printTrial(t remit.TryAnswer) {
	for _, d := range t.Differences {
		a.printf("entry %d  %s  %s → %s  %s: %s\n", d.Entry, a.when(d.At), a.paint(tone(d.Was.String()), d.Was.String()),
			a.paint(tone(d.Would.String()), d.Would.String()), visible(d.Agent), strings.ReplaceAll(stepLines(d.Steps), "\n", "; "))
		if d.Sentence != "" {
			a.printf("    %s %s\n", visible(d.Sentence), bracketed(d.Rules))
		}
	}
	if left := t.Different - len(t.Differences); left > 0 {
		a.printf("%s\n", a.paint(faint, fmt.Sprintf("and %d more; --samples shows up to 5000", left)))
	}
	if len(t.By) > 0 {
		var rows [][]string
		shown := map[string]int{}
		for _, b := range t.By {
			if shown[b.What]++; shown[b.What] <= 20 {
				rows = append(rows, []string{b.What, visible(b.Name), b.Was.String() + " → " + b.Would.String(), fmt.Sprint(b.Requests), fmt.Sprint(b.Entry)})
			}
		}
		a.table([]string{"by", "name", "change", "requests", "first entry"}, rows)
	}
	groups := map[string][2]int{}
	for _, q := range t.Questions {
		n := groups[q.Group]
		groups[q.Group] = [2]int{n[0] + q.Was, n[1] + q.Would}
	}
	for _, q := range slices.CompactFunc(slices.Clone(t.Questions), func(x, y remit.TryQuestion) bool { return x.Group == y.Group }) {
		n := groups[q.Group]
		if days := slices.DeleteFunc(slices.Clone(t.Questions), func(x remit.TryQuestion) bool { return x.Group != q.Group }); n[0] != n[1] {
			busiest := slices.MaxFunc(days, func(x, y remit.TryQuestion) int { return x.Would - y.Would })
			a.printf("%s would be asked %s instead of %d; most on %s: %d\n", visible(q.Group), counted(n[1], "time"), n[0], busiest.Day, busiest.Would)
		}
	}
	for _, o := range t.Observed {
		a.printf("%s %s: %s\n", a.paint(yellow, "would "+o.Verdict.String()+" (observed)"), visible(o.Rule), counted(o.Requests, "request"))
	}
	for _, u := range t.NotJudged {
		a.printf("%s %s, from entry %d: %s\n", a.paint(yellow, "not judged:"), counted(u.Requests, "request"), u.Entry, whyNot[u.Why])
	}
	what := t.Digest.String()
	if !t.Set.IsZero() {
		what = "declarations " + t.Set.String()
	}
	a.printf("%s judged again under %s; %d would have been decided otherwise\n", counted(t.Judged, "request"), what, t.Different)
	if t.Recorded > 0 {
		a.printf("recorded in entry %d\n", t.Recorded)
	}
}

func newPolicyTrials(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "trials [ENTRY]",
		Short: "List trials that were written down, or show what one showed",
		Long: `Lists the newest trial of each bundle, and of each set of declarations, that was tried with --record: how many requests it judged,
and how many of them would have been decided otherwise. With the entry of one it shows what that showed.`,
		Example: `  remit policy trials
  remit policy trials 4711 -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				n, err := strconv.ParseUint(args[0], 10, 63)
				if err != nil {
					return usagef("%q is no entry; remit policy trials lists them", args[0])
				}
				t, err := s.Trial(cmd.Context(), remit.EntryIndex(n))
				if err != nil {
					return err
				}
				return a.print(t, func() { a.printTrial(t) })
			}
			list, err := s.Trials(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() {
				var rows [][]string
				for _, t := range list {
					what := "policy " + t.Digest.String()[:12]
					if !t.Set.IsZero() {
						what = "declarations " + t.Set.String()[:12]
					}
					rows = append(rows, []string{fmt.Sprint(t.Entry), a.when(t.At), visible(t.By), what, fmt.Sprint(t.Judged), fmt.Sprintf("%d denied, %d held, %d allowed instead", t.Denied, t.Held, t.Allowed),
						fmt.Sprintf("%+d", t.WouldAsk-t.Asked), fmt.Sprint(t.Unjudged)})
				}
				a.table([]string{"entry", "at", "by", "of", "judged", "otherwise", "questions", "not judged"}, rows)
			})
		},
	}
}
