package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

// Executor speaks to the server as the executor of a zone. Its key is made in its directory and never leaves it.
type Executor struct {
	*Client
	name  string
	store *executorStore
}

// Files of an executor's directory.
const (
	executorKey   = "executor.key"  // PKCS #8, PEM, 0600
	executorChain = "executor.crt"  // its SVID, PEM
	executorInfo  = "executor.json" // whose executor it is, and where its server is
)

// executorFile says whose executor a directory is of.
type executorFile struct {
	Server string    `json:"server"` // https://HOST:PORT
	Org    remit.Org `json:"org"`
	Name   string    `json:"name"` // executor/production
	CA     []byte    `json:"ca"`   // PEM
}

// EnrolExecutor makes dir the directory of the executor of a zone: a key, and the SVID that the server signs for it at the
// word of c's administrator. server is the address that the executor will speak to.
func (c *Client) EnrolExecutor(ctx context.Context, server, dir, name string, zone remit.Zone) (time.Time, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return time.Time{}, remit.Errorf(remit.BadRequest, "the executor's directory cannot be made: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, executorInfo)); err == nil {
		return time.Time{}, remit.Errorf(remit.Conflict, "%s is the directory of an executor already; its SVID renews itself. Choose another, or remove it", dir)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return time.Time{}, err
	}
	csr, err := executorCSR(key)
	if err != nil {
		return time.Time{}, err
	}
	var v remit.SVID
	if err := c.post(ctx, "/executors", remit.EnrolRequest{Zone: zone, CSR: csr}, &v); err != nil {
		return time.Time{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return time.Time{}, err
	}
	info, err := json.Marshal(executorFile{Server: server, Org: c.org, Name: name, CA: c.ca})
	if err != nil {
		return time.Time{}, err
	}
	// What makes it an executor's directory is written last.
	for _, f := range []struct {
		name string
		b    []byte
	}{{executorKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})}, {executorChain, chainPEM(v.Chain)}, {executorInfo, info}} {
		if err := writePrivate(filepath.Join(dir, f.name), f.b); err != nil {
			return time.Time{}, err
		}
	}
	return v.NotAfter, nil
}

// executorCSR asks for no names: whose executor it is, the server knows.
func executorCSR(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

func chainPEM(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// writePrivate replaces a file as a whole.
func writePrivate(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// executorStore holds the certificate that connections show.
type executorStore struct {
	dir string
	key crypto.Signer

	mu   sync.Mutex
	cert *tls.Certificate
}

func (s *executorStore) current() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert
}

func (s *executorStore) use(chain [][]byte) error {
	if len(chain) == 0 {
		return remit.Errorf(remit.Internal, "the server sent no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return remit.Errorf(remit.Internal, "the executor's SVID cannot be read: %w", err)
	}
	if pub, ok := s.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(leaf.PublicKey) {
		return remit.Errorf(remit.Internal, "the executor's SVID is for another key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = &tls.Certificate{Certificate: chain, PrivateKey: s.key, Leaf: leaf}
	return nil
}

// OpenExecutor reads the directory that EnrolExecutor made. server, if not empty, is another address of the same server.
func OpenExecutor(dir, server string) (*Executor, error) {
	var files [3][]byte
	for i, name := range []string{executorKey, executorChain, executorInfo} {
		path := filepath.Join(dir, name)
		fi, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, remit.Errorf(remit.NotFound, "%s is no executor's directory; make one with: remit executor enroll --zone P --dir %s", dir, dir)
		}
		if err != nil {
			return nil, err
		}
		if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 || !identity.OwnedByUs(fi) {
			return nil, remit.Errorf(remit.Forbidden, "%s can be read by others; it belongs to the executor's user alone: chmod 600 %s", path, path)
		}
		if files[i], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	damaged := remit.Errorf(remit.Internal, "%s is damaged; enroll the executor anew", dir)
	var info executorFile
	if err := remit.DecodeStrict(bytes.NewReader(files[2]), 64<<10, &info); err != nil {
		return nil, damaged
	}
	block, _ := pem.Decode(files[0])
	if block == nil {
		return nil, damaged
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, damaged
	}
	e := &Executor{name: info.Name, store: &executorStore{dir: dir, key: signer}}
	var chain [][]byte
	for rest := files[1]; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		chain = append(chain, b.Bytes)
	}
	if len(chain) == 0 || e.store.use(chain) != nil {
		return nil, damaged
	}
	if server == "" {
		server = info.Server
	}
	if e.Client, err = New(server, info.Org, info.CA); err != nil {
		return nil, err
	}
	t, ok := e.http.Transport.(*http.Transport)
	if !ok {
		return nil, damaged
	}
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return e.store.current(), nil }
	t.TLSClientConfig.VerifyConnection = onlyServer(info.Org)
	return e, nil
}

// onlyServer refuses a peer that is not the server itself: the same root also certifies agents.
func onlyServer(org remit.Org) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		td, err := identity.TrustDomain(org)
		if err != nil {
			return err
		}
		id, err := spiffeid.FromSegments(td, "remit", "server")
		if err != nil {
			return err
		}
		if leaf := s.PeerCertificates[0]; len(leaf.URIs) != 1 || leaf.URIs[0].String() != id.String() {
			return fmt.Errorf("the peer is not %s", id)
		}
		return nil
	}
}

// Name is executor/production, as the server knows it.
func (e *Executor) Name() string { return e.name }

// NotAfter is the end of the SVID.
func (e *Executor) NotAfter() time.Time { return e.store.current().Leaf.NotAfter }

// Renew gets the next SVID once two thirds of the life of this one are over, and tells when to ask again.
func (e *Executor) Renew(ctx context.Context, now time.Time) (time.Time, error) {
	leaf := e.store.current().Leaf
	due := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
	if now.Before(due) {
		return due, nil
	}
	csr, err := executorCSR(e.store.key)
	if err != nil {
		return due, err
	}
	var v remit.SVID
	if err := e.post(ctx, "/executor/svid", remit.SVIDRequest{CSR: csr}, &v); err != nil {
		return due, err
	}
	if err := e.store.use(v.Chain); err != nil {
		return due, err
	}
	if err := writePrivate(filepath.Join(e.store.dir, executorChain), chainPEM(v.Chain)); err != nil {
		return due, err
	}
	e.http.CloseIdleConnections() // the next connection shows the new one
	leaf = e.store.current().Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3), nil
}

// NextOrder waits for an approval that is met; an empty one says that none came within the server's patience.
func (e *Executor) NextOrder(ctx context.Context, after []remit.ID) (remit.ID, error) {
	slices.Sort(after)
	var out remit.NextAnswer
	err := e.post(ctx, "/executor/next", remit.NextOrder{After: after[:min(len(after), 256)]}, &out)
	return out.Access, err
}

// ClaimOrder has an approved order judged again.
func (e *Executor) ClaimOrder(ctx context.Context, access remit.ID) (out remit.ClaimAnswer, err error) {
	err = e.post(ctx, "/executor/claim", remit.ClaimRequest{Access: access}, &out)
	return out, err
}

// RedeemPermit spends a permit.
func (e *Executor) RedeemPermit(ctx context.Context, p remit.WireSecret) (out remit.WireSecret, err error) {
	err = e.post(ctx, "/executor/redeem", p, &out)
	return out, err
}

// LeaseSecret is the credential of an attempt.
func (e *Executor) LeaseSecret(ctx context.Context, a remit.WireSecret) (out remit.LeasedSecret, err error) {
	err = e.post(ctx, "/executor/lease", remit.AttemptRequest{Attempt: a}, &out)
	return out, err
}

// Use is a declared secret that an attempt needs.
func (e *Executor) Use(ctx context.Context, attempt remit.ID, secret remit.Resource) ([]byte, error) {
	var out remit.UsedSecret
	err := e.post(ctx, "/executor/secret", remit.AttemptRequest{Attempt: remit.WireSecret{ID: attempt}, Secret: secret}, &out)
	return out.Value, err
}

// AttemptRevoked waits until the authority of an attempt ends; false says that it did not within the server's patience.
func (e *Executor) AttemptRevoked(ctx context.Context, attempt remit.ID) (bool, error) {
	var out remit.RevokedAnswer
	err := e.post(ctx, "/executor/revoked", remit.AttemptRequest{Attempt: remit.WireSecret{ID: attempt}}, &out)
	return out.Revoked, err
}

// RecordOutcome says what came of an attempt.
func (e *Executor) RecordOutcome(ctx context.Context, r remit.RecordRequest) error {
	return e.post(ctx, "/executor/record", r, nil)
}

// UnfinishedOrders are the attempts without an outcome.
func (e *Executor) UnfinishedOrders(ctx context.Context) (out []remit.WireOrder, err error) {
	err = e.post(ctx, "/executor/unfinished", nil, &out)
	return out, err
}

// Environment finds where an environment is deployed.
func (e *Executor) Environment(ctx context.Context, name string) (out remit.Place, err error) {
	err = e.post(ctx, "/executor/environment", remit.PlaceRequest{Environment: name}, &out)
	return out, err
}

// AdmissionWebhook is what a cluster needs to ask about an environment.
func (c *Client) AdmissionWebhook(ctx context.Context, environment string) (v remit.AdmissionView, err error) {
	err = c.get(ctx, "/admission-webhook?environment="+url.QueryEscape(environment), &v)
	return v, err
}
