package server

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
)

// LauncherHeader is in which a launcher on the server's own machine says its process, when it opens the connection that
// its instance lives by.
const LauncherHeader = "Remit-Launcher"

// launchers are the processes of this machine whose children are instances.
type launchers struct {
	mu   sync.Mutex
	pids map[int]int // how many connections each holds
}

// hold notes a launcher for as long as its connection lives. A wrong number refuses others what is for people, so it
// must not be that of everybody's parent, nor one that this server comes from.
func (l *launchers) hold(r *http.Request) (release func()) {
	pid, err := strconv.Atoi(r.Header.Get(LauncherHeader))
	if err != nil || pid <= 1 || !isLoopback(r.RemoteAddr) {
		return func() {}
	}
	if mine, err := identity.DescendsFrom(os.Getpid(), map[int]bool{pid: true}, os.DirFS("/proc")); err != nil || mine {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pids == nil {
		l.pids = map[int]int{}
	}
	l.pids[pid]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.pids[pid]--; l.pids[pid] <= 0 {
			delete(l.pids, pid)
		}
	}
}

func (l *launchers) now() map[int]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int]bool, len(l.pids))
	for pid := range l.pids {
		out[pid] = true
	}
	return out
}

func isLoopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// refuseDescent refuses a call that comes from below a launcher of this machine, whatever it shows of a person. The
// launcher itself asks for its person. Where the kernel does not show whose a connection is (another user's, unless the
// server is root; a process that hides; another machine), what the call shows is all there is.
func (s *Server) refuseDescent(r *http.Request) error {
	leaders := s.launchers.now()
	if len(leaders) == 0 || !isLoopback(r.RemoteAddr) {
		return nil
	}
	here, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return nil
	}
	server, err := netip.ParseAddrPort(here.String())
	client, cerr := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || cerr != nil {
		return nil
	}
	proc := os.DirFS("/proc")
	pid, err := signin.LocalPeer(proc, client, server)
	if err != nil || leaders[pid] {
		return nil
	}
	if below, err := identity.DescendsFrom(pid, leaders, proc); err != nil || below {
		return remit.Errorf(remit.Forbidden, "this is for people, and process %d runs inside of an agent's instance", pid)
	}
	return nil
}
