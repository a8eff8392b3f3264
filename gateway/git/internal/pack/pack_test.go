package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

func TestPackWithEveryKindOfEntryIsResolved(t *testing.T) {
	ctx := context.Background()
	var b builder
	one := []byte("one\n")
	// The delta by id comes before its base, which is a delta itself.
	two := []byte("one\ntwo\n")
	b.refDelta(oidOf(t, object.Blob, two), appendDelta(len(two), "three\n"))
	at := b.object(object.Blob, one)
	b.offsetDelta(at, appendDelta(len(one), "two\n"))
	tree := object.AppendTree(nil, []object.Entry{{Mode: object.ModeFile, Name: "f", OID: oidOf(t, object.Blob, two)}})
	b.object(object.Tree, tree)
	b.object(object.Blob, nil)
	data := b.bytes()

	p, x, err := load(t, data, Limits{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Size() != int64(len(data)) || x.Len() != 5 || p.Len() != 5 || x.Digest() != sha256.Sum256(data) ||
		!bytes.Equal(data[len(data)-20:], func() []byte { o := x.Trailer(); return o[:] }()) {
		t.Fatalf("index says %d bytes, %d objects", x.Size(), x.Len())
	}
	for body, typ := range map[string]object.Type{
		"one\n": object.Blob, "one\ntwo\n": object.Blob, "one\ntwo\nthree\n": object.Blob, string(tree): object.Tree, "": object.Blob,
	} {
		oid := oidOf(t, typ, []byte(body))
		gotType, got, err := p.Object(ctx, oid)
		if err != nil || gotType != typ || string(got) != body {
			t.Errorf("%q: got %v %q, %v", body, gotType, got, err)
		}
		if _, typ2, size, ok := p.Find(oid); !ok || typ2 != typ || size != int64(len(body)) {
			t.Errorf("%q: Find gives %v %d %v", body, typ2, size, ok)
		}
	}
	n := 0
	var last object.OID
	for oid := range p.Objects() {
		if at, _, _, _ := p.Find(oid); at != n || n > 0 && last.Compare(oid) >= 0 {
			t.Errorf("%s is at %d, not %d, or out of order", oid, at, n)
		}
		last = oid
		n++
	}
	_, _, err = p.Object(ctx, object.OID{1})
	wantCode(t, err, object.CodeObjectMissing)
}

func TestStreamInSmallPiecesGivesTheSameIndex(t *testing.T) {
	var b builder
	for i := range 50 {
		b.object(object.Blob, bytes.Repeat([]byte{byte(i)}, i*100))
	}
	data := b.bytes()
	var spool bytes.Buffer
	x, err := Ingest(context.Background(), iotest.OneByteReader(bytes.NewReader(data)), &spool, Limits{})
	if err != nil || !bytes.Equal(spool.Bytes(), data) || x.Len() != 50 || x.Digest() != sha256.Sum256(data) {
		t.Fatalf("%v, %d bytes spooled of %d", err, spool.Len(), len(data))
	}
}

func TestFailureOfTheStreamIsNotTheFaultOfThePack(t *testing.T) {
	var b builder
	b.object(object.Blob, bytes.Repeat([]byte("abc"), 1000))
	broken := errors.New("connection reset")
	_, err := Ingest(context.Background(), io.MultiReader(bytes.NewReader(b.bytes()[:20]), iotest.ErrReader(broken)), io.Discard, Limits{})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Ingest(ctx, bytes.NewReader(b.bytes()), io.Discard, Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestHostilePacksAreRefused(t *testing.T) {
	blob := []byte("base\n")
	oid := oidOf(t, object.Blob, blob)
	with := func(f func(b *builder)) []byte {
		var b builder
		f(&b)
		return b.bytes()
	}
	chain := func(n int, byID bool) []byte {
		return with(func(b *builder) {
			body := append([]byte(nil), blob...)
			at := b.object(object.Blob, body)
			for range n {
				d := appendDelta(len(body), "x")
				if byID {
					b.refDelta(oidOf(t, object.Blob, body), d)
				} else {
					at = b.offsetDelta(at, d)
				}
				body = append(body, 'x')
			}
		})
	}
	plain := with(func(b *builder) { b.object(object.Blob, blob) })
	small := Limits{PackBytes: 1 << 20, Objects: 100, ObjectBytes: 3 << 19, InflatedBytes: 3 << 20, ResultBytes: 4 << 20}
	for _, c := range []struct {
		name, code string
		data       []byte
	}{
		{"empty stream", object.CodeBadPack, nil},
		{"no PACK", object.CodeBadPack, append([]byte("KCAP"), plain[4:]...)},
		{"version 3", object.CodeBadPack, append([]byte("PACK\x00\x00\x00\x03"), plain[8:]...)},
		{"version 4", object.CodeBadPack, append([]byte("PACK\x00\x00\x00\x04"), plain[8:]...)},
		{"count too high", "", seal(append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x02"), plain[12:len(plain)-20]...))},
		{"count too low", object.CodeBadPack, seal(append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"), plain[12:len(plain)-20]...))},
		{"count over the limit", object.CodeTooLarge, seal([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"))},
		{"wrong checksum", object.CodeBadPack, append(plain[:len(plain)-1:len(plain)-1], plain[len(plain)-1]^1)},
		{"no checksum", object.CodeBadPack, plain[:len(plain)-20]},
		{"cut in the object", object.CodeBadPack, plain[:16]},
		{"trailing byte", object.CodeBadPack, append(plain[:len(plain):len(plain)], 0)},
		{"second pack behind", object.CodeBadPack, append(plain[:len(plain):len(plain)], plain...)},
		{"type 0", object.CodeBadPack, with(func(b *builder) { b.raw(0, 1, nil, []byte("x")) })},
		{"type 5", object.CodeBadPack, with(func(b *builder) { b.raw(5, 1, nil, []byte("x")) })},
		{"size too small", object.CodeBadPack, with(func(b *builder) { b.raw(3, 1, nil, []byte("xy")) })},
		{"size too large", object.CodeBadPack, with(func(b *builder) { b.raw(3, 3, nil, []byte("xy")) })},
		{"size over the limit", object.CodeTooLarge, with(func(b *builder) { b.raw(3, 1<<21, nil, []byte("xy")) })},
		{"size of 70 bits", object.CodeBadPack, with(func(b *builder) {
			b.count++
			b.buf.Write(append([]byte{0xb1}, bytes.Repeat([]byte{0xff}, 12)...))
		})},
		{"inflates to too much", object.CodeTooLarge, with(func(b *builder) {
			for i := range 4 {
				b.object(object.Blob, bytes.Repeat([]byte{byte(i)}, 1<<20))
			}
		})},
		{"pack too large", object.CodeTooLarge, with(func(b *builder) {
			noise := make([]byte, 700<<10)
			for i := range noise {
				noise[i] = byte(rand.Uint32())
			}
			b.object(object.Blob, noise)
			b.object(object.Blob, noise[1:])
		})},
		{"base is itself", object.CodeBadPack, with(func(b *builder) { b.raw(6, 2, []byte{0}, []byte{0, 0}) })},
		{"base before the pack", object.CodeBadPack, with(func(b *builder) { b.raw(6, 2, backTo(500), []byte{0, 0}) })},
		{"base within an object", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at+1, appendDelta(len(blob), "x"))
		})},
		{"distance of 70 bits", object.CodeBadPack, with(func(b *builder) { b.raw(6, 2, append(bytes.Repeat([]byte{0xff}, 10), 0), []byte{0, 0}) })},
		{"chain of 51", object.CodeTooLargeJudge, chain(51, false)},
		{"chain of 51 by id", object.CodeTooLargeJudge, chain(51, true)},
		{"thin", object.CodeBadPack, with(func(b *builder) { b.refDelta(object.OID{1}, appendDelta(5, "x")) })},
		{"deltas in a circle", object.CodeBadPack, with(func(b *builder) {
			b.refDelta(object.OID{1}, appendDelta(5, "x"))
			b.refDelta(object.OID{2}, appendDelta(5, "y"))
		})},
		{"same object twice", object.CodeBadPack, with(func(b *builder) { b.object(object.Blob, blob); b.object(object.Blob, blob) })},
		{"same object twice, once as delta", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, appendDelta(len(blob), ""))
		})},
		{"same base twice with a delta by id", object.CodeBadPack, with(func(b *builder) {
			b.object(object.Blob, blob)
			b.object(object.Blob, blob)
			b.refDelta(oid, appendDelta(len(blob), "x"))
		})},
		{"delta for another size", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, appendDelta(len(blob)+1, "x"))
		})},
		{"delta by id for another size", object.CodeBadPack, with(func(b *builder) {
			b.object(object.Blob, blob)
			b.refDelta(oid, appendDelta(len(blob)+1, "x"))
		})},
		{"delta with instruction 0", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 1, 0})
		})},
		{"delta that makes nothing", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 0})
		})},
		{"delta copies beyond", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 5, 0x91, 1, 5})
		})},
		{"delta makes too much", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 5, 0x90, 5, 1, 'x'})
		})},
		{"delta makes too little", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 6, 0x90, 5})
		})},
		{"delta ends in a copy", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 5, 0xff, 5})
		})},
		{"delta ends in an insert", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 5, 5, 'x'})
		})},
		{"delta ends in its header", object.CodeBadPack, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, []byte{5, 0x80})
		})},
		{"delta promises too much", object.CodeTooLarge, with(func(b *builder) {
			at := b.object(object.Blob, blob)
			b.offsetDelta(at, append([]byte{5}, varint(1<<40)...))
		})},
		{"deltas make too much together", object.CodeTooLargeJudge, with(func(b *builder) {
			body := bytes.Repeat([]byte("x"), 60<<10)
			at := b.object(object.Blob, body)
			for i := range 80 {
				b.offsetDelta(at, appendDelta(len(body), fmt.Sprint(i)))
			}
		})},
		{"tree that git would refuse", object.CodeBadObject, with(func(b *builder) {
			b.object(object.Tree, object.AppendTree(nil, []object.Entry{{Mode: object.ModeTree, Name: ".GIT", OID: oid}}))
		})},
		{"commit that git would refuse", object.CodeBadObject, with(func(b *builder) { b.object(object.Commit, []byte("tree x\n")) })},
		{"tag that git would refuse, as delta", object.CodeBadObject, with(func(b *builder) {
			good := []byte("object " + oid.String() + "\ntype blob\ntag v\ntagger a <b> 1 +0000\n\nm")
			at := b.object(object.Tag, good)
			b.offsetDelta(at, appendDelta(len(good), "\x00"))
		})},
		{"commit too large", object.CodeTooLarge, with(func(b *builder) {
			b.raw(1, object.MaxCommit+1, nil, nil)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(t, c.data, small, Options{})
			// Where the checksum is read as an entry, any refusal will do.
			var e *Error
			if c.code == "" && errors.As(err, &e) {
				return
			}
			wantCode(t, err, c.code)
		})
	}
	if _, _, err := load(t, chain(50, false), Limits{}, Options{}); err != nil {
		t.Errorf("a chain of 50 is refused: %v", err)
	}
	if _, _, err := load(t, chain(50, true), Limits{}, Options{}); err != nil {
		t.Errorf("a chain of 50 by id is refused: %v", err)
	}
}

// What the first pass can refuse does not wait for the second.
func TestDepthIsRefusedWhileThePackArrives(t *testing.T) {
	var b builder
	at := b.object(object.Blob, nil)
	for i := range 3 {
		at = b.offsetDelta(at, appendDelta(i, "x"))
	}
	_, err := Ingest(context.Background(), bytes.NewReader(b.bytes()), io.Discard, Limits{Depth: 2})
	wantCode(t, err, object.CodeTooLargeJudge)
	if !strings.Contains(err.Error(), "pack.depth=2") {
		t.Errorf("%v does not tell what to do", err)
	}
}

func TestPackThatInflatesTooFarIsRefused(t *testing.T) {
	var b builder
	b.object(object.Blob, make([]byte, 65<<20))
	_, err := Ingest(context.Background(), bytes.NewReader(b.bytes()), io.Discard, Limits{})
	wantCode(t, err, object.CodeTooLarge)
}

func TestDeltaStopsWhereItsPromiseEnds(t *testing.T) {
	to := &sink{left: 3}
	delta := append(append(varint(4), varint(3)...), bytes.Repeat([]byte{0x90, 4}, 1000)...)
	r := bytes.NewReader(delta)
	err := applyDelta(r, &content{mem: []byte("base"), size: 4}, to, make([]byte, 64<<10))
	if !errors.Is(err, errTooLong) || r.Len() < 1990 {
		t.Errorf("%v with %d bytes of delta left", err, r.Len())
	}
}

func TestThinPackNeedsABaseThatIsWhatItSays(t *testing.T) {
	base := []byte("outside\n")
	oid := oidOf(t, object.Blob, base)
	inner := []byte("outside\ninner")
	var b builder
	b.refDelta(oidOf(t, object.Blob, inner), appendDelta(len(inner), "most"))
	b.refDelta(oid, appendDelta(len(base), "inner"))
	has := func(body []byte) Base {
		return func(_ context.Context, o object.OID) (object.Type, []byte, error) {
			if o == oid {
				return object.Blob, body, nil
			}
			return 0, nil, errors.New("not here")
		}
	}
	p, _, err := load(t, b.bytes(), Limits{}, Options{Base: has(base)})
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := p.Object(context.Background(), oidOf(t, object.Blob, []byte("outside\ninnermost")))
	if err != nil || string(got) != "outside\ninnermost" {
		t.Fatalf("%q %v", got, err)
	}
	_, _, err = load(t, b.bytes(), Limits{}, Options{Base: has([]byte("forged!!"))})
	wantCode(t, err, object.CodeObjectMissing)
	_, _, err = load(t, b.bytes(), Limits{}, Options{Base: func(context.Context, object.OID) (object.Type, []byte, error) { return 0, nil, errors.New("no") }})
	wantCode(t, err, object.CodeObjectMissing)
}

// Deltas, their bases and kept trees far above the memory limit go to disk
// and come out right.
func TestObjectsAboveTheMemoryLimitAreResolvedOnDisk(t *testing.T) {
	ctx := context.Background()
	var b builder
	body := bytes.Repeat([]byte("0123456789abcdef"), 3<<10)
	at := b.object(object.Blob, body)
	var want [][]byte
	for i := range 20 {
		more := fmt.Sprintf("-%d-", i)
		at = b.offsetDelta(at, appendDelta(len(body), more))
		body = append(bytes.Clone(body), more...)
		want = append(want, body)
	}
	dir := t.TempDir()
	p, _, err := load(t, b.bytes(), Limits{MemoryBytes: 100 << 10}, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range want {
		var got bytes.Buffer
		if err := p.Copy(ctx, &got, oidOf(t, object.Blob, body)); err != nil || !bytes.Equal(got.Bytes(), body) {
			t.Fatalf("%d bytes of %d, %v", got.Len(), len(body), err)
		}
	}
	if p.held != 0 || p.stack.top != 0 {
		t.Errorf("%d bytes held, stack at %d", p.held, p.stack.top)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, _, err = load(t, b.bytes(), Limits{MemoryBytes: 10 << 10, ScratchBytes: 200 << 10}, Options{})
	wantCode(t, err, object.CodeTooLargeJudge)
	if !strings.Contains(err.Error(), "core.bigFileThreshold") {
		t.Errorf("%v does not tell what to do", err)
	}
}

func TestSpoolThatChangedIsNoticed(t *testing.T) {
	var b builder
	b.object(object.Blob, []byte("judged"))
	var other builder
	other.object(object.Blob, []byte("forged"))
	x, err := Ingest(context.Background(), bytes.NewReader(b.bytes()), io.Discard, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Resolve(context.Background(), x, bytes.NewReader(other.bytes()), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, _, err = p.Object(context.Background(), oidOf(t, object.Blob, []byte("judged")))
	wantCode(t, err, object.CodeBadObject)
}

// The heap stays bounded for the pack that resolving costs most: large blobs,
// each a delta of the one before.
func TestHeapStaysBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MB of scratch files")
	}
	var b builder
	body := make([]byte, 6<<20)
	at := b.object(object.Blob, body)
	for i := range 40 {
		n := len(body) + i
		d := append(varint(n), varint(n+1)...)
		d = append(d, 0xf0, byte(n), byte(n>>8), byte(n>>16), 1, byte(i))
		at = b.offsetDelta(at, d)
	}
	data := b.bytes()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p, _, err := load(t, data, Limits{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// What the collector has not yet swept counts here too.
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if p.Len() != 41 {
		t.Errorf("%d objects", p.Len())
	}
}

func FuzzPack(f *testing.F) {
	var b builder
	at := b.object(object.Blob, []byte("one"))
	b.offsetDelta(at, appendDelta(3, "two"))
	oid, _ := object.Hash(object.Blob, []byte("one"))
	b.refDelta(oid, appendDelta(3, "six"))
	b.object(object.Tree, object.AppendTree(nil, []object.Entry{{Mode: object.ModeFile, Name: "f", OID: oid}}))
	whole := b.bytes()
	f.Add(whole[:len(whole)-20])
	for _, data := range hostile(f) {
		f.Add(data[:len(data)-20])
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum is added here: no fuzzer finds it.
		data = seal(bytes.Clone(data))
		limits := Limits{PackBytes: 1 << 20, Objects: 1000, ObjectBytes: 1 << 20, InflatedBytes: 8 << 20, ResultBytes: 8 << 20, MemoryBytes: 1 << 10}
		x, err := Ingest(context.Background(), bytes.NewReader(data), io.Discard, limits)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		p, err := Resolve(context.Background(), x, bytes.NewReader(data), Options{Dir: dir})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		defer p.Close()
		for oid := range p.Objects() {
			if err := p.Copy(context.Background(), io.Discard, oid); err != nil {
				t.Fatalf("%s was resolved, but not read again: %v", oid, err)
			}
		}
	})
}

func FuzzDelta(f *testing.F) {
	f.Add([]byte("base"), appendDelta(4, "x"))
	f.Add([]byte("base"), []byte{4, 4, 0x90, 4})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		r := bytes.NewReader(delta)
		readDeltaSize(r)
		size, err := readDeltaSize(r)
		if err != nil || size > 1<<20 {
			return
		}
		run := func(c *content) ([]byte, error) {
			to := &sink{left: size, keep: true}
			if err := applyDelta(bytes.NewReader(delta), c, to, make([]byte, 64<<10)); err != nil {
				return nil, err
			}
			_, err := to.done()
			return to.mem, err
		}
		inMemory, err1 := run(&content{mem: base, size: int64(len(base))})
		inFile, err2 := run(&content{file: bytes.NewReader(base), size: int64(len(base))})
		if (err1 == nil) != (err2 == nil) || !bytes.Equal(inMemory, inFile) {
			t.Fatalf("in memory %q, %v; in a file %q, %v", inMemory, err1, inFile, err2)
		}
	})
}
