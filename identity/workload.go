package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Clock is the time that a launcher lives by.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// SystemClock is the clock of the machine.
type SystemClock struct{}

// Now is the wall clock.
func (SystemClock) Now() time.Time { return time.Now() }

// After is time.After.
func (SystemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

const (
	// The renewal looks at the clock this often, because timers stand still while a machine is suspended.
	lookAgain = 30 * time.Second
	// A renewal that failed is tried again after this time.
	tryAgain = 5 * time.Second

	workloadSocket = "workload.sock"
	maxSocketPath  = 107 // sun_path, unix(7)
)

// WorkloadConfig is what ServeWorkload needs; Clock and Log have useful zero values.
type WorkloadConfig struct {
	// Dir holds the socket; it serves one instance, has mode 0700 and is made if it is not there.
	Dir string
	// UID is the user that the instance runs as: os.Geteuid(), unless the launcher gave it a user of its own.
	UID int
	// Allow judges each connection further: whether its process is part of the instance. Nil: the user is enough.
	Allow  func(*net.UnixConn) error
	Source Source
	Clock  Clock
	Log    *slog.Logger
}

// Workload is the SPIFFE Workload API of one instance, in its launcher. It serves X.509-SVIDs and bundles; the JWT and
// WIT profiles are switched off and answer Unimplemented. Peer credentials tell users apart, not programs: where the
// instance runs as the launcher's own user, Allow keeps the other processes of that user out.
type Workload struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	source Source
	clock  Clock
	log    *slog.Logger
	path   string
	server *grpc.Server
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	current *SVID
	over    bool          // the instance has ended: no more SVIDs
	changed chan struct{} // closed and replaced when current or over change
}

// ServeWorkload fetches the first SVID and then serves until Close. An error means that nothing is served.
func ServeWorkload(ctx context.Context, c WorkloadConfig) (*Workload, error) {
	dir, err := filepath.Abs(c.Dir) // SPIFFE Workload Endpoint §4: the path in SPIFFE_ENDPOINT_SOCKET is absolute
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", c.Dir, err)
	}
	w := &Workload{source: c.Source, clock: c.Clock, log: c.Log, path: filepath.Join(dir, workloadSocket), changed: make(chan struct{})}
	if w.clock == nil {
		w.clock = SystemClock{}
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	first, err := w.source.X509SVID(ctx)
	if err != nil {
		return nil, err
	}
	w.current = first
	l, err := listenPrivate(w.path, c.UID)
	if err != nil {
		return nil, err
	}
	// SPIFFE Workload Endpoint §3.1 and §5: no transport security and no client authentication; who connects is judged
	// by what the kernel says of the peer.
	w.server = grpc.NewServer(grpc.MaxRecvMsgSize(16<<10), grpc.MaxConcurrentStreams(64))
	workload.RegisterSpiffeWorkloadAPIServer(w.server, w)
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.done.Go(func() { w.renew(run) })
	w.done.Go(func() {
		if err := w.server.Serve(&peerListener{UnixListener: l, uids: []int{os.Geteuid(), c.UID}, allow: c.Allow, log: w.log}); err != nil {
			w.log.Error("serving the Workload API", "err", err)
		}
	})
	return w, nil
}

// Addr is what SPIFFE_ENDPOINT_SOCKET says to the instance.
func (w *Workload) Addr() string { return "unix://" + w.path }

// Close ends the streams, the renewal and the socket.
func (w *Workload) Close() error {
	w.stop()
	w.server.Stop()
	w.done.Wait()
	if err := os.Remove(w.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the socket: %w", err)
	}
	return nil
}

// renewAt is when two fifths of an SVID's life are over: before half of it, so that even peers that renew late never
// meet an expired one.
func renewAt(s *SVID) time.Time {
	return s.NotBefore.Add(s.NotAfter.Sub(s.NotBefore) / 5 * 2)
}

// renew replaces the SVID in time, until ctx ends or the instance does.
func (w *Workload) renew(ctx context.Context) {
	w.mu.Lock()
	next := renewAt(w.current)
	w.mu.Unlock()
	for {
		for wait := next.Sub(w.clock.Now()); wait > 0; wait = next.Sub(w.clock.Now()) {
			select {
			case <-ctx.Done():
				return
			case <-w.clock.After(min(wait, lookAgain)):
			}
		}
		if ctx.Err() != nil {
			return
		}
		s, err := w.source.X509SVID(ctx)
		switch {
		case err == nil:
			w.set(s, false)
			// A source that hands out what is already half over is not asked in a loop.
			next = later(renewAt(s), w.clock.Now().Add(tryAgain))
		case isOver(err):
			w.log.Info("no more SVIDs: the instance has ended", "err", err)
			w.set(nil, true)
			return
		default:
			w.log.Warn("renewing the SVID", "err", err)
			next = w.clock.Now().Add(tryAgain)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func isOver(err error) bool {
	var e *remit.Error
	return errors.As(err, &e) && (e.Code == remit.Unauthenticated || e.Code == remit.NotLive || e.Code == remit.Forbidden)
}

func (w *Workload) set(s *SVID, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current, w.over = s, over
	close(w.changed)
	w.changed = make(chan struct{})
}

// now is the SVID to serve, and a channel that is closed when there is another. What has expired is not served.
func (w *Workload) now() (*SVID, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil, nil, status.Error(codes.PermissionDenied, "the instance has ended; there are no more SVIDs for it")
	}
	if t := w.clock.Now(); !t.Before(w.current.NotAfter) {
		return nil, nil, status.Error(codes.Unavailable, "the last SVID has expired, and the server gave no new one yet")
	}
	return w.current, w.changed, nil
}

// FetchX509SVID streams the instance's SVID, and each new one as soon as there is one (SPIFFE Workload API §5.2.1).
func (w *Workload) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return w.follow(stream.Context(), func(s *SVID) error {
		return stream.Send(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
			SpiffeId: s.ID.String(), X509Svid: s.Chain, X509SvidKey: s.Key, Bundle: s.Bundle,
		}}})
	})
}

// FetchX509Bundles streams the bundle of the trust domain (SPIFFE Workload API §5.2.2).
func (w *Workload) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return w.follow(stream.Context(), func(s *SVID) error {
		return stream.Send(&workload.X509BundlesResponse{Bundles: map[string][]byte{s.ID.TrustDomain().IDString(): s.Bundle}})
	})
}

func (w *Workload) follow(ctx context.Context, send func(*SVID) error) error {
	// SPIFFE Workload Endpoint §3: without this header a request may be one that a program was tricked into.
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("workload.spiffe.io"); len(v) != 1 || v[0] != "true" {
		return status.Error(codes.InvalidArgument, "the metadata workload.spiffe.io: true is missing")
	}
	for {
		s, changed, err := w.now()
		if err != nil {
			return err
		}
		if err := send(s); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-changed:
		}
	}
}

// listenPrivate makes a socket of mode 0600 in a directory of mode 0700, for one user.
func listenPrivate(path string, uid int) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket's path %s has %d bytes; a unix socket's has at most %d, so choose a shorter directory", path, len(path), maxSocketPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	// Until here nobody but this user can enter the directory, so the mode that umask left harms nobody.
	err = os.Chmod(path, 0o600)
	if uid != os.Geteuid() {
		err = errors.Join(err, os.Chown(path, uid, -1), os.Chown(dir, uid, -1))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("giving the socket to user %d: %w", uid, err), l.Close())
	}
	return l, nil
}

// peerListener lets in connections of the given users only.
type peerListener struct {
	*net.UnixListener
	uids  []int
	allow func(*net.UnixConn) error
	log   *slog.Logger
}

// Accept waits for the next connection of one of the users; those of others are closed.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		_, uid, err := PeerPID(conn)
		known := err == nil && slices.Contains(l.uids, uid)
		if known && l.allow != nil {
			err = l.allow(conn)
		}
		if known && err == nil {
			return conn, nil
		}
		l.log.Warn("refused a connection to the Workload API", "uid", uid, "err", err)
		_ = conn.Close()
	}
}
