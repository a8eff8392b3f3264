//go:build unix

package real

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Cluster is a running kube-apiserver over an etcd of its own, with RBAC and service account tokens. There are no
// controllers and no nodes: nothing is scheduled, nothing is collected, and no default service accounts appear.
type Cluster struct {
	URL    string // https://127.0.0.1:PORT
	CA     string // file of the PEM certificate that it serves
	Token  string // of a member of system:masters
	client *http.Client
}

// Do makes one API request as a member of system:masters. Any status but 2xx is an error.
func (c *Cluster) Do(ctx context.Context, method, path string, in, out any) (int, error) {
	return call(ctx, c.client, method, c.URL+path, "Bearer "+c.Token, in, out)
}

// As makes one API request with another bearer token.
func (c *Cluster) As(ctx context.Context, token, method, path string, in, out any) (int, error) {
	return call(ctx, c.client, method, c.URL+path, "Bearer "+token, in, out)
}

// Client trusts the cluster's certificate and has no credential.
func (c *Cluster) Client() *http.Client { return c.client }

// Kubernetes starts an API server; extra are further flags of kube-apiserver.
func Kubernetes(t testing.TB, extra ...string) *Cluster {
	t.Helper()
	etcd, apiserver := program(t, "etcd"), program(t, "kube-apiserver")
	dir, port := directory(t), ports(t, 3)
	clients, peers := fmt.Sprintf("http://127.0.0.1:%d", port[0]), fmt.Sprintf("http://127.0.0.1:%d", port[1])
	store := start(t, true, dir, nil, etcd, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers, "--log-level", "warn")
	store.ready(t, func(ctx context.Context) error {
		_, err := call(ctx, http.DefaultClient, http.MethodGet, clients+"/health", "", nil, nil)
		return err
	})

	c := &Cluster{URL: fmt.Sprintf("https://127.0.0.1:%d", port[2]), Token: secret()}
	cert, key := certificate(t)
	c.CA = write(t, dir, "ca.pem", cert)
	keyFile := write(t, dir, "key.pem", key)
	_, signing := certificate(t)
	signingFile := write(t, dir, "tokens.pem", signing)
	tokens := write(t, dir, "tokens.csv", c.Token+`,keeper,keeper,"system:masters"`+"\n")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	t.Cleanup(c.client.CloseIdleConnections)
	argv := []string{apiserver, "--etcd-servers", clients, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", fmt.Sprint(port[2]),
		"--tls-cert-file", c.CA, "--tls-private-key-file", keyFile, "--cert-dir", dir,
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", signingFile,
		"--service-account-signing-key-file", signingFile, "--token-auth-file", tokens, "--anonymous-auth=false",
		"--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none",
		// Pods need no service account, of which no controller makes the default ones.
		"--disable-admission-plugins", "ServiceAccount", "--profiling=false", "--v", "0"}
	server := start(t, false, dir, nil, append(argv, extra...)...)
	server.ready(t, func(ctx context.Context) error {
		_, err := c.Do(ctx, http.MethodGet, "/readyz", nil, nil)
		return err
	})
	return c
}

// certificate is a self-signed certificate for 127.0.0.1, and its key.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
}
