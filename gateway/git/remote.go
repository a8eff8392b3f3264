package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/remit-dev/remit"
)

// RemoteConfig is how to reach a git server over HTTP.
type RemoteConfig struct {
	URL      string         // https://host[:port][/path], where the repositories lie
	Roots    *x509.CertPool // nil: those of the system
	Insecure bool           // http:// to a loopback address is meant
}

// NewRemote makes a git server reachable: that one host, over TLS, without proxies of the environment and without
// redirects, and not by way of addresses that only mean something on this machine's own link.
func NewRemote(c RemoteConfig) (http.RoundTripper, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, remit.Errorf(remit.BadRequest, "the location %.200q of an upstream is not of the form https://HOST/PATH; credentials are declared apart", c.URL)
	}
	literal, _ := netip.ParseAddr(u.Hostname())
	loopback := literal.IsLoopback() || u.Hostname() == "localhost"
	if u.Scheme != "https" && !(u.Scheme == "http" && c.Insecure && loopback) {
		return nil, remit.Errorf(remit.BadRequest, "the location %.200q of an upstream is not https; http is for a loopback address that is declared as insecure", c.URL)
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			// 169.254.169.254 and its like give credentials to whoever asks from the inside. A literal was meant.
			if ip := addr.Addr().Unmap(); ip != literal && (ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() && !loopback) {
				return fmt.Errorf("%s has the address %s, which is not reachable from elsewhere; declare the address itself if it is meant", u.Hostname(), ip)
			}
			return nil
		}}
	return &oneHost{scheme: u.Scheme, host: u.Host, next: &http.Transport{
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: 5 * time.Minute, ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}}, nil
}

// oneHost refuses to go anywhere else, so that no credential can.
type oneHost struct {
	scheme, host string
	next         http.RoundTripper
}

func (o *oneHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != o.scheme || r.URL.Host != o.host {
		return nil, fmt.Errorf("%s://%s is not the declared upstream %s://%s", r.URL.Scheme, r.URL.Host, o.scheme, o.host)
	}
	return o.next.RoundTrip(r)
}
