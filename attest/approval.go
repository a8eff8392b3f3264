package attest

import (
	"errors"
	"fmt"
	"slices"

	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/remit-dev/remit"
)

// Voted is a vote, as the log has it: the person is their id there, and what they signed its digest.
type Voted struct {
	Access    remit.ID
	Person    remit.ID
	Approve   bool
	Assurance remit.Assurance
	Key       remit.Digest // of the public key
	Statement remit.Digest // of the bytes as signed
	Effect    remit.Digest // what was voted on: exactly, as a change, and as it was shown
	Change    remit.Digest
	Card      remit.Digest
	Signed    remit.SignedIn
	Where     Where
}

// Vote is the statement on a vote (in-toto simple verification result): its subjects are what the person signed, so that
// it is good for nothing else. The signature is the person's own, beside the log; this one is of the log's house.
func Vote(v Voted) ([]byte, error) {
	if v.Person == "" || v.Access == "" || v.Effect.IsZero() || v.Statement.IsZero() {
		return nil, errors.New("a vote is of a person, on a request, and on an effect that they signed")
	}
	verdict := remit.ReviewReject
	if v.Approve {
		verdict = remit.ReviewApprove
	}
	said := []string{"REMIT_VOTE_" + upper(verdict), "REMIT_REQUEST " + string(v.Access), "REMIT_ASSURANCE " + string(v.Assurance),
		fmt.Sprintf("REMIT_KEY sha256:%x", v.Key[:])}
	if !v.Signed.IsZero() {
		said = append(said, "REMIT_SIGNED_IN "+v.Signed.String())
	}
	return statement(ResultType, &svr.SimpleVerificationResult{
		Verifier:    &svr.SimpleVerificationResult_Verifier{Id: v.Where.Origin + "/people/" + string(v.Person)},
		TimeCreated: timestamppb.New(v.Where.At),
		Properties:  append(said, record(v.Where)),
	}, digests(named{"statement", v.Statement}, named{"effect", v.Effect}, named{"change", v.Change}, named{"card", v.Card})...)
}

// Concluded is what came of an act.
type Concluded struct {
	Effect   remit.Digest // what was decided on
	Attempt  remit.ID
	Task     remit.ID
	Access   remit.ID // whose votes decided; empty: nobody had to be asked
	Executor string   // who carried it out; empty: a gateway, for the agent that asked
	Outcome  remit.Outcome
	Code     remit.Code
	Made     string // by its immutable name
	Rules    int    // version of the compiled rules
	Where    Where
}

// Outcome is the statement on what came of an act.
func Outcome(o Concluded) ([]byte, error) {
	if o.Effect.IsZero() || o.Attempt == "" || !o.Outcome.Valid() {
		return nil, errors.New("an outcome is of an attempt at an effect")
	}
	properties := []string{"REMIT_OUTCOME " + string(o.Outcome), "REMIT_ATTEMPT " + string(o.Attempt), "REMIT_TASK " + string(o.Task)}
	for name, v := range map[string]string{"REMIT_APPROVED ": string(o.Access), "REMIT_EXECUTOR ": o.Executor, "REMIT_CODE ": string(o.Code), "REMIT_MADE ": o.Made} {
		if v != "" {
			properties = append(properties, name+v)
		}
	}
	slices.Sort(properties)
	return statement(ResultType, &svr.SimpleVerificationResult{
		Verifier:    &svr.SimpleVerificationResult_Verifier{Id: fmt.Sprint(Verifier, o.Rules)},
		TimeCreated: timestamppb.New(o.Where.At), Properties: append(properties, record(o.Where)),
	}, digests(named{"effect", o.Effect})...)
}

// record is where in which log a statement can be looked up.
func record(w Where) string { return fmt.Sprintf("REMIT_RECORD %s#%d", w.Origin, w.Entry) }

type named struct {
	name   string
	digest remit.Digest
}

func digests(list ...named) (out []*intoto.ResourceDescriptor) {
	for _, d := range list {
		if !d.digest.IsZero() {
			out = append(out, &intoto.ResourceDescriptor{Name: d.name, Digest: map[string]string{"sha256": fmt.Sprintf("%x", d.digest[:])}})
		}
	}
	return out
}
