package signin

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	maxSockets = 8 << 20 // bytes of a table of sockets
	maxLine    = 4 << 10
)

// LocalPeer finds the process on this machine that holds the client's end of a TCP connection, by the tables of sockets
// (proc_pid_net(5)) and the files that processes have open; proc is os.DirFS("/proc"). Processes of other users, and
// those that are not dumpable, are seen by root only: an error means that nobody can tell.
func LocalPeer(proc fs.FS, client, server netip.AddrPort) (pid int, err error) {
	inode := ""
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		if inode, err = findSocket(proc, table, client, server); inode != "" {
			break
		}
	}
	if inode == "" {
		return 0, fmt.Errorf("no socket of this machine is %s to %s: %w", client, server, err)
	}
	processes, err := fs.ReadDir(proc, ".")
	if err != nil {
		return 0, err
	}
	want := "socket:[" + inode + "]"
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := p.Name() + "/fd"
		files, err := fs.ReadDir(proc, dir)
		if err != nil {
			continue // ended, or another's
		}
		if slices.ContainsFunc(files, func(f fs.DirEntry) bool {
			to, err := fs.ReadLink(proc, dir+"/"+f.Name())
			return err == nil && to == want
		}) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("whose socket %s is cannot be seen", inode)
}

// findSocket is the inode of the socket whose own end is client; empty: there is none.
func findSocket(proc fs.FS, table string, client, server netip.AddrPort) (string, error) {
	f, err := proc.Open(table)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxSockets))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		local, ok1 := parseSocket(fields[1])
		remote, ok2 := parseSocket(fields[2])
		if ok1 && ok2 && local == plain(client) && remote == plain(server) {
			return fields[9], nil
		}
	}
	return "", lines.Err()
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// parseSocket reads ADDRESS:PORT in hexadecimal: the address in words of 32 bits of the machine's own order, which is
// little-endian wherever Remit runs, and the port in network order.
func parseSocket(text string) (netip.AddrPort, bool) {
	a, p, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(a)
	port, perr := strconv.ParseUint(p, 16, 16)
	if !ok || err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}
