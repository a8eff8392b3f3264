package upstream

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

func TestWhatACredentialPutsOnARequestIsFound(t *testing.T) {
	got, err := Secrets(func(r *http.Request) error {
		r.SetBasicAuth("remit", "passw0rd")
		return nil
	})
	if err != nil || !slices.Contains(got, "cmVtaXQ6cGFzc3cwcmQ=") || !slices.Contains(got, "passw0rd") || !slices.Contains(got, "Basic cmVtaXQ6cGFzc3cwcmQ=") {
		t.Fatalf("%q, %v", got, err)
	}
	none := errors.New("there is none")
	if got, err := Secrets(func(*http.Request) error { return none }); err != none || got != nil {
		t.Fatalf("%q, %v", got, err)
	}
	r := NewRedactor("forge", [][]byte{[]byte("passw0rd"), []byte("short")})
	if out := r.Clean([]byte("is it passw0rd? passw0rd, in short")); string(out) != "is it [secret of forge]? [secret of forge], in short" {
		t.Errorf("%s", out)
	}
	if r.Idle() || !NewRedactor("forge", [][]byte{[]byte("short")}).Idle() || !(*Redactor)(nil).Idle() {
		t.Error("it does not say whether it looks for anything")
	}
}
