// Package signin is how people sign in without a key in their terminal: in their browser at an OpenID provider, and in
// a terminal by a code that they confirm in their browser.
package signin

import (
	"cmp"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const (
	metadataLife = 15 * time.Minute // of discovery and keys; what a provider withdrew is not good for longer
	retryPause   = 10 * time.Second // between two looks at a provider that does not answer
	within       = 10 * time.Second // for everything that a provider is asked at a time
	leeway       = time.Minute      // between its clock and ours
	maxAsked     = 16               // exchanges of codes at a time, of one provider
	maxToken     = 16 << 10         // bytes of an ID token
	maxGroups    = 256
	maxMethods   = 16
	maxClaim     = 256 // bytes of a claim's value, or of one of its values
)

// algs are the signatures of ID tokens: none can be made with something public, or with the client's secret (RFC 8725
// §3.1), whatever the provider's discovery document says.
var algs = []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA}

// Provider is an OpenID provider at which people sign in.
type Provider struct {
	Name   string // a-z 0-9 -; in addresses
	Title  string // as people know it; Name
	Issuer string // exactly as it names itself
	// CA is a file of PEM certificates to trust for it; the system's. Insecure means http:// to a loopback address. Hosts
	// are others that it spreads its endpoints over.
	CA       string
	Insecure bool
	Hosts    []string
	// ClientID is what this server is registered as there. Secret reads the client's secret each time that it is needed;
	// nil: a public client, which PKCE alone protects.
	ClientID string
	Secret   func(context.Context) (string, error)
	Scopes   []string // beside openid
	Groups   string   // the claim with a person's groups; none
	ACR      []string // acr_values that are asked for when a person must prove themselves anew
}

// provider is one with what it said of itself.
type provider struct {
	Provider
	redirect string // where it sends people back to
	client   *http.Client
	now      func() time.Time
	asked    chan struct{} // a place for each exchange of a code
	turn     chan struct{} // held while metadata is read or fetched

	known          *metadata
	fetched, tried time.Time
	failed         error
}

// metadata is what a provider says of itself.
type metadata struct {
	*oidc.Provider
	iss      bool // its answers name it, RFC 9207
	inParams bool // the client's secret goes into the form
}

// metadata is the provider's discovery document (OpenID Connect Discovery §4), fetched when it is old.
func (p *provider) metadata(ctx context.Context) (*metadata, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := p.now()
	if p.known != nil && now.Sub(p.fetched) < metadataLife {
		return p.known, nil
	}
	if p.failed != nil && now.Sub(p.tried) < retryPause {
		return nil, p.failed // strangers do not have us hammer it
	}
	p.tried = now
	// The next person needs it as much: one who goes away does not undo it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	known, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.Issuer)
	var doc struct {
		Iss     bool     `json:"authorization_response_iss_parameter_supported"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err == nil {
		err = known.Claims(&doc)
	}
	if err == nil {
		err = sameScheme(p.Issuer, known.Endpoint().AuthURL)
	}
	if err != nil {
		p.failed = remit.Errorf(remit.UpstreamDown, "the provider %s cannot be asked who signs in: %w", p.Name, bare(err))
		return nil, p.failed
	}
	basic := len(doc.Methods) == 0 || slices.Contains(doc.Methods, "client_secret_basic") // §3: basic is the default
	p.known, p.fetched, p.failed = &metadata{known, doc.Iss, !basic}, now, nil
	return p.known, nil
}

// sameScheme refuses an address that is weaker than the issuer's own: a browser is about to be sent there.
func sameScheme(issuer, address string) error {
	i, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	a, err := url.Parse(address)
	if err != nil || a.Host == "" || a.Scheme != "https" && a.Scheme != i.Scheme {
		return fmt.Errorf("its authorization endpoint is %.200q", address)
	}
	return nil
}

// bare is an error without what a provider answered: that may hold what is the person's alone.
func bare(err error) error {
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) {
		status := "an answer that is none"
		if answer.Response != nil {
			status = answer.Response.Status
		}
		return fmt.Errorf("it answers %s, error %.64q", status, answer.ErrorCode)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	text, _, _ := strings.Cut(err.Error(), ": fetching keys") // what follows is the answer
	for _, own := range []string{"oidc: ", "oauth2: ", "failed to verify signature", "json: "} {
		if strings.HasPrefix(text, own) {
			return errors.New(text[:min(len(text), maxClaim)])
		}
	}
	return errors.New("it answers with an error")
}

// config is the client that this server is at the provider; it has no secret yet.
func (p *provider) config(known *metadata) *oauth2.Config {
	c := &oauth2.Config{ClientID: p.ClientID, Endpoint: known.Endpoint(), RedirectURL: p.redirect, Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
	c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.Secret == nil || known.inParams {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c
}

// begin is where the browser goes (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3).
func (p *provider) begin(ctx context.Context, f flow) (string, error) {
	known, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	opts := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)}
	if f.Fresh {
		opts = append(opts, oauth2.SetAuthURLParam("max_age", fmt.Sprint(int(identity.FreshFor/time.Second))))
		if len(p.ACR) > 0 {
			opts = append(opts, oauth2.SetAuthURLParam("acr_values", strings.Join(p.ACR, " ")))
		}
	}
	return p.config(known).AuthCodeURL(f.State, opts...), nil
}

// finish exchanges the code that a browser brings for an ID token, and believes the token only after every check of
// OpenID Connect Core §3.1.3.7.
func (p *provider) finish(ctx context.Context, f flow, answer url.Values) (identity.Provided, time.Time, error) {
	none := identity.Provided{}
	select {
	case p.asked <- struct{}{}:
		defer func() { <-p.asked }()
	default:
		return none, time.Time{}, remit.Errorf(remit.Overload, "too many people sign in at %s at this moment; try again", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	known, err := p.metadata(ctx)
	if err != nil {
		return none, time.Time{}, err
	}
	// RFC 9207 §2.4: an answer of another provider than the one that was asked.
	if iss := answer.Get("iss"); iss != p.Issuer && (iss != "" || known.iss) {
		return none, time.Time{}, unproved("the answer is of %.200q, not of %s", iss, p.Issuer)
	}
	c := p.config(known)
	if p.Secret != nil {
		secret, err := p.Secret(ctx)
		if err != nil {
			return none, time.Time{}, remit.Errorf(remit.UpstreamDown, "the client's secret for the provider %s cannot be read: %w", p.Name, err)
		}
		c.ClientSecret = strings.TrimRight(secret, "\r\n")
	}
	asking := oidc.ClientContext(ctx, p.client)
	token, err := c.Exchange(asking, answer.Get("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.ErrorCode != "" {
			return none, time.Time{}, unproved("it does not take the code: %w", bare(err))
		}
		return none, time.Time{}, remit.Errorf(remit.UpstreamDown, "the provider %s does not exchange the code: %w", p.Name, bare(err))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" || len(raw) > maxToken {
		return none, time.Time{}, unproved("it gave an ID token of %d bytes; one has 1 to %d", len(raw), maxToken)
	}
	id, err := known.VerifierContext(asking, &oidc.Config{ClientID: p.ClientID, SupportedSigningAlgs: algs, Now: p.now}).Verify(asking, raw)
	if err != nil {
		return none, time.Time{}, unproved("its ID token: %w", bare(err))
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return none, time.Time{}, unproved("its access token: %w", bare(err))
		}
	}
	return p.judge(id, f)
}

func unproved(format string, args ...any) error {
	return remit.Errorf(remit.Unauthenticated, "the provider did not prove who you are: "+format, args...)
}

// judge reads a token that the provider signed for this client.
func (p *provider) judge(id *oidc.IDToken, f flow) (identity.Provided, time.Time, error) {
	out, now := identity.Provided{Provider: p.Name, Identity: remit.Identity{Issuer: p.Issuer, Subject: id.Subject}}, p.now()
	var c struct {
		Azp      string   `json:"azp"`
		ACR      string   `json:"acr"`
		AMR      []string `json:"amr"`
		AuthTime *int64   `json:"auth_time"`
	}
	fail := func(format string, args ...any) (identity.Provided, time.Time, error) {
		return identity.Provided{}, time.Time{}, unproved(format, args...)
	}
	if err := id.Claims(&c); err != nil {
		return fail("its claims cannot be read: %w", bare(err))
	}
	switch {
	case !hmac.Equal([]byte(id.Nonce), []byte(f.Nonce)):
		return fail("its ID token answers another request")
	case len(id.Audience) != 1 && c.Azp != p.ClientID, c.Azp != "" && c.Azp != p.ClientID: // §3.1.3.7, 4 and 5
		return fail("its ID token is for %.64q, not for %s alone", cmp.Or(c.Azp, strings.Join(id.Audience, " ")), p.ClientID)
	case id.Subject == "" || len(id.Subject) > 255: // §2
		return fail("its subject has %d bytes; one has 1 to 255", len(id.Subject))
	case id.IssuedAt.After(now.Add(leeway)) || now.Sub(id.IssuedAt) > flowLife+leeway:
		return fail("its ID token was issued at %s, which is not now", id.IssuedAt.UTC().Format(time.RFC3339))
	case len(c.ACR) > maxClaim || len(c.AMR) > maxMethods || tooLong(c.AMR):
		return fail("acr or amr are longer than anybody needs")
	}
	var at time.Time
	if c.AuthTime != nil {
		if at = time.Unix(*c.AuthTime, 0); at.After(now.Add(leeway)) || *c.AuthTime <= 0 {
			return fail("auth_time is not in the past")
		}
		if at.After(now) {
			at = now
		}
	}
	if f.Fresh && now.Sub(at) > identity.FreshFor+leeway { // §3.1.2.1: max_age makes auth_time required
		return fail("you proved yourself to it too long ago, or it does not say when; sign in there again")
	}
	out.ACR, out.AMR = c.ACR, c.AMR
	var err error
	if out.Groups, err = p.groups(id); err != nil {
		return fail("%w", err)
	}
	return out, at, nil
}

func (p *provider) groups(id *oidc.IDToken) ([]string, error) {
	if p.Groups == "" {
		return nil, nil
	}
	all := map[string]any{}
	if err := id.Claims(&all); err != nil {
		return nil, bare(err)
	}
	list, _ := all[p.Groups].([]any) // none: the person is in no group, or the provider does not tell
	var out []string
	for _, v := range list {
		g, ok := v.(string)
		if !ok || g == "" {
			return nil, fmt.Errorf("the claim %s is not a list of names", p.Groups)
		}
		out = append(out, g)
	}
	if len(out) > maxGroups || tooLong(out) {
		return nil, fmt.Errorf("the claim %s has %d groups; at most %d of %d bytes each are read: have the provider send only those that matter here", p.Groups, len(out), maxGroups, maxClaim)
	}
	return out, nil
}

func tooLong(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return len(s) > maxClaim })
}
