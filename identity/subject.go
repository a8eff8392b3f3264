package identity

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
)

// JobVariable has the token of a job of GitLab, or of a forge like it, unless the job says another name.
const JobVariable = "REMIT_ID_TOKEN"

// JobSubject gets a token of the job's issuer for audience, as the job itself: GitHub gives a new one to whoever shows
// what the variables ACTIONS_ID_TOKEN_REQUEST_… say; GitLab puts one into the variable that the job declares.
func JobSubject(ctx context.Context, env func(string) (string, bool), audience, variable string) (string, error) {
	name := variable
	if name == "" {
		name = JobVariable
	}
	if v, _ := env(name); v != "" {
		return v, nil
	}
	address, _ := env("ACTIONS_ID_TOKEN_REQUEST_URL")
	secret, _ := env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if variable != "" || address == "" || secret == "" {
		return "", remit.Errorf(remit.Unauthenticated, "this job has no token of its issuer: at GitHub write `permissions: {id-token: write}`, at GitLab `id_tokens: {%s: {aud: %s}}`", name, audience)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback()) {
		return "", remit.Errorf(remit.BadRequest, "ACTIONS_ID_TOKEN_REQUEST_URL is not an https address")
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "ACTIONS_ID_TOKEN_REQUEST_URL is not an address")
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err // without the address, in which a forge may put what is the job's alone
		}
		return "", remit.Errorf(remit.UpstreamDown, "the job's issuer does not answer: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Value string `json:"value"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 2*MaxJobToken)).Decode(&answer)
	if err != nil || resp.StatusCode != http.StatusOK || strings.TrimSpace(answer.Value) == "" {
		return "", remit.Errorf(remit.UpstreamDown, "the job's issuer gives no token (%s)", resp.Status)
	}
	return answer.Value, nil
}
