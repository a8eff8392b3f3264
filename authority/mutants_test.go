package authority_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutant is one edit of the package's source that breaks a rule.
type mutant struct{ file, rule, old, new string }

// slowTests are files whose tests do not judge mutants: they are left out of each build. The others take a second.
var slowTests = []string{"property_test.go", "property_chain_test.go", "property_child_test.go", "property_sweep_test.go", "property_control_test.go", "property_tool_test.go", "fuzz_test.go", "mutants_test.go", "mutants_list_test.go", "mutants_release_test.go", "mutants_child_test.go", "mutants_control_test.go", "mutants_sweep_test.go", "mutants_tool_test.go"}

// TestMutants shows that every compiled rule is tested: with the rule broken, a test fails.
func TestMutants(t *testing.T) {
	if os.Getenv("REMIT_MUTANTS") != "1" {
		t.Skip("this compiles the package once for each mutant, which takes minutes; REMIT_MUTANTS=1 runs it")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(mutants, controlMutants, releaseMutants, childMutants, sweepMutants, toolMutants)
	work := make(chan int)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range work {
				m := all[i]
				if why := survives(t.TempDir(), here, m); why != "" {
					t.Errorf("%s, %s: %q: %s", m.file, m.rule, m.old, why)
				}
			}
		})
	}
	// REMIT_MUTANT=TEXT judges those whose file and rule contain it; REMIT_MUTANT_PART=0/2 every second one.
	part, of := 0, 1
	if p := os.Getenv("REMIT_MUTANT_PART"); p != "" {
		if _, err := fmt.Sscanf(p, "%d/%d", &part, &of); err != nil || of < 1 {
			t.Fatalf("REMIT_MUTANT_PART is PART/PARTS, such as 0/2, not %q", p)
		}
	}
	for i := range all {
		if only := os.Getenv("REMIT_MUTANT"); i%of == part && (only == "" || strings.Contains(all[i].file+" "+all[i].rule, only)) {
			work <- i
		}
	}
	close(work)
	wg.Wait()
}

// survives is why a mutant is not caught; empty: it is.
func survives(dir, here string, m mutant) string {
	path := filepath.Join(here, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return fmt.Sprintf("the text stands %d times; a mutant changes one place", n)
	}
	changed, overlay, bin := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutant.test")
	files := map[string]string{path: changed}
	for _, f := range slowTests {
		files[filepath.Join(here, f)] = "" // as if it did not exist
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": files})
	if err != nil {
		return err.Error()
	}
	for name, body := range map[string]string{changed: strings.Replace(string(source), m.old, m.new, 1), overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			return err.Error()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-N -l", "-ldflags=-s -w", "-overlay", overlay, "-o", bin, ".")
	build.Dir, build.Env = here, append(os.Environ(), "GOGC=400") // less collecting of garbage saves a third of the time
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Sprintf("it does not compile: %v\n%s", err, out)
	}
	defer os.Remove(bin)
	run := exec.CommandContext(ctx, bin, "-test.short", "-test.failfast")
	run.Dir, run.Env = here, append(os.Environ(), "GOGC=400")
	out, err := run.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return "it survives: no test fails"
	case !errors.As(err, &failed):
		return fmt.Sprintf("it could not be run: %v\n%s", err, out)
	}
	return ""
}
