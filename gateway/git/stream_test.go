package git

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// A client that announces more than it ever sends is answered, and holds nothing: neither with a good token nor without
// one. Each of these stays for ever if the deadline is only taken off.
func TestAClientThatSendsNothingIsLetGo(t *testing.T) {
	const auth = "Authorization: Basic YWdlbnQ6dGFzay10b2tlbg==\r\n"
	w := newWorld(t, func(_ *world, c *Config) { c.Stall = 4 * time.Second })
	var at sync.WaitGroup
	for _, tt := range []struct{ name, head, body, want string }{
		{"a stranger", "POST " + receivePath, "", " 401 "},
		{"a stranger who waits to be asked", "POST " + receivePath, "Expect: 100-continue\r\n", " 401 "},
		{"of a wrong type", "POST " + receivePath, auth + "Content-Type: text/plain\r\n", " 415 "},
		{"before the commands", "POST " + receivePath, auth + "Content-Type: " + receiveType + "\r\n", " 400 "},
		{"a probe", "POST " + receivePath, auth + "Content-Type: " + receiveType + "\r\nContent-Length: 4\r\n", " 400 "},
		{"a path that is none", "POST " + receivePath + "x", auth, " 403 "},
		{"a read with a body", "GET /v1/orgs/acme/git/forge/acme/payments.git/info/refs?service=git-upload-pack", auth, " 400 "},
		{"a fetch", "POST " + strings.Replace(receivePath, "receive", "upload", 1), auth + "Content-Type: application/x-git-upload-pack-request\r\n", " 200 "},
	} {
		if !strings.Contains(tt.body, "Content-Length") {
			tt.body += "Content-Length: 100\r\n"
		}
		at.Go(func() {
			c, err := net.Dial("tcp", w.srv.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			// Only a broken gateway comes near to this.
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", tt.head, tt.body)
			answer := bufio.NewReader(c)
			if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, tt.want) {
				t.Errorf("%s: %q, %v; want %s", tt.name, line, err, tt.want)
			}
			if _, err := io.Copy(io.Discard, answer); err != nil {
				t.Errorf("%s: the connection stays: %v", tt.name, err)
			}
		})
	}
	at.Wait()
	w.clean(0)
}

// A request to fetch goes upstream inflated, and no further than its limit: a few kilobytes would otherwise fill the
// upstream's memory, which stock git lets happen.
func TestAFetchInflatesToItsLimit(t *testing.T) {
	var sent int64
	var encoding string
	w := newWorld(t)
	w.reach(transportFunc(func(r *http.Request) (*http.Response, error) {
		n, err := io.Copy(io.Discard, r.Body)
		sent, encoding = n, r.Header.Get("Content-Encoding")
		if err != nil {
			return nil, err
		}
		h := http.Header{"Content-Type": {"application/x-git-upload-pack-result"}}
		return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader("0000")), Request: r}, nil
	}))
	member := func(n int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(make([]byte, n))
		z.Close()
		return b.Bytes()
	}
	mebibyte := member(1 << 20)
	path := strings.Replace(receivePath, "receive", "upload", 1)
	for _, tt := range []struct {
		name string
		body []byte
		want string
		sent int64
	}{
		{"a small one", member(100), "0000", 100},
		{"as large as may be", bytes.Repeat(mebibyte, 64), "0000", 64 << 20},
		{"a bomb", bytes.Repeat(mebibyte, 2000), "code=TOO_LARGE", 64 << 20},
		{"none", []byte("00000000"), "code=BAD_REQUEST", 0},
		{"cut", member(100)[:20], "code=BAD_REQUEST", 0},
		{"cut behind what is read first", bytes.Repeat(mebibyte, 3)[:len(mebibyte)*3-20], "code=BAD_REQUEST", 3 << 20},
	} {
		sent, encoding = 0, ""
		_, text := w.post(path, "application/x-git-upload-pack-request", bytes.NewReader(tt.body), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") })
		if !strings.Contains(text, tt.want) || sent > tt.sent || tt.want == "0000" && sent != tt.sent || encoding != "" {
			t.Errorf("%s: %d bytes went upstream, encoded as %q, want %d; %q", tt.name, sent, encoding, tt.sent, text)
		}
	}
}

// What an upstream says about a push is told to the agent and kept in the log. It may be the header that Remit sent.
func TestACredentialThatTheUpstreamEchoesIsHidden(t *testing.T) {
	w := newWorld(t, func(w *world, _ *Config) {
		local := passOn(w.repo.Transport)
		base, transport := w.server(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, receivePack) {
				local.ServeHTTP(rw, r)
				return
			}
			io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", "application/x-git-receive-pack-result")
			_, password, _ := r.BasicAuth()
			said := "env: HTTP_AUTHORIZATION=" + r.Header.Get("Authorization") + "\nurl: https://remit:" + password + "@forge\nagain " +
				base64.StdEncoding.EncodeToString([]byte("x"+password)) + "\nkept: hello\n"
			long := strings.Repeat("x", maxReason-5) + password // cut at the limit
			report := pktline.Append(nil, "unpack "+password)   // not ok
			report = pktline.AppendFlush(pktline.Append(report, "ng refs/heads/x "+long))
			rw.Write(pktline.AppendFlush(pktline.AppendBand(pktline.AppendBand(nil, pktline.BandProgress, []byte(said)), pktline.BandData, report)))
		}))
		w.repo.URL, w.repo.Transport = base+"/acme/payments.git", transport
	})
	dir := w.clone()
	w.commit(dir, "x")
	out, err := w.try(dir, "push", "origin", "HEAD:refs/heads/x")
	_, res := w.last()
	if err == nil || !strings.Contains(out, "kept: hello") || res.Outcome != remit.NotApplied {
		t.Errorf("%v %+v\n%s", err, res, out)
	}
	for _, secret := range []string{"upstream-", base64.StdEncoding.EncodeToString([]byte("remit:upstream-secret")), "dXBzdHJlYW0t", "Vwc3RyZWFtLXNlY3JldA"} {
		if strings.Contains(out, secret) || strings.Contains(string(res.Receipt), secret) {
			t.Errorf("%s is told\n%s\n%s", secret, out, res.Receipt)
		}
	}
}

// What could not begin is nothing that anybody closes.
func TestAGatewayThatCannotBegin(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mirrors"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if g, err := New(t.Context(), Config{Dir: dir}); g != nil || err == nil {
		t.Fatalf("%v, %v", g, err)
	}
}
