// Package kubernetes makes tokens of a cluster's service accounts for one lease each, and ends them.
//
// A token is bound to an object (TokenRequest, spec.boundObjectRef): here to a Secret with nothing in it, the anchor,
// in the target's namespace. Deleting it ends the token: an API server believes a token that it has just seen for ten
// more seconds, no longer. The lease grants nothing: the target's service account has what its owners gave it.
//
// Remit's own credential, the upstream's `write`, is the token of a service account that may make and delete Secrets in the
// namespaces of the targets, and read none; make tokens of the targets' service accounts; and keep ConfigMaps in its own
// namespace. These are the index of the leases, one for each, written before the anchor and deleted when the lease was seen
// dead: so everything that was ever made can be found again without the right to list Secrets. doc/kubernetes.yaml has
// the roles.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

const (
	label = "remit.dev/lease" // on everything that is made; its value is the lease's name

	shortest = 10 * time.Minute // TokenRequest, spec.expirationSeconds
	longest  = 24 * time.Hour
	// An API server takes a token that it has verified for ten seconds (tokenSuccessCacheTTL); the rest is for the probe.
	cached  = 10 * time.Second
	bound   = 15 * time.Second
	slack   = time.Minute // that the end of a token may lie after what was asked
	maxName = 63

	page     = 500
	maxPages = 1000 // a server that never ends its list is not asked for ever

	inNamespace = "namespace" // of an entry of the index: where its anchor is
	endedAt     = "ended"     // when its anchor was deleted
)

// Provider makes anchors and tokens, and touches no object of another name.
type Provider struct {
	prefix string
	now    func() time.Time
}

// New is a provider of leases whose names are prefix and a number: remit-acme-0a1b2c3d-l- and 12. Now is the time.
func New(prefix string, now func() time.Time) *Provider { return &Provider{prefix, now} }

// Traits: a watch or an exec that was let in before the end goes on until it is cut.
func (p *Provider) Traits() broker.Traits {
	return broker.Traits{Revocation: remit.RevokeBounded, Bound: bound, Survive: true, Anchored: true, Longest: longest, Shortest: shortest}
}

var number = regexp.MustCompile(`^[0-9]+$`)

// ours tells whether a name is this provider's to make and to delete.
func (p *Provider) ours(name string) bool {
	rest, ok := strings.CutPrefix(name, p.prefix)
	return ok && len(name) <= maxName && number.MatchString(rest)
}

// dnsLabel is what names of namespaces and service accounts are made of (RFC 1123; a service account's may have dots).
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (p *Provider) check(a broker.Asked) error {
	if !p.ours(a.Name) {
		return remit.Errorf(remit.BadRequest, "%.80q does not name a lease here; it is %s and a number", a.Name, p.prefix)
	}
	return nil
}

// target checks what is asked and gives where it is for.
func (p *Provider) target(a broker.Asked) (t remit.Target, err error) {
	if err := p.check(a); err != nil {
		return t, err
	}
	if a.Target.Type() != "environment" {
		return t, remit.Errorf(remit.UnknownResource, "%s is no environment, and a cluster's credential is for one", a.Target)
	}
	if err := json.Unmarshal(a.Spec, &t); err != nil {
		return t, remit.Errorf(remit.BadRequest, "what %s needs besides is not the declaration of its target: %w", a.Target, err)
	}
	if t.Upstream != "" && t.Upstream != a.Upstream.Name {
		return t, remit.Errorf(remit.CrossesBoundary, "%s lies at upstream %s, not at %s", a.Target, t.Upstream, a.Upstream.Name)
	}
	if !dnsLabel.MatchString(t.Namespace) || strings.Contains(t.Namespace, ".") || !dnsLabel.MatchString(t.ServiceAccount) {
		return t, remit.Errorf(remit.BadRequest, "the target of %s names no namespace and service account of a cluster", a.Target)
	}
	return t, nil
}

func object(name string) meta.ObjectMeta {
	return meta.ObjectMeta{Name: name, Labels: map[string]string{label: name}}
}

// Anchor writes the index, then makes the Secret. A Secret of that name that the index did not know was put there by
// somebody who knew the name to come, with finalizers perhaps, which would keep it: it is made anew.
func (p *Provider) Anchor(ctx context.Context, a broker.Asked) error {
	t, err := p.target(a)
	if err != nil {
		return err
	}
	c, err := remits(ctx, a.Upstream)
	if err != nil {
		return err
	}
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	entry := &core.ConfigMap{ObjectMeta: object(a.Name), Data: map[string]string{inNamespace: t.Namespace}}
	_, err = c.core.ConfigMaps(home).Create(ctx, entry, meta.CreateOptions{})
	known := apierrors.IsAlreadyExists(err)
	if err != nil && !known {
		return c.failed("write the index of the leases in namespace "+home, err)
	}
	secret := &core.Secret{ObjectMeta: object(a.Name), Type: core.SecretTypeOpaque}
	_, err = c.core.Secrets(t.Namespace).Create(ctx, secret, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if known {
			return nil // from before a crash
		}
		if err := c.delete(ctx, t.Namespace, a.Name); err != nil {
			return err
		}
		_, err = c.core.Secrets(t.Namespace).Create(ctx, secret, meta.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) {
		return remit.Errorf(remit.Conflict, "Secret %s of namespace %s at upstream %s is not Remit's and does not go away; delete it, and its finalizers", a.Name, t.Namespace, a.Upstream.Name)
	}
	if err != nil {
		return c.failed("make a Secret in namespace "+t.Namespace, err)
	}
	return nil
}

// Mint asks for a token that is bound to the Secret. Tokens that earlier calls got hang on the same Secret and end with it.
func (p *Provider) Mint(ctx context.Context, a broker.Asked) (broker.Secret, error) {
	t, err := p.target(a)
	if err != nil {
		return broker.Secret{}, err
	}
	c, err := remits(ctx, a.Upstream)
	if err != nil {
		return broker.Secret{}, err
	}
	asked := p.now()
	left := a.NotAfter.Sub(asked)
	if left <= 0 {
		return broker.Secret{}, remit.Errorf(remit.Expired, "the time of lease %s is over", a.Lease)
	}
	seconds := int64(math.Ceil(min(max(left, shortest), longest).Seconds()))
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds,
		// Without the uid, which Remit may not read: the server takes the one of the Secret that has the name, and says it.
		BoundObjectRef: &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: a.Name}}}
	got, err := c.core.ServiceAccounts(t.Namespace).CreateToken(ctx, t.ServiceAccount, request, meta.CreateOptions{})
	if err != nil {
		return broker.Secret{}, c.failed(fmt.Sprintf("make a token of service account %s of namespace %s", t.ServiceAccount, t.Namespace), err)
	}
	claims, err := parse(got.Status.Token)
	if err != nil {
		return broker.Secret{}, remit.Errorf(remit.UpstreamDown, "upstream %s answered without a service account's token when one was made: %w", a.Upstream.Name, err)
	}
	end := claims.end()
	if stated := got.Status.ExpirationTimestamp.Time; stated.After(end) {
		end = stated
	}
	s := broker.Secret{Value: got.Status.Token, Handle: claims.Kubernetes.Secret.UID, NotAfter: end}
	switch k := claims.Kubernetes; {
	case k.Namespace != t.Namespace:
		s.Wider = fmt.Sprintf("the token is for namespace %.60q", k.Namespace)
	case k.ServiceAccount.Name != t.ServiceAccount || claims.Subject != "system:serviceaccount:"+t.Namespace+":"+t.ServiceAccount:
		s.Wider = fmt.Sprintf("the token is for %.80q", claims.Subject)
	case k.Secret.Name != a.Name || k.Secret.UID == "":
		s.Wider = "the token does not hang on the lease's Secret"
	case claims.Expires == 0:
		s.Wider, s.NotAfter = "the token has no end", time.Time{}
	case end.After(asked.Add(time.Duration(seconds)*time.Second + slack)):
		s.Wider = fmt.Sprintf("the token lives until %s, and %d seconds were asked", end.UTC().Format(time.RFC3339), seconds)
	}
	return s, nil
}

// Revoke deletes the Secret on which the token hangs, and writes into the index when that was.
func (p *Provider) Revoke(ctx context.Context, a broker.Asked, _ *broker.Secret) error {
	c, home, entry, namespace, err := p.find(ctx, a)
	if err != nil || namespace == "" {
		return err
	}
	if err := c.delete(ctx, namespace, a.Name); err != nil {
		return err
	}
	return p.ended(ctx, c, home, entry)
}

// ended writes into an entry of the index when its anchor was deleted, the first time.
func (p *Provider) ended(ctx context.Context, c *client, home string, entry *core.ConfigMap) error {
	if entry == nil || entry.Data[endedAt] != "" {
		return nil
	}
	if entry.Data == nil {
		entry.Data = map[string]string{}
	}
	entry.Data[endedAt] = p.now().UTC().Format(time.RFC3339Nano)
	if _, err := c.core.ConfigMaps(home).Update(ctx, entry, meta.UpdateOptions{}); err != nil && !absent(err) {
		return c.failed("write the index of the leases in namespace "+home, err)
	}
	return nil
}

// find looks a lease up in the index, and gives the namespace that it is for: the one that is asked, or, where only the name
// is known, the one that the index has. None is the empty string: then there is nothing of that name.
func (p *Provider) find(ctx context.Context, a broker.Asked) (c *client, home string, entry *core.ConfigMap, namespace string, err error) {
	if err := p.check(a); err != nil {
		return nil, "", nil, "", err
	}
	if len(a.Spec) > 0 {
		t, err := p.target(a)
		if err != nil {
			return nil, "", nil, "", err
		}
		namespace = t.Namespace
	}
	if c, err = remits(ctx, a.Upstream); err != nil {
		return nil, "", nil, "", err
	}
	if home, err = c.home(ctx); err != nil {
		return nil, "", nil, "", err
	}
	entry, err = c.core.ConfigMaps(home).Get(ctx, a.Name, meta.GetOptions{})
	switch {
	case absent(err):
		return c, home, nil, namespace, nil
	case err != nil:
		return nil, "", nil, "", c.failed("read the index of the leases in namespace "+home, err)
	}
	if namespace == "" {
		if namespace, err = c.namespace(entry); err != nil {
			return nil, "", nil, "", err
		}
	}
	return c, home, entry, namespace, nil
}

// namespace is the one that an entry of the index names.
func (c *client) namespace(entry *core.ConfigMap) (string, error) {
	namespace := entry.Data[inNamespace]
	if !dnsLabel.MatchString(namespace) || strings.Contains(namespace, ".") {
		return "", remit.Errorf(remit.Conflict, "the index entry %s at upstream %s names no namespace; somebody else has changed it", entry.Name, c.upstream)
	}
	return namespace, nil
}

// Probe asks the cluster who the token is. Refused is dead only if the Secret is gone too: an API server that cannot look
// for the Secret refuses the token as well, and takes it again later. Without the token the Secret stands for it, and what
// hung on it is dead when nothing can be in a cache any more. What was seen dead leaves the index.
func (p *Provider) Probe(ctx context.Context, a broker.Asked, s *broker.Secret) (broker.Life, error) {
	if err := p.check(a); err != nil {
		return broker.Unknown, err
	}
	held := s != nil && s.Value != ""
	if held {
		as, err := dial(a.Upstream, s.Value)
		if err != nil {
			return broker.Unknown, err
		}
		_, err = as.authentication.SelfSubjectReviews().Create(ctx, &authentication.SelfSubjectReview{}, meta.CreateOptions{})
		if err == nil || apierrors.IsForbidden(err) { // who was not let in would hear 401
			return broker.Alive, nil
		}
		if !apierrors.IsUnauthorized(err) {
			return broker.Unknown, as.failed("be asked about the lease's token", err)
		}
	}
	c, home, entry, namespace, err := p.find(ctx, a)
	if err != nil {
		return broker.Unknown, err
	}
	there := false
	if namespace != "" {
		if there, err = c.anchored(ctx, namespace, a.Name); err != nil {
			return broker.Unknown, err
		}
	}
	switch {
	case there && held:
		return broker.Unknown, nil // refused, and yet what it hangs on is there
	case there:
		return broker.Alive, nil
	case entry == nil:
		return broker.Dead, nil
	case !held:
		at, err := time.Parse(time.RFC3339Nano, entry.Data[endedAt])
		if err != nil || p.now().Sub(at) <= cached {
			return broker.Unknown, nil // until it is revoked, and ten seconds more
		}
	}
	if err := c.core.ConfigMaps(home).Delete(ctx, a.Name, meta.DeleteOptions{}); err != nil && !absent(err) {
		return broker.Unknown, c.failed("delete from the index of the leases in namespace "+home, err)
	}
	return broker.Dead, nil
}

// Sweep lists the names of the leases in the index: those that were not yet seen dead.
func (p *Provider) Sweep(ctx context.Context, u remit.Upstream) ([]string, error) {
	c, err := remits(ctx, u)
	if err != nil {
		return nil, err
	}
	entries, _, err := p.index(ctx, c)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name)
	}
	slices.Sort(names)
	return names, nil
}

// index lists the entries of the index, and the namespace that it is in.
func (p *Provider) index(ctx context.Context, c *client) (found []core.ConfigMap, home string, err error) {
	if home, err = c.home(ctx); err != nil {
		return nil, "", err
	}
	options := meta.ListOptions{LabelSelector: label, Limit: page}
	for range maxPages {
		list, err := c.core.ConfigMaps(home).List(ctx, options)
		if err != nil {
			return nil, "", c.failed("list the index of the leases in namespace "+home, err)
		}
		for _, x := range list.Items {
			if p.ours(x.Name) {
				found = append(found, x)
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return found, home, nil
		}
	}
	return nil, "", remit.Errorf(remit.UpstreamDown, "upstream %s lists the leases without end", c.upstream)
}

// Contain deletes every anchor that the index has, eight at a time.
func (p *Provider) Contain(ctx context.Context, u remit.Upstream) error {
	c, err := remits(ctx, u)
	if err != nil {
		return err
	}
	entries, home, err := p.index(ctx, c)
	if err != nil {
		return err
	}
	failed := make([]error, len(entries))
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range entries {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			namespace, err := c.namespace(&entries[i])
			if err == nil {
				err = c.delete(ctx, namespace, entries[i].Name)
			}
			if err == nil {
				err = p.ended(ctx, c, home, &entries[i])
			}
			failed[i] = err
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
