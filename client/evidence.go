package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
)

// maxPack is more than the largest pack that is read again has, in bytes.
const maxPack = 256 << 20

// Frameworks are those of which evidence is shown.
func (c *Client) Frameworks(ctx context.Context) (l []remit.EvidenceFramework, err error) {
	return l, c.get(ctx, "/evidence/frameworks", &l)
}

// Evidence is what the log has of a framework's items. The zero times are 90 days ago, and now.
func (c *Client) Evidence(ctx context.Context, framework string, since, until time.Time) (r remit.EvidenceReport, err error) {
	return r, c.get(ctx, "/evidence?"+period(framework, since, until), &r)
}

// EvidencePack writes the same as a pack that is verified offline.
func (c *Client) EvidencePack(ctx context.Context, w io.Writer, framework string, since, until time.Time) error {
	resp, err := c.request(ctx, http.MethodGet, "/evidence/pack?"+period(framework, since, until), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, io.LimitReader(resp.Body, maxPack+1))
	if err != nil {
		return remit.Errorf(remit.UpstreamDown, "the pack broke off: %w", err)
	}
	if n > maxPack {
		return remit.Errorf(remit.TooLarge, "the pack has more than %d bytes; ask for a shorter period", maxPack)
	}
	return nil
}

// Source is what the log justifies of a revision of a repository, UPSTREAM/PATH; ref may be empty.
func (c *Client) Source(ctx context.Context, repository, commit, ref string) (v remit.SourceView, err error) {
	return v, c.get(ctx, "/source/revision?"+revision(repository, commit, ref), &v)
}

// SourceStatement is the same, signed: a DSSE envelope.
func (c *Client) SourceStatement(ctx context.Context, repository, commit, ref string) (out json.RawMessage, err error) {
	return out, c.get(ctx, "/source/statement?"+revision(repository, commit, ref), &out)
}

func revision(repository, commit, ref string) string {
	return url.Values{"repository": {repository}, "commit": {commit}, "ref": {ref}}.Encode()
}

func period(framework string, since, until time.Time) string {
	q := url.Values{"framework": {framework}}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	if !until.IsZero() {
		q.Set("until", until.UTC().Format(time.RFC3339))
	}
	return q.Encode()
}
