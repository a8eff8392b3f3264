// Package broker turns a redemption into an upstream credential. It accepts nothing but a redemption that the engine
// hands over, so whoever can reach a broker cannot thereby obtain authority.
//
// In this form the credentials are those that an organisation declared for its upstreams. They are injected into what
// Remit itself sends and never handed out: a credential ends with its one use, there is nothing to revoke, and an agent
// cannot keep what it never had.
package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Upstreams finds what was declared of an upstream.
type Upstreams interface {
	Upstream(ctx context.Context, name string) (remit.Upstream, error)
}

// Broker leases credentials.
type Broker struct{ upstreams Upstreams }

// New is a broker over declared upstreams.
func New(u Upstreams) *Broker { return &Broker{u} }

// ErrNoRedemption is what Lease says to anything but a redemption.
var ErrNoRedemption = errors.New("a credential is leased for a redemption, and this is none")

// Lease gives the credential for one redemption: of the upstream that its one resource lies at, for writing only where
// the steps write, and only in the zone that the credential serves (R4d).
func (b *Broker) Lease(ctx context.Context, r *authority.Redemption) (*Lease, error) {
	if !r.Valid() {
		return nil, ErrNoRedemption
	}
	upstream := ""
	for _, st := range r.Steps() {
		switch typ := st.Resource.Type(); typ {
		case "probe":
		case "repo":
			name, _, _ := strings.Cut(st.Resource.Name(), "/")
			if upstream != "" && upstream != name {
				return nil, remit.Errorf(remit.CrossesBoundary, "one credential does not serve both %s and %s", upstream, name)
			}
			upstream = name
		default:
			return nil, remit.Errorf(remit.UnknownResource, "there are no credentials for resources of type %s", typ)
		}
	}
	if upstream == "" {
		return &Lease{}, nil
	}
	if r.Zone() != remit.ZoneSource {
		return nil, remit.Errorf(remit.CrossesBoundary, "the credential of upstream %s serves zone S, not %q", upstream, r.Zone())
	}
	u, err := b.upstreams.Upstream(ctx, upstream)
	if err != nil {
		return nil, err
	}
	source := u.Observer
	for _, st := range r.Steps() {
		if info, _ := remit.Lookup(st.Action); info.Impact != remit.Read {
			source = u.Write
		}
	}
	header, err := Authorization(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("the credential of upstream %s: %w", upstream, err)
	}
	return &Lease{header: header}, nil
}

// Lease is a credential for one attempt.
type Lease struct {
	header string
	ended  atomic.Bool
}

// Apply puts the credential on a request that Remit is about to send upstream.
func (l *Lease) Apply(r *http.Request) error {
	if l.ended.Load() {
		return remit.Errorf(remit.NotLive, "the credential's attempt has ended")
	}
	r.Header.Del("Authorization")
	if l.header != "" {
		r.Header.Set("Authorization", l.header)
	}
	return nil
}

// End makes the lease useless.
func (l *Lease) End(context.Context) error {
	l.ended.Store(true)
	return nil
}

const (
	maxSecret = 8 << 10
	execTime  = 10 * time.Second
)

// Authorization reads a secret from where it was declared to be and makes the header of it: basic where a user is
// declared, bearer otherwise, nothing for an empty source. The error never contains the secret.
func Authorization(ctx context.Context, s remit.Source) (string, error) {
	secret, err := read(ctx, s)
	if err != nil || secret == "" {
		return "", err
	}
	if s.User == "" {
		return "Bearer " + secret, nil
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(s.User, secret)
	return r.Header.Get("Authorization"), nil
}

func read(ctx context.Context, s remit.Source) (string, error) {
	var raw []byte
	switch s.From {
	case "":
		return "", nil
	case "file":
		var err error
		if raw, err = readFile(s.Name); err != nil {
			return "", err
		}
	case "env":
		v, ok := os.LookupEnv(s.Name)
		if !ok {
			return "", remit.Errorf(remit.UpstreamDown, "the variable %s, which has the secret, is not set in the server's environment", s.Name)
		}
		raw = []byte(v)
	case "exec":
		if len(s.Argv) == 0 {
			return "", remit.Errorf(remit.BadRequest, "the command that prints the secret is empty")
		}
		ctx, cancel := context.WithTimeout(ctx, execTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, s.Argv[0], s.Argv[1:]...)
		cmd.WaitDelay = time.Second // what it started itself may hold its output open
		out, err := cmd.Output()
		if err != nil {
			return "", remit.Errorf(remit.UpstreamDown, "%s, which prints the secret, failed: %w", s.Argv[0], err)
		}
		raw = out
	default:
		return "", remit.Errorf(remit.BadRequest, "a secret comes from a file, env or exec, not from %q", s.From)
	}
	secret := string(bytes.TrimRight(raw, "\r\n"))
	if secret == "" || len(secret) > maxSecret || strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", remit.Errorf(remit.UpstreamDown, "the secret from %s is empty, longer than %d bytes, has more than one line or a control character", s.From, maxSecret)
	}
	return secret, nil
}

// readFile reads a file that only its owner may read. The file that is looked at is the one that is read.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, remit.Errorf(remit.BadRequest, "%s, which has the secret, is no regular file", name)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.Forbidden, "%s can be read by others; say: chmod 600 %s", name, name)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+16)) // a longer one is refused, not cut
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	return raw, nil
}
