package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// Limits of one scan. What lies beyond them is said to be unseen.
const (
	maxRequests = 5000
	maxAnswer   = 4 << 20  // bytes of one answer
	maxRead     = 64 << 20 // bytes of all answers
	maxPages    = 200      // of one list
	maxItems    = 10_000   // of one list
	maxWait     = 10 * time.Second
	maxWaits    = 30 * time.Second // for an upstream that asks for patience, altogether
	maxGaps     = 300
	maxText     = 200 // bytes of any text of the upstream
)

// Codes of gaps.
const (
	gapForbidden   = "forbidden"
	gapMissing     = "missing"
	gapLimit       = "limit"
	gapUnreachable = "unreachable"
	gapMalformed   = "malformed"
	gapUnsupported = "unsupported"
)

// gap is why an answer could not be had.
type gap struct {
	code, why string
	status    int    // of HTTP, 0 if there was no answer
	message   string // of the upstream, clipped
}

// reader asks an upstream, with GET and nothing else, and keeps account of what was seen and what was not.
type reader struct {
	ctx    context.Context
	target Target
	base   string
	kind   pages
	report *remit.ScanReport

	requests int
	bytes    int64
	waited   time.Duration
	over     *gap // set when nothing more is asked
	gaps     int
}

// pages is how an upstream parts its lists.
type pages uint8

const (
	byNumber   pages = iota // page=2 until nothing new comes; X-Total-Count says how many there are (Gitea, Forgejo)
	byLink                  // Link: rel="next" (RFC 8288; GitHub)
	byContinue              // metadata.continue (Kubernetes)
	byLast                  // Link: rel="next" with last=NAME (OCI distribution-spec)
)

// unseen notes a gap.
func (r *reader) unseen(what string, g *gap) {
	r.gaps++
	switch {
	case r.gaps < maxGaps:
		r.report.Unseen = append(r.report.Unseen, remit.ScanGap{What: clip(what), Why: g.why, Code: g.code})
	case r.gaps == maxGaps:
		r.report.Unseen = append(r.report.Unseen, remit.ScanGap{What: "more", Why: fmt.Sprintf("more than %d things could not be seen; these are the first", maxGaps-1), Code: gapLimit})
	}
}

func (r *reader) seen(what string, n int) {
	r.report.Seen = append(r.report.Seen, remit.ScanSeen{What: clip(what), Count: n})
}

// unsupported notes that the upstream has no way to ask.
func (r *reader) unsupported(what, why string) {
	r.unseen(what, &gap{code: gapUnsupported, why: why})
}

// get asks for one answer. Its gap is nil if the status is 2xx and the whole body came.
func (r *reader) get(path string, query url.Values) ([]byte, http.Header, *gap) {
	if r.over != nil {
		return nil, nil, r.over
	}
	for try := 0; ; try++ {
		body, header, g, again := r.once(path, query)
		if again <= 0 {
			return body, header, g
		}
		if again > maxWait || r.waited+again > maxWaits || try == 3 {
			r.over = &gap{code: gapLimit, status: g.status, why: fmt.Sprintf("the upstream asks for patience (status %d, for %s), which is longer than a scan waits; scan again later", g.status, again)}
			return nil, nil, r.over
		}
		r.waited += again
		if err := r.target.Sleep(r.ctx, again); err != nil {
			r.over = r.broken(err)
			return nil, nil, r.over
		}
	}
}

// once sends one request. A positive duration says that the same may be asked again after it.
func (r *reader) once(path string, query url.Values) ([]byte, http.Header, *gap, time.Duration) {
	if r.requests++; r.requests > maxRequests {
		r.over = &gap{code: gapLimit, why: fmt.Sprintf("a scan asks at most %d times, and that was not enough", maxRequests)}
		return nil, nil, r.over, 0
	}
	address := r.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, &gap{code: gapUnreachable, why: "its address is no URL"}, 0
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "remit")
	if r.kind == byLink {
		req.Header.Set("Accept", "application/vnd.github+json")
		req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	}
	if r.target.Auth != nil {
		if err := r.target.Auth(req); err != nil {
			r.over = &gap{code: gapUnreachable, why: "the observer's credential cannot be had; see the declaration of the upstream"}
			return nil, nil, r.over, 0
		}
	}
	res, err := r.target.Transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		g := r.broken(err)
		r.over = g // an upstream that cannot be reached is not asked a thousand times
		return nil, nil, g, 0
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	r.bytes += int64(len(body))
	switch {
	case len(body) > maxAnswer:
		return nil, nil, &gap{code: gapLimit, status: res.StatusCode, why: fmt.Sprintf("the answer is larger than %d bytes", maxAnswer)}, 0
	case r.bytes > maxRead:
		r.over = &gap{code: gapLimit, why: fmt.Sprintf("a scan reads at most %d bytes, and the upstream sends more", maxRead)}
		return nil, nil, r.over, 0
	case err != nil:
		return nil, nil, &gap{code: gapUnreachable, status: res.StatusCode, why: "the answer broke off"}, 0
	}
	if res.StatusCode/100 == 2 {
		return body, res.Header, nil, 0
	}
	g := refused(res.StatusCode, body)
	return nil, res.Header, g, patience(res, r.target.Now())
}

func (r *reader) broken(err error) *gap {
	if r.ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return &gap{code: gapLimit, why: "the time of the scan was over"}
	}
	return &gap{code: gapUnreachable, why: "the upstream cannot be reached, or broke off"} // err may have an address of the inside
}

// refused says what a status means.
func refused(status int, body []byte) *gap {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing
	g := &gap{status: status, message: clip(said.Message)}
	quoted := ""
	if g.message != "" {
		quoted = fmt.Sprintf(": %q", g.message)
	}
	switch {
	case status == http.StatusUnauthorized:
		g.code, g.why = gapForbidden, "the upstream does not accept the observer's credential for this (status 401)"+quoted
	case status == http.StatusForbidden:
		g.code, g.why = gapForbidden, "the observer's credential may not see this (status 403)"+quoted
	case status == http.StatusNotFound || status == http.StatusGone:
		g.code, g.why = gapMissing, fmt.Sprintf("the upstream says that it is not there (status %d), or hides it from the observer%s", status, quoted)
	case status/100 == 3:
		g.code, g.why = gapUnreachable, fmt.Sprintf("the upstream redirects (status %d), where no credential is sent", status)
	default:
		g.code, g.why = gapUnreachable, fmt.Sprintf("the upstream answered with status %d%s", status, quoted)
	}
	return g
}

// patience is how long an upstream asks to wait; 0: it does not.
func patience(res *http.Response, now time.Time) time.Duration {
	limited := res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable ||
		res.StatusCode == http.StatusForbidden && (res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0")
	if !limited {
		return 0
	}
	after := res.Header.Get("Retry-After") // RFC 9110 §10.2.3: seconds, or a date
	if n, err := strconv.ParseInt(after, 10, 32); err == nil {
		return max(time.Duration(n)*time.Second, time.Second)
	}
	if at, err := http.ParseTime(after); err == nil {
		return max(at.Sub(now), time.Second)
	}
	if n, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil { // GitHub: Unix seconds
		return max(time.Unix(n, 0).Sub(now), time.Second)
	}
	if res.StatusCode == http.StatusServiceUnavailable && after == "" {
		return 0
	}
	return 2 * time.Second
}

// list reads a list to its end, and notes that it was seen, or that it was not or only in part. pick names the member
// that has the items; empty: the answer is the list.
func list[T any](r *reader, what, path, pick string, query ...string) []T {
	out, g := items[T](r, path, pick, query...)
	if g != nil {
		r.unseen(what, g)
		return out
	}
	r.seen(what, len(out))
	return out
}

// items is list for callers who say themselves what a gap means.
func items[T any](r *reader, path, pick string, query ...string) (out []T, g *gap) {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	switch r.kind {
	case byNumber:
		q.Set("limit", "50")
	case byLink:
		q.Set("per_page", "100")
	case byContinue:
		q.Set("limit", "500")
	case byLast:
		q.Set("n", "1000")
	}
	var last []byte
	for page := 1; ; page++ {
		if page > maxPages || len(out) > maxItems {
			return out, &gap{code: gapLimit, why: fmt.Sprintf("the list does not end within %d pages and %d items; those are here", maxPages, maxItems)}
		}
		if r.kind == byNumber {
			q.Set("page", strconv.Itoa(page))
		}
		body, header, g := r.get(path, q)
		if g != nil {
			if len(out) > 0 {
				g = &gap{code: g.code, status: g.status, why: fmt.Sprintf("only the first %d are here: %s", len(out), g.why)}
			}
			return out, g
		}
		if page > 1 && bytes.Equal(body, last) {
			if r.kind == byNumber { // this list has no pages
				return out, nil
			}
			return out, &gap{code: gapMalformed, why: "the upstream gives the same page again and again"}
		}
		last = body
		raws, total, next, err := split(body, pick)
		if err != nil {
			return out, &gap{code: gapMalformed, why: "the answer is not what is documented: " + err.Error()}
		}
		for _, raw := range raws {
			var v T
			if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
				return out, &gap{code: gapMalformed, why: "the answer is not what is documented: an item is null"}
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				return out, &gap{code: gapMalformed, why: "the answer is not what is documented: " + shape(err)}
			}
			out = append(out, v)
		}
		if n, err := strconv.Atoi(header.Get("X-Total-Count")); err == nil && r.kind == byNumber {
			total = n
		}
		more := true
		switch r.kind {
		case byNumber:
			more = len(raws) > 0 && (total < 0 || len(out) < total)
		case byLink, byLast:
			more = follow(header, q)
		case byContinue:
			more = next != ""
			q.Set("continue", next)
		}
		if more {
			continue
		}
		if total > len(out) {
			return out, &gap{code: gapMalformed, why: fmt.Sprintf("the upstream says that there are %d, and gave %d", total, len(out))}
		}
		return out, nil
	}
}

// split parts an answer into its items; total is how many the answer says there are, or -1.
func split(body []byte, pick string) (raws []json.RawMessage, total int, next string, err error) {
	if pick == "" {
		if err := json.Unmarshal(body, &raws); err != nil {
			return nil, 0, "", errors.New(shape(err))
		}
		if raws == nil {
			return nil, 0, "", errors.New("null, not a list")
		}
		return raws, -1, "", nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, 0, "", errors.New(shape(err))
	}
	if members[pick] == nil {
		return nil, 0, "", fmt.Errorf("no member %s", pick)
	}
	if err := json.Unmarshal(members[pick], &raws); err != nil {
		return nil, 0, "", errors.New(shape(err))
	}
	total = -1
	if n := members["total_count"]; n != nil {
		if err := json.Unmarshal(n, &total); err != nil {
			return nil, 0, "", errors.New("total_count is no number")
		}
	}
	var meta struct{ Continue string }
	if m := members["metadata"]; m != nil {
		if err := json.Unmarshal(m, &meta); err != nil {
			return nil, 0, "", errors.New(shape(err))
		}
	}
	return raws, total, meta.Continue, nil
}

// follow puts into q what the next page is asked with. Only the query of the link counts: no other address is asked.
func follow(h http.Header, q url.Values) bool {
	for link := range strings.SplitSeq(strings.Join(h.Values("Link"), ","), ",") {
		address, params, ok := strings.Cut(link, ";")
		if !ok || !strings.Contains(params, `rel="next"`) {
			continue
		}
		u, err := url.Parse(strings.Trim(strings.TrimSpace(address), "<>"))
		if err != nil {
			return false
		}
		moved := false
		for _, name := range []string{"page", "after", "cursor", "last"} {
			if v := u.Query().Get(name); v != "" && v != q.Get(name) {
				q.Set(name, v)
				moved = true
			}
		}
		return moved
	}
	return false
}

// object reads one object.
func object[T any](r *reader, path string) (v T, g *gap) {
	body, _, g := r.get(path, nil)
	if g != nil {
		return v, g
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, &gap{code: gapMalformed, why: "the answer is not what is documented: " + shape(err)}
	}
	return v, nil
}

// shape is what of a JSON error is about the shape: nothing of the answer itself is quoted.
func shape(err error) string {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Sprintf("%s is a %s", clip(typ.Field), clip(typ.Value))
	}
	return "no JSON"
}

// clip bounds a text of the upstream, and makes it UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
