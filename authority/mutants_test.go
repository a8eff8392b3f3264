package authority_test

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit/internal/mutant"
)

func allMutants() []mutant.Mutant {
	return slices.Concat(mutants, controlMutants, releaseMutants, childMutants, sweepMutants, toolMutants, planMutants, glassMutants, seenMutants, stepMutants, keyMutants, edgeMutants, onceMutants, activationMutants, reviewMutants)
}

func TestMutantsFit(t *testing.T) { mutant.Fit(t, allMutants()) }

// TestMutants shows that every compiled rule is tested: with the rule broken, a test fails.
func TestMutants(t *testing.T) { mutant.Judge(t, allMutants()) }
