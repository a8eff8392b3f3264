// Package mutant shows that rules are tested: with a rule broken, one of its package's tests must fail. It is for tests.
package mutant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mutant is one edit of a package's source that breaks a rule: the name of the file, the rule, a text that stands in the file
// once, inside of a function, and what takes its place.
type Mutant [4]string

func (m Mutant) file() string { return m[0] }
func (m Mutant) old() string  { return m[2] }
func (m Mutant) new() string  { return m[3] }

// String is the file and the rule.
func (m Mutant) String() string { return m[0] + ", " + m[1] }

// judges says whether a file's tests judge mutants: random histories, lists of mutants and fuzz targets do not, so that the
// tests of a mutant take a second. Which files those are is their name's to say, so that no list has to be kept.
func judges(file string) bool {
	return strings.HasSuffix(file, "_test.go") && file != "fuzz_test.go" &&
		!strings.HasPrefix(file, "property_") && !strings.HasPrefix(file, "mutants_")
}

// Fit checks that each mutant of the package in the working directory fits its source: whoever changes a rule that a mutant
// breaks changes the mutant with it.
func Fit(t *testing.T, all []Mutant) {
	t.Helper()
	source := map[string]string{}
	told := map[Mutant]bool{}
	for _, m := range all {
		if source[m.file()] == "" {
			b, err := os.ReadFile(m.file())
			if err != nil {
				t.Fatal(err)
			}
			source[m.file()] = string(b)
		}
		if n := strings.Count(source[m.file()], m.old()); n != 1 {
			t.Errorf("%v: %q stands %d times; a mutant changes one place", m, m.old(), n)
		}
		same := Mutant{m.file(), "", m.old(), m.new()}
		if told[same] {
			t.Errorf("%v: another mutant is the same", m)
		}
		told[same] = true
	}
}

// Judge runs the short tests of the package in the working directory with each mutant; one that no test notices is an error.
// It does so only with REMIT_MUTANTS=1. REMIT_MUTANT=TEXT judges those whose file and rule contain it; REMIT_MUTANT_PART=0/2
// every second one.
func Judge(t *testing.T, all []Mutant) {
	t.Helper()
	if os.Getenv("REMIT_MUTANTS") != "1" {
		t.Skip("this runs the tests once for each mutant, which takes minutes; REMIT_MUTANTS=1 runs it")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	part, of := 0, 1
	if p := os.Getenv("REMIT_MUTANT_PART"); p != "" {
		if _, err := fmt.Sscanf(p, "%d/%d", &part, &of); err != nil || of < 1 {
			t.Fatalf("REMIT_MUTANT_PART is PART/PARTS, such as 0/2, not %q", p)
		}
	}
	chosen := map[int]Mutant{}
	for i, m := range all {
		if i%of == part && strings.Contains(m.String(), os.Getenv("REMIT_MUTANT")) {
			chosen[i+1] = m
		}
	}
	bin, wrong, err := compile(t.Context(), t.TempDir(), here, chosen)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if why := run(t.Context(), bin, here, 0, ".", 10*time.Minute); why == "" {
		t.Fatal("the tests fail without a mutant")
	}
	limit := max(2*time.Minute, 10*time.Since(began)) // a mutant that never ends is caught; a busy machine catches none
	t.Logf("%d mutants", len(chosen))
	work := make(chan int)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range work {
				m, why := chosen[i], wrong[i]
				if why == "" {
					why = survives(t.Context(), bin, here, i, m, limit)
				}
				if why != "" {
					t.Errorf("%v: %q: %s", m, m.old(), why)
				}
			}
		})
	}
	for _, i := range slices.Sorted(maps.Keys(chosen)) {
		work <- i
	}
	close(work)
	wg.Wait()
}

const noneFails = "it survives: no test fails"

// survives is why a mutant is not caught; empty: it is. The tests beside its file are run first, because mostly they tell.
func survives(ctx context.Context, bin, here string, on int, m Mutant, limit time.Duration) string {
	if near := beside(here, m.file()); near != "" {
		if why := run(ctx, bin, here, on, near, limit); why != noneFails {
			return why
		}
	}
	return run(ctx, bin, here, on, ".", limit)
}

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// beside matches the names of the tests in files that are named like the file: of plan.go those in plan_test.go and
// plan_file_test.go, of diff_people.go those in diff_test.go.
func beside(here, file string) string {
	for stem := strings.TrimSuffix(filepath.Base(file), ".go"); stem != ""; stem = stem[:max(0, strings.LastIndex(stem, "_"))] {
		files, err := filepath.Glob(filepath.Join(here, stem+"*_test.go"))
		if err != nil {
			return ""
		}
		var names []string
		for _, f := range files {
			if !judges(filepath.Base(f)) {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				return ""
			}
			for _, hit := range testName.FindAllStringSubmatch(string(b), -1) {
				names = append(names, hit[1])
			}
		}
		if len(names) > 0 {
			return "^(" + strings.Join(names, "|") + ")$"
		}
	}
	return ""
}

// run is why no test fails with a mutant; empty: one does.
func run(ctx context.Context, bin, here string, on int, tests string, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	run := exec.CommandContext(ctx, bin, "-test.short", "-test.failfast", "-test.run", tests)
	run.Dir, run.Env = here, append(os.Environ(), "GOGC=400", fmt.Sprintf("%s=%d", onName, on)) // less collecting of garbage saves a third of the time
	out, err := run.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return noneFails
	case !errors.As(err, &failed):
		return fmt.Sprintf("it could not be run: %v\n%s", err, out)
	}
	return ""
}
