package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// Remote is how to read one repository in Remit's own name: smart HTTP, protocol version 2 (gitprotocol-v2(5)). No
// redirect is followed, so the credential that Auth adds goes to that host only.
type Remote struct {
	URL       string // of the repository, without a slash at the end
	Transport http.RoundTripper
	Auth      func(*http.Request) error // nil: none is needed
}

// Refs are branches and tags, as they were observed.
type Refs struct {
	OIDs map[string]object.OID
	Head string // the ref that HEAD stands for, if it is known
}

const (
	uploadPack = "git-upload-pack"
	maxLines   = 64 << 20 // of a list of refs, in bytes
)

// request sends a request of protocol version 2 and gives the body of the answer, whose type was checked.
func (r Remote) request(ctx context.Context, method, path, wantType string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's address is not a URL: %w", err)
	}
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("User-Agent", "git/2 remit")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
		req.Header.Set("Accept", wantType)
	}
	if r.Auth != nil {
		if err := r.Auth(req); err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the observer's credential cannot be had: %w", err)
		}
	}
	res, err := r.Transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream cannot be reached: %w", err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != wantType {
		res.Body.Close()
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream answers Remit's own reading of the repository with status %d and type %.60q; it should be 200 and %q",
			res.StatusCode, res.Header.Get("Content-Type"), wantType)
	}
	return res.Body, nil
}

// canFilter asks for the upstream's capabilities.
func (r Remote) canFilter(ctx context.Context) (bool, error) {
	body, err := r.request(ctx, http.MethodGet, "/info/refs?service="+uploadPack, "application/x-"+uploadPack+"-advertisement", nil)
	if err != nil {
		return false, err
	}
	defer body.Close()
	in := pktline.NewReader(io.LimitReader(body, 64<<10))
	line, ok, err := in.Line()
	if err == nil && ok && strings.HasPrefix(string(line), "# service=") {
		if _, _, err = in.Line(); err == nil {
			line, ok, err = in.Line()
		}
	}
	if err != nil || !ok || string(line) != "version 2" {
		return false, remit.Errorf(remit.UpstreamDown, "the upstream does not speak version 2 of git's protocol, which is needed to read in Remit's own name")
	}
	filter, fetches := false, false
	for {
		line, ok, err := in.Line()
		if err != nil {
			return false, unreadable("capabilities", err)
		}
		if !ok {
			break
		}
		name, value, _ := strings.Cut(string(line), "=")
		if name == "object-format" && value != "sha1" {
			return false, remit.Errorf(remit.UpstreamDown, "the upstream's repository has object ids of %.20q; only sha1 is known", value)
		}
		if name == "fetch" {
			fetches = true
			for f := range strings.FieldsSeq(value) {
				filter = filter || f == "filter"
			}
		}
	}
	if !fetches {
		return false, remit.Errorf(remit.UpstreamDown, "the upstream offers no fetch")
	}
	return filter, nil
}

// unreadable says in the upstream's name what a parser found wrong.
func unreadable(what string, err error) error {
	why := err.Error()
	var e *remit.Error
	if errors.As(err, &e) {
		why = e.Sentence
	}
	return &remit.Error{Code: remit.UpstreamDown, Sentence: "the upstream's " + what + " cannot be read: " + why, Err: err}
}

func command(name string, args ...string) []byte {
	b := pktline.Append(nil, "command="+name+"\n")
	b = pktline.Append(b, "agent=remit\n")
	b = pktline.Append(b, "object-format=sha1\n")
	b = pktline.AppendDelim(b)
	for _, a := range args {
		b = pktline.Append(b, a+"\n")
	}
	return pktline.AppendFlush(b)
}

// Refs lists the branches and tags.
func (r Remote) Refs(ctx context.Context) (Refs, error) {
	refs := Refs{OIDs: map[string]object.OID{}}
	body, err := r.request(ctx, http.MethodPost, "/"+uploadPack, "application/x-"+uploadPack+"-result",
		command("ls-refs", "symrefs", "ref-prefix HEAD", "ref-prefix refs/heads/", "ref-prefix refs/tags/"))
	if err != nil {
		return refs, err
	}
	defer body.Close()
	in := pktline.NewReader(io.LimitReader(body, maxLines))
	for {
		line, ok, err := in.Line()
		if err != nil {
			return refs, unreadable("list of refs", err)
		}
		if !ok {
			return refs, nil
		}
		text := string(line)
		if msg, isErr := strings.CutPrefix(text, "ERR "); isErr {
			return refs, remit.Errorf(remit.UpstreamDown, "the upstream refuses to list its refs: %.200q", msg)
		}
		parts := strings.Fields(text)
		if len(parts) < 2 {
			return refs, remit.Errorf(remit.UpstreamDown, "the upstream lists %.100q where a ref was expected", text)
		}
		if parts[1] == "HEAD" {
			for _, p := range parts[2:] {
				if target, ok := strings.CutPrefix(p, "symref-target:"); ok {
					refs.Head = target
				}
			}
			continue
		}
		oid, err := object.ParseOID(parts[0])
		if err != nil {
			return refs, remit.Errorf(remit.UpstreamDown, "the upstream lists %.100q where a ref was expected", text)
		}
		refs.OIDs[parts[1]] = oid
	}
}

// errFull ends a fetch that would go over the limit.
var errFull = errors.New("the pack is larger than the limit")

// errNotThere is an upstream that was asked for an object which it does not have, or does not show.
var errNotThere = errors.New("not at the upstream")

// fetch asks for objects and writes the pack that comes to w, at most limit bytes. With blobless, blobs are left out.
func (r Remote) fetch(ctx context.Context, want, have []object.OID, blobless bool, limit int64, w io.Writer) error {
	args := []string{"ofs-delta", "no-progress"}
	if blobless {
		args = append(args, "filter blob:none")
	}
	for _, o := range want {
		args = append(args, "want "+o.String())
	}
	for _, o := range have {
		args = append(args, "have "+o.String())
	}
	body, err := r.request(ctx, http.MethodPost, "/"+uploadPack, "application/x-"+uploadPack+"-result", command("fetch", append(args, "done")...))
	if err != nil {
		return err
	}
	defer body.Close()
	in := pktline.NewReader(body)
	line, ok, err := in.Line()
	if strings.HasPrefix(string(line), "ERR ") && strings.Contains(string(line), "not our ref") { // upload-pack.c, parse_want
		return &remit.Error{Code: remit.UpstreamDown, Sentence: "the upstream does not have what it listed a moment ago", Err: errNotThere}
	}
	if err != nil || !ok || string(line) != "packfile" {
		return remit.Errorf(remit.UpstreamDown, "the upstream sends no pack but %.200q", line)
	}
	n, err := io.Copy(w, io.LimitReader(&pktline.Demux{In: in}, limit+1))
	if err != nil {
		return fmt.Errorf("fetching from the upstream: %w", err)
	}
	if n > limit {
		return errFull
	}
	return nil
}
