package declare

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

const (
	maxManifest = 32 << 10 // a declaration is one payload, and there is more in it
	longestRun  = time.Hour
)

// artifacts checks patterns of what is built: each lies in a declared registry.
func (c *checker) artifacts(at string, list []remit.Pattern) {
	for i, p := range list {
		here := fmt.Sprintf("%s[%d]", at, i)
		if _, err := remit.ParsePattern(string(p)); err != nil {
			c.wrong(here, "%v", err)
			continue
		}
		name, rest, _ := strings.Cut(remit.Resource(p).Name(), "/")
		switch {
		case remit.Resource(p).Type() != "artifact" || rest == "":
			c.wrong(here, "%q: write artifact:UPSTREAM/NAME with a declared upstream of kind registry", p)
		case !c.kindOf(name, remit.KindRegistry):
			c.wrong(here, "%q: no upstream %q of kind registry is declared", p, name)
		}
	}
}

// kindOf tells whether an upstream of one of these kinds is declared.
func (c *checker) kindOf(name string, kinds ...string) bool {
	return slices.ContainsFunc(c.set.Upstreams, func(u remit.Upstream) bool { return u.Name == name && slices.Contains(kinds, u.Kind) })
}

func (c *checker) declared(environment string) bool {
	return slices.ContainsFunc(c.set.Environments, func(e remit.Environment) bool { return e.Name == environment })
}

func (c *checker) environment(at string, e *remit.Environment) {
	c.needs(at+".rollback", e.Rollback)
	c.artifacts(at+".artifacts", e.Artifacts)
	for i, v := range e.Evidence {
		here := fmt.Sprintf("%s.evidence[%d]", at, i)
		env, deployed := strings.CutPrefix(v, remit.EvidenceDeployed)
		switch {
		case slices.Contains(e.Evidence[:i], v):
			c.wrong(here, "%q stands twice", v)
		case deployed && env == e.Name:
			c.wrong(here, "%q: an environment cannot come before itself", v)
		case deployed && !c.declared(env):
			c.wrong(here, "%q: no environment %q is declared", v, env)
		case !deployed && v != remit.EvidenceBuilt && v != remit.EvidenceMerged:
			c.wrong(here, "%q: write %s, %s or %sENVIRONMENT", v, remit.EvidenceBuilt, remit.EvidenceMerged, remit.EvidenceDeployed)
		}
	}
	if e.Target == nil {
		return
	}
	if len(e.Artifacts) == 0 {
		c.wrong(at+".artifacts", "missing; an environment with a target says which artifacts may be deployed to it")
	}
	c.target(at+".target", e.Target)
}

func (c *checker) target(at string, t *remit.Target) {
	if t.Timeout != "" {
		if d, err := time.ParseDuration(t.Timeout); err != nil || d < time.Second || d > longestRun {
			c.wrong(at+".timeout", "%q: write a time between 1s and %s, such as 10m", t.Timeout, longestRun)
		}
	}
	kubernetes := t.Namespace != "" || t.ServiceAccount != "" || t.Manifest != ""
	command := len(t.Apply) > 0 || len(t.Observe) > 0 || len(t.Secrets) > 0
	switch {
	case c.kindOf(t.Upstream, remit.KindKubernetes):
		if command {
			c.wrong(at, "apply, observe and secrets are for an upstream of kind command; a cluster gets namespace, service_account and manifest")
		}
		for _, m := range []struct{ name, value string }{{"namespace", t.Namespace}, {"service_account", t.ServiceAccount}, {"manifest", t.Manifest}} {
			if m.value == "" {
				c.wrong(at+"."+m.name, "missing; a target in a cluster has a namespace, a service_account and a manifest")
			}
		}
		if len(t.Manifest) > maxManifest {
			c.wrong(at+".manifest", "a manifest has at most %d bytes", maxManifest)
		}
	case c.kindOf(t.Upstream, remit.KindCommand):
		if kubernetes {
			c.wrong(at, "namespace, service_account and manifest are for an upstream of kind kubernetes; a command has apply and observe")
		}
		c.argv(at+".apply", t.Apply)
		c.argv(at+".observe", t.Observe)
		for name, s := range t.Secrets {
			if !variable(name) || strings.HasPrefix(name, "REMIT_") {
				c.wrong(at+".secrets", "%q is no name for a variable: A-Z 0-9 _, and REMIT_ is Remit's own", name)
			}
			if s.Type() != "secret" || !slices.ContainsFunc(c.set.Secrets, func(d remit.Secret) bool { return d.Name == s.Name() && d.Zone == string(remit.ZoneProduction) }) {
				c.wrong(at+".secrets", "%q: write secret:NAME with a declared secret of zone P", s)
			}
		}
	default:
		c.wrong(at+".upstream", "no upstream %q of kind kubernetes or command is declared", t.Upstream)
	}
}

// argv is a command by its full path: what PATH says is nothing that was declared.
func (c *checker) argv(at string, argv []string) {
	if len(argv) == 0 || !path.IsAbs(argv[0]) {
		c.wrong(at, "write a command as a list that begins with its full path, [/usr/local/bin/deploy]")
	}
}

func (c *checker) job(at string, j *remit.Job, f remit.Function) {
	if f != remit.FuncBuild {
		c.wrong(at, "CI jobs are agents of function build; this one's is %s", f)
	}
	if !c.kindOf(j.Issuer, remit.KindOIDC) {
		c.wrong(at+".issuer", "no upstream %q of kind oidc is declared", j.Issuer)
	}
	if len(j.Repository) > 64 || strings.Trim(j.Repository, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_=") != "" {
		c.wrong(at+".repository", "%q: write the forge's immutable id (claim repository_id or project_id); a name can be taken over", j.Repository)
	}
	if path.IsAbs(j.Workflow) || path.Clean(j.Workflow) != j.Workflow || strings.HasPrefix(j.Workflow, "../") || strings.Contains(j.Workflow, "@") {
		c.wrong(at+".workflow", "%q: write the path of the workflow file in its repository, such as .github/workflows/build.yml", j.Workflow)
	}
	if !slices.ContainsFunc(c.set.Repositories, func(r remit.Repository) bool { return r.Name == j.Source }) {
		c.wrong(at+".source", "no repository %q is declared", j.Source)
	}
}
