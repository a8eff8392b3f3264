package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// PackKind is what the log's key signs of a pack.
const PackKind = "remit evidence pack v1"

// MaxPack is the largest pack that is read, in bytes.
const MaxPack = 256 << 20

// Prover proves entries under one signed head, and signs.
type Prover interface {
	// Receipt is the proof of an entry under that head, with the entry (ledger.Receipt).
	Receipt(remit.EntryIndex) ([]byte, error)
	// Sign lets the log's key stand for a digest of that kind (ledger.SignDigest).
	Sign(kind string, d remit.Digest) ([]byte, error)
}

// MakePack puts what proves a report beside it. checkpoint is the signed head over the entries from which it was folded.
func MakePack(m Framework, r remit.EvidenceReport, checkpoint []byte, p Prover) ([]byte, error) {
	out := remit.EvidencePack{Format: 1, Map: string(m.Text), Report: r, Checkpoint: string(checkpoint), Receipts: []string{}}
	for _, i := range Listed(r) {
		b, err := p.Receipt(i)
		if err != nil {
			return nil, fmt.Errorf("proving entry %d: %w", i, err)
		}
		out.Receipts = append(out.Receipts, string(b))
	}
	d, err := packDigest(out)
	if err != nil {
		return nil, err
	}
	signature, err := p.Sign(PackKind, d)
	if err != nil {
		return nil, err
	}
	out.Signature = string(signature)
	return encodePack(out)
}

// packDigest is of a pack without its signature.
func packDigest(p remit.EvidencePack) (remit.Digest, error) {
	p.Signature = ""
	b, err := encodePack(p)
	return remit.Hash([]byte(PackKind+"\n"), b), err
}

// encodePack is the one encoding of a pack: JSON with the members in the order of the type, without spaces.
func encodePack(p remit.EvidencePack) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a pack: %w", err)
	}
	return b.Bytes(), nil
}

// Checked is a pack that was verified without the log.
type Checked struct {
	Pack    remit.EvidencePack
	Proven  int  // entries that its receipts prove
	Current bool // its map is the one that this release ships
}

// OpenPack verifies a pack against a log's key, and against the head that trust holds if both are of one size: every byte
// of it, the signature, the proof of every entry that the report lists, that each of these is of a kind and time that its
// figure counts, and that the figures and states fit together and with the map. What is not listed is bound by digests,
// which only the log can show: Recompute does.
func OpenPack(b []byte, trust ledger.Trust) (Checked, error) {
	bad := func(format string, args ...any) (Checked, error) {
		err := fmt.Errorf("the pack is wrong: "+format, args...)
		if coded := (*remit.Error)(nil); !errors.As(err, &coded) {
			err = remit.Errorf(remit.BadRequest, "%w", err)
		}
		return Checked{}, err
	}
	var p remit.EvidencePack
	if err := remit.DecodeStrict(bytes.NewReader(b), MaxPack, &p); err != nil {
		return bad("it is not what remit evidence --pack writes: %w", err)
	}
	if p.Format != 1 {
		return bad("it has format %d; this release reads format 1", p.Format)
	}
	again, err := encodePack(p)
	if err != nil {
		return Checked{}, err
	}
	if !bytes.Equal(again, b) {
		return bad("it is not in its one encoding")
	}
	d, err := packDigest(p)
	if err != nil {
		return Checked{}, err
	}
	if err := ledger.OpenDigest([]byte(p.Signature), PackKind, d, trust.Verifier); err != nil {
		return bad("%w", err)
	}
	head, err := ledger.OpenCheckpoint([]byte(p.Checkpoint), trust.Verifier)
	if err != nil {
		return bad("%w", err)
	}
	if head.Size != p.Report.Size || head.Origin != p.Report.Origin {
		return bad("its checkpoint is over %d entries of %s, and its report over %d of %s", head.Size, head.Origin, p.Report.Size, p.Report.Origin)
	}
	if len(trust.Checkpoint) > 0 {
		seen, err := ledger.OpenCheckpoint(trust.Checkpoint, trust.Verifier)
		if err != nil {
			return Checked{}, fmt.Errorf("the trusted checkpoint: %w", err)
		}
		if seen.Size == head.Size && seen.Root != head.Root {
			return bad("it is under another head than the trusted one of the same %d entries: the log was forked", head.Size)
		}
	}
	m, err := Parse("map", []byte(p.Map))
	if err != nil {
		return bad("%w", err)
	}
	leaves, err := proofs(p, trust)
	if err != nil {
		return bad("%w", err)
	}
	if err := fits(p.Report, m, leaves); err != nil {
		return bad("%w", err)
	}
	shipped, err := Load(m.ID)
	return Checked{Pack: p, Proven: len(leaves), Current: err == nil && bytes.Equal(shipped.Text, m.Text)}, nil
}

// proofs checks the receipts: one for each entry that the report lists, and no more, all under the pack's own head.
func proofs(p remit.EvidencePack, trust ledger.Trust) (map[remit.EntryIndex]ledger.Leaf, error) {
	leaves := map[remit.EntryIndex]ledger.Leaf{}
	want := Listed(p.Report)
	if len(want) != len(p.Receipts) {
		return nil, fmt.Errorf("the report lists %d entries, and there are %d receipts", len(want), len(p.Receipts))
	}
	for n, text := range p.Receipts {
		if !strings.HasSuffix(text, "\n\n"+p.Checkpoint) {
			return nil, fmt.Errorf("receipt %d is not under the pack's own head", n)
		}
		proven, err := ledger.ReadReceipt([]byte(text), nil, trust)
		if err != nil {
			return nil, fmt.Errorf("receipt %d: %w", n, err)
		}
		if proven.Index != want[n] {
			return nil, fmt.Errorf("receipt %d is of entry %d, and entry %d is what the report lists", n, proven.Index, want[n])
		}
		if leaves[proven.Index], err = ledger.Decode(proven.Leaf); err != nil {
			return nil, fmt.Errorf("entry %d: %w", proven.Index, err)
		}
	}
	return leaves, nil
}

// fits tells whether a report says of a map what can be said: its items and controls, and figures that rest on entries.
func fits(r remit.EvidenceReport, m Framework, leaves map[remit.EntryIndex]ledger.Leaf) error {
	if about := m.About(); !slices.Equal(about.Sources, r.Framework.Sources) || about.Map != r.Framework.Map || about.ID != r.Framework.ID || about.Title != r.Framework.Title ||
		about.Publisher != r.Framework.Publisher || about.Version != r.Framework.Version || about.Note != r.Framework.Note {
		return fmt.Errorf("its report names another framework than its map")
	}
	if !r.Since.Before(r.Until) {
		return fmt.Errorf("its period does not begin before it ends")
	}
	made := map[string]remit.EvidenceState{}
	for _, c := range r.Controls {
		if _, twice := made[c.Name]; twice || !c.State.Valid() {
			return fmt.Errorf("control %s is there twice, or in no state that there is", c.Name)
		}
		made[c.Name] = c.State
		if err := fitsControl(r, c, leaves); err != nil {
			return fmt.Errorf("control %s: %w", c.Name, err)
		}
	}
	if len(r.Items) != len(m.Items) {
		return fmt.Errorf("its report has %d items, and its map %d", len(r.Items), len(m.Items))
	}
	used := map[string]bool{}
	for n, item := range r.Items {
		of := m.Items[n]
		if item.ID != of.ID || item.Title != of.Title || !slices.Equal(item.Controls, of.Controls) || !slices.Equal(item.Gaps, of.Gaps) {
			return fmt.Errorf("item %s is not as its map has it", item.ID)
		}
		var states []remit.EvidenceState
		for _, name := range item.Controls {
			s, ok := made[name]
			if !ok {
				return fmt.Errorf("item %s rests on control %s, of which nothing is said", item.ID, name)
			}
			states, used[name] = append(states, s), true
		}
		want := answered(states)
		if len(states) == 0 {
			want = remit.EvidenceNotInForce
		}
		if item.State != want {
			return fmt.Errorf("item %s is %q, and its controls make it %q", item.ID, item.State, want)
		}
	}
	if len(used) != len(made) {
		return fmt.Errorf("it has controls that no item asks for")
	}
	return nil
}

func fitsControl(r remit.EvidenceReport, c remit.EvidenceControl, leaves map[remit.EntryIndex]ledger.Leaf) error {
	known, ok := find(c.Name)
	if !ok || known.title != c.Title || known.claim != c.Claim {
		return fmt.Errorf("this release has no such control; verify the pack with the release that made it")
	}
	var states []remit.EvidenceState
	for _, w := range c.Why {
		if !w.State.Valid() {
			return fmt.Errorf("%q is no state", w.State)
		}
		states = append(states, w.State)
		if err := fitsEntries(w.Entries, r.Size); err != nil {
			return err
		}
		for _, i := range w.Entries.Listed {
			if !leaves[i].At.Before(r.Until) {
				return fmt.Errorf("entry %d is not of before the end of the period", i)
			}
		}
	}
	if combine(states) != c.State {
		return fmt.Errorf("it is %q, and its reasons make it %q", c.State, combine(states))
	}
	if len(c.Figures) != len(known.figures) {
		return fmt.Errorf("it has %d figures, and in this release %d; verify the pack with the release that made it", len(c.Figures), len(known.figures))
	}
	silent := true
	for n, x := range c.Figures {
		s := known.figures[n]
		silent = silent && x.Entries.Count == 0
		if err := fitsEntries(x.Entries, r.Size); err != nil {
			return fmt.Errorf("figure %s: %w", x.Name, err)
		}
		unit := remit.EvidenceCount
		if s.how != number {
			unit = remit.EvidenceSeconds
		}
		switch {
		case x.Name != s.name || x.Text != s.text || x.Unit != unit:
			return fmt.Errorf("figure %s is not one of this release's", x.Name)
		case s.how == number && x.Value != int64(x.Entries.Count), x.Entries.Count == 0 && x.Value != 0, x.Value < 0:
			return fmt.Errorf("figure %s says %d, and rests on %d entries", x.Name, x.Value, x.Entries.Count)
		}
		for _, i := range x.Entries.Listed {
			l := leaves[i]
			if l.At.Before(r.Since) || !l.At.Before(r.Until) {
				return fmt.Errorf("figure %s rests on entry %d, which is not of the period", x.Name, i)
			}
			if len(s.kinds) > 0 && !slices.Contains(s.kinds, l.Event.Kind()) {
				return fmt.Errorf("figure %s rests on entry %d, and that is %s", x.Name, i, l.Event.Kind())
			}
		}
	}
	if silent != c.Silent {
		return fmt.Errorf("it says wrongly whether anything of the period speaks of it")
	}
	return nil
}

// fitsEntries tells whether entries are described as they can be.
func fitsEntries(e remit.EvidenceEntries, size uint64) error {
	want := min(e.Count, remit.MaxEvidenceListed)
	switch {
	case e.Count < 0 || len(e.Listed) != want:
		return fmt.Errorf("of %d entries, %d are listed, and not %d", e.Count, len(e.Listed), want)
	case !slices.IsSorted(e.Listed) || len(slices.Compact(slices.Clone(e.Listed))) != len(e.Listed) || len(e.Listed) > 0 && uint64(e.Listed[len(e.Listed)-1]) >= size:
		return fmt.Errorf("its entries are not ascending, each once and of the log")
	case e.Count == 0 && !e.Digest.IsZero(), e.Count > 0 && e.Count <= remit.MaxEvidenceListed && e.Digest != remit.EntriesDigest(e.Listed):
		return fmt.Errorf("the digest is not that of its entries")
	}
	return nil
}

// Recount folds the report of a checked pack once more.
type Recount struct {
	pack remit.EvidencePack
	fold *Fold
}

// Recount begins to fold what the pack was made of.
func (c Checked) Recount() (*Recount, error) {
	f, err := New(c.Pack.Report.Since, c.Pack.Report.Until)
	return &Recount{c.Pack, f}, err
}

// Entry takes the next entry of the log, from the first one on. What came after the pack is passed over.
func (r *Recount) Entry(i remit.EntryIndex, l ledger.Leaf) error {
	if uint64(i) >= r.pack.Report.Size {
		return nil
	}
	return r.fold.Entry(i, l)
}

// Compare says what the log makes of the pack's report: nil, or the first thing in which they differ.
func (r *Recount) Compare() error {
	m, err := Parse("map", []byte(r.pack.Map))
	if err != nil {
		return err
	}
	again, err := r.fold.Report(m, r.pack.Report.Settings)
	if err != nil {
		return err
	}
	return differs(r.pack.Report, again)
}

// differs names the first thing in which two reports differ; nil: none.
func differs(said, is remit.EvidenceReport) error {
	bad := func(format string, args ...any) error {
		return remit.Errorf(remit.BadRequest, "the log says otherwise: "+format, args...)
	}
	if said.Size != is.Size || said.Entries != is.Entries || said.Org != is.Org || said.Origin != is.Origin || said.Profile != is.Profile || said.Rules != is.Rules {
		return bad("the pack is of %d entries, %d in the period, profile %s, rules %d; the log has %d, %d, %s, %d", said.Size, said.Entries, said.Profile, said.Rules, is.Size, is.Entries, is.Profile, is.Rules)
	}
	for n, c := range is.Controls {
		if n >= len(said.Controls) || said.Controls[n].Name != c.Name {
			return bad("it has control %s, and the pack does not", c.Name)
		}
		p := said.Controls[n]
		for k, x := range c.Figures {
			if !same(p.Figures[k], x) {
				return bad("%s, %q: the pack says %s over %d entries, and the log %s over %d", c.Name, x.Text, p.Figures[k].Shown(), p.Figures[k].Entries.Count, x.Shown(), x.Entries.Count)
			}
		}
		if !same(p, c) {
			return bad("control %s is %q in the pack, and %q by the log", c.Name, p.State, c.State)
		}
	}
	if !same(said, is) {
		return bad("the report is another one")
	}
	return nil
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && bytes.Equal(x, y)
}
