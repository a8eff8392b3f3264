package notify

import (
	"bytes"
	"cmp"
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

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/remit-dev/remit"
)

// failure is a message that was not handed over.
type failure struct {
	err     error
	message bool          // the endpoint refuses this message, and would refuse it again
	after   time.Duration // before which the endpoint wants no other try
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errNotForIt: the item is not of those that the channel tells of.
var errNotForIt = errors.New("nothing for this channel")

// tell hands one item over to one channel.
func (o *Outbox) tell(ctx context.Context, c remit.Channel, it item) error {
	if len(c.People) > 0 && it.Person == "" {
		return o.spread(ctx, c, it)
	}
	m, err := o.message(ctx, c, it)
	if err != nil {
		return err
	}
	switch c.Kind {
	case remit.ChannelWebhook:
		return o.webhook(ctx, c, m)
	case remit.ChannelSlack:
		return o.slack(ctx, c, m)
	case remit.ChannelEmail:
		return o.email(ctx, c, m)
	}
	return remit.Errorf(remit.Internal, "a channel of kind %q", c.Kind)
}

// webhook is Standard Webhooks 1.0: the message's id, the time of this try, and a signature by each key that is in force.
func (o *Outbox) webhook(ctx context.Context, c remit.Channel, m message) error {
	body, err := json.Marshal(m.event())
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	return o.signed(ctx, c, m.id, body)
}

// signed posts a body to a webhook, signed by each key that is in force.
func (o *Outbox) signed(ctx context.Context, c remit.Channel, id string, body []byte) error {
	now := o.cfg.Now()
	var signatures []string
	for i, s := range []remit.Source{c.Secret, c.Previous} {
		if s.From == "" {
			continue
		}
		signature, err := o.sign(ctx, s, id, now, body)
		if err != nil && i == 0 {
			return err
		}
		if err != nil { // whoever took the old key away has changed over
			o.cfg.Slog.Warn("the previous secret of a channel cannot be used", "channel", c.Name, "err", err)
			continue
		}
		signatures = append(signatures, signature)
	}
	return o.post(ctx, c, c.URL, body, http.Header{
		webhooks.HeaderWebhookID:        {id},
		webhooks.HeaderWebhookTimestamp: {strconv.FormatInt(now.Unix(), 10)},
		webhooks.HeaderWebhookSignature: {strings.Join(signatures, " ")},
	})
}

// sign never says what the secret is.
func (o *Outbox) sign(ctx context.Context, s remit.Source, id string, now time.Time, body []byte) (string, error) {
	secret, err := o.cfg.House.Secret(ctx, s)
	if err != nil {
		return "", err
	}
	// 24 to 64 bytes (Standard Webhooks, "Signature scheme"), in base64.
	const right = "a webhook's secret is whsec_ and 24 to 64 random bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints it"
	key, ok := strings.CutPrefix(secret, "whsec_")
	if !ok || len(key) < 32 || len(key) > 88 {
		return "", remit.Errorf(remit.BadRequest, right)
	}
	w, err := webhooks.NewWebhook(secret)
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, right)
	}
	return w.Sign(id, now, body)
}

// slack posts to an incoming webhook. Its URL is a credential, so no error repeats it.
func (o *Outbox) slack(ctx context.Context, c remit.Channel, m message) error {
	secret, err := o.cfg.House.Secret(ctx, c.Secret)
	if err != nil {
		return err
	}
	u, err := url.Parse(secret)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && c.Insecure) {
		return remit.Errorf(remit.BadRequest, "what the secret of a channel of kind slack gives is not the https URL of an incoming webhook")
	}
	body, err := json.Marshal(map[string]any{"text": m.mrkdwn(), "unfurl_links": false, "unfurl_media": false})
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	return o.post(ctx, c, secret, body, nil)
}

// maxAnswer is how much is read of an answer, which nobody is shown.
const maxAnswer = 16 << 10

// post hands a body over to one host. A redirect is not followed: it is a failure, like every answer that is not 2xx.
func (o *Outbox) post(ctx context.Context, c remit.Channel, to string, body []byte, header http.Header) error {
	u, err := url.Parse(to)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "the URL of channel %s cannot be read", c.Name)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host}
	through, err := o.cfg.Reach(base.String(), c.CA, c.Insecure)
	if err != nil {
		return err
	}
	if idle, ok := through.(interface{ CloseIdleConnections() }); ok {
		defer idle.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return remit.Errorf(remit.BadRequest, "the URL of channel %s cannot be read", c.Name)
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "remit")
	resp, err := through.RoundTrip(req)
	if err != nil {
		return remit.Errorf(remit.UpstreamDown, "%s does not answer: %s", u.Hostname(), cause(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return answer(u.Hostname(), resp, o.cfg.Now())
}

// cause is an error of the network without the URL that net/http puts before it.
func cause(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("nothing within %s", tryWithin)
	}
	return err.Error()
}

// answer tells what an HTTP status means for the message.
func answer(host string, resp *http.Response, now time.Time) error {
	f := &failure{err: remit.Errorf(remit.UpstreamDown, "%s answers %d", host, resp.StatusCode)}
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s >= 300 && s < 400:
		f.err = remit.Errorf(remit.UpstreamDown, "%s answers %d, which sends the message elsewhere; it is sent where it was declared only", host, s)
	case s == http.StatusBadRequest, s == http.StatusMethodNotAllowed, s == http.StatusNotAcceptable, s == http.StatusLengthRequired, s == http.StatusRequestEntityTooLarge,
		s == http.StatusUnsupportedMediaType, s == http.StatusUnprocessableEntity, s == http.StatusRequestHeaderFieldsTooLarge:
		f.message = true
	}
	const longest = time.Hour
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.after = min(time.Duration(min(s, int(longest/time.Second)))*time.Second, longest)
	} else if t, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		f.after = min(max(t.Sub(now), 0), longest)
	}
	f.after = cmp.Or(f.after, 0)
	return f
}
