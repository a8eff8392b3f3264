package remit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestStepUpInWords(t *testing.T) {
	u := remit.StepUp{ACR: []string{"phr", "urn:x:silver"}, MaxAge: "10m"}
	n := remit.Need{Group: "reviewers", N: 2, StepUp: u}
	if got := n.String(); got != "2 of reviewers (signed in as phr or urn:x:silver, proved within 10m)" {
		t.Error(got)
	}
	if got := (&remit.Insufficient{StepUp: u}).Challenge(); got != `Bearer error="insufficient_user_authentication", acr_values="phr urn:x:silver", max_age="600"` {
		t.Error(got)
	}
	s := remit.SignedIn{Method: "provider", Provider: "corp", ACR: "phr", AMR: []string{"hwk", "user"}, Age: 61}
	if got := s.String(); got != "by provider corp, acr phr, amr hwk user, 1m1s before" {
		t.Error(got)
	}
	if (remit.SignedIn{}).String() != "" || (remit.Need{Group: "g", N: 1}).String() != "1 of g" {
		t.Error("nothing is said in words")
	}
	err := error(&remit.Error{Code: remit.StepUpWanted, Err: &remit.Insufficient{StepUp: u}})
	var more *remit.Insufficient
	if !errors.As(err, &more) || !more.Equal(u) {
		t.Error(err)
	}
	// What has none of it is written as before.
	b, err := json.Marshal(struct {
		N remit.Need
		V remit.VoteView
	}{N: remit.Need{Group: "g", N: 1}})
	if err != nil || strings.Contains(string(b), "step_up") || strings.Contains(string(b), "signed") {
		t.Error(string(b), err)
	}
}

func TestStepUpMet(t *testing.T) {
	for _, r := range []struct {
		u    remit.StepUp
		s    remit.SignedIn
		want bool
	}{
		{remit.StepUp{}, remit.SignedIn{}, true},
		{remit.StepUp{ACR: []string{"a", "b"}}, remit.SignedIn{ACR: "b"}, true},
		{remit.StepUp{ACR: []string{"a", "b"}}, remit.SignedIn{ACR: "c"}, false},
		{remit.StepUp{ACR: []string{"a"}}, remit.SignedIn{AMR: []string{"a"}}, false},
		{remit.StepUp{MaxAge: "1m"}, remit.SignedIn{Age: 60}, true},
		{remit.StepUp{MaxAge: "1m"}, remit.SignedIn{Age: 61}, false},
		{remit.StepUp{MaxAge: "1m"}, remit.SignedIn{}, false},
		{remit.StepUp{MaxAge: "what"}, remit.SignedIn{Age: 1}, false},
		{remit.StepUp{ACR: []string{"a"}, MaxAge: "1m"}, remit.SignedIn{ACR: "a", Age: 61}, false},
	} {
		if got := r.u.Met(r.s); got != r.want {
			t.Errorf("%+v of %+v: %v", r.u, r.s, got)
		}
	}
}

// What a provider says becomes part of a leaf as codes or not at all.
func FuzzSignedInPlain(f *testing.F) {
	f.Add("phr", "hwk", "user")
	f.Add("noa@acme.example", "pwd otp", "")
	f.Add(strings.Repeat("x", 129), "ł", "\x00")
	f.Fuzz(func(t *testing.T, acr, a, b string) {
		in := remit.SignedIn{Method: "provider", ACR: acr, AMR: []string{a, b, a, b, a, b, a, b, a, b}}
		out := in.Plain()
		if err := out.Check(); err != nil {
			t.Fatal(err)
		}
		if in.Check() == nil && !strings.HasPrefix(in.String(), out.String()) {
			t.Fatalf("%s became %s", in, out)
		}
		if strings.ContainsAny(out.String(), "@\"\\<>\x00\n") {
			t.Fatal(out.String())
		}
	})
}
