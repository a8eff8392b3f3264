package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/remit-dev/remit/gateway/git/internal/gitcmd"
)

// LocalURL is the base of the addresses that a local upstream answers to: LocalURL + "/PATH.git".
const LocalURL = "http://local.invalid"

// local runs git http-backend for bare repositories below one directory (RFC 3875, git-http-backend(1)).
type local struct {
	git     *gitcmd.Git
	root    string
	pushing pushing
}

// NewLocal makes a directory of bare repositories reachable. Generated configuration goes to dir; git is found in PATH
// if it is empty. The repositories' own hooks do not run: they would run with Remit's identity.
func NewLocal(ctx context.Context, git, dir, root string) (http.RoundTripper, error) {
	found, err := gitcmd.Find(ctx, git, dir)
	if err != nil {
		return nil, err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return &local{git: found, root: root, pushing: newPushing(dir, root)}, nil
}

// RoundTrip answers one request by one process. The process ends with ctx, or when the body of the answer is closed.
func (l *local) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Body
	if in == nil {
		in = http.NoBody
	}
	// The process answers before it has read everything: the body is closed when the process has ended.
	started := false
	defer func() {
		if !started {
			in.Close()
		}
	}()
	p := req.URL.Path
	repo := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(p, "/info/refs"), "/"+uploadPack), "/"+receivePack)
	if path.Clean(p) != p || !strings.HasPrefix(p, "/") || repo == p {
		return nil, fmt.Errorf("%q is no address of a local repository", p)
	}
	ctx, cancel := context.WithCancel(req.Context())
	cmd, err := l.git.Backend(ctx, filepath.Join(l.root, filepath.FromSlash(repo)),
		"http.receivepack", "true", "http.uploadpack", "true", "http.getanyfile", "false", "uploadpack.allowFilter", "true")
	if err != nil {
		cancel()
		return nil, err
	}
	cmd.Env = append(cmd.Env,
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD="+req.Method,
		"PATH_INFO="+p, "QUERY_STRING="+req.URL.RawQuery, "GIT_PROJECT_ROOT="+l.root, "GIT_HTTP_EXPORT_ALL=1",
		"REMOTE_ADDR=127.0.0.1", "CONTENT_TYPE="+req.Header.Get("Content-Type"),
		"GIT_PROTOCOL="+req.Header.Get("Git-Protocol"))
	if in != http.NoBody {
		cmd.Stdin = in
		if req.ContentLength >= 0 {
			cmd.Env = append(cmd.Env, "CONTENT_LENGTH="+strconv.FormatInt(req.ContentLength, 10))
		}
	}
	if req.Method == http.MethodPost && strings.HasSuffix(p, "/"+receivePack) {
		lock, err := l.pushing.begin()
		if err != nil {
			cancel()
			return nil, err
		}
		defer lock.Close() // git has its own by then
		cmd.ExtraFiles = append(cmd.ExtraFiles, lock)
	}
	complaint := &firstBytes{limit: 4 << 10}
	cmd.Stderr = complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting git http-backend: %w", err)
	}
	started = true
	body := &output{cmd: cmd, in: in, r: bufio.NewReaderSize(out, 64<<10), cancel: cancel}
	res, err := body.head(req)
	if err != nil {
		body.Close()
		return nil, fmt.Errorf("git http-backend: %w: %.300q", errors.Join(ctx.Err(), err), complaint.kept.String())
	}
	return res, nil
}

// output is the process as the body of its answer.
type output struct {
	cmd    *exec.Cmd
	in     io.Closer
	r      *bufio.Reader
	cancel context.CancelFunc
	once   sync.Once
}

// head reads the CGI header (RFC 3875 §6.3).
func (o *output) head(req *http.Request) (*http.Response, error) {
	h, err := textproto.NewReader(o.r).ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("its answer has no header: %w", err)
	}
	res := &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header(h), Body: o, ContentLength: -1, Request: req,
	}
	if s := res.Header.Get("Status"); s != "" {
		code, _, _ := strings.Cut(s, " ")
		if res.StatusCode, err = strconv.Atoi(code); err != nil {
			return nil, fmt.Errorf("its status is %.40q", s)
		}
		res.Status = s
		res.Header.Del("Status")
	}
	return res, nil
}

func (o *output) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil {
		o.once.Do(o.wait)
	}
	return n, err
}

// Close ends the process if it is still at work. How it ended says nothing that the answer does not.
func (o *output) Close() error {
	o.cancel()
	o.once.Do(o.wait)
	return nil
}

func (o *output) wait() {
	io.Copy(io.Discard, o.r)
	o.in.Close() // or Wait would wait for a client that goes on sending
	o.cmd.Wait()
	o.cancel()
}

// firstBytes keeps the beginning of what is written to it. The buffer is not embedded: io.Copy would find its ReadFrom,
// which knows no limit.
type firstBytes struct {
	kept  bytes.Buffer
	limit int
}

func (b *firstBytes) Write(p []byte) (int, error) {
	b.kept.Write(p[:min(len(p), max(0, b.limit-b.kept.Len()))])
	return len(p), nil
}
