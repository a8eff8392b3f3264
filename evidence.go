package remit

import (
	"fmt"
	"strconv"
	"strings"
)

// EvidenceVerdict: an agent of function review approves of exactly this change, whose owner and launcher have no part in
// it; verdict:2 asks for agents of two owners. Of a merge, EvidenceBuilt says that its head was built.
const EvidenceVerdict = "verdict"

// Instead splits what stands in for the people of a need: KIND(+KIND)*, all of which must be found.
func (n Need) Instead() []string {
	if n.Evidence == "" {
		return nil
	}
	return strings.Split(n.Evidence, "+")
}

// CheckEvidence tells what is wrong with the evidence of n.
func (n Need) CheckEvidence() error {
	if n.InProduction && n.Evidence == "" {
		return fmt.Errorf("in_production says that evidence counts in production too, and there is none")
	}
	for i, kind := range n.Instead() {
		env, deployed := strings.CutPrefix(kind, EvidenceDeployed)
		if kind == EvidenceBuilt || kind == EvidenceMerged || deployed && env != "" {
			continue
		}
		if verdicts, ok := Verdicts(kind); !ok || verdicts > 8 {
			return fmt.Errorf("evidence %d, %q: write %s, %s:N for at most 8, %s, %s or %sENVIRONMENT, joined by +", i, kind, EvidenceVerdict, EvidenceVerdict, EvidenceBuilt, EvidenceMerged, EvidenceDeployed)
		}
	}
	return nil
}

// Verdicts is how many verdicts a kind of evidence asks for; ok is false for another kind.
func Verdicts(kind string) (n int, ok bool) {
	count, many := strings.CutPrefix(kind, EvidenceVerdict+":")
	if !many {
		return 1, kind == EvidenceVerdict
	}
	n, err := strconv.Atoi(count)
	return n, err == nil && n > 0 && strconv.Itoa(n) == count
}

// Stood is evidence that stood in for people: for whom, and the entries in which it is found.
type Stood struct {
	Need    Need         `json:"need" cbor:"1,keyasint"`
	Entries []EntryIndex `json:"entries" cbor:"2,keyasint"`
}
