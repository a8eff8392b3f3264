package hook

import (
	"net/netip"
	"net/url"
	"strings"
)

const maxURL = 8 << 10 // bytes

// metadata are names under which clouds tell a machine its own credentials.
var metadata = []string{"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}

// metadataAddresses are such addresses that are not link-local.
var metadataAddresses = []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("168.63.129.16")}

// judgeURL says which host an address names, and why it is not an ordinary one to read; empty: it is. A name is not
// looked up: what it resolves to is seen by whoever connects, and here only the text is.
func judgeURL(text string) (host, why string) {
	// Browsers and Node read addresses as WHATWG says, which forgives what RFC 3986 does not: what they could read
	// differently is not judged.
	if len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return "", "odd-address"
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", "odd-address"
	}
	if s := strings.ToLower(u.Scheme); s != "http" && s != "https" {
		return "", "scheme"
	}
	host = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if u.User != nil {
		return host, "user-in-address"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return host, whyAddress(ip.Unmap())
	}
	return host, whyName(host)
}

func whyAddress(ip netip.Addr) string {
	switch {
	case ip.IsLoopback(), ip.IsUnspecified():
		return "loopback"
	case ip.IsLinkLocalUnicast():
		return "metadata"
	}
	for _, m := range metadataAddresses {
		if ip == m {
			return "metadata"
		}
	}
	return ""
}

func whyName(host string) string {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "localhost.localdomain" || host == "ip6-localhost" {
		return "loopback"
	}
	for _, m := range metadata {
		if host == m {
			return "metadata"
		}
	}
	for i := range len(host) {
		if c := host[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return "odd-address" // %, and what else is decoded by some
		}
	}
	// A last label that is a number is an IPv4 address to WHATWG, in any of its old forms: 127.1, 0x7f000001, 2130706433.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' {
		return "odd-address"
	}
	return ""
}
