package scan

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
)

// registry looks at an OCI registry (distribution-spec v1.1) as a stranger does, and then as the observer. A registry's
// protocol knows nothing of accounts: robots and keys are said to be unseen.
func registry(r *reader) []thing {
	var found []thing
	stranger := *r
	stranger.target.Auth = nil
	public := thing{subject: "registry:anonymous", kind: "anonymous", where: r.target.Name, text: "registry " + r.target.Name, holder: "anyone", power: reads}
	_, header, g := stranger.get("/v2/", nil)
	r.account(stranger)
	switch {
	case g == nil:
		public.saw(anonymous, "answers without a credential")
		r.seen("what strangers get at the door", 1)
	case g.status == http.StatusUnauthorized:
		r.seen("what strangers get at the door", 1)
		if realm := challenge(header.Get("WWW-Authenticate")); realm != "" {
			host, outside, insecure := r.target.outside(realm)
			x := thing{subject: "registry:realm", kind: "gate", where: r.target.Name, text: "registry " + r.target.Name}
			if outside {
				x.saw(outsideHook, "takes tokens of %s, which can let in whom it likes", host)
			}
			if insecure {
				x.saw(insecureHook, "sends whoever comes to %s in the clear for a token", host)
			}
			found = append(found, x)
		}
	default:
		r.unseen("what strangers get at the door", g)
	}
	catalogue, g := items[string](&stranger, "/v2/_catalog", "repositories")
	r.account(stranger)
	switch {
	case g == nil:
		r.seen("what strangers see of the catalogue", len(catalogue))
		public.saw(anonymous, "shows strangers which repositories there are")
	case g.code == gapForbidden:
		r.seen("what strangers see of the catalogue", 0)
	default:
		r.unseen("what strangers see of the catalogue", g)
	}
	for _, repo := range r.target.Repositories {
		tags, g := items[string](&stranger, part2(repo.Path)+"/tags/list", "tags")
		r.account(stranger)
		switch {
		case g == nil:
			r.seen("what strangers see of "+repo.Path, len(tags))
			public.saw(anonymous, "lets strangers pull %s", repo.Path)
			public.actions = []remit.Action{"artifact.read"}
			public.resources = append(public.resources, remit.Pattern("artifact:"+repo.Name))
		case g.code == gapForbidden || g.status == http.StatusNotFound:
			r.seen("what strangers see of "+repo.Path, 0)
		default:
			r.unseen("what strangers see of "+repo.Path, g)
		}
	}
	found = append(found, public)
	r.unsupported("robots, users and keys of the registry", "the protocol of registries does not tell them; look at its configuration")
	r.unsupported("whether strangers may push", "only a write would show it, and a scan writes nothing; look at the registry's configuration")
	return found
}

// account takes over what another reader of the same scan used up.
func (r *reader) account(of reader) {
	r.requests, r.bytes, r.waited, r.gaps = of.requests, of.bytes, of.waited, of.gaps
	if r.over == nil {
		r.over = of.over
	}
}

func part2(path string) string {
	var b strings.Builder
	b.WriteString("/v2")
	for seg := range strings.SplitSeq(path, "/") {
		b.WriteString("/" + url.PathEscape(seg))
	}
	return b.String()
}

// challenge is the realm of a Bearer challenge (RFC 6750 §3, distribution token specification).
func challenge(header string) string {
	scheme, params, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	_, rest, ok := strings.Cut(params, `realm="`)
	if !ok {
		return ""
	}
	realm, _, _ := strings.Cut(rest, `"`)
	return realm
}
