package isolate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// echo is a server that says back what it is told, and its address.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

type sayings struct {
	mu   sync.Mutex
	said []string
}

func (s *sayings) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// proxied serves p in front of a handler that says "front".
func proxied(t *testing.T, p *Proxy) string {
	t.Helper()
	p.outer = func(*http.Request) (*url.URL, error) { return nil, nil }
	s := httptest.NewServer(p.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "front ", r.URL.Path) })))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// ask sends raw bytes, and returns the status and what the connection says after them.
func ask(t *testing.T, addr, raw, more string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw+more); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodConnect || resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func connect(target string, headers ...string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n" + strings.Join(headers, "") + "\r\n"
}

func TestTheProxyReachesWhatIsAllowed(t *testing.T) {
	server := echo(t)
	port := fmt.Sprint(server.Port())
	var s sayings
	p, err := NewProxy([]string{server.String(), "Model.Example.:" + port, "rebound.example:" + port, "mixed.example:" + port, "none.example:" + port}, "", s.say)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string][]netip.Addr{
		"model.example":   {netip.MustParseAddr("203.0.113.9")},
		"rebound.example": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("64:ff9b::7f00:1")},
	}
	p.resolve = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if a := answers[host]; a != nil {
			return a, nil
		}
		return nil, errors.New("no such host")
	}
	addr := proxied(t, p)
	for _, c := range []struct {
		name, raw string
		status    int
		says      string
	}{
		{"an address that a person named", connect(server.String()), 200, "hello"},
		{"another port of it", connect("127.0.0.1:1"), 403, "not among the hosts"},
		{"another name of it", connect("localhost:" + port), 403, "not among the hosts"},
		{"another form of it", connect("127.1:" + port), 403, "not among the hosts"},
		{"a number for it", connect("2130706433:" + port), 403, "not among the hosts"},
		{"a host that nobody allowed", connect("evil.example:" + port), 403, "not among the hosts"},
		{"a host below an allowed one", connect("x.model.example:" + port), 403, "not among the hosts"},
		{"a host with an allowed one as its beginning", connect("model.example.evil.example:" + port), 403, "not among the hosts"},
		{"a user before the host", connect("model.example:" + port + "@evil.example:1"), 400, "malformed"},
		{"no port", connect("model.example"), 403, "not among the hosts"},
		{"a name that leads to this machine", connect("rebound.example:" + port), 502, "no address that may be connected to"},
		{"a name that leads nowhere", connect("none.example:" + port), 502, "cannot be found"},
		{"plain http elsewhere", "GET http://evil.example/x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "without TLS"},
		{"plain http to an allowed host", "GET http://model.example:" + port + "/x HTTP/1.1\r\nHost: model.example\r\n\r\n", 403, "without TLS"},
		{"the front", "GET /v1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 200, "front /v1/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := ""
			if c.status == 200 && strings.HasPrefix(c.raw, "CONNECT") {
				more = "hello" // at once, as a client may that does not wait
			}
			status, says := ask(t, addr, c.raw, more)
			if status != c.status || !strings.Contains(says, c.says) {
				t.Errorf("%d, %q", status, says)
			}
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.said, "the command connects to "+server.String()+", which is allowed") || !slices.Contains(s.said, `the command wanted to connect to "evil.example:`+port+`", which is not allowed`) {
		t.Errorf("%q", s.said)
	}
}

// TestANameIsLookedUpOutside: the connection goes to the address that was looked at, not to a name that is resolved again.
func TestANameIsLookedUpOutside(t *testing.T) {
	server := echo(t)
	p, err := NewProxy([]string{fmt.Sprintf("model.example:%d", server.Port())}, "", new(sayings).say)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	p.resolve = func(context.Context, string, string) ([]netip.Addr, error) {
		asked++
		return []netip.Addr{server.Addr()}, nil
	}
	if _, says := ask(t, proxied(t, p), connect(fmt.Sprintf("model.example:%d", server.Port())), ""); !strings.Contains(says, "no address") || asked != 1 {
		t.Errorf("asked %d times, %q", asked, says)
	}
	for ip, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "0.0.0.0": true, "::": true, "169.254.169.254": true, "fe80::1": true, "224.0.0.1": true, "255.255.255.255": true, "fd00:ec2::254": true,
		"168.63.129.16": true, "100.100.100.200": true, "192.0.0.192": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b::a00:1": false,
		"10.0.0.1": false, "203.0.113.1": false, "2001:db8::1": false, "fd00::1": false,
	} {
		if got := forbidden(netip.MustParseAddr(ip), false); got != want {
			t.Errorf("%s: %t", ip, got)
		}
	}
}

func TestTheProxyAsksForItsPassword(t *testing.T) {
	server := echo(t)
	p, err := NewProxy([]string{server.String()}, "word", new(sayings).say)
	if err != nil {
		t.Fatal(err)
	}
	addr := proxied(t, p)
	for header, want := range map[string]int{
		"": 407, "Proxy-Authorization: Basic cmVtaXQ6d29yZA==\r\n": 200, "Proxy-Authorization: Basic cmVtaXQ6d29yZHM=\r\n": 407, "Proxy-Authorization: Bearer word\r\n": 407, "Authorization: Basic cmVtaXQ6d29yZA==\r\n": 407,
	} {
		if got, _ := ask(t, addr, connect(server.String(), header), ""); got != want {
			t.Errorf("%q: %d, not %d", header, got, want)
		}
	}
}

// TestTheMachinesOwnProxy: what goes out goes the way that the person's other programs go.
func TestTheMachinesOwnProxy(t *testing.T) {
	server := echo(t)
	outer, err := NewProxy([]string{server.String()}, "outer", new(sayings).say)
	if err != nil {
		t.Fatal(err)
	}
	outerAddr := proxied(t, outer)
	p, err := NewProxy([]string{server.String(), "other.example:443"}, "", new(sayings).say)
	if err != nil {
		t.Fatal(err)
	}
	addr := proxied(t, p)
	p.outer = func(*http.Request) (*url.URL, error) { return url.Parse("http://remit:outer@" + outerAddr) }
	if status, says := ask(t, addr, connect(server.String()), "hello"); status != 200 || says != "hello" {
		t.Errorf("%d, %q", status, says)
	}
	if status, says := ask(t, addr, connect("other.example:443"), ""); status != 502 || !strings.Contains(says, "answers 403") {
		t.Errorf("%d, %q", status, says)
	}
	p.outer = func(*http.Request) (*url.URL, error) { return url.Parse("socks5://127.0.0.1:1") }
	if status, says := ask(t, addr, connect(server.String()), ""); status != 502 || !strings.Contains(says, "only http") {
		t.Errorf("%d, %q", status, says)
	}
}

func TestWhatCanBeAllowed(t *testing.T) {
	for entry, ok := range map[string]bool{
		"api.example.com:443": true, "API.example.com.:443": true, "127.0.0.1:11434": true, "[::1]:8080": true, "10.1.2.3:443": true, "localhost:11434": true,
		"api.example.com": false, "*.example.com:443": false, "https://api.example.com:443": false, "api.example.com:https": false, "api.example.com:0": false, "api.example.com:65536": false, ":443": false,
		"127.1:443": false, "0x7f000001:443": false, "169.254.169.254:80": false, "[fe80::1%eth0]:443": false, "[fd00:ec2::254]:80": false, "0.0.0.0:80": false, "a/b:443": false, "a b:443": false, "-x:443": false, "..:443": false,
	} {
		_, err := NewProxy([]string{entry}, "", nil)
		if (err == nil) != ok {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// FuzzTarget: what is compared with the list is always of the list's own form.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"api.example.com:443", "[::1]:1", "127.1:1", "a.:1", "[::ffff:1.2.3.4]:5", "0X1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := targetOf(s)
		if err != nil {
			return
		}
		again, err := targetOf(got.String())
		if err != nil || again != got {
			t.Fatalf("%q is %v, which is %v, %v", s, got, again, err)
		}
		if _, err := netip.ParseAddr(got.host); err != nil && strings.Trim(got.host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			t.Fatalf("%q is %q", s, got.host)
		}
	})
}

func TestTheProxysEnvironment(t *testing.T) {
	got := Environ([]string{"PATH=/bin", "https_proxy=http://old", "All_Proxy=socks5://old", "NO_PROXY=*"}, "127.0.0.1:99", "w/d")
	for _, want := range []string{"PATH=/bin", "HTTPS_PROXY=http://remit:w%2Fd@127.0.0.1:99", "https_proxy=http://remit:w%2Fd@127.0.0.1:99", "NODE_USE_ENV_PROXY=1", "NO_PROXY=127.0.0.1,localhost,::1"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	if strings.Contains(strings.Join(got, " "), "old") {
		t.Errorf("%q", got)
	}
}
