package ledger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// Bundle reads a bundle as a stream. It holds the policies, and the payloads of two commands: that of the last entry and
// the one before.
type Bundle struct {
	Header Header

	r        *bufio.Reader
	ahead    item // the next item
	policies map[remit.Digest][]byte
	uses     map[remit.Digest]bool // policies that an entry installed
	q        queue
	tree     Tree
	erased   map[remit.Digest]remit.EntryIndex // erased payloads that no entry accounts for yet
	kept     [2]map[remit.Digest]kept          // this command's, the previous one's
	report   Report
	forked   *remit.LogForked // the last one
}

type kept struct {
	payload remit.Payload
	blob    bool
	erased  bool
}

// ReadBundle reads the header and the policies; Next gives the entries.
func ReadBundle(r io.Reader) (*Bundle, error) {
	b := &Bundle{r: bufio.NewReaderSize(r, 256<<10), policies: map[remit.Digest][]byte{}, uses: map[remit.Digest]bool{},
		erased: map[remit.Digest]remit.EntryIndex{}}
	first, err := readItem(b.r)
	if err != nil {
		return nil, err
	}
	if first.kind != itemHeader || len(first.fields) != 1 {
		return nil, badBundle("it does not begin with a header")
	}
	if b.Header, err = decodeHeader(first.fields[0]); err != nil {
		return nil, err
	}
	var last remit.Digest
	for {
		if b.ahead, err = readItem(b.r); err != nil {
			return nil, err
		}
		if b.ahead.kind != itemPolicy {
			return b, nil
		}
		if len(b.ahead.fields) != 2 || len(b.ahead.fields[0]) != len(last) {
			return nil, badBundle("a policy has a digest and a text")
		}
		d, text := remit.Digest(b.ahead.fields[0]), b.ahead.fields[1]
		if len(b.policies) > 0 && compareDigests(last, d) >= 0 {
			return nil, badBundle("policy %s is out of order", d)
		}
		if remit.Hash(text) != d {
			return nil, badBundle("policy %s has another text", d)
		}
		b.policies[d], last = text, d
	}
}

// Policy gives the text of a policy.
func (b *Bundle) Policy(d remit.Digest) ([]byte, bool) {
	text, ok := b.policies[d]
	return text, ok
}

// Payload gives a payload of the last entry's command or of the one before, ErrErased or ErrNotFound.
func (b *Bundle) Payload(d remit.Digest) (remit.Payload, error) {
	k, ok := b.find(d)
	switch {
	case !ok || k.blob:
		return remit.Payload{}, fmt.Errorf("payload %s: %w", d, ErrNotFound)
	case k.erased:
		return remit.Payload{}, fmt.Errorf("payload %s: %w", d, ErrErased)
	}
	return k.payload, nil
}

// Blob gives a blob that a payload of these commands stands for.
func (b *Bundle) Blob(d remit.Digest) ([]byte, error) {
	if k, ok := b.find(d); ok && k.blob {
		return k.payload.Body, nil
	}
	return nil, fmt.Errorf("blob %s: %w", d, ErrNotFound)
}

func (b *Bundle) find(d remit.Digest) (kept, bool) {
	if k, ok := b.kept[0][d]; ok {
		return k, true
	}
	k, ok := b.kept[1][d]
	return k, ok
}

// Next gives the next entry, after reading what belongs to it; io.EOF after the last one.
func (b *Bundle) Next() (remit.EntryIndex, Leaf, error) {
	index := remit.EntryIndex(b.tree.Size())
	if b.ahead.kind != itemEntry {
		return index, Leaf{}, io.EOF
	}
	fail := func(err error) (remit.EntryIndex, Leaf, error) {
		return index, Leaf{}, fmt.Errorf("entry %d: %w", index, err)
	}
	if len(b.ahead.fields) != 1 {
		return fail(badBundle("an entry is one leaf"))
	}
	raw := b.ahead.fields[0]
	l, err := Decode(raw)
	if err != nil {
		return fail(err)
	}
	b.tree.push(tlog.RecordHash(raw), nil)
	b.q.entry(l, raw)
	if err := b.noteEvent(index, l.Event); err != nil {
		return fail(err)
	}
	if !l.Command.IsZero() || b.kept[0] == nil {
		b.kept = [2]map[remit.Digest]kept{{}, b.kept[0]}
	}
	for {
		if b.ahead, err = readItem(b.r); err != nil {
			return fail(err)
		}
		if b.ahead.kind != itemPayload && b.ahead.kind != itemBlob {
			break
		}
		if err := b.attachment(index, b.ahead); err != nil {
			return fail(err)
		}
	}
	if !b.q.command.IsZero() {
		return fail(badBundle("the payload of its command is missing and was not erased"))
	}
	return index, l, nil
}

// eraser is an event that says which payloads are gone for good.
type eraser interface{ Erases() []remit.Digest }

// noteEvent looks at the events that a bundle itself depends on.
func (b *Bundle) noteEvent(index remit.EntryIndex, e remit.Event) error {
	g, genesis := e.(*remit.Genesis)
	if genesis != (index == 0) {
		return badBundle("a log has its genesis first and only there")
	}
	if genesis && (g.Org != b.Header.Org || g.Origin != b.Header.Origin || g.Verifier != b.Header.Verifier) {
		return badBundle("its header names another organisation, origin or key than its genesis")
	}
	switch e := e.(type) {
	case *remit.PolicyInstalled:
		if _, ok := b.policies[e.Bundle]; !ok {
			return badBundle("the policy %s is missing", e.Bundle)
		}
		b.uses[e.Bundle] = true
	case *remit.LogForked:
		b.forked = e
	case eraser:
		for _, d := range e.Erases() {
			delete(b.erased, d)
		}
	}
	return nil
}

// attachment takes a payload or blob of the entry at index: it has the content that its digest says, and stands where
// reading finds its digest first.
func (b *Bundle) attachment(index remit.EntryIndex, it item) error {
	n := len(it.fields)
	if it.kind == itemPayload && n != 1 && n != 3 || it.kind == itemBlob && n != 2 || len(it.fields[0]) != 32 {
		return badBundle("a payload has a commitment, a salt and a body, and a blob a digest and its content")
	}
	d := remit.Digest(it.fields[0])
	for len(b.q.open) > 0 && b.q.open[0] != d {
		b.q.open = b.q.open[1:]
	}
	if len(b.q.open) == 0 {
		return badBundle("the payload %s is not what the entry names, or it is out of order", d)
	}
	b.q.open = b.q.open[1:]
	switch {
	case it.kind == itemBlob:
		if remit.Hash(it.fields[1]) != d {
			return badBundle("the blob %s has other content", d)
		}
		b.kept[0][d] = kept{payload: remit.Payload{Body: it.fields[1]}, blob: true}
		b.q.take(d, nil)
	case n == 1:
		b.report.Erased++
		b.erased[d] = index
		b.kept[0][d] = kept{erased: true}
		b.q.take(d, nil)
	default:
		if len(it.fields[1]) != 32 || len(it.fields[2]) > remit.MaxPayload {
			return badBundle("the payload %s has a salt of 32 bytes and a body of at most %d", d, remit.MaxPayload)
		}
		p := remit.Payload{Salt: [32]byte(it.fields[1]), Body: it.fields[2]}
		if p.Commitment() != d {
			return badBundle("the payload %s has other content", d)
		}
		b.report.Payloads++
		b.kept[0][d] = kept{payload: p}
		b.q.take(d, p.Body)
	}
	return nil
}

// finish reads what follows the entries and gives the checkpoint, verified against a key.
func (b *Bundle) finish(verifierKey string) error {
	switch {
	case b.tree.Size() == 0:
		return badBundle("it has no entries")
	case b.ahead.kind != itemHashes || len(b.ahead.fields) != 1 || !bytes.Equal(b.ahead.fields[0], edgeBytes(b.tree)):
		return badBundle("the hashes after its entries are not those of its entries")
	}
	for d, index := range b.erased {
		return badBundle("payload %s of entry %d is missing, and no entry says that it was erased", d, index)
	}
	for d := range b.policies {
		if !b.uses[d] {
			return badBundle("no entry installs the policy %s", d)
		}
	}
	last, err := readItem(b.r)
	if err != nil {
		return err
	}
	if last.kind != itemCheckpoint || len(last.fields) != 1 {
		return badBundle("it does not end with a checkpoint")
	}
	c, err := OpenCheckpoint(last.fields[0], verifierKey)
	if err != nil {
		return fmt.Errorf("the bundle is wrong: %w", err)
	}
	if c.Size != b.tree.Size() || c.Size != b.Header.Size || c.Root != b.tree.Root() || c.Origin != b.Header.Origin {
		return badBundle("its checkpoint signs for %d entries with another root than its %d entries have", c.Size, b.tree.Size())
	}
	if _, err := b.r.ReadByte(); err != io.EOF {
		return badBundle("bytes follow its checkpoint")
	}
	return nil
}

// Report is what VerifyBundle found.
type Report struct {
	Org      remit.Org    `json:"org"`
	Origin   string       `json:"origin"`
	Verifier string       `json:"verifier"`
	Size     uint64       `json:"size"`
	Root     remit.Digest `json:"root"`
	Payloads int          `json:"payloads"`
	Erased   int          `json:"erased"`
	// Trusted: the signature is by the key that the verifier brought. Otherwise the bundle is self-consistent only:
	// anyone could have made it.
	Trusted bool `json:"trusted"`
	// Since is the size at which the verifier had seen the log before; 0: never.
	Since uint64 `json:"since,omitempty"`
}

// String says in one sentence what was verified.
func (r Report) String() string {
	s := fmt.Sprintf("%s: %d entries, root %s, %d payloads, %d erased: ", r.Origin, r.Size, r.Root, r.Payloads, r.Erased)
	switch {
	case !r.Trusted:
		return s + "self-consistent only (no verifier key was given)"
	case r.Since == 0:
		return s + "signed by the trusted key"
	}
	return s + fmt.Sprintf("signed by the trusted key, and an extension of the %d entries seen before", r.Since)
}

// VerifyBundle checks a bundle: every byte of it, its tree, its signature, and, against a checkpoint that trust holds,
// that nothing before it was cut or changed. Meaning, if given, gets every entry in order with the bundle it can ask for
// payloads and policies. The zero Trust checks that the bundle is consistent with itself only, and the report says so.
func VerifyBundle(ctx context.Context, r io.Reader, trust Trust, meaning func(*Bundle, remit.EntryIndex, Leaf) error) (Report, error) {
	b, err := ReadBundle(r)
	if err != nil {
		return Report{}, err
	}
	key := trust.Verifier
	if key == "" {
		key = b.Header.Verifier
	}
	var seen Checkpoint
	if len(trust.Checkpoint) > 0 {
		if seen, err = OpenCheckpoint(trust.Checkpoint, key); err != nil {
			return Report{}, fmt.Errorf("the trusted checkpoint: %w", err)
		}
	}
	if b.Header.Verifier != key {
		return Report{}, badBundle("it was signed by another key (%s) than the trusted one", b.Header.Verifier)
	}
	fork := func() error {
		if b.tree.Size() == seen.Size && b.tree.Root() != seen.Root {
			if f := b.forked; f != nil && f.Size < seen.Size {
				return badBundle("its entry %d, log.forked, says that the log went on from a backup of %d entries and that what came after was lost, with the %d entries of the trusted checkpoint: nothing from there on was seen before", f.Size, f.Size, seen.Size)
			}
			return badBundle("its first %d entries are not those of the trusted checkpoint: it was forked or changed", seen.Size)
		}
		return nil
	}
	for {
		index, l, err := b.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return Report{}, err
		}
		if err := fork(); err != nil {
			return Report{}, err
		}
		if meaning != nil {
			if err := meaning(b, index, l); err != nil {
				return Report{}, fmt.Errorf("entry %d: %w", index, err)
			}
		}
	}
	if b.tree.Size() < seen.Size {
		return Report{}, badBundle("it has %d entries, but the trusted checkpoint covers %d: its end was cut", b.tree.Size(), seen.Size)
	}
	if err := b.finish(key); err != nil {
		return Report{}, err
	}
	rep := b.report
	rep.Org, rep.Origin, rep.Verifier = b.Header.Org, b.Header.Origin, b.Header.Verifier
	rep.Size, rep.Root, rep.Trusted, rep.Since = b.tree.Size(), b.tree.Root(), trust.Verifier != "", seen.Size
	return rep, nil
}

// readItem reads one item and compares its bytes with its one encoding.
func readItem(r *bufio.Reader) (item, error) {
	var raw []byte
	head := func(major byte) (uint64, error) {
		first, err := r.ReadByte()
		if err != nil {
			return 0, cutShort(err)
		}
		size := headSize(first)
		if size < 0 {
			return 0, badBundle("a length is not in its one encoding")
		}
		b := make([]byte, 1+size)
		b[0] = first
		if _, err := io.ReadFull(r, b[1:]); err != nil {
			return 0, cutShort(err)
		}
		raw = append(raw, b...)
		n, _, ok := takeHead(b, major)
		if !ok {
			return 0, badBundle("it is not the sequence of items that a bundle is")
		}
		return n, nil
	}
	n, err := head(arrayHead)
	if err != nil {
		return item{}, err
	}
	if n < 2 || n > 4 {
		return item{}, badBundle("an item has 1 to 3 fields, not %d", int64(n)-1)
	}
	it := item{fields: make([][]byte, n-1)}
	if it.kind, err = head(uintHead); err != nil {
		return item{}, err
	}
	if it.kind < itemHeader || it.kind > itemCheckpoint {
		return item{}, badBundle("items of kind %d are unknown to this release", it.kind)
	}
	for i := range it.fields {
		size, err := head(bytesHead)
		if err != nil {
			return item{}, err
		}
		if size > maxItem {
			return item{}, badBundle("a field has %d bytes; at most %d are allowed", size, maxItem)
		}
		var field bytes.Buffer // grows with what is really there
		if _, err := io.CopyN(&field, r, int64(size)); err != nil {
			return item{}, cutShort(err)
		}
		it.fields[i] = field.Bytes()
		raw = append(raw, it.fields[i]...)
	}
	if !bytes.Equal(it.append(nil), raw) {
		return item{}, badBundle("an item is not in its one encoding")
	}
	return it, nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badBundle("it ends too early")
	}
	return fmt.Errorf("reading the bundle: %w", err)
}
