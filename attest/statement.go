// Package attest says what Remit knows in the terms of the supply chain's own tools: in-toto statements v1 (SLSA
// provenance, verification summaries, simple verification results) in DSSE envelopes. A statement repeats the log, which
// stays the evidence: each names its log and the entry.
package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/remit-dev/remit"
)

// Predicate types of the statements that Remit makes.
const (
	ProvenanceType = "https://slsa.dev/provenance/v1"
	SummaryType    = "https://slsa.dev/verification_summary/v1"
	ResultType     = "https://in-toto.io/attestation/svr/v0.1"

	// BuildType says how to read the parameters of a provenance: a task that rests on commits and artifacts.
	BuildType = "https://remit.dev/attest/task/v1"
	// Verifier is who checked: this release of the rules.
	Verifier = "https://remit.dev/attest/rules/v"
)

// Where is the place of a fact in a log.
type Where struct {
	Origin string // of the log
	Entry  remit.EntryIndex
	At     time.Time
}

// Published is what is known of an artifact that was published through Remit.
type Published struct {
	Artifact remit.Artifact
	Builder  string        // SPIFFE ID of the agent, spiffe://ORG/agent/NAME
	Inputs   []remit.Input // what its task rested on: commits and artifacts
	Workflow string        // path of the workflow's file, if a job of one built it
	Issuer   string        // address of the issuer whose token proved that job
	Task     remit.ID
	Attempt  remit.ID // empty: not known any more
	// Requester is the task that asked for it; empty if a person did, who is not named here (a statement leaves the house).
	Requester remit.ID
	Where     Where
}

// Provenance is the statement on how an artifact came to be (SLSA provenance v1).
func Provenance(p Published) ([]byte, error) {
	subject, err := artifacts(p.Artifact)
	if err != nil {
		return nil, err
	}
	sources, rests := []any{}, []*intoto.ResourceDescriptor{}
	for _, in := range p.Inputs {
		d, err := input(in)
		if err != nil {
			return nil, err
		}
		rests = append(rests, d)
		if in.Resource.Type() == "repo" {
			sources = append(sources, map[string]any{"repository": string(in.Resource), "commit": in.ID})
		}
	}
	external := map[string]any{"sources": sources, "task": string(p.Task)}
	for name, v := range map[string]string{"workflow": p.Workflow, "issuer": p.Issuer, "requestedBy": string(p.Requester)} {
		if v != "" {
			external[name] = v
		}
	}
	params, err := structpb.NewStruct(external)
	if err != nil {
		return nil, fmt.Errorf("the parameters of %s: %w", p.Artifact, err)
	}
	id := invocation(p.Where, p.Task, p.Attempt)
	predicate := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{BuildType: BuildType, ExternalParameters: params, ResolvedDependencies: rests},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: p.Builder},
			Metadata: &provenance.BuildMetadata{InvocationId: id, FinishedOn: timestamppb.New(p.Where.At)}},
	}
	if err := predicate.Validate(); err != nil {
		return nil, fmt.Errorf("the provenance of %s: %w", p.Artifact, err)
	}
	return statement(ProvenanceType, predicate, subject...)
}

// Reviewed is a verdict on a change.
type Reviewed struct {
	Repository       remit.Resource
	Ref              string // that the change is proposed for
	Base, Head, Tree string // object ids
	Diff             remit.Digest
	Verdict          string // approve or reject
	Reviewer         string // SPIFFE ID of the agent
	Task             remit.ID
	Where            Where
}

// Review is the statement on a verdict (in-toto simple verification result): its subjects are the head, the tree that
// results, and the difference, so that it is good for no other change.
func Review(r Reviewed) ([]byte, error) {
	if r.Verdict != remit.ReviewApprove && r.Verdict != remit.ReviewReject {
		return nil, fmt.Errorf("a verdict is %s or %s, not %q", remit.ReviewApprove, remit.ReviewReject, r.Verdict)
	}
	var subject []*intoto.ResourceDescriptor
	for _, o := range []struct{ name, kind, id string }{{"head", "gitCommit", r.Head}, {"tree", "gitTree", r.Tree}, {"base", "gitCommit", r.Base}} {
		if !isObject(o.id) {
			return nil, fmt.Errorf("the %s %q of a verdict is no object id", o.name, o.id)
		}
		subject = append(subject, &intoto.ResourceDescriptor{Name: o.name, Uri: string(r.Repository), Digest: gitDigest(o.kind, o.id)})
	}
	if r.Diff.IsZero() {
		return nil, errors.New("a verdict is on a difference, and this one names none")
	}
	subject = append(subject, &intoto.ResourceDescriptor{Name: "diff", Digest: map[string]string{"sha256": fmt.Sprintf("%x", r.Diff[:])}})
	return statement(ResultType, &svr.SimpleVerificationResult{
		Verifier:    &svr.SimpleVerificationResult_Verifier{Id: r.Reviewer},
		TimeCreated: timestamppb.New(r.Where.At),
		Properties:  []string{"REMIT_REVIEW_" + upper(r.Verdict), "REMIT_REF " + r.Ref, "REMIT_RECORD " + invocation(r.Where, r.Task, "")},
	}, subject...)
}

// Released is a decision on what is deployed, and what came of it.
type Released struct {
	Deploy   remit.Deploy
	Allowed  bool
	Policy   remit.Digest // in force
	Evidence []string     // that was required and found
	Rules    int          // version of the compiled rules
	Task     remit.ID
	Access   remit.ID // whose votes decided
	Votes    []Approval
	Executor string // who carried it out
	Attempt  remit.ID
	Outcome  remit.Outcome
	Where    Where // of the decision
}

// Approval is a vote that counted. The person is their id in the log: a statement leaves the house.
type Approval struct {
	Person    remit.ID
	Assurance remit.Assurance
}

// Release is the statement on a decision to deploy (SLSA verification summary).
func Release(r Released) ([]byte, error) {
	subject, err := artifacts(r.Deploy.Artifacts...)
	if err != nil {
		return nil, err
	}
	result, levels := "FAILED", []string{}
	if r.Allowed {
		result = "PASSED"
		for _, e := range r.Evidence {
			levels = append(levels, "REMIT_EVIDENCE "+e)
		}
		if r.Access != "" {
			levels = append(levels, "REMIT_APPROVED "+string(r.Access))
		}
		for _, v := range r.Votes {
			levels = append(levels, "REMIT_APPROVER "+string(v.Person)+" "+string(v.Assurance))
		}
		if r.Executor != "" {
			levels = append(levels, "REMIT_EXECUTOR "+r.Executor)
		}
		if r.Deploy.Rollback {
			levels = append(levels, "REMIT_ROLLBACK")
		}
		// What was verified is that it may be deployed. Whoever wants to know whether it was asks for this.
		if r.Outcome != "" {
			levels = append(levels, "REMIT_OUTCOME "+string(r.Outcome))
		}
	}
	slices.Sort(levels)
	return statement(SummaryType, &vsa.VerificationSummary{
		Verifier:     &vsa.VerificationSummary_Verifier{Id: Verifier + strconv.Itoa(r.Rules)},
		TimeVerified: timestamppb.New(r.Where.At),
		ResourceUri:  string(r.Deploy.Step().Resource),
		Policy: &vsa.VerificationSummary_Policy{Uri: invocation(r.Where, r.Task, r.Attempt),
			Digest: map[string]string{"sha256": fmt.Sprintf("%x", r.Policy[:])}},
		VerificationResult: result, VerifiedLevels: levels,
	}, subject...)
}

// invocation names one act in one log: what a reader looks up there.
func invocation(w Where, task, attempt remit.ID) string {
	s := w.Origin + "#" + strconv.FormatUint(uint64(w.Entry), 10) + "/" + string(task)
	if attempt != "" {
		s += "/" + string(attempt)
	}
	return s
}

func artifacts(list ...remit.Artifact) (out []*intoto.ResourceDescriptor, err error) {
	for _, a := range list {
		d, err := input(remit.Input{Resource: a.Resource, ID: a.Digest})
		if err != nil {
			return nil, err
		}
		if a.Resource.Type() != "artifact" {
			return nil, fmt.Errorf("%s is no artifact", a)
		}
		out = append(out, d)
	}
	return out, nil
}

// input describes an immutable name.
func input(in remit.Input) (*intoto.ResourceDescriptor, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	if in.Resource.Type() == "artifact" {
		return &intoto.ResourceDescriptor{Name: in.Resource.Name(), Uri: string(in.Resource), Digest: map[string]string{"sha256": in.ID[len("sha256:"):]}}, nil
	}
	return &intoto.ResourceDescriptor{Name: in.Resource.Name(), Uri: string(in.Resource), Digest: gitDigest("gitCommit", in.ID)}, nil
}

// gitDigest names an object. in-toto's gitCommit and gitTree are SHA-1; objects of SHA-256 repositories have a name of
// their own here, since a reader would take 64 digits under the usual one for a mistake.
func gitDigest(kind, id string) map[string]string {
	if len(id) == 64 {
		kind += "SHA256"
	}
	return map[string]string{kind: id}
}

func isObject(id string) bool {
	return (remit.Input{Resource: "repo:a/b", ID: id}).Check() == nil
}

func upper(verdict string) string {
	if verdict == remit.ReviewApprove {
		return "APPROVED"
	}
	return "REJECTED"
}

// statement is the bytes that are signed: equal facts, equal bytes.
func statement(predicateType string, predicate proto.Message, subject ...*intoto.ResourceDescriptor) ([]byte, error) {
	b, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, fmt.Errorf("encoding a predicate: %w", err)
	}
	body := &structpb.Struct{}
	if err := protojson.Unmarshal(b, body); err != nil {
		return nil, fmt.Errorf("encoding a predicate: %w", err)
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subject, PredicateType: predicateType, Predicate: body}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("the statement is not one of in-toto: %w", err)
	}
	if b, err = protojson.Marshal(s); err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	return canonical(b)
}

// canonical sorts the members and takes out the spaces, which protojson puts at random so that nobody relies on them.
func canonical(b []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
