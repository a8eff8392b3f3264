package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A certificate that an operator brings is served for its own names, and for no others; it is read again when it changes, and
// what is of no use does not take its place.
func TestOwnCertificate(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	writes := 0
	write := func(serial int64, until time.Time, names ...string) {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, NotBefore: at.Add(-time.Hour), NotAfter: until}
		der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		writes++
		for path, b := range map[string]*pem.Block{chain: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, at.Add(time.Duration(writes)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	refused := func(says string) {
		t.Helper()
		if _, err := newOwnCertificate(chain, key, now, quiet); err == nil || !strings.Contains(err.Error(), says) {
			t.Fatalf("%v; wanted %q", err, says)
		}
	}

	refused("chain.pem cannot be read")
	write(1, at.Add(-time.Minute), "remit.example")
	refused("it ended at 2026-05-04T11:59:00Z")
	write(2, at.Add(time.Hour))
	refused("names no host")
	write(3, at.Add(time.Hour), "remit.example")
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	refused("chmod 600 " + key)
	write(4, at.Add(time.Hour), "remit.example")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newOwnCertificate(chain, "", now, quiet); err == nil {
		t.Fatal("a certificate without its key is taken")
	}

	o, err := newOwnCertificate(chain, key, now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	builtIn := &tls.Certificate{Leaf: &x509.Certificate{SerialNumber: big.NewInt(0)}}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return builtIn, nil }}
	o.over(config)
	serves := func(name string, serial int64) {
		t.Helper()
		cert, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || cert.Leaf.SerialNumber.Int64() != serial {
			t.Fatalf("%q is answered with certificate %v, %v; wanted %d", name, cert.Leaf.SerialNumber, err, serial)
		}
	}
	serves("remit.example", 4)
	serves("other.example", 0)
	serves("localhost", 0)
	serves("", 0)

	write(5, at.Add(2*time.Hour), "remit.example", "*.remit.example")
	serves("remit.example", 4) // looked at a moment ago
	at = at.Add(lookAgain)
	serves("remit.example", 5)
	serves("a.remit.example", 5)

	if err := os.WriteFile(chain, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	at = at.Add(lookAgain)
	serves("remit.example", 5)
	write(6, at.Add(time.Hour), "remit.example")
	at = at.Add(lookAgain)
	serves("remit.example", 6)
}
