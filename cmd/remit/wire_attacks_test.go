package main

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // git's own checksum of a pack
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// wire is one client that writes its requests byte by byte: what git, curl and net/http would tidy or refuse to send.
type wire struct {
	ts         *testscript.TestScript
	host, repo string // address of the server, path of the repository behind it
	tls        *tls.Config
	words      *strings.Replacer
	main       string // what payments' main is at
	scratch    string // copies of the upstream, for stock git
}

// shot is one request. In line, head, body and want, {repo}, {auth}, {main}, {own} and the like are filled in.
type shot struct {
	name   string
	line   string                // "POST {repo}/git-receive-pack" unless it says so
	head   []string              // in place of the usual header lines of the same name; "-Name" leaves one out
	body   string                // what follows the header
	stream func(io.Writer) error // in place of body: as long as it likes
	most   int64                 // of a stream, bytes that are taken at most
	raw    string                // in place of all of it
	half   bool                  // the client has said all when it has sent the body
	want   string                // what the whole answer matches
	many   int                   // answers; 1
	stock  verdict               // what git receive-pack says to the same body
}

type verdict string

const (
	stockTakes   verdict = "takes it" // and changes something
	stockRefuses verdict = "refuses it"
)

// packets writes pkt-lines, with what stands in braces filled in, and the flush packet.
type packets func(lines ...string) string

var wireRows = map[string]func(packets) []shot{"http": httpShots, "commands": commandShots, "refs": refShots, "fetch": fetchShots}

var wireCommands = map[string]func(*testscript.TestScript, bool, []string){"wire": cmdWire, "stolen": cmdStolen, "upload": cmdUpload, "flood": cmdFlood, "memory": cmdMemory}

// cmdStolen copies out of a task what its git would use: stolen NAME. $URL is payments behind the gateway, $PASSWORD the
// token of the instance.
func cmdStolen(ts *testscript.TestScript, neg bool, args []string) {
	t := taskOf(ts, args)
	if neg {
		ts.Fatalf("! stolen means nothing")
	}
	address := ts.Getenv("REMIT_SERVER") + "/v1/orgs/acme/git/forge/payments.git"
	said, code := t.do(ts, `printf "url=%s\n\n" '`+address+`' | git credential fill`)
	m := regexp.MustCompile(`password=(\S+)`).FindStringSubmatch(said)
	if code != 0 || m == nil {
		ts.Fatalf("git has no password:\n%s", said)
	}
	ts.Setenv("URL", address)
	ts.Setenv("PASSWORD", m[1])
}

// cmdWire plays the rows of one table: wire http|commands|refs|fetch. Each is one connection to the running server.
func cmdWire(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || wireRows[args[0]] == nil && args[0] != "http2" && args[0] != "slow" && args[0] != "slower" {
		ts.Fatalf("usage: wire http|http2|commands|refs|fetch|slow|slower")
	}
	w := newWire(ts)
	switch args[0] {
	case "http2":
		w.http2()
	case "slow":
		w.slow()
	case "slower":
		worldOf(ts).raw.letGo(ts)
	}
	failed := false
	var rows []shot
	if table := wireRows[args[0]]; table != nil {
		rows = table(w.pkt)
	}
	for _, s := range rows {
		if why := w.play(s); why != "" {
			ts.Logf("%s: %s", s.name, why)
			failed = true
		}
	}
	if failed {
		ts.Fatalf("the server does not hold against %s", args[0])
	}
	if !alive(worldOf(ts).server) {
		ts.Fatalf("the server has ended")
	}
}

func alive(p *process) bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func newWire(ts *testscript.TestScript) *wire {
	u, err := url.Parse(ts.Getenv("URL"))
	ts.Check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ts.ReadFile(ts.Getenv("REMIT_CA"))))
	w := &wire{ts: ts, host: u.Host, repo: u.Path, tls: &tls.Config{RootCAs: pool, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}
	out, err := command(ts, worldOf(ts), "", "git", "-C", filepath.Join(ts.Getenv("UP"), "payments.git"), "rev-parse", "main").Output()
	ts.Check(err)
	w.main = strings.TrimSpace(string(out))
	w.words = strings.NewReplacer("{repo}", w.repo, "{host}", w.host, "{main}", w.main, "{MAIN}", strings.ToUpper(w.main),
		"{auth}", base64.StdEncoding.EncodeToString([]byte("remit:"+ts.Getenv("PASSWORD"))),
		"{own}", "refs/heads/remit/"+ts.Getenv("fix"), "{zero}", zeros, "{secret}", ts.Getenv("PASSWORD"))
	w.scratch = filepath.Join(worldOf(ts).dir, "stock")
	return w
}

func (w *wire) dial() net.Conn {
	c, err := tls.Dial("tcp", w.host, w.tls)
	w.ts.Check(err)
	w.ts.Check(c.SetDeadline(time.Now().Add(patience)))
	return c
}

// request writes a shot as it goes over the wire; a stream follows it.
func (w *wire) request(s shot) string {
	if s.raw != "" {
		return w.words.Replace(s.raw)
	}
	line, body := s.line, w.words.Replace(s.body)
	if line == "" {
		line = "POST {repo}/git-receive-pack"
	}
	service := "receive"
	if strings.Contains(line, "upload-pack") {
		service = "upload"
	}
	usual := []string{"Host: {host}", "Authorization: Basic {auth}", "Connection: close"}
	if strings.HasPrefix(line, "POST") {
		usual = append(usual, "Content-Type: application/x-git-"+service+"-pack-request")
		if s.stream != nil {
			usual = append(usual, "Transfer-Encoding: chunked")
		} else {
			usual = append(usual, fmt.Sprintf("Content-Length: %d", len(body)))
		}
	}
	var b strings.Builder
	b.WriteString(line + " HTTP/1.1\r\n")
	for _, h := range usual {
		name, _, _ := strings.Cut(h, ":")
		given := false
		for _, other := range s.head {
			theirs, _, _ := strings.Cut(strings.TrimPrefix(other, "-"), ":")
			given = given || strings.EqualFold(strings.TrimSpace(theirs), name)
		}
		if !given {
			b.WriteString(h + "\r\n")
		}
	}
	for _, h := range s.head {
		if !strings.HasPrefix(h, "-") {
			b.WriteString(h + "\r\n")
		}
	}
	return w.words.Replace(b.String()) + "\r\n" + body
}

var statusLine = regexp.MustCompile(`(?m)^HTTP/1\.[01] [0-9]{3} `)

// play sends a shot, and says what is wrong with the answer.
func (w *wire) play(s shot) string {
	c := w.dial()
	defer c.Close()
	sent := make(chan int64, 1)
	go func() {
		// The server may answer and close before it has read all of it.
		n, err := io.WriteString(c, w.request(s))
		total := int64(n)
		if err == nil && s.stream != nil {
			out := &chunks{w: c}
			_ = s.stream(out)
			total += out.n
		}
		if s.half {
			_ = c.(*tls.Conn).CloseWrite()
		}
		sent <- total
	}()
	answer, err := io.ReadAll(io.LimitReader(c, 1<<20))
	c.Close()
	n := <-sent
	var late net.Error
	if as, ok := err.(net.Error); ok {
		late = as
	}
	many := max(s.many, 1)
	switch got := len(statusLine.FindAll(answer, -1)); {
	case late != nil && late.Timeout():
		return fmt.Sprintf("the connection stays open; so far it says\n%.600q", answer)
	case !regexp.MustCompile(w.words.Replace(s.want)).Match(answer):
		return fmt.Sprintf("want %s, got\n%.900q", s.want, answer)
	case got > many:
		return fmt.Sprintf("one request is answered %d times:\n%.900q", got, answer)
	case s.most > 0 && n > s.most:
		return fmt.Sprintf("%d bytes were taken, want at most %d", n, s.most)
	case bytes.Contains(answer, []byte(w.ts.Getenv("PASSWORD"))), bytes.Contains(answer, []byte("goroutine ")):
		return fmt.Sprintf("the answer tells too much:\n%.900q", answer)
	}
	if s.stock == "" {
		return ""
	}
	if did := w.stockGit(w.words.Replace(s.body)); did != s.stock {
		return fmt.Sprintf("stock git %s, the row says that it %s", did, s.stock)
	}
	return ""
}

// chunks is a chunked body (RFC 9112 §7.1).
type chunks struct {
	w io.Writer
	n int64
}

func (c *chunks) Write(p []byte) (int, error) {
	n, err := fmt.Fprintf(c.w, "%x\r\n%s\r\n", len(p), p)
	c.n += int64(n)
	return len(p), err
}

// stockGit gives the same bytes to git receive-pack on a copy of the upstream, with object checks on.
func (w *wire) stockGit(body string) verdict {
	up := filepath.Join(w.ts.Getenv("UP"), "payments.git")
	if _, err := os.Stat(w.scratch); err != nil {
		w.ts.Check(os.CopyFS(w.scratch, os.DirFS(up)))
	}
	refs := func() string {
		out, err := command(w.ts, worldOf(w.ts), "", "git", "--no-replace-objects", "-C", w.scratch, "for-each-ref").Output()
		if err != nil {
			return "cannot be listed any more"
		}
		return string(out)
	}
	before := refs()
	cmd := command(w.ts, worldOf(w.ts), "", "git", "-c", "receive.fsckObjects=true", "receive-pack", "--stateless-rpc", w.scratch)
	cmd.Stdin = strings.NewReader(body)
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		w.ts.Check(err)
	}
	if refs() != before {
		w.ts.Check(os.RemoveAll(w.scratch))
		return stockTakes
	}
	return stockRefuses
}

// slow is the client that never ends its header: the server lets go of it by itself. The table of the other attacks takes
// longer than most of the wait.
func (w *wire) slow() {
	c := w.dial()
	worldOf(w.ts).raw.slow = c
	_, err := io.WriteString(c, w.words.Replace("POST {repo}/git-receive-pack HTTP/1.1\r\nHost: {host}\r\nX-A: "))
	w.ts.Check(err)
}

// letGo waits until the server has closed the connection that slow opened.
func (p rawParts) letGo(ts *testscript.TestScript) {
	answer, err := io.ReadAll(p.slow)
	if late, ok := err.(net.Error); ok && late.Timeout() {
		ts.Fatalf("the server still waits for a header")
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
}

const zeros = "0000000000000000000000000000000000000000"

// pkt is pkt-lines and the flush packet (gitprotocol-common(5)), written without the code that is under attack.
func (w *wire) pkt(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		l = w.words.Replace(l)
		fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
	}
	return b.String() + "0000"
}

// nothing is a pack of no objects: what git sends to put a ref on a commit that the server has.
var nothing = func() string {
	head := "PACK\x00\x00\x00\x02\x00\x00\x00\x00"
	sum := sha1.Sum([]byte(head))
	return head + string(sum[:])
}()

// rawParts are the connections that a script has open.
type rawParts struct {
	slow   net.Conn
	upload *upload
}

// upload is a push that stops half-way.
type upload struct {
	conn net.Conn
	rest string
}

// cmdUpload is a push that stops half-way: upload begin REF OLD NEW PACKFILE…; upload end sends the rest, and what is
// answered is stdout; upload drop breaks the connection off. More than one ref is REF OLD NEW REF OLD NEW … PACKFILE;
// the pack "nothing" has no objects.
func cmdUpload(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	switch {
	case neg || len(args) == 0:
	case args[0] == "begin" && len(args)%3 == 2:
		x := newWire(ts)
		var lines []string
		for i := 1; i+2 < len(args); i += 3 {
			line := args[i+1] + " " + args[i+2] + " " + args[i]
			if i == 1 {
				line += "\x00 report-status agent=attack"
			}
			lines = append(lines, line)
		}
		pack := nothing
		if name := args[len(args)-1]; name != "nothing" {
			pack = ts.ReadFile(name)
		}
		body := x.pkt(lines...) + pack
		text := x.request(shot{body: body})
		w.raw.upload = &upload{conn: x.dial(), rest: text[len(text)-len(pack)/2:]}
		_, err := io.WriteString(w.raw.upload.conn, text[:len(text)-len(pack)/2])
		ts.Check(err)
		return
	case w.raw.upload == nil:
	case args[0] == "end":
		_, _ = io.WriteString(w.raw.upload.conn, w.raw.upload.rest) // the server may have closed it, and says why
		answer, err := http.ReadResponse(bufio.NewReader(w.raw.upload.conn), nil)
		ts.Check(err)
		text, err := io.ReadAll(answer.Body)
		ts.Check(err)
		ts.Check(w.raw.upload.conn.Close())
		fmt.Fprintf(ts.Stdout(), "status %d\n%s\n", answer.StatusCode, text)
		return
	case args[0] == "drop":
		ts.Check(w.raw.upload.conn.Close())
		return
	}
	ts.Fatalf("usage: upload begin REF OLD NEW PACK, upload end, upload drop")
}

// cmdFlood sends the same request many times: flood N METHOD URL [PASSWORD]. How often each status came is stdout.
func cmdFlood(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: flood N METHOD URL [PASSWORD]")
	}
	w := newWire(ts)
	var times int
	_, err := fmt.Sscan(args[0], &times)
	ts.Check(err)
	transport := &http.Transport{TLSClientConfig: w.tls}
	defer transport.CloseIdleConnections()
	seen := map[int]int{}
	for range times {
		r, err := http.NewRequest(args[1], args[2], nil)
		ts.Check(err)
		if len(args) > 3 {
			r.SetBasicAuth("remit", args[3])
		}
		answer, err := transport.RoundTrip(r)
		ts.Check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		ts.Check(err)
		ts.Check(answer.Body.Close())
		seen[answer.StatusCode]++
	}
	for status, n := range seen {
		fmt.Fprintf(ts.Stdout(), "status %d times %d\n", status, n)
	}
}

// cmdMemory is memory MIB: the server has never had more than that in memory, as far as the kernel says (proc(5)).
func cmdMemory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: memory MIB")
	}
	var most, peak int
	_, err := fmt.Sscan(args[0], &most)
	ts.Check(err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", worldOf(ts).server.cmd.Process.Pid))
	if os.IsNotExist(err) {
		return // not Linux
	}
	ts.Check(err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &peak)
	ts.Check(err)
	if peak >>= 10; peak > most {
		ts.Fatalf("the server had %d MiB", peak)
	}
	fmt.Fprintf(ts.Stdout(), "%d MiB\n", peak)
}
