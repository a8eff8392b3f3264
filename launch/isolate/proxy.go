package isolate

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

const (
	dialWithin = 15 * time.Second
	maxTunnels = 256 // at a time
	maxSaid    = 200 // targets that are told apart
)

// Proxy lets a command in a sandbox reach a few hosts, its model's above all: by CONNECT (RFC 9110, section 9.3.6) on the
// one listener that it has. Names are resolved outside, and what a name resolves to is looked at.
type Proxy struct {
	allow    []string
	password string
	say      func(format string, args ...any)
	outer    func(*http.Request) (*url.URL, error) // the proxy of the machine itself
	resolve  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	free     chan struct{}

	mu   sync.Mutex
	said map[string]bool
}

// NewProxy makes a proxy to these hosts, each HOST:PORT. Where a password is given, it is asked for. say is told of each
// host once, when it is first asked for.
func NewProxy(allow []string, password string, say func(format string, args ...any)) (*Proxy, error) {
	p := &Proxy{password: password, say: say, outer: http.ProxyFromEnvironment, resolve: net.DefaultResolver.LookupNetIP, free: make(chan struct{}, maxTunnels), said: map[string]bool{}}
	for _, a := range allow {
		target, err := targetOf(a)
		if err != nil {
			return nil, remit.Errorf(remit.BadRequest, "%q is not a host that can be allowed: %w; write HOST:PORT, such as api.example.com:443", a, err)
		}
		if ip, err := netip.ParseAddr(target.host); err == nil && forbidden(ip, true) {
			return nil, remit.Errorf(remit.BadRequest, "%q cannot be allowed: at that address a machine in a cloud hands out its own credentials, or nobody in particular answers", a)
		}
		p.allow = append(p.allow, target.String())
	}
	return p, nil
}

type target struct {
	host string
	port uint16
}

func (t target) String() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

// targetOf reads HOST:PORT in the one form that is compared: lower case, without the last dot.
func targetOf(s string) (target, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return target{}, errors.New("it has no port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, errors.New("its port is no number from 1 to 65535")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return target{}, errors.New("its address has a zone")
		}
		return target{ip.Unmap().String(), uint16(n)}, nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 {
		return target{}, errors.New("its name is empty or too long")
	}
	// Other bytes are nothing that a name of a host has, and such as *, %, @ and / would mean something else elsewhere.
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || host[0] == '-' || host[0] == '.' {
		return target{}, errors.New("its name has characters that no host's name has")
	}
	if last := host[strings.LastIndexByte(host, '.')+1:]; last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return target{}, errors.New("it looks like an address and is none") // 127.1 and 0x7f000001 are for some resolvers
	}
	return target{host, uint16(n)}, nil
}

// metadata are addresses at which clouds answer for a machine, besides the link-local ones.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
}

// forbidden tells whether an address is never connected to. The host's own loopback interface is, when a person named the
// address itself; a name that leads there is somebody's trick.
func forbidden(ip netip.Addr, named bool) bool {
	ip = ip.Unmap()
	if v6 := ip.As16(); ip.Is6() && netip.PrefixFrom(ip, 96).Masked().Addr() == netip.MustParseAddr("64:ff9b::") { // NAT64, RFC 6052
		ip = netip.AddrFrom4([4]byte(v6[12:]))
	}
	return ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip.IsInterfaceLocalMulticast() || slices.Contains(metadata, ip) || ip.IsLoopback() && !named ||
		ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Wrap answers what is asked of a proxy, and leaves the rest to next.
func (p *Proxy) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			p.connect(w, r)
		case r.URL.IsAbs() && r.URL.Host != "":
			http.Error(w, "remit: "+r.URL.Host+" cannot be reached without TLS from this sandbox; only hosts that are allowed can, by https", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	if !p.knows(r.Header.Get("Proxy-Authorization")) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="remit"`)
		http.Error(w, "remit: the proxy of this run wants its password, as HTTPS_PROXY has it", http.StatusProxyAuthRequired)
		return
	}
	t, err := targetOf(r.Host)
	if err != nil || !slices.Contains(p.allow, t.String()) {
		p.once(false, r.Host)
		http.Error(w, "remit: "+strconv.QuoteToASCII(r.Host)+" is not among the hosts that this command may reach; a person can allow it with --allow-host", http.StatusForbidden)
		return
	}
	p.once(true, t.String())
	select {
	case p.free <- struct{}{}:
		defer func() { <-p.free }()
	default:
		http.Error(w, "remit: too many connections are open", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialWithin)
	out, err := p.dial(ctx, t)
	cancel()
	if err != nil {
		http.Error(w, "remit: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "remit: this connection cannot become a tunnel", http.StatusInternalServerError)
		return
	}
	defer in.Close()
	_ = in.SetDeadline(time.Time{})
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	tunnel(in, buffered.Reader, out)
}

// tunnel copies both ways until both sides have ended.
func tunnel(in net.Conn, fromIn io.Reader, out net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, fromIn)
		closeWrite(out)
	}()
	_, err := io.Copy(in, out)
	closeWrite(in)
	if err != nil {
		in.Close()
	}
	<-done
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.Close()
}

// knows tells whether a Proxy-Authorization has the password, where there is one.
func (p *Proxy) knows(header string) bool {
	if p.password == "" {
		return true
	}
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	_, given, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(given), []byte(p.password)) == 1
}

// once says that a host was asked for. A screen that an agent draws on should not be written over again and again.
func (p *Proxy) once(allowed bool, host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said[host] || len(p.said) >= maxSaid {
		return
	}
	p.said[host] = true
	if allowed {
		p.say("the command connects to %s, which is allowed", host)
	} else {
		p.say("the command wanted to connect to %s, which is not allowed", strconv.QuoteToASCII(host))
	}
}

// dial connects to an allowed host: through the machine's own proxy, or to an address that its name has at this moment.
func (p *Proxy) dial(ctx context.Context, t target) (net.Conn, error) {
	var d net.Dialer
	via, err := p.outer(&http.Request{URL: &url.URL{Scheme: "https", Host: t.String()}})
	if err != nil {
		return nil, fmt.Errorf("the machine's own proxy cannot be used: %w", err)
	}
	if via != nil {
		return p.through(ctx, d, via, t)
	}
	addresses := []netip.Addr{}
	host := t.host
	if host == "localhost" { // RFC 6761, section 6.3: no resolver is asked
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	named := err == nil
	if named {
		addresses = append(addresses, ip)
	} else if addresses, err = p.resolve(ctx, "ip", t.host); err != nil {
		return nil, fmt.Errorf("%s cannot be found: %w", t.host, err)
	}
	addresses = slices.DeleteFunc(addresses, func(ip netip.Addr) bool { return forbidden(ip, named) })
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%s leads to no address that may be connected to", t.host)
	}
	var failed error
	for _, ip := range addresses {
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip.Unmap(), t.port).String())
		if err == nil {
			return c, nil
		}
		failed = err
	}
	return nil, fmt.Errorf("%s cannot be reached: %w", t, failed)
}

// through asks an http proxy for the tunnel.
func (p *Proxy) through(ctx context.Context, d net.Dialer, via *url.URL, t target) (net.Conn, error) {
	if via.Scheme != "http" {
		return nil, fmt.Errorf("the machine's own proxy is of the kind %s; only http can be used", via.Scheme)
	}
	host := via.Host
	if via.Port() == "" {
		host = net.JoinHostPort(via.Hostname(), "80")
	}
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("the machine's own proxy cannot be reached: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: t.String()}, Host: t.String(), Header: http.Header{}}
	if password, ok := via.User.Password(); ok || via.User != nil {
		basic := http.Request{Header: http.Header{}}
		basic.SetBasicAuth(via.User.Username(), password)
		ask.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
	}
	err = ask.Write(c)
	var answer *http.Response
	answers := bufio.NewReaderSize(c, 4096)
	if err == nil {
		answer, err = http.ReadResponse(answers, ask)
	}
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %d", answer.StatusCode)
	}
	if err == nil && answers.Buffered() > 0 {
		err = errors.New("it speaks first")
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("the machine's own proxy does not connect to %s: %w", t, err)
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// Environ is env with this proxy as the command's, at addr. Node's own fetch takes it from version 24 on.
func Environ(env []string, addr, password string) []string {
	proxy := url.URL{Scheme: "http", Host: addr}
	if password != "" {
		proxy.User = url.UserPassword("remit", password)
	}
	const here = "127.0.0.1,localhost,::1"
	set := [][2]string{
		{"HTTPS_PROXY", proxy.String()}, {"https_proxy", proxy.String()}, {"HTTP_PROXY", proxy.String()}, {"http_proxy", proxy.String()},
		{"NO_PROXY", here}, {"no_proxy", here}, {"NODE_USE_ENV_PROXY", "1"},
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.EqualFold(name, "ALL_PROXY") || slices.ContainsFunc(set, func(s [2]string) bool { return s[0] == name })
	})
	for _, s := range set {
		env = append(env, s[0]+"="+s[1])
	}
	return env
}
