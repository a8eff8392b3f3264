package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
)

// The rows that `wire` plays against the running server. Each names what it does to a request that would otherwise be
// good; testdata/live/wire.txtar says what must hold for all of them.

const (
	four   = `^HTTP/1\.1 4\d\d `                                                            // refused as a request
	bad    = `^HTTP/1\.1 400 `                                                              //
	typed  = `^HTTP/1\.1 415 `                                                              //
	ng     = `(?s)^HTTP/1\.1 200 .*ng refs/`                                                // refused as a push, in git's terms
	reject = `(?s)^HTTP/1\.1 (4\d\d .*code=|200 .*ng refs/)`                                // one or the other, with our code
	there  = `(?s)^HTTP/1\.1 307 .*Location: /v1/orgs/acme/git/forge/[a-z]+\.git/info/refs` // to where it is asked again, and judged
	create = "{zero} {main} {own}/x\x00 report-status"
)

// httpShots are classes A1 to A9. A forge has a proxy before its git server: where the two read a request differently,
// the second one reads what the first one has not checked.
func httpShots(pkt packets) []shot {
	good := pkt(create) + nothing
	foreign := pkt(strings.Replace(create, "{own}", "refs/heads/remit/T-0", 1)) + nothing
	return []shot{
		// The same bytes, unspoilt, in the two framings that git uses.
		{name: "good, to a branch of another task", body: foreign, want: `ng .*REF_OUT_OF_SCOPE`, stock: stockTakes},
		{name: "good, chunked", head: []string{"-Content-Length", "Transfer-Encoding: chunked"}, body: "4\r\n0000\r\n0\r\n\r\n", want: bad + `|` + ok},
		{name: "the probe", body: "0000", want: ok},

		// A1: types. git http-backend refuses these as well.
		{name: "a type in mixed case", head: []string{"Content-Type: Application/X-git-receive-pack-request"}, body: good, want: typed},
		{name: "a type with a parameter", head: []string{"Content-Type: application/x-git-receive-pack-request; charset=utf-8"}, body: good, want: typed},
		{name: "two types", head: []string{"Content-Type: application/x-git-receive-pack-request", "Content-Type: text/plain"}, body: good, want: typed},
		{name: "the type of a fetch", head: []string{"Content-Type: application/x-git-upload-pack-request"}, body: good, want: typed},
		{name: "no type", head: []string{"-Content-Type"}, body: good, want: typed},

		// A2: encodings. git http-backend inflates gzip and x-gzip, and whoever stands before it has not seen what is inside.
		{name: "gzip", head: []string{"Content-Encoding: gzip"}, body: zipped(good, 1), want: typed},
		{name: "x-gzip", head: []string{"Content-Encoding: x-gzip"}, body: zipped(good, 1), want: typed},
		{name: "deflate", head: []string{"Content-Encoding: deflate"}, body: good, want: typed},
		{name: "gzip twice", head: []string{"Content-Encoding: gzip, gzip"}, body: zipped(zipped(good, 1), 1), want: typed},
		{name: "two lines of encodings", head: []string{"Content-Encoding: identity", "Content-Encoding: gzip"}, body: zipped(good, 1), want: typed},

		// A3: framing (RFC 9112 §6.3). The body is read once, as chunks, and what goes upstream is written anew.
		{name: "Content-Length and chunked", head: []string{"Content-Length: 4", "Transfer-Encoding: chunked"}, body: "4\r\n0000\r\n0\r\n\r\nGET {repo}/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: {host}\r\n\r\n", want: bad + `|` + ok},
		{name: "chunked, and something else", head: []string{"-Content-Length", "Transfer-Encoding: chunked, identity"}, body: "4\r\n0000\r\n0\r\n\r\n", want: `^HTTP/1\.1 (400|501) `},
		{name: "chunked twice", head: []string{"-Content-Length", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, body: "0\r\n\r\n", want: `^HTTP/1\.1 (400|501) `},
		{name: "xchunked", head: []string{"-Content-Length", "Transfer-Encoding: xchunked"}, body: good, want: `^HTTP/1\.1 (400|501) `},
		{name: "a space before the colon", head: []string{"-Content-Length", "Transfer-Encoding : chunked"}, body: "4\r\n0000\r\n0\r\n\r\n", want: bad},
		{name: "two lengths", head: []string{"Content-Length: 4", "Content-Length: 40"}, body: good, want: bad},
		{name: "a length with a sign", head: []string{"Content-Length: +4"}, body: "0000", want: bad},
		{name: "a negative length", head: []string{"Content-Length: -4"}, body: "0000", want: bad},
		{name: "a length in hexadecimal", head: []string{"Content-Length: 0x4"}, body: "0000", want: bad},
		{name: "a length above what is sent", head: []string{"Content-Length: 100000"}, body: good, half: true, want: reject},
		{name: "a length below what is sent", head: []string{"Content-Length: 60"}, body: good, want: reject},
		{name: "a chunk that is longer than it says", head: []string{"-Content-Length", "Transfer-Encoding: chunked"}, body: "2\r\n0000\r\n0\r\n\r\n", want: four},
		{name: "a chunk of 2^64 bytes", head: []string{"-Content-Length", "Transfer-Encoding: chunked"}, body: "10000000000000000\r\n0000", want: four},
		{name: "a chunk extension without an end", head: []string{"-Content-Length", "Transfer-Encoding: chunked"}, stream: endless("4;"), most: 8 << 20, want: four},
		{name: "trailers that look like credentials", head: []string{"-Content-Length", "Transfer-Encoding: chunked", "Trailer: Authorization, Content-Type"}, body: "4\r\n0000\r\n0\r\nAuthorization: Bearer x\r\nContent-Type: text/html\r\n\r\n", want: bad + `|` + ok},
		{name: "a header line that goes on", head: []string{"X-A: b\r\n Content-Length: 3"}, body: foreign, want: bad + `|` + ng},
		{name: "a bare carriage return", head: []string{"X-A: b\rTransfer-Encoding: chunked"}, body: good, want: bad},
		{name: "NUL in a header", head: []string{"X-A: b\x00c"}, body: good, want: bad},
		{name: "no host", head: []string{"-Host"}, body: good, want: bad},
		{name: "two hosts", head: []string{"Host: a", "Host: b"}, body: good, want: bad},
		{name: "a header of a mebibyte", head: []string{"X-A: " + strings.Repeat("a", 1<<20)}, body: good, want: `^HTTP/1\.1 431 `},
		{name: "HTTP/2 without TLS's word for it", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: `^HTTP/1\.[01] (4|505)`},
		{name: "an upgrade to HTTP/2", line: "GET {repo}/info/refs?service=git-upload-pack", head: []string{"Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}, want: ok},
		{name: "HTTP/0.9", raw: "GET {repo}/info/refs\r\n\r\n", want: bad},
		{name: "a body that never comes", head: []string{"-Authorization", "Content-Length: 100"}, want: `^HTTP/1\.1 401 `},
		{name: "a body that never comes, on a connection that stays", head: []string{"-Authorization", "-Connection", "Content-Length: 100"}, want: `^HTTP/1\.1 401 `},
		{name: "a body that never comes, of a wrong type", head: []string{"Content-Type: text/plain", "Content-Length: 100"}, want: typed},

		// A4: paths and parameters.
		{name: "..%2f", line: "GET {repo}/..%2fother.git/info/refs?service=git-upload-pack", want: four},
		{name: "%2f", line: "GET /v1/orgs/acme/git/forge%2fpayments.git/info/refs?service=git-upload-pack", want: four},
		{name: "%2e%2e", line: "GET {repo}/%2e%2e/other.git/info/refs?service=git-upload-pack", want: four},
		{name: "..", line: "GET {repo}/../other.git/info/refs?service=git-upload-pack", want: there},
		{name: "%00", line: "GET {repo}%00/info/refs?service=git-upload-pack", want: four},
		{name: "//", line: "GET {repo}//info/refs?service=git-upload-pack", want: there},
		{name: "a slash in front", line: "GET /{repo}/info/refs?service=git-upload-pack", want: there},
		{name: "encoded twice", line: "GET {repo}%252finfo/refs?service=git-upload-pack", want: four},
		{name: "a backslash", line: `GET {repo}\info\refs?service=git-upload-pack`, want: four},
		{name: "a parameter of the path", line: "GET {repo};a=b/info/refs?service=git-upload-pack", want: four},
		{name: "overlong UTF-8", line: "GET {repo}/%c0%ae%c0%ae/info/refs?service=git-upload-pack", want: four},
		{name: "two services", line: "GET {repo}/info/refs?service=git-upload-pack&service=git-receive-pack", want: four},
		{name: "a service in capitals", line: "GET {repo}/info/refs?Service=git-upload-pack", want: four},
		{name: "a semicolon between parameters", line: "GET {repo}/info/refs?service=git-upload-pack;service=git-receive-pack", want: four},
		{name: "a service of another path", line: "POST {repo}/git-receive-pack?service=git-upload-pack", body: good, want: four},
		{name: "a push by GET", line: "GET {repo}/git-receive-pack", want: four},
		{name: "another method", line: "POST {repo}/git-receive-pack", head: []string{"X-HTTP-Method-Override: GET"}, body: "0001", want: four},
		{name: "a whole URL of another host", line: "GET https://elsewhere.example{repo}/info/refs", want: four},
		{name: "an authority only", raw: "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", want: four},
		{name: "TRACE", line: "TRACE {repo}/info/refs?service=git-upload-pack", want: four},

		// A5: the dumb protocol, and services that nobody judges. A web server that serves the directory serves them all.
		{name: "HEAD", line: "GET {repo}/HEAD", want: four},
		{name: "packs", line: "GET {repo}/objects/info/packs", want: four},
		{name: "a loose object", line: "GET {repo}/objects/00/00", want: four},
		{name: "alternates", line: "GET {repo}/objects/info/http-alternates", want: four},
		{name: "the dumb list of refs", line: "GET {repo}/info/refs", want: four},
		{name: "the configuration", line: "GET {repo}/config", want: four},
		{name: "upload-archive", line: "POST {repo}/git-upload-archive", body: "0000", want: four},
		{name: "its list of refs", line: "GET {repo}/info/refs?service=git-upload-archive", want: four},

		// A7: who the client says it is.
		{name: "forwarding headers", line: "GET {repo}/info/refs?service=git-upload-pack", head: []string{"-Authorization", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: ana", "X-Remote-User: ana", "Forwarded: for=127.0.0.1", "X-Original-URL: /v1/orgs/acme/tasks"}, want: `^HTTP/1\.1 401 `},
		{name: "two credentials", line: "GET {repo}/info/refs?service=git-upload-pack", head: []string{"Authorization: Basic {auth}", "Authorization: Bearer x"}, want: `^HTTP/1\.1 401 `},
		{name: "a token in the URL", line: "GET {repo}/info/refs?service=git-upload-pack&access_token=x", head: []string{"-Authorization"}, want: four},
		{name: "a cookie", line: "GET {repo}/info/refs?service=git-upload-pack", head: []string{"-Authorization", "Cookie: session=x"}, want: `^HTTP/1\.1 401 `},

		// A8: the probe, and the wait before a body.
		{name: "four other bytes", body: "0001", want: bad},
		{name: "a probe of the wrong type", head: []string{"Content-Type: text/plain"}, body: "0000", want: four},
		{name: "a probe of nobody", head: []string{"-Authorization"}, body: "0000", want: `^HTTP/1\.1 401 `},
		{name: "Expect, and no body", head: []string{"Expect: 100-continue", "-Authorization"}, want: `^HTTP/1\.1 401 `},
		{name: "Expect something else", head: []string{"Expect: a-miracle"}, body: "0000", want: `^HTTP/1\.1 417 `},

		// A9: the client leaves in the middle.
		{name: "gone in the commands", head: []string{"Content-Length: 100000"}, body: pkt(create)[:50], half: true, want: reject},
		{name: "gone in the pack", head: []string{"Content-Length: 100000"}, body: good[:len(good)-10], half: true, want: reject},
	}
}

const ok = `^HTTP/1\.1 200 `

// commandShots are classes A10 to A18: the command section of a push. What stock git says of it was tried.
func commandShots(pkt packets) []shot {
	good := pkt(create) + nothing
	return []shot{
		{name: "the same ref twice", body: pkt(create, "{zero} {main} {own}/x") + nothing, want: reject, stock: stockTakes},
		{name: "twice but for case", body: pkt(create, "{zero} {main} {own}/X") + nothing, want: `the push names`, stock: stockTakes},
		{name: "a ref in capitals beside one", body: pkt(create, "{zero} {main} {own}/STRASSE", "{zero} {main} {own}/straße") + nothing, want: reject, stock: stockTakes},
		{name: "an id in capitals", body: pkt("{zero} {MAIN} {own}/x\x00 report-status") + nothing, want: four, stock: stockTakes},
		{name: "a short id", body: pkt("{zero} abcdef {own}/x\x00 report-status") + nothing, want: four, stock: stockRefuses},
		{name: "an id of SHA-256", body: pkt("{zero}"+zeros[:24]+" {main}"+zeros[:24]+" {own}/x\x00 report-status object-format=sha256") + nothing, want: four, stock: stockRefuses},
		{name: "text behind NUL on a later line", body: pkt(create, "{zero} {main} {own}/y\x00 atomic") + nothing, want: reject, stock: stockTakes},
		{name: "a line feed in a name", body: pkt("{zero} {main} {own}/x\ny\x00 report-status") + nothing, want: reject, stock: stockRefuses},
		{name: "a capability that nobody offered", body: pkt("{zero} {main} {own}/x\x00 report-status cruft=1") + nothing, want: four, stock: stockTakes},
		{name: "another object format", body: pkt("{zero} {main} {own}/x\x00 report-status object-format=sha256") + nothing, want: four, stock: stockRefuses},
		{name: "packet 0001", body: "0001" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "packet 0002", body: "0002" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "packet 0003", body: "0003" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "packet 0004", body: "0004" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "ffff", body: "ffff" + strings.Repeat("a", 65531) + nothing, want: four, stock: stockRefuses},
		{name: "fff1", body: "fff1" + strings.Repeat("a", 65517) + nothing, want: four, stock: stockRefuses},
		{name: "0x1f", body: "0x1f" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "a sign", body: "+01f" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "a space", body: " 01f" + pkt(create) + nothing, want: four, stock: stockRefuses},
		{name: "no flush", body: strings.TrimSuffix(pkt(create), "0000"), want: ng, stock: stockRefuses},
		{name: "nothing", body: "", want: four, stock: stockRefuses},
		{name: "only flushes", body: "00000000", want: four, stock: stockRefuses},
		{name: "a certificate", body: pkt("push-cert\x00 report-status", "certificate version 0.1\n", "pusher a <a@b> 1 +0000\n", "nonce 1-0\n", "\n", "{zero} {main} {own}/x\n", "push-cert-end\n") + nothing, want: four, stock: stockTakes},
		{name: "a certificate behind a command", body: pkt(create, "push-cert\x00", "certificate version 0.1\n", "push-cert-end\n") + nothing, want: reject},
		{name: "options", body: pkt("{zero} {main} {own}/x\x00 report-status push-options") + pkt("ci.skip", "merge_request.create") + nothing, want: four, stock: stockRefuses},
		{name: "options that were not asked for", body: pkt(create) + pkt("ci.skip") + nothing, want: reject, stock: stockRefuses},
		{name: "a shallow line behind a command", body: pkt(create, "shallow {main}") + nothing, want: reject},
		{name: "a shallow line that is none", body: pkt("shallow main", create) + nothing, want: four, stock: stockRefuses},
		{name: "nothing changes", body: pkt("{main} {main} {own}/x\x00 report-status") + nothing, want: reject, stock: stockRefuses},
		{name: "no old value and no new one", body: pkt("{zero} {zero} {own}/x\x00 report-status") + nothing, want: reject},
		{name: "a wrong old value", body: pkt("{main} {zero} {own}/x\x00 report-status"), want: reject, stock: stockRefuses},
		{name: "a commit that nobody has", body: pkt("{zero} "+strings.Repeat("c", 40)+" {own}/x\x00 report-status") + nothing, want: ng, stock: stockRefuses},
		{name: "bytes behind the pack", body: good + "GARBAGE", want: ng, stock: stockTakes},
		{name: "a second pack", body: good + nothing, want: ng, stock: stockTakes},
		{name: "a second push", body: good + good, want: ng, stock: stockTakes},
		{name: "no pack", body: pkt(create), want: ng, stock: stockRefuses},
		{name: "a pack with a deletion", body: pkt("{main} {zero} refs/heads/main\x00 report-status delete-refs") + nothing, want: ng},
		{name: "one allowed, one denied", body: pkt(create, "{zero} {main} refs/heads/other") + nothing, want: `(?s)ng refs/heads/remit.*ng refs/heads/other`, stock: stockTakes},
		{name: "one allowed, one denied, atomic", body: pkt(create+" atomic", "{zero} {main} refs/heads/other") + nothing, want: `(?s)ng refs/heads/remit.*ng refs/heads/other`, stock: stockTakes},
		{name: "no report asked for", body: pkt("{zero} {main} refs/heads/other\x00 agent=x") + nothing, want: `code=REF_OUT_OF_SCOPE`, stock: stockTakes},
		{name: "a million commands", stream: commandStream(1_000_000), most: 16 << 20, want: reject},
		{name: "a command section of a gibibyte", stream: endless("0034shallow " + strings.Repeat("a", 40)), most: 16 << 20, want: four},
		{name: "a line that never ends", stream: endless("ffff"), most: 16 << 20, want: four},
	}
}

// fetchShots are reads that stock git serves as long as it has memory.
func fetchShots(packets) []shot {
	return []shot{
		{name: "a good one", line: "POST {repo}/git-upload-pack", head: []string{"Git-Protocol: version=2"}, body: "0014command=ls-refs\n0000", want: ok + `(?s).*{main}`},
		{name: "a good one, compressed", line: "POST {repo}/git-upload-pack", head: []string{"Git-Protocol: version=2", "Content-Encoding: gzip"}, body: zipped("0014command=ls-refs\n0000", 1), want: ok + `(?s).*{main}`},
		{name: "a gzip bomb", line: "POST {repo}/git-upload-pack", head: []string{"Git-Protocol: version=2", "Content-Encoding: gzip"},
			body: zipped("0012command=fetch\n0001", 1) + zipped(strings.Repeat("0032have "+strings.Repeat("a", 40)+"\n", 20_000), 400), want: `code=TOO_LARGE|^HTTP/1\.1 200 [^{]*$`},
		{name: "gzip that is none", line: "POST {repo}/git-upload-pack", head: []string{"Content-Encoding: gzip"}, body: "00000000", want: `code=BAD_REQUEST`},
		{name: "gzip that is cut", line: "POST {repo}/git-upload-pack", head: []string{"Git-Protocol: version=2", "Content-Encoding: gzip"}, body: zipped("0014command=ls-refs\n0000", 1)[:20], want: `code=BAD_REQUEST`},
		{name: "another encoding", line: "POST {repo}/git-upload-pack", head: []string{"Content-Encoding: x-gzip"}, body: zipped("0000", 1), want: typed},
		{name: "a version that git does not have", line: "GET {repo}/info/refs?service=git-upload-pack", head: []string{"Git-Protocol: version=2:uploadpack.hide=x\u00e9"}, want: ok},
	}
}

// refShots are classes A20 to A25: names that mean something to a forge, to git or to a reader.
func refShots(pkt packets) []shot {
	to := func(ref, code string, stock verdict) shot {
		return shot{name: fmt.Sprintf("%q", ref), body: pkt("{zero} {main} "+ref+"\x00 report-status") + nothing, want: `(?s)^HTTP/1\.1 200 .*ng .*\(` + code + `\)`, stock: stock}
	}
	shots := []shot{
		{name: "delete the default branch", body: pkt("{main} {zero} refs/heads/main\x00 report-status delete-refs"), want: `ng .*REF_OUT_OF_SCOPE`},
		{name: "delete it, and make it anew", body: pkt("{main} {zero} refs/heads/main\x00 report-status delete-refs", "{zero} {main} refs/heads/main") + nothing, want: reject},
		{name: "create what exists", body: pkt("{zero} {main} refs/heads/main\x00 report-status") + nothing, want: ng, stock: stockRefuses},
		{name: "delete HEAD", body: pkt("{main} {zero} HEAD\x00 report-status delete-refs"), want: `ng HEAD .*BAD_REF`},
	}
	for _, ref := range []string{
		"refs/pull/1/head", "refs/merge-requests/1/head", "refs/meta/config", "refs/for/main", "refs/changes/01/1/1", "refs/notes/commits",
		"refs/remotes/origin/main", "refs/gittuf/policy", "refs/replace/{main}", "refs/keep-around/{main}", "refs/environments/x", "refs/hidden/x",
		"refs/drafts/main", "refs/heads/HEAD", "refs/heads/refs/heads/main", "refs/heads/tags/v1", "refs/heads/-x",
		"refs/heads/\u202emain", "{own}/a\u200bb", "{own}/HEAD", "{own}/refs/x", "{own}/FETCH_HEAD",
		"refs/heads/" + strings.Repeat("a", 40), "{own}/gro\u0308sse", "{own}/con",
	} {
		shots = append(shots, to(ref, "BAD_REF", stockTakes))
	}
	for _, ref := range []string{
		"{own}/a..b", "{own}/a.lock", "{own}/a@{1}", "{own}/a b", "{own}//a", "{own}/a/", "{own}/a~1", "{own}/a^", "{own}/a:b", "{own}/a\\b",
		"HEAD", "refs/stash", "main", "refs/../refs/heads/x", "../../escape", "{own}/.x", "{own}/a\x7f",
	} {
		shots = append(shots, to(ref, "BAD_REF", stockRefuses))
	}
	for _, ref := range []string{"refs/tags/v1", "refs/heads/Main", "refs/heads/MAIN", "refs/heads/mаin"} {
		shots = append(shots, to(ref, "REF_OUT_OF_SCOPE", stockTakes))
	}
	shots = append(shots, to("refs/heads/main/x", "REF_OUT_OF_SCOPE", stockRefuses))
	return shots
}

// zipped is the text as so many gzip members behind each other (RFC 1952 §2.2), which is one of all of it.
func zipped(text string, times int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text) // a buffer takes everything
	_ = z.Close()
	return strings.Repeat(b.String(), times)
}

// endless repeats a text until nobody takes it any more, or for a gibibyte.
func endless(text string) func(io.Writer) error {
	block := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
	return func(w io.Writer) error {
		for sent := 0; sent < 1<<30; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}
}

func commandStream(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		for i := range n {
			line := fmt.Sprintf("%s %s refs/heads/x%d", zeros, strings.Repeat("a", 40), i)
			if _, err := io.WriteString(w, fmt.Sprintf("%04x%s", len(line)+4, line)); err != nil {
				return err
			}
		}
		return nil
	}
}
