package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/remit-dev/remit"
)

// SLSAVersion is the version of the specification whose levels a summary names.
const SLSAVersion = "1.2"

// Revised is a revision of a branch that was let through, and what was verified of it.
type Revised struct {
	Repository string // git+https://…
	Ref        string // in full
	Commit     string
	Levels     []string     // the highest level of the Source track, then properties ORG_SOURCE_…
	Policy     remit.Digest // bundle in force
	Rules      int
	Task       remit.ID
	Inputs     []Input
	Where      Where // of the outcome
}

// Input is an entry on which a summary rests.
type Input struct {
	Entry remit.EntryIndex
	Leaf  remit.Digest // SHA-256 of the entry's bytes
}

// Source is the statement on a revision (SLSA verification summary, Source track): it is good for that commit on that ref.
func Source(r Revised) ([]byte, error) {
	raw, err := hex.DecodeString(r.Commit)
	if err != nil || len(raw) != 20 && len(raw) != 32 {
		return nil, fmt.Errorf("%.64q is no commit", r.Commit)
	}
	if r.Ref == "" || len(r.Levels) == 0 || len(r.Inputs) == 0 {
		return nil, errors.New("a revision is on a ref, at a level, and that rests on entries")
	}
	notes, err := structpb.NewStruct(map[string]any{"sourceRefs": []any{r.Ref}})
	if err != nil {
		return nil, fmt.Errorf("the ref %q: %w", r.Ref, err)
	}
	var inputs []*vsa.VerificationSummary_InputAttestation
	for _, in := range r.Inputs {
		inputs = append(inputs, &vsa.VerificationSummary_InputAttestation{Uri: r.Where.Origin + "#" + strconv.FormatUint(uint64(in.Entry), 10), Digest: map[string]string{"sha256": in.Leaf.String()}})
	}
	return statement(SummaryType, &vsa.VerificationSummary{
		Verifier:           &vsa.VerificationSummary_Verifier{Id: Verifier + strconv.Itoa(r.Rules)},
		TimeVerified:       timestamppb.New(r.Where.At.Truncate(time.Second)),
		ResourceUri:        r.Repository,
		Policy:             &vsa.VerificationSummary_Policy{Uri: invocation(r.Where, r.Task, ""), Digest: map[string]string{"sha256": r.Policy.String()}},
		InputAttestations:  inputs,
		VerificationResult: "PASSED", VerifiedLevels: r.Levels, SlsaVersion: SLSAVersion,
	}, &intoto.ResourceDescriptor{Uri: r.Repository, Digest: gitDigest("gitCommit", r.Commit), Annotations: notes})
}
