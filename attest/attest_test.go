package attest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
)

type key struct {
	ed25519.PrivateKey
	signed []byte
}

func newKey(seed byte) *key {
	return &key{PrivateKey: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

func (k *key) Public() ed25519.PublicKey { return k.PrivateKey.Public().(ed25519.PublicKey) }
func (k *key) Sign(m []byte) ([]byte, error) {
	k.signed = m
	return ed25519.Sign(k.PrivateKey, m), nil
}

var (
	where    = attest.Where{Origin: "remit.example/acme", Entry: 41, At: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	artifact = remit.Artifact{Resource: "artifact:images/app", Digest: "sha256:" + strings.Repeat("ab", 32)}
	commit   = strings.Repeat("12", 20)
)

func published() attest.Published {
	return attest.Published{Artifact: artifact, Builder: "spiffe://acme/agent/builder", Workflow: ".github/workflows/build.yml", Issuer: "https://ci.example", Task: "T-7", Attempt: "X-3", Requester: "T-5",
		Inputs: []remit.Input{{Resource: "repo:forge/acme/app", ID: commit}, {Resource: "artifact:images/base", ID: "sha256:" + strings.Repeat("cd", 32)}}, Where: where}
}

func reviewed() attest.Reviewed {
	return attest.Reviewed{Repository: "repo:forge/acme/app", Ref: "refs/heads/main", Base: commit, Head: strings.Repeat("34", 20), Tree: strings.Repeat("56", 32),
		Diff: remit.Hash([]byte("diff")), Verdict: remit.ReviewApprove, Reviewer: "spiffe://acme/agent/reviewer", Task: "T-6", Where: where}
}

func released() attest.Released {
	return attest.Released{Deploy: remit.Deploy{Environment: "acme/production", Artifacts: []remit.Artifact{artifact}}, Allowed: true, Policy: remit.Hash([]byte("policy")),
		Evidence: []string{remit.EvidenceMerged, remit.EvidenceBuilt}, Rules: 3, Task: "T-9", Access: "A-4", Where: where,
		Votes: []attest.Approval{{Person: "H-2", Assurance: remit.AssuranceTouch}, {Person: "H-1", Assurance: remit.AssuranceTouch}}, Executor: "executor/P", Attempt: "X-44", Outcome: remit.Done}
}

func all(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, make := range map[string]func() ([]byte, error){
		attest.ProvenanceType: func() ([]byte, error) { return attest.Provenance(published()) },
		attest.ResultType:     func() ([]byte, error) { return attest.Review(reviewed()) },
		attest.SummaryType:    func() ([]byte, error) { return attest.Release(released()) },
	} {
		b, err := make()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

// TestForeignLibraryVerifies: in-toto's own verifier takes the envelope, and its types read and validate the statement.
func TestForeignLibraryVerifies(t *testing.T) {
	k := newKey(1)
	theirs, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(&signerverifier.SSLibKey{KeyType: "ed25519", Scheme: "ed25519", KeyVal: signerverifier.KeyVal{Public: hex.EncodeToString(k.Public())}})
	if err != nil {
		t.Fatal(err)
	}
	for typ, statement := range all(t) {
		b, err := attest.Sign(t.Context(), statement, k)
		if err != nil {
			t.Fatal(err)
		}
		// The DSSE protocol's PAE: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
		if want := fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(statement), statement); string(k.signed) != want {
			t.Errorf("%s: signed %q", typ, k.signed)
		}
		var e dsse.Envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		for i := range e.Signatures {
			e.Signatures[i].KeyID = "" // they name keys otherwise
		}
		ev, err := dsse.NewEnvelopeVerifier(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ev.Verify(t.Context(), &e); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		body, err := e.DecodeB64Payload()
		if err != nil || !bytes.Equal(body, statement) {
			t.Fatalf("%s: another payload (%v)", typ, err)
		}
		s := &intoto.Statement{}
		if err := protojson.Unmarshal(body, s); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err != nil || s.GetPredicateType() != typ {
			t.Errorf("%s: %v", s.GetPredicateType(), err)
		}
		predicate, err := protojson.Marshal(s.GetPredicate())
		if err != nil {
			t.Fatal(err)
		}
		into := map[string]proto.Message{attest.ProvenanceType: &provenance.Provenance{}, attest.ResultType: &svr.SimpleVerificationResult{}, attest.SummaryType: &vsa.VerificationSummary{}}[typ]
		if err := protojson.Unmarshal(predicate, into); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if p, ok := into.(*provenance.Provenance); ok {
			if err := p.Validate(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWhatIsSaid holds the bytes: readers elsewhere depend on them.
func TestWhatIsSaid(t *testing.T) {
	ab, cd, pol := strings.Repeat("ab", 32), strings.Repeat("cd", 32), remit.Hash([]byte("policy"))
	diff := remit.Hash([]byte("diff"))
	want := map[string]string{
		attest.ProvenanceType: `{"_type":"https://in-toto.io/Statement/v1","predicate":{"buildDefinition":{"buildType":"https://remit.dev/attest/task/v1","externalParameters":{"issuer":"https://ci.example","requestedBy":"T-5","sources":[{"commit":"` + commit +
			`","repository":"repo:forge/acme/app"}],"task":"T-7","workflow":".github/workflows/build.yml"},"resolvedDependencies":[{"digest":{"gitCommit":"` + commit + `"},"name":"forge/acme/app","uri":"repo:forge/acme/app"},{"digest":{"sha256":"` + cd +
			`"},"name":"images/base","uri":"artifact:images/base"}]},"runDetails":{"builder":{"id":"spiffe://acme/agent/builder"},"metadata":{"finishedOn":"2026-05-01T12:00:00Z","invocationId":"remit.example/acme#41/T-7/X-3"}}},` +
			`"predicateType":"https://slsa.dev/provenance/v1","subject":[{"digest":{"sha256":"` + ab + `"},"name":"images/app","uri":"artifact:images/app"}]}`,
		attest.ResultType: `{"_type":"https://in-toto.io/Statement/v1","predicate":{"properties":["REMIT_REVIEW_APPROVED","REMIT_REF refs/heads/main","REMIT_RECORD remit.example/acme#41/T-6"],"timeCreated":"2026-05-01T12:00:00Z","verifier":{"id":"spiffe://acme/agent/reviewer"}},` +
			`"predicateType":"https://in-toto.io/attestation/svr/v0.1","subject":[{"digest":{"gitCommit":"` + strings.Repeat("34", 20) + `"},"name":"head","uri":"repo:forge/acme/app"},{"digest":{"gitTreeSHA256":"` + strings.Repeat("56", 32) +
			`"},"name":"tree","uri":"repo:forge/acme/app"},{"digest":{"gitCommit":"` + commit + `"},"name":"base","uri":"repo:forge/acme/app"},{"digest":{"sha256":"` + fmt.Sprintf("%x", diff[:]) + `"},"name":"diff"}]}`,
		attest.SummaryType: `{"_type":"https://in-toto.io/Statement/v1","predicate":{"policy":{"digest":{"sha256":"` + fmt.Sprintf("%x", pol[:]) + `"},"uri":"remit.example/acme#41/T-9/X-44"},"resourceUri":"environment:acme/production","timeVerified":"2026-05-01T12:00:00Z","verificationResult":"PASSED",` +
			`"verifiedLevels":["REMIT_APPROVED A-4","REMIT_APPROVER H-1 touch","REMIT_APPROVER H-2 touch","REMIT_EVIDENCE built","REMIT_EVIDENCE merged","REMIT_EXECUTOR executor/P","REMIT_OUTCOME done"],"verifier":{"id":"https://remit.dev/attest/rules/v3"}},"predicateType":"https://slsa.dev/verification_summary/v1","subject":[{"digest":{"sha256":"` + ab + `"},"name":"images/app","uri":"artifact:images/app"}]}`,
	}
	for range 20 { // protojson puts spaces at random
		for typ, b := range all(t) {
			if string(b) != want[typ] {
				t.Fatalf("%s\n%s\nwanted\n%s", typ, b, want[typ])
			}
		}
	}
	d := released()
	d.Deploy.Rollback, d.Outcome = true, remit.Ambiguous
	b, err := attest.Release(d)
	if err != nil || !bytes.Contains(b, []byte(`"REMIT_OUTCOME ambiguous","REMIT_ROLLBACK"`)) {
		t.Errorf("a rollback of which nobody knows what came says %s (%v)", b, err)
	}
	d.Allowed = false
	b, err = attest.Release(d)
	if err != nil || !bytes.Contains(b, []byte(`"FAILED"`)) || bytes.Contains(b, []byte("REMIT_")) {
		t.Errorf("a refused release says %s (%v)", b, err)
	}
}

// TestNothingUnfinished: a statement that names nothing immutable is not made.
func TestNothingUnfinished(t *testing.T) {
	for what, make := range map[string]func() ([]byte, error){
		"an artifact by tag": func() ([]byte, error) { p := published(); p.Artifact.Digest = "v1"; return attest.Provenance(p) },
		"no artifact": func() ([]byte, error) {
			p := published()
			p.Artifact = remit.Artifact{Resource: "repo:a/b", Digest: commit}
			return attest.Provenance(p)
		},
		"a branch":   func() ([]byte, error) { p := published(); p.Inputs[0].ID = "main"; return attest.Provenance(p) },
		"no builder": func() ([]byte, error) { p := published(); p.Builder = ""; return attest.Provenance(p) },
		"no verdict": func() ([]byte, error) { r := reviewed(); r.Verdict = "fine"; return attest.Review(r) },
		"no head":    func() ([]byte, error) { r := reviewed(); r.Head = ""; return attest.Review(r) },
		"no diff":    func() ([]byte, error) { r := reviewed(); r.Diff = remit.Digest{}; return attest.Review(r) },
		"no release": func() ([]byte, error) { return attest.Release(attest.Released{}) },
	} {
		if b, err := make(); err == nil {
			t.Errorf("%s: %s", what, b)
		}
	}
}

func sealed(t *testing.T, k *key) []byte {
	t.Helper()
	b, err := attest.Sign(t.Context(), all(t)[attest.ProvenanceType], k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerify(t *testing.T) {
	k := newKey(1)
	envelope := sealed(t, k)
	s, err := attest.Verify(t.Context(), envelope, k.Public())
	if err != nil {
		t.Fatal(err)
	}
	other := artifact
	other.Digest = "sha256:" + strings.Repeat("00", 32)
	elsewhere := artifact
	elsewhere.Resource = "artifact:images/other"
	if !s.About(artifact) || s.About(other) || s.About(elsewhere) || s.PredicateType != attest.ProvenanceType || !bytes.Contains(s.Predicate, []byte(commit)) {
		t.Errorf("it says %+v", s)
	}
	if _, err := attest.Verify(t.Context(), envelope, newKey(2).Public()); err == nil {
		t.Error("another key verifies it")
	}
	for _, short := range []ed25519.PublicKey{nil, k.Public()[:31]} {
		if _, err := attest.Verify(t.Context(), envelope, short); err == nil {
			t.Error("a short key verifies it")
		}
	}
}

// TestAnyChangedByte: whatever byte is changed, either the envelope is refused or it still says the same (the name of the
// key is a hint, and base64 has bits at its end that mean nothing).
func TestAnyChangedByte(t *testing.T) {
	k := newKey(1)
	envelope := sealed(t, k)
	want, err := attest.Verify(t.Context(), envelope, k.Public())
	if err != nil {
		t.Fatal(err)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Index(envelope, []byte(e.Payload))
	refused := 0
	for i := range envelope {
		changed := bytes.Clone(envelope)
		changed[i] ^= 1
		got, err := attest.Verify(t.Context(), changed, k.Public())
		if err != nil {
			refused++
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("byte %d changed: %+v", i, got)
		}
		if i > payload && i < payload+len(e.Payload)-4 {
			t.Fatalf("byte %d of the payload changed, and it verifies", i)
		}
	}
	if refused < len(envelope)*9/10 {
		t.Errorf("%d of %d changes were refused", refused, len(envelope))
	}
}

func TestEnvelopesThatAreNone(t *testing.T) {
	k := newKey(1)
	sign := func(payloadType, body string) []byte {
		sig := ed25519.Sign(k.PrivateKey, dsse.PAE(payloadType, []byte(body)))
		b, err := json.Marshal(dsse.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString([]byte(body)), Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	subject := `"subject":[{"name":"x","digest":{"sha256":"` + strings.Repeat("00", 32) + `"}}]`
	good := `{"_type":"https://in-toto.io/Statement/v1",` + subject + `,"predicateType":"t","predicate":{"a":1}}`
	if _, err := attest.Verify(t.Context(), sign(attest.PayloadType, good), k.Public()); err != nil {
		t.Fatal(err)
	}
	e := sign(attest.PayloadType, good)
	var parsed dsse.Envelope
	if err := json.Unmarshal(e, &parsed); err != nil {
		t.Fatal(err)
	}
	many := parsed
	many.Signatures = nil
	for range 17 {
		many.Signatures = append(many.Signatures, parsed.Signatures[0])
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Signatures = nil
	unsigned, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"another payload type":   sign("application/json", good),
		"an older statement":     sign(attest.PayloadType, strings.Replace(good, "Statement/v1", "Statement/v0.1", 1)),
		"no subject":             sign(attest.PayloadType, strings.Replace(good, subject, `"subject":[]`, 1)),
		"a subject by name only": sign(attest.PayloadType, strings.Replace(good, subject, `"subject":[{"name":"x"}]`, 1)),
		"a member nobody knows":  sign(attest.PayloadType, strings.Replace(good, "{", `{"x":1,`, 1)),
		"no statement":           sign(attest.PayloadType, "[]"),
		"more after it":          append(bytes.Clone(e), '1'),
		"a member twice":         bytes.Replace(e, []byte(`{"payloadType"`), []byte(`{"payload":"","payloadType"`), 1),
		"no signature":           unsigned,
		"17 signatures":          tooMany,
		"nothing":                nil,
	} {
		if s, err := attest.Verify(t.Context(), b, k.Public()); err == nil {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

func TestKeys(t *testing.T) {
	k := newKey(1)
	text, err := attest.FormatKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	note := "remit.example/acme+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{1}, k.Public()...)) + "\n"
	for _, s := range []string{string(text), note} {
		if got, err := attest.ParseKey([]byte(s)); err != nil || !got.Equal(k.Public()) {
			t.Errorf("%s: %v", s, err)
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "x", "a+b+c", "x+y+" + base64.StdEncoding.EncodeToString(append([]byte{2}, k.Public()...)), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))} {
		if _, err := attest.ParseKey([]byte(s)); err == nil || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(k.Seed())) {
			t.Errorf("%.20q is a key (%v)", s, err)
		}
	}
}

// FuzzVerify: nothing is believed that the key did not sign.
func FuzzVerify(f *testing.F) {
	k := newKey(1)
	statement, err := attest.Provenance(published())
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := attest.Sign(context.Background(), statement, k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := attest.Verify(t.Context(), b, k.Public())
		if err != nil {
			return
		}
		if !s.About(artifact) || s.PredicateType != attest.ProvenanceType {
			t.Fatalf("%s says %+v", b, s)
		}
	})
}
