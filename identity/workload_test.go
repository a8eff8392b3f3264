package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "remit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// authority is the server, as a launcher reaches it.
type authority struct {
	ca *CA
	id spiffeid.ID

	mu    sync.Mutex
	fails error
	asked int
}

func (a *authority) ask(_ context.Context, csr []byte) ([]byte, []byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.fails != nil {
		return nil, nil, a.fails
	}
	chain, err := a.ca.SVID(csr, a.id, a.ca.now().Add(SVIDLife))
	return chain, a.ca.Root(), err
}

func (a *authority) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = err
}

func newWorkload(t *testing.T, c *clock) (*Workload, *authority) {
	t.Helper()
	ca := newCA(t, c)
	a := &authority{ca: ca, id: instance(t, ca, "fixer", "I-42")}
	w, err := ServeWorkload(t.Context(), WorkloadConfig{Dir: filepath.Join(shortDir(t), "i"), UID: os.Geteuid(), Source: NewSource(a.id, c.Now, a.ask), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, a
}

// seen collects what go-spiffe's client is told.
type seen struct {
	updates chan *workloadapi.X509Context
	errs    chan error
}

func (s seen) OnX509ContextUpdate(u *workloadapi.X509Context) { s.updates <- u }
func (s seen) OnX509ContextWatchError(err error) {
	select {
	case s.errs <- err:
	default:
	}
}

func TestGoSPIFFEFetchesAnSVIDAndIsGivenTheNextOneBeforeHalfLife(t *testing.T) {
	c := newClock()
	w, a := newWorkload(t, c)
	client, err := workloadapi.New(t.Context(), workloadapi.WithAddr(w.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	one, err := client.FetchX509SVID(t.Context())
	if err != nil || one.ID != a.id {
		t.Fatalf("%v, %v", one, err)
	}
	bundles, err := client.FetchX509Bundles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x509svid.Verify(one.Certificates, bundles, x509svid.WithTime(c.Now())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := seen{make(chan *workloadapi.X509Context), make(chan error, 1)}
	watched := make(chan error, 1)
	go func() { watched <- client.WatchX509Context(ctx, s) }()
	first := <-s.updates
	if !first.DefaultSVID().Certificates[0].Equal(one.Certificates[0]) {
		t.Fatal("each call has its own SVID")
	}
	var serials = map[string]bool{one.Certificates[0].SerialNumber.String(): true}
	for range 3 {
		c.Asleep()
		c.Advance(SVIDLife/2 - skew)
		next := (<-s.updates).DefaultSVID()
		leaf := next.Certificates[0]
		if serials[leaf.SerialNumber.String()] || next.ID != a.id {
			t.Fatalf("not a new SVID: %v", next.ID)
		}
		serials[leaf.SerialNumber.String()] = true
		if half := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2); !c.Now().Before(half) {
			t.Fatal("it is half over already")
		}
	}
	if a.asked != 4 {
		t.Fatalf("the server was asked %d times", a.asked)
	}
	cancel()
	if err := <-watched; status.Code(err) != codes.Canceled && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"JWT-SVIDs":   second(client.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "x"})),
		"JWT bundles": second(client.FetchJWTBundles(t.Context())),
		"validation":  second(client.ValidateJWTSVID(t.Context(), "x", "y")),
		"WIT-SVIDs":   second(client.FetchWITSVID(t.Context(), "")),
	} {
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestWorkloadServesUntil(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*clock, *authority)
		code codes.Code
	}{
		"the instance ends": {func(c *clock, a *authority) {
			a.fail(remit.Errorf(remit.NotLive, "instance I42 has ended"))
			c.Asleep()
			c.Advance(SVIDLife / 2)
		}, codes.PermissionDenied},
		"the server is away for longer than the SVID lives": {func(c *clock, a *authority) {
			a.fail(errors.New("no route to host"))
			c.Asleep()
			c.Advance(SVIDLife)
			c.Asleep()
		}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			w, a := newWorkload(t, c)
			w.mu.Lock()
			changed := w.changed
			w.mu.Unlock()
			test.end(c, a)
			if test.code == codes.PermissionDenied {
				<-changed
			}
			if _, _, err := w.now(); status.Code(err) != test.code {
				t.Fatalf("%v; want %v", err, test.code)
			}
		})
	}
}

func TestARenewalThatFailedIsTriedAgain(t *testing.T) {
	c := newClock()
	w, a := newWorkload(t, c)
	old, changed, err := w.now()
	if err != nil {
		t.Fatal(err)
	}
	a.fail(errors.New("no route to host"))
	c.Asleep()
	c.Advance(SVIDLife / 2)
	c.Asleep() // it failed, and waits
	if s, _, err := w.now(); err != nil || s != old {
		t.Fatalf("the old SVID is still good: %v", err)
	}
	a.fail(nil)
	c.Advance(tryAgain)
	<-changed
	if s, _, err := w.now(); err != nil || s == old {
		t.Fatalf("no new SVID: %v", err)
	}
}

func TestTheMetadataIsRequired(t *testing.T) {
	w, _ := newWorkload(t, newClock())
	conn, err := grpc.NewClient(w.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := workload.NewSpiffeWorkloadAPIClient(conn)
	for name, test := range map[string]struct {
		md   metadata.MD
		code codes.Code
	}{
		"the header":                    {metadata.Pairs("workload.spiffe.io", "true"), codes.OK},
		"no header":                     {nil, codes.InvalidArgument},
		"the header with another value": {metadata.Pairs("workload.spiffe.io", "1"), codes.InvalidArgument},
		"the header twice":              {metadata.Pairs("workload.spiffe.io", "true", "workload.spiffe.io", "false"), codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(t.Context(), test.md))
			defer cancel()
			svids, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := svids.Recv(); status.Code(err) != test.code {
				t.Fatalf("%v; want %v", err, test.code)
			}
			bundles, err := client.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bundles.Recv(); status.Code(err) != test.code {
				t.Fatalf("%v; want %v", err, test.code)
			}
		})
	}
}

func TestTheSocketIsPrivate(t *testing.T) {
	w, _ := newWorkload(t, newClock())
	for path, want := range map[string]os.FileMode{w.path: 0o600, filepath.Dir(w.path): 0o700} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Fatalf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket is left behind: %v", err)
	}
	open := shortDir(t)
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := listenPrivate(filepath.Join(open, workloadSocket), os.Geteuid())
	wantError(t, err, "chmod 700")
	_, err = listenPrivate(filepath.Join(open, strings.Repeat("x", 100), "s"), os.Geteuid())
	wantError(t, err, "shorter directory")
}

func TestTheSocketOfAnInstanceWithAUserOfItsOwnBelongsToThatUser(t *testing.T) {
	if os.Geteuid() != 0 {
		path := filepath.Join(shortDir(t), "s")
		_, err := listenPrivate(path, os.Geteuid()+1)
		wantError(t, err, "giving the socket")
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the socket is left behind: %v", err)
		}
		return
	}
	dir := filepath.Join(shortDir(t), "i")
	l, err := listenPrivate(filepath.Join(dir, "s"), 12345)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{dir, filepath.Join(dir, "s")} {
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm()&0o077 != 0 || OwnedByUs(fi) {
			t.Fatalf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
}

func TestConnectionsOfOtherUsersAreClosed(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := listenPrivate(path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	// Nobody here is user -2, so this listener refuses everybody.
	refusing := &peerListener{UnixListener: l, uids: []int{-2}, log: slog.New(slog.DiscardHandler)}
	done := make(chan error, 1)
	go func() { _, err := refusing.Accept(); done <- err }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("let in")
	}
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

func TestTheSourceRefuses(t *testing.T) {
	c := newClock()
	ca, stranger := newCA(t, c), newCA(t, c)
	id := instance(t, ca, "fixer", "I-42")
	elsewhere := newCSR(t, newKey(t), x509.CertificateRequest{})
	issue := func(ca *CA, csr []byte, id spiffeid.ID) []byte {
		chain, err := ca.SVID(csr, id, c.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	for name, test := range map[string]struct {
		ask  Asker
		says string
	}{
		"an SVID for another key": {func(context.Context, []byte) ([]byte, []byte, error) {
			return issue(ca, elsewhere, id), ca.Root(), nil
		}, "another key"},
		"an SVID for another instance": {func(context.Context, []byte) ([]byte, []byte, error) {
			return issue(ca, elsewhere, instance(t, ca, "fixer", "I-43")), ca.Root(), nil
		}, "not for"},
		"an SVID by an authority that is not in the bundle": {func(_ context.Context, csr []byte) ([]byte, []byte, error) {
			return issue(stranger, csr, id), ca.Root(), nil
		}, "could not verify"},
		"an SVID without a bundle": {func(_ context.Context, csr []byte) ([]byte, []byte, error) {
			return issue(ca, csr, id), nil, nil
		}, "could not verify"},
		"no SVID": {func(context.Context, []byte) ([]byte, []byte, error) { return nil, ca.Root(), nil }, "empty"},
		"bytes that are no certificate": {func(context.Context, []byte) ([]byte, []byte, error) {
			return []byte("hello"), ca.Root(), nil
		}, "does not parse"},
		"a chain without end": {func(context.Context, []byte) ([]byte, []byte, error) {
			return make([]byte, maxSecret+1), ca.Root(), nil
		}, "more than"},
		"a server that refuses": {func(context.Context, []byte) ([]byte, []byte, error) {
			return nil, nil, remit.Errorf(remit.NotLive, "instance I42 has ended")
		}, "has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			source := NewSource(id, c.Now, test.ask)
			_, err := source.X509SVID(t.Context())
			wantError(t, err, test.says)
			dir := filepath.Join(shortDir(t), "i")
			if _, err := ServeWorkload(t.Context(), WorkloadConfig{Dir: dir, UID: os.Geteuid(), Source: source, Clock: c}); err == nil {
				t.Fatal("served without an SVID")
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Fatal("a socket without an SVID")
			}
		})
	}
}
