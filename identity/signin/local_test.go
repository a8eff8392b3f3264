package signin

import (
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"testing/fstest"
)

// The kernel's own tables, for a connection of this very process.
func TestLocalPeerIsThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this machine has no /proc")
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		address := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		l, err := net.Listen(network, address)
		if err != nil {
			t.Logf("%s is not here: %v", network, err)
			continue
		}
		defer l.Close()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		client, server := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(l.Addr().String())
		pid, err := LocalPeer(os.DirFS("/proc"), client, server)
		if err != nil || pid != os.Getpid() {
			t.Fatalf("%s: %d, %v; this is %d", network, pid, err, os.Getpid())
		}
		c.Close()
		if pid, err := LocalPeer(os.DirFS("/proc"), netip.AddrPortFrom(client.Addr(), 1), server); err == nil {
			t.Fatalf("a connection that is not there is %d's", pid)
		}
	}
}

func TestLocalPeerReadsTables(t *testing.T) {
	client, server := netip.MustParseAddrPort("127.0.0.1:40001"), netip.MustParseAddrPort("127.0.0.1:8443")
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	// The server's end of the same connection stands there too, with the addresses the other way round.
	const own = "   0: 0100007F:20FB 0100007F:9C41 01 00000000:00000000 00:00000000 00000000     0        0 77 1\n"
	link := &fstest.MapFile{Data: []byte("socket:[99]"), Mode: fs.ModeSymlink}
	for name, c := range map[string]struct {
		tcp, tcp6 string
		files     map[string]*fstest.MapFile
		want      int
	}{
		"over IPv4":                 {tcp: own + "   1: 0100007F:9C41 0100007F:20FB 01 00000000:00000000 00:00000000 00000000  1000        0 99 1\n", want: 42},
		"over IPv4 in an IPv6 one":  {tcp6: "   1: 0000000000000000FFFF00000100007F:9C41 0000000000000000FFFF00000100007F:20FB 01 0:0 0:0 0 1000 0 99 1\n", want: 42},
		"only the server's end":     {tcp: own},
		"a line that is cut":        {tcp: "   1: 0100007F:9C41 0100007F:20FB 01\n"},
		"an address that is none":   {tcp: "   1: 01007F:9C41 0100007F:20FB 01 0:0 0:0 0 0 0 99 1\n"},
		"a process that hides":      {tcp: "   1: 0100007F:9C41 0100007F:20FB 01 0:0 0:0 0 0 0 99 1\n", files: map[string]*fstest.MapFile{"42/status": {}}},
		"a file with the same text": {tcp: "   1: 0100007F:9C41 0100007F:20FB 01 0:0 0:0 0 0 0 99 1\n", files: map[string]*fstest.MapFile{"42/fd/3": {Data: []byte("socket:[99]")}}},
	} {
		t.Run(name, func(t *testing.T) {
			proc := fstest.MapFS{"net/tcp": {Data: []byte(head + c.tcp)}, "net/tcp6": {Data: []byte(head + c.tcp6)}, "self/x": {}, "41/fd/3": {Data: []byte("x")}}
			files := c.files
			if files == nil {
				files = map[string]*fstest.MapFile{"42/fd/0": {Data: []byte("/dev/null"), Mode: fs.ModeSymlink}, "42/fd/7": link}
			}
			for n, f := range files {
				proc[n] = f
			}
			pid, err := LocalPeer(proc, client, server)
			if pid != c.want || (err == nil) != (c.want != 0) {
				t.Fatalf("%d, %v", pid, err)
			}
		})
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add("0100007F:20FB")
	f.Add("0000000000000000FFFF00000100007F:9C41")
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := parseSocket(text); ok && !a.IsValid() {
			t.Fatalf("%q is %v", text, a)
		}
	})
}
