package server

import (
	"context"
	"crypto/hmac"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Admissions is what the admission gateway asks of a server: who may ask, and what may run.
type Admissions struct{ Server *Server }

// admissionToken is what the cluster of an environment is known by: unguessable, different for each environment, the same after a
// restart. It lets its holder ask and nothing else.
func (s *Server) admissionToken(environment string) string {
	return s.mac("admission", string(s.org()), environment).String()
}

// Known tells whether token is that of the environment.
func (a Admissions) Known(environment, token string) bool {
	return hmac.Equal([]byte(token), []byte(a.Server.admissionToken(environment)))
}

// Namespace is the namespace that an environment governs.
func (a Admissions) Namespace(ctx context.Context, environment string) (string, error) {
	if a.Server.cfg.Places == nil {
		return "", remit.Errorf(remit.NotFound, "this server governs no clusters")
	}
	p, err := a.Server.cfg.Places.Environment(ctx, environment)
	if err != nil {
		return "", err
	}
	t := p.Environment.Target
	if p.Upstream.Kind != remit.KindKubernetes || t == nil || t.Namespace == "" {
		return "", remit.Errorf(remit.Conflict, "environment %s is not deployed to a cluster", environment)
	}
	return t.Namespace, nil
}

// Allowed is what may run in an environment now: the digests of the release that is there, of the good one before it,
// which its rollout may still need, and of a deployment that is being carried out. What a rollback took away is not
// among them. An engine that has failed says
// nothing: what it knows may be old.
func (a Admissions) Allowed(_ context.Context, environment string) (map[string]remit.EntryIndex, error) {
	if err := a.Server.cfg.Engine.Failed(); err != nil {
		return nil, err
	}
	out := map[string]remit.EntryIndex{}
	a.Server.view(func(s *authority.State) {
		admitted(s, environment, func(d remit.Deploy, entry remit.EntryIndex) {
			for _, artifact := range d.Artifacts {
				if _, ok := out[artifact.Digest]; !ok {
					out[artifact.Digest] = entry
				}
			}
		})
	})
	return out, nil
}

// admitted goes through what may run in an environment, the current release first.
func admitted(s *authority.State, environment string, f func(remit.Deploy, remit.EntryIndex)) {
	good := s.GoodReleases(environment) // what a rollback took away is not among them
	for i := len(good) - 1; i >= max(len(good)-2, 0); i-- {
		f(good[i].Deploy, good[i].Entry)
	}
	for _, x := range s.Attempts { // those without an outcome
		if x.Deploy.Environment == environment {
			f(x.Deploy, x.Decision)
		}
	}
}

// admissionWebhook is what a cluster's administrator puts into a ValidatingWebhookConfiguration.
func admissionWebhook(s *Server, c *call) (remit.AdmissionView, error) {
	environment := c.r.URL.Query().Get("environment")
	namespace, err := Admissions{s}.Namespace(c.r.Context(), environment)
	if err != nil {
		return remit.AdmissionView{}, err
	}
	at := "/v1/orgs/" + url.PathEscape(string(s.org())) + "/admission/" + s.admissionToken(environment) + "/" + environment
	return remit.AdmissionView{Environment: environment, Namespace: namespace, URL: strings.TrimSuffix(s.cfg.Base, "/") + at, CA: s.cfg.CA.PEM()}, nil
}
