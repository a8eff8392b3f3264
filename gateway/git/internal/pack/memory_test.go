package pack

import (
	"bufio"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// deltified writes a pack of about size bytes to file: texts of a megabyte, each the base of a chain of ten deltas that
// replace a quarter of it.
func deltified(b *testing.B, file string, size int64) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	// The count stands first and is known last, so the pack is written before it is summed.
	w := bufio.NewWriterSize(f, 1<<20)
	w.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
	rng := rand.New(rand.NewPCG(1, 1))
	text := func(n int) []byte {
		out := make([]byte, 0, n+64)
		for len(out) < n {
			out = fmt.Appendf(out, "line %x %x\n", rng.Uint64(), rng.Uint32())
		}
		return out[:n]
	}
	z, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	at, count := int64(12), uint32(0)
	add := func(kind uint8, link, body []byte) int64 {
		out := &counter{w: w}
		start := at
		out.Write(header(kind, len(body)))
		out.Write(link)
		z.Reset(out)
		z.Write(body)
		z.Close()
		at += out.n
		count++
		return start
	}
	const length, part = 1 << 20, 1 << 18
	for at < size {
		base := add(uint8(object.Blob), nil, text(length))
		for i := range 10 {
			if at >= size {
				break
			}
			// Half of the base, new text, and what is behind it.
			cut := length/2 + i*100
			d := append(varint(length), varint(length)...)
			for from, n := 0, cut; n > 0; from, n = from+0xffff, n-0xffff {
				d = appendCopy(d, from, min(n, 0xffff))
			}
			for fresh := text(part); len(fresh) > 0; fresh = fresh[min(127, len(fresh)):] {
				n := min(127, len(fresh))
				d = append(append(d, byte(n)), fresh[:n]...)
			}
			for from, n := cut+part, length-cut-part; n > 0; from, n = from+0xffff, n-0xffff {
				d = appendCopy(d, from, min(n, 0xffff))
			}
			base = add(kindOffsetDelta, backTo(int(at-base)), d)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt(binary.BigEndian.AppendUint32(nil, count), 8); err != nil {
		b.Fatal(err)
	}
	sum := sha1.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, at)); err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt(sum.Sum(nil), at); err != nil {
		b.Fatal(err)
	}
}

func appendCopy(d []byte, offset, n int) []byte {
	return append(d, 0xbf, byte(offset), byte(offset>>8), byte(offset>>16), byte(offset>>24), byte(n), byte(n>>8))
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// BenchmarkLargePack streams a pack of 128 MiB of deltified blobs (REMIT_BENCH_PACK=1024 for 1 GiB) through both passes.
// It gives the most that the heap held and that was had from the system, and our throughput as a multiple of that of git
// index-pack --strict on the same file. The aim is 64 MiB for the process and 16 MiB a push.
func BenchmarkLargePack(b *testing.B) {
	size := int64(128)
	if n, err := strconv.Atoi(os.Getenv("REMIT_BENCH_PACK")); err == nil {
		size = int64(n)
	}
	dir := b.TempDir()
	file := filepath.Join(dir, "in.pack")
	deltified(b, file, size<<20)
	start := time.Now()
	mustGit(b, dir, nil, "index-pack", "--strict", "--threads=1", "-o", filepath.Join(dir, "out.idx"), file)
	theirs := time.Since(start)
	in, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	spool, err := os.Create(filepath.Join(dir, "spool"))
	if err != nil {
		b.Fatal(err)
	}
	defer spool.Close()
	info, err := in.Stat()
	if err != nil {
		b.Fatal(err)
	}
	limits := Limits{PackBytes: 2 * info.Size(), InflatedBytes: 8 * info.Size(), ResultBytes: 64 * info.Size()}
	runtime.GC()
	stop := watchHeap()
	b.SetBytes(info.Size())
	var first time.Duration
	for b.Loop() {
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		x, err := Ingest(context.Background(), io.NewSectionReader(in, 0, info.Size()), spool, limits)
		if err != nil {
			b.Fatal(err)
		}
		first += time.Since(start)
		p, err := Resolve(context.Background(), x, spool, Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
	heap, all := stop()
	b.ReportMetric(float64(heap)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(all)/(1<<20), "process-MiB")
	b.ReportMetric(theirs.Seconds()*float64(b.N)/b.Elapsed().Seconds(), "x-git")
	b.ReportMetric(first.Seconds()/b.Elapsed().Seconds(), "first-pass")
}

// watchHeap samples what lies on the heap, garbage included, and what the runtime has of the system.
func watchHeap() (stop func() (heap, all uint64)) {
	done, ended := make(chan struct{}), make(chan struct{})
	var heap, all uint64
	go func() {
		defer close(ended)
		samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(samples)
			heap = max(heap, samples[0].Value.Uint64())
			all = max(all, samples[1].Value.Uint64()-samples[2].Value.Uint64())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (uint64, uint64) {
		close(done)
		<-ended
		return heap, all
	}
}
