// Command tessera appends entries to a log of Tessera's POSIX driver, as many writers as told, each waiting for its
// entry to be integrated durably before the next, and prints entries per second and the 99th percentile of the waiting
// time in nanoseconds: what the benchmarks of Remit's own log are compared with.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	writers := flag.Int("writers", 128, "how many wait at a time")
	during := flag.Duration("for", 3*time.Second, "how long")
	size := flag.Int("size", 600, "bytes of an entry")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *writers, *size, *during); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, writers, size int, during time.Duration) error {
	key, _, err := note.GenerateKey(rand.Reader, "bench.example/log")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return err
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithBatching(uint(2*writers), 5*time.Millisecond)
	log, shutdown, _, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		return err
	}
	waits, errs := make([][]time.Duration, writers), make([]error, writers)
	start := time.Now()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for time.Since(start) < during {
				entry := make([]byte, size)
				_, _ = rand.Read(entry)
				asked := time.Now()
				if _, errs[w] = log.Add(ctx, tessera.NewEntry(entry))(); errs[w] != nil {
					return
				}
				waits[w] = append(waits[w], time.Since(asked))
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	every := slices.Concat(waits...)
	slices.Sort(every)
	fmt.Printf("%.0f %d\n", float64(len(every))/took.Seconds(), every[len(every)*99/100])
	return shutdown(ctx)
}
