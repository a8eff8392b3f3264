package attest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
)

func voted() attest.Voted {
	return attest.Voted{Access: "A-4", Person: "H-2", Approve: true, Assurance: remit.AssuranceTouch, Key: remit.Hash([]byte("key")), Statement: remit.Hash([]byte("statement")),
		Effect: remit.Hash([]byte("effect")), Card: remit.Hash([]byte("card")), Where: where}
}

func concluded() attest.Concluded {
	return attest.Concluded{Effect: remit.Hash([]byte("effect")), Attempt: "X-9", Task: "T-7", Access: "A-4", Executor: "executor/source", Outcome: remit.Done, Rules: 3, Where: where}
}

// TestVotesAndOutcomes: in-toto's own types read them, and they say what the log says.
func TestVotesAndOutcomes(t *testing.T) {
	for name, x := range map[string]struct {
		make func() ([]byte, error)
		says []string
		on   []string
	}{
		"a vote": {func() ([]byte, error) { return attest.Vote(voted()) }, []string{"REMIT_VOTE_APPROVED", "REMIT_REQUEST A-4", "REMIT_ASSURANCE touch", "REMIT_RECORD remit.example/acme#41"}, []string{"statement", "effect", "card"}},
		"a refusal on a change": {func() ([]byte, error) {
			v := voted()
			v.Approve, v.Change = false, remit.Hash([]byte("change"))
			return attest.Vote(v)
		}, []string{"REMIT_VOTE_REJECTED"}, []string{"statement", "effect", "change", "card"}},
		"an outcome": {func() ([]byte, error) { return attest.Outcome(concluded()) }, []string{"REMIT_OUTCOME done", "REMIT_ATTEMPT X-9", "REMIT_TASK T-7", "REMIT_APPROVED A-4", "REMIT_EXECUTOR executor/source", "REMIT_RECORD remit.example/acme#41"}, []string{"effect"}},
		"one that nobody was asked about": {func() ([]byte, error) {
			o := concluded()
			o.Access, o.Executor, o.Outcome, o.Code = "", "", remit.NotApplied, remit.Stale
			return attest.Outcome(o)
		}, []string{"REMIT_OUTCOME not_applied", "REMIT_CODE STALE"}, []string{"effect"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := x.make()
			if err != nil {
				t.Fatal(err)
			}
			s, p := &intoto.Statement{}, &svr.SimpleVerificationResult{}
			if err := protojson.Unmarshal(b, s); err != nil || s.Validate() != nil || s.GetPredicateType() != attest.ResultType {
				t.Fatalf("%v %s", err, b)
			}
			raw, err := protojson.Marshal(s.GetPredicate())
			if err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal(raw, p); err != nil {
				t.Fatalf("%v %s", err, raw)
			}
			for _, says := range x.says {
				if !slices.Contains(p.GetProperties(), says) {
					t.Errorf("it does not say %s: %s", says, b)
				}
			}
			var on []string
			for _, d := range s.GetSubject() {
				on = append(on, d.GetName())
				if h := remit.Hash([]byte(d.GetName())); d.GetDigest()["sha256"] != fmt.Sprintf("%x", h[:]) {
					t.Errorf("%s: %v", d.GetName(), d.GetDigest())
				}
			}
			if !slices.Equal(on, x.on) {
				t.Errorf("it is on %v", on)
			}
			k := newKey(1)
			e, err := attest.Sign(t.Context(), b, k)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := attest.Verify(t.Context(), e, k.Public()); err != nil || !bytes.Contains(got.Predicate, []byte("REMIT_RECORD")) || !json.Valid(e) {
				t.Errorf("%v", err)
			}
			if again, err := x.make(); err != nil || !bytes.Equal(b, again) {
				t.Errorf("the same fact has other bytes")
			}
		})
	}
}

// TestNoApprovalOfNothing: what binds nothing is no statement.
func TestNoApprovalOfNothing(t *testing.T) {
	for name, change := range map[string]func(*attest.Voted){"nobody": func(v *attest.Voted) { v.Person = "" }, "no request": func(v *attest.Voted) { v.Access = "" },
		"no effect": func(v *attest.Voted) { v.Effect = remit.Digest{} }, "no signature": func(v *attest.Voted) { v.Statement = remit.Digest{} }} {
		v := voted()
		change(&v)
		if b, err := attest.Vote(v); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
	for name, change := range map[string]func(*attest.Concluded){"no effect": func(o *attest.Concluded) { o.Effect = remit.Digest{} }, "no attempt": func(o *attest.Concluded) { o.Attempt = "" },
		"no outcome": func(o *attest.Concluded) { o.Outcome = "" }} {
		o := concluded()
		change(&o)
		if b, err := attest.Outcome(o); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
}
