package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const (
	deviceClient = "remit-cli" // RFC 6749 §2.2: the server knows this one device client
	deviceGrant  = "urn:ietf:params:oauth:grant-type:device_code"
)

// DeviceCode is a terminal's request to be let in (RFC 8628 §3.2).
type DeviceCode struct {
	Device   string `json:"device_code"`
	User     string `json:"user_code"` // what the person compares with their browser
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int    `json:"expires_in"` // seconds
	Interval int    `json:"interval"`   // seconds between two polls
}

// AskDevice asks for a code; name is what the person sees the terminal as.
func (c *Client) AskDevice(ctx context.Context, name string) (d DeviceCode, err error) {
	reason, err := c.form(ctx, "/oauth/device", url.Values{"client_id": {deviceClient}, "device_name": {name}}, &d)
	if err == nil && reason != "" {
		err = remit.Errorf(remit.BadRequest, "the server gives no code: %.64q", reason)
	}
	return d, err
}

// WaitDevice polls until the person has answered, or the code is over (RFC 8628 §3.4, §3.5).
func (c *Client) WaitDevice(ctx context.Context, d DeviceCode, clock identity.Clock) (*Client, remit.Session, error) {
	every := time.Duration(max(d.Interval, 1)) * time.Second
	form := url.Values{"client_id": {deviceClient}, "grant_type": {deviceGrant}, "device_code": {d.Device}}
	for {
		select {
		case <-clock.After(every):
		case <-ctx.Done():
			return nil, remit.Session{}, ctx.Err()
		}
		var t struct {
			Token string `json:"access_token"`
		}
		switch reason, err := c.form(ctx, "/oauth/token", form, &t); {
		case err != nil:
			return nil, remit.Session{}, err
		case reason == "slow_down":
			every += 5 * time.Second
		case reason == "authorization_pending":
		case reason == "access_denied":
			return nil, remit.Session{}, remit.Errorf(remit.Forbidden, "you did not let this terminal in")
		case reason != "":
			return nil, remit.Session{}, remit.Errorf(remit.Expired, "nobody let this terminal in while its code was good; begin again")
		default:
			in := c.WithToken(t.Token)
			s, err := in.WhoAmI(ctx)
			s.Token = t.Token
			return in, s, err
		}
	}
}

// form posts a form to an OAuth endpoint. reason is its refusal in OAuth's words; refusals without one are errors.
func (c *Client) form(ctx context.Context, path string, form url.Values, out any) (reason string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", remit.Errorf(remit.UpstreamDown, "the server does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", remit.Errorf(remit.UpstreamDown, "the server's answer breaks off: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, out); err != nil {
			return "", remit.Errorf(remit.Internal, "the server's answer to POST %s cannot be read: %w", path, err)
		}
		return "", nil
	}
	var p struct {
		Error       string     `json:"error"`
		Description string     `json:"error_description"`
		Code        remit.Code `json:"code"`
		Detail      string     `json:"detail"`
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Error == "" && p.Code == "" {
		return "", remit.Errorf(remit.Internal, "the server answered %s, and not as Remit does; is the address right?", resp.Status)
	}
	switch p.Error {
	case "authorization_pending", "slow_down", "access_denied", "expired_token":
		return p.Error, nil
	case "":
		return "", &remit.Error{Code: p.Code, Sentence: p.Detail}
	}
	return "", &remit.Error{Code: p.Code, Sentence: p.Description}
}

// Invite makes an invitation for a person who has no key.
func (c *Client) Invite(ctx context.Context, person string) (i remit.Invitation, err error) {
	return i, c.keyed(ctx, "/invitations", remit.PersonName{Person: person}, &i)
}

// WithdrawInvitation makes it good for nothing.
func (c *Client) WithdrawInvitation(ctx context.Context, person string) error {
	return c.keyed(ctx, "/invitations/withdraw", remit.PersonName{Person: person}, nil)
}

// Keys are one's own keys, or as an administrator another person's.
func (c *Client) Keys(ctx context.Context, person string) (k []remit.KeyView, err error) {
	return k, c.get(ctx, "/keys?person="+url.QueryEscape(person), &k)
}

// EnrolStatement is what a new key signs to be enrolled, and an older one beside it unless there is an invitation.
func (c *Client) EnrolStatement(ctx context.Context, k remit.NewKey) (st remit.EnrolStatement, err error) {
	path := "/keys/statement"
	if k.Secret != "" {
		path = "/invitations/statement"
	}
	return st, c.post(ctx, path, k, &st)
}

// EnrolKey enrols a key of one's own, or by an invitation.
func (c *Client) EnrolKey(ctx context.Context, k remit.EnrolKey) (a remit.EnrolAnswer, err error) {
	if k.Secret != "" {
		return a, c.post(ctx, "/invitations/enrol", k, &a)
	}
	return a, c.keyed(ctx, "/keys", k, &a)
}

// RemoveKey takes an enrolled key away.
func (c *Client) RemoveKey(ctx context.Context, k remit.KeyName) error {
	return c.keyed(ctx, "/keys/remove", k, nil)
}
