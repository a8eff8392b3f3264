package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

const (
	callTime  = 30 * time.Second
	maxAnswer = 8 << 20
	maxToken  = 16 << 10
)

// client speaks to one cluster with one bearer token.
type client struct {
	upstream       string
	core           coreclient.CoreV1Interface
	authentication authenticationclient.AuthenticationV1Interface
}

// remits is a client with Remit's own credential.
func remits(ctx context.Context, u remit.Upstream) (*client, error) {
	header, err := broker.Authorization(ctx, u.Write)
	if err != nil {
		return nil, err
	}
	token, bearer := strings.CutPrefix(header, "Bearer ")
	if !bearer {
		return nil, remit.Errorf(remit.BadRequest, "upstream %s declares no bearer token of a service account as write", u.Name)
	}
	return dial(u, token)
}

func dial(u remit.Upstream, token string) (*client, error) {
	at, err := url.Parse(strings.TrimSuffix(u.Location, "/"))
	if err != nil || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, remit.Errorf(remit.BadRequest, "the location of upstream %s is not of the form https://HOST", u.Name)
	}
	ip := net.ParseIP(at.Hostname())
	loopback := at.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if at.Scheme != "https" && !(at.Scheme == "http" && u.Insecure && loopback) {
		return nil, remit.Errorf(remit.BadRequest, "the location of upstream %s is not https; http is for a loopback address that is declared as insecure", u.Name)
	}
	config := &rest.Config{Host: at.String(), BearerToken: token, UserAgent: "remit", Timeout: callTime,
		ContentConfig:   rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
		QPS:             -1, // the lease machine has queues of its own
		TLSClientConfig: rest.TLSClientConfig{CAFile: u.CA},
		WrapTransport:   func(next http.RoundTripper) http.RoundTripper { return &transport{at.Host, next} }}
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "upstream %s: %w", u.Name, err)
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c, err := coreclient.NewForConfigAndClient(config, h)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "upstream %s: %w", u.Name, err)
	}
	a, err := authenticationclient.NewForConfigAndClient(config, h)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "upstream %s: %w", u.Name, err)
	}
	return &client{u.Name, c, a}, nil
}

// home is the namespace of the service account that Remit is at the cluster; the index is there.
func (c *client) home(ctx context.Context) (string, error) {
	who, err := c.authentication.SelfSubjectReviews().Create(ctx, &authentication.SelfSubjectReview{}, meta.CreateOptions{})
	if err != nil {
		return "", c.failed("say who Remit is there", err)
	}
	account, ok := strings.CutPrefix(who.Status.UserInfo.Username, "system:serviceaccount:")
	namespace, _, named := strings.Cut(account, ":")
	if !ok || !named || !dnsLabel.MatchString(namespace) {
		return "", remit.Errorf(remit.BadRequest, "upstream %s takes Remit for %.80q; its credential is the token of a service account", c.upstream, who.Status.UserInfo.Username)
	}
	return namespace, nil
}

// delete deletes an anchor at once, whichever it is: a lease's name is never used again, so what somebody else has put in
// the anchor's place is nobody's to keep. A precondition on its uid would let that stand.
func (c *client) delete(ctx context.Context, namespace, name string) error {
	err := c.core.Secrets(namespace).Delete(ctx, name, meta.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil && !absent(err) {
		return c.failed("delete a Secret in namespace "+namespace, err)
	}
	return nil
}

// anchored tells whether the anchor is there. Remit may not read Secrets: it asks whether it could make one of that name.
func (c *client) anchored(ctx context.Context, namespace, name string) (bool, error) {
	_, err := c.core.Secrets(namespace).Create(ctx, &core.Secret{ObjectMeta: object(name)}, meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
	switch {
	case err == nil, absent(err): // the second: of its namespace
		return false, nil
	case apierrors.IsAlreadyExists(err):
		return true, nil
	}
	return false, c.failed("look for a Secret in namespace "+namespace, err)
}

// absent tells whether the API server itself says that an object is not there. A 404 without a Status object comes from
// something before it, and client-go marks it.
func absent(err error) bool {
	var s apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &s) || s.Status().Details == nil {
		return false
	}
	return !slices.ContainsFunc(s.Status().Details.Causes, func(c meta.StatusCause) bool { return c.Type == meta.CauseTypeUnexpectedServerResponse })
}

// failed is the error of a call. Of what the upstream says only the reason is kept: the rest may repeat what it was sent.
func (c *client) failed(what string, err error) error {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return remit.Errorf(remit.Forbidden, "upstream %s does not let Remit %s (%s); doc/kubernetes.yaml has the roles that it needs", c.upstream, what, apierrors.ReasonForError(err))
	case errors.As(err, &status):
		return remit.Errorf(remit.UpstreamDown, "upstream %s was asked to %s, and answered %d %.40s", c.upstream, what, status.Status().Code, apierrors.ReasonForError(err))
	}
	var at *url.Error
	if errors.As(err, &at) {
		return remit.Errorf(remit.UpstreamDown, "upstream %s could not be asked to %s: %w", c.upstream, what, at.Err)
	}
	return remit.Errorf(remit.UpstreamDown, "upstream %s was asked to %s, and its answer is not what a cluster says", c.upstream, what)
}

// transport holds the token to the one host, and bounds what comes back.
type transport struct {
	host string
	next http.RoundTripper
}

var errTooLong = errors.New("the answer is too long")

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != t.host {
		return nil, errors.New(r.URL.Host + " is not the declared upstream " + t.host)
	}
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Header.Del("Retry-After") // client-go would sleep for it, up to ten times; the lease machine retries
	answer.Body = &limited{answer.Body, maxAnswer}
	return answer, nil
}

// limited is a body that fails instead of ending when there is more than expected.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(b)) > l.left {
		b = b[:l.left]
	}
	n, err := l.ReadCloser.Read(b)
	l.left -= int64(n)
	return n, err
}

// claims are those of a bound service account token (KEP-1205) that say what it is good for. They are read to be
// compared with what was asked, from the API server's own answer; no decision rests on their signature.
type claims struct {
	Subject    string  `json:"sub"`
	Expires    float64 `json:"exp"`
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount struct {
			Name string `json:"name"`
		} `json:"serviceaccount"`
		Secret struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"secret"`
	} `json:"kubernetes.io"`
}

// maxTime is the last second of year 9999; a claim beyond it is as good as none.
const maxTime = 253402300799

func (c *claims) end() time.Time {
	if c.Expires <= 0 || c.Expires > maxTime {
		return time.Unix(maxTime, 0)
	}
	return time.Unix(int64(c.Expires), 0)
}

// parse reads the claims of a token, without looking at its signature.
func parse(token string) (*claims, error) {
	if len(token) > maxToken {
		return nil, errors.New("it is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("it is not a JWT in compact form")
	}
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || part == "" {
			return nil, errors.New("it is not a JWT in compact form")
		}
	}
	raw, _ := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	c := new(claims)
	if json.Unmarshal(raw, c) != nil {
		return nil, errors.New("its claims are not those of a service account")
	}
	return c, nil
}
