package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

// lookAgain is how long a certificate is served before its files are looked at again.
const lookAgain = time.Minute

// ownCertificate is a certificate that an operator brought, for browsers and phones that know nothing of the built-in CA. It is
// served to clients that ask for one of its names; all others get the built-in one. Files that change are read again,
// within a minute and without a restart; while what they hold is of no use, the last good one stays.
type ownCertificate struct {
	chain, key string // PEM files: the leaf first, and its private key, which nobody else may read
	now        func() time.Time
	log        *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	looked  time.Time
	written [2]time.Time // of the two files, as they were read
}

// newOwnCertificate reads both files. A file that cannot be read, a key that belongs to another certificate, one that is over,
// and a key that others may read are errors that name the file.
func newOwnCertificate(chain, key string, now func() time.Time, log *slog.Logger) (*ownCertificate, error) {
	if chain == "" || key == "" {
		return nil, remit.Errorf(remit.BadRequest, "--certificate and --certificate-key belong together: a certificate is of no use without its key")
	}
	o := &ownCertificate{chain: chain, key: key, now: now, log: log, looked: now()}
	var err error
	if o.written, err = o.times(); err != nil {
		return nil, err
	}
	o.cert, err = o.read()
	return o, err
}

// over is config with this certificate for its names.
func (o *ownCertificate) over(config *tls.Config) {
	builtIn := config.GetCertificate
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := o.current(); hello.ServerName != "" && cert.Leaf.VerifyHostname(hello.ServerName) == nil {
			return cert, nil
		}
		return builtIn(hello)
	}
}

func (o *ownCertificate) current() *tls.Certificate {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if now.Before(o.looked.Add(lookAgain)) {
		return o.cert
	}
	o.looked = now
	written, err := o.times()
	if err == nil && written == o.written {
		return o.cert
	}
	var cert *tls.Certificate
	if err == nil {
		cert, err = o.read()
	}
	if err != nil {
		o.log.Error("the certificate cannot be renewed; the last good one is served", "until", o.cert.Leaf.NotAfter, "err", err)
		return o.cert
	}
	o.cert, o.written = cert, written
	o.log.Info("the certificate is renewed", "until", cert.Leaf.NotAfter)
	return o.cert
}

func (o *ownCertificate) times() (at [2]time.Time, err error) {
	for i, path := range []string{o.chain, o.key} {
		info, err := os.Stat(path)
		if err != nil {
			return at, remit.Errorf(remit.BadRequest, "%s cannot be read: %w", path, err)
		}
		if i == 1 && info.Mode().Perm()&0o077 != 0 {
			return at, remit.Errorf(remit.BadRequest, "%s may be read by others; say: chmod 600 %s", path, path)
		}
		at[i] = info.ModTime()
	}
	return at, nil
}

func (o *ownCertificate) read() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(o.chain, o.key)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s and %s: %w", o.chain, o.key, err)
	}
	switch leaf := cert.Leaf; {
	case len(leaf.DNSNames) == 0:
		return nil, remit.Errorf(remit.BadRequest, "%s: its first certificate names no host; give one for the name that browsers use", o.chain)
	case o.now().After(leaf.NotAfter):
		return nil, remit.Errorf(remit.BadRequest, "%s: it ended at %s; renew it", o.chain, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &cert, nil
}
