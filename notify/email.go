package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/wneessen/go-mail"

	"github.com/remit-dev/remit"
)

// email hands a message over to one mail server, in one transaction for all who get it. Whatever is in it, its header is
// made of declared addresses and of names that have no line end, and the library encodes both.
func (o *Outbox) email(ctx context.Context, c remit.Channel, m message) error {
	page, err := m.html()
	if err != nil {
		return err
	}
	msg := mail.NewMsg(mail.WithCharset(mail.CharsetUTF8))
	to := c.To
	if m.to.Address != "" {
		to = []string{m.to.Address}
	}
	if err := errors.Join(msg.From(c.From), msg.To(to...)); err != nil {
		return remit.Errorf(remit.BadRequest, "an address of channel %s is none", c.Name)
	}
	_, domain, _ := strings.Cut(c.From, "@")
	msg.SetMessageIDWithValue(strings.ReplaceAll(m.id, ":", ".") + "@" + domain)
	msg.SetDateWithValue(o.cfg.Now())
	msg.Subject(m.title)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5: nobody's absence answers it
	msg.SetGenHeader("X-Remit-Message", m.id)
	msg.SetUserAgent("remit")
	msg.SetBodyString(mail.TypeTextPlain, m.text())
	msg.AddAlternativeString(mail.TypeTextHTML, page)
	client, err := o.mailer(ctx, c)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil && !msg.IsDelivered() { // what fails after that is no failure
		return mailFailure(c, err)
	}
	return nil
}

// mailFailure says what a mail server said, without who the message is for.
func mailFailure(c remit.Channel, err error) error {
	var s *mail.SendError
	if !errors.As(err, &s) {
		return remit.Errorf(remit.UpstreamDown, "the mail server of channel %s: %s", c.Name, cause(err))
	}
	f := &failure{err: remit.Errorf(remit.UpstreamDown, "the mail server of channel %s refuses the message: %s, %d %s", c.Name, s.Reason, s.ErrorCode(), s.EnhancedStatusCode())}
	switch s.Reason {
	case mail.ErrSMTPMailFrom, mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose:
		f.message = !s.IsTemp() && s.ErrorCode() >= 500
	}
	return f
}

// mailer is the way to the declared mail server. It goes on over TLS or not at all, and signs in only then.
func (o *Outbox) mailer(ctx context.Context, c remit.Channel) (*mail.Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the URL of channel %s cannot be read", c.Name)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the URL of channel %s has no port", c.Name)
	}
	secured := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the certificates of channel %s: %w", c.Name, err)
		}
		secured.RootCAs = x509.NewCertPool()
		if !secured.RootCAs.AppendCertsFromPEM(pem) {
			return nil, remit.Errorf(remit.UpstreamDown, "%s holds no certificate in PEM", c.CA)
		}
	}
	options := []mail.Option{mail.WithPort(port), mail.WithTimeout(tryWithin), mail.WithTLSConfig(secured), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithDialContextFunc(dialer(ctx, u.Hostname(), u.Scheme == "smtps", secured))}
	switch {
	case u.Scheme == "smtps": // the dialer has seen to it; the library looks whether it is so before it signs in
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case c.Insecure:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if c.Secret.From != "" {
		password, err := o.cfg.House.Secret(ctx, c.Secret)
		if err != nil {
			return nil, err
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.Secret.User), mail.WithPassword(password))
	}
	client, err := mail.NewClient(u.Hostname(), options...)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the mail server of channel %s: %w", c.Name, err)
	}
	return client, nil
}

// dialer goes to the declared host only, and not by an address that means something on this machine's own link only:
// a name that leads there was not meant. The declared address itself was. The connection ends with ctx.
func dialer(ctx context.Context, host string, secure bool, config *tls.Config) mail.DialContextFunc {
	literal, _ := netip.ParseAddr(host)
	loopback := literal.IsLoopback() || host == "localhost"
	d := &net.Dialer{Timeout: tryWithin, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if ip := addr.Addr().Unmap(); ip != literal && (ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() && !loopback) {
			return fmt.Errorf("%s has the address %s, which is not reachable from elsewhere; declare the address itself if it is meant", host, ip)
		}
		return nil
	}}
	dial := d.DialContext
	if secure {
		dial = (&tls.Dialer{NetDialer: d, Config: config}).DialContext
	}
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(dialing, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
}
