package bench

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkAgainstTessera compares the log with Tessera's POSIX driver at 128 writers, each of which waits until its
// entry is durable in the tree, in alternating rounds of one run. Tessera's program is in $REMIT_TESSERA.
func BenchmarkAgainstTessera(b *testing.B) {
	program := os.Getenv("REMIT_TESSERA")
	if program == "" {
		b.Skip("REMIT_TESSERA is not set, so there is nothing to compare with: REMIT_TESSERA=$(tools/real/build tessera) ./test bench")
	}
	const writers = 128
	for b.Loop() {
		ours := ledgerStore(b, b.TempDir(), 0)
		var rates, ratios, p99s []float64
		for range atMost(5, 1) {
			cmd := exec.Command(program, "-writers", fmt.Sprint(writers), "-size", fmt.Sprint(entryBytes), "-for", atMost("3s", "200ms"), b.TempDir())
			out, err := cmd.Output()
			if err != nil {
				b.Fatal(err)
			}
			var theirs, wait float64
			if _, err := fmt.Sscan(string(out), &theirs, &wait); err != nil {
				b.Fatalf("%q: %v", out, err)
			}
			rate, p99, err := groupCommit(writers, atMost(100_000, 2_000), ours)
			if err != nil {
				b.Fatal(err)
			}
			rates, ratios, p99s = append(rates, rate), append(ratios, rate/theirs), append(p99s, float64(p99)/float64(time.Duration(wait)))
		}
		b.ReportMetric(median(rates), "entries/s")
		b.ReportMetric(median(ratios), "ratio")
		b.ReportMetric(median(p99s), "ratio-p99")
	}
}
