package identity

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPeerPIDNamesTheProcessThatConnected(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pid, uid, err := PeerPID(conn)
	if err != nil || pid != os.Getpid() || uid != os.Getuid() {
		t.Fatalf("process %d of user %d, %v", pid, uid, err)
	}
	// The real /proc: this process descends from its parent, and its parent not from it.
	proc := os.DirFS("/proc")
	if ok, err := DescendsFrom(pid, map[int]bool{os.Getppid(): true}, proc); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Skipf("no process could be started: %v", err)
	}
	if ok, err := DescendsFrom(child.Process.Pid, map[int]bool{pid: true}, proc); err != nil || !ok {
		t.Errorf("a child does not descend from its parent: %v, %v", ok, err)
	}
	if ok, err := DescendsFrom(pid, map[int]bool{child.Process.Pid: true}, proc); err != nil || ok {
		t.Errorf("a parent descends from its child: %v, %v", ok, err)
	}
	_ = in.Close()
	_ = child.Wait()
	if _, _, err := PeerPID(closed(t, conn)); err == nil {
		t.Error("a closed connection has a peer")
	}
}

func closed(t *testing.T, c *net.UnixConn) *net.UnixConn {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}
