package kubernetes_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/kubernetes"
)

var (
	_ broker.Provider = (*kubernetes.Provider)(nil)
	_ broker.Sweeper  = (*kubernetes.Provider)(nil)
)

const (
	prefix = "remit-acme-0a1b2c3d-l-"
	spec   = `{"upstream":"prod","namespace":"payments","service_account":"deployer","manifest":"x"}`
	keeper = "keeper-token"
)

func keep(t testing.TB, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// bare is what a sweep knows of a lease.
func bare(a broker.Asked) broker.Asked {
	return broker.Asked{Lease: a.Lease, Name: a.Name, Upstream: a.Upstream}
}

func lease(t testing.TB, p broker.Provider, a broker.Asked) broker.Secret {
	t.Helper()
	if err := p.Anchor(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s, err := p.Mint(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func life(t testing.TB, p broker.Provider, a broker.Asked, s *broker.Secret, want broker.Life) {
	t.Helper()
	if got, err := p.Probe(t.Context(), a, s); got != want || err != nil {
		t.Fatalf("probe says %d, %v; want %d", got, err, want)
	}
}

func coded(t testing.TB, err error, want remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	for _, secret := range []string{keeper, "eyJ"} {
		if strings.Contains(err.Error(), secret) {
			t.Fatalf("the error has a secret in it: %v", err)
		}
	}
}
