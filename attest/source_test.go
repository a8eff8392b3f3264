package attest_test

import (
	"strings"
	"testing"

	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
)

func revised() attest.Revised {
	return attest.Revised{Repository: "git+https://remit.example/v1/orgs/acme/git/forge/app.git", Ref: "refs/heads/main", Commit: commit, Levels: []string{"SLSA_SOURCE_LEVEL_3", "ORG_SOURCE_AGENT_AUTHORED"},
		Policy: remit.Hash([]byte("policy")), Rules: 2, Task: "T-7", Inputs: []attest.Input{{Entry: 40, Leaf: remit.Hash([]byte("leaf"))}}, Where: where}
}

// TestSourceSummary holds the bytes, and in-toto's own types read them: the subject is the commit on that ref.
func TestSourceSummary(t *testing.T) {
	b, err := attest.Source(revised())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","predicate":{"inputAttestations":[{"digest":{"sha256":"` + remit.Hash([]byte("leaf")).String() + `"},"uri":"remit.example/acme#40"}],` +
		`"policy":{"digest":{"sha256":"` + remit.Hash([]byte("policy")).String() + `"},"uri":"remit.example/acme#41/T-7"},"resourceUri":"git+https://remit.example/v1/orgs/acme/git/forge/app.git","slsaVersion":"1.2",` +
		`"timeVerified":"2026-05-01T12:00:00Z","verificationResult":"PASSED","verifiedLevels":["SLSA_SOURCE_LEVEL_3","ORG_SOURCE_AGENT_AUTHORED"],"verifier":{"id":"https://remit.dev/attest/rules/v2"}},` +
		`"predicateType":"https://slsa.dev/verification_summary/v1","subject":[{"annotations":{"sourceRefs":["refs/heads/main"]},"digest":{"gitCommit":"` + commit + `"},"uri":"git+https://remit.example/v1/orgs/acme/git/forge/app.git"}]}`
	if string(b) != want {
		t.Errorf("it says\n%s\nnot\n%s", b, want)
	}
	s, p := &intoto.Statement{}, &vsa.VerificationSummary{}
	if err := protojson.Unmarshal(b, s); err != nil || s.Validate() != nil {
		t.Fatalf("%v", err)
	}
	raw, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(raw, p); err != nil || p.GetVerifiedLevels()[0] != "SLSA_SOURCE_LEVEL_3" || s.GetSubject()[0].GetAnnotations() == nil {
		t.Errorf("%v %v", err, p)
	}
	for name, change := range map[string]func(*attest.Revised){"no ref": func(r *attest.Revised) { r.Ref = "" }, "no level": func(r *attest.Revised) { r.Levels = nil },
		"no entry": func(r *attest.Revised) { r.Inputs = nil }, "no commit": func(r *attest.Revised) { r.Commit = strings.Repeat("z", 40) }} {
		r := revised()
		change(&r)
		if b, err := attest.Source(r); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
}
