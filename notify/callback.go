package notify

import (
	"context"
	"slices"

	"github.com/remit-dev/remit"
)

// Callable tells whether an endpoint is a webhook that is declared for callbacks: its own URL, and its events name them.
func (o *Outbox) Callable(ctx context.Context, endpoint string) bool {
	_, ok := o.callable(ctx, endpoint)
	return ok
}

func (o *Outbox) callable(ctx context.Context, endpoint string) (remit.Channel, bool) {
	d, err := o.cfg.House.Declared(ctx)
	if err != nil {
		o.cfg.Slog.Error("reading which webhooks are declared", "err", err)
		return remit.Channel{}, false
	}
	for _, c := range d.Channels {
		if c.Kind == remit.ChannelWebhook && c.URL == endpoint && slices.Contains(c.Events, remit.TellCallback) {
			return c, true
		}
	}
	return remit.Channel{}, false
}

// Callback hands a body over to an endpoint that is declared for that, once, signed as all that goes to webhooks. It is not
// kept: whoever wants to be sure asks.
func (o *Outbox) Callback(ctx context.Context, endpoint, id string, body []byte) error {
	c, ok := o.callable(ctx, endpoint)
	if !ok {
		return remit.Errorf(remit.UnknownResource, "no webhook with %s among its events is declared for this endpoint any more", remit.TellCallback)
	}
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return o.signed(ctx, c, id, body)
}
