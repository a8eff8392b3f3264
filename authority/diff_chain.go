package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// What declarations say of the way from a commit to production: who builds, what is published, and where it runs.

// Limits of declarations.
const (
	MaxReviews = 8   // that a merge may ask for
	MaxClaim   = 256 // bytes of a claim of a CI job's token
)

func checkArtifactPatterns(ps []remit.Pattern) error {
	for _, p := range ps {
		if _, err := remit.ParsePattern(string(p)); err != nil {
			return err
		}
		if !strings.HasPrefix(string(p), "artifact:") {
			return fmt.Errorf("%q is no artifact; write artifact:UPSTREAM/NAME", p)
		}
	}
	return nil
}

// target checks where an environment runs, what may run in it, and what that must have gone through.
func (d *differ) target(path string, v remit.EnvironmentDeclared) error {
	if err := d.needs(path+".rollback", v.Rollback); err != nil {
		return err
	}
	if err := checkArtifactPatterns(v.Artifacts); err != nil {
		return wrong(path+".artifacts", "%v", err)
	}
	for i, e := range v.Evidence {
		env, deployed := strings.CutPrefix(e, remit.EvidenceDeployed)
		at := fmt.Sprintf("%s.evidence[%d]", path, i)
		switch {
		case slices.Contains(v.Evidence[:i], e):
			return wrong(at, "%q stands twice", e)
		case deployed && env == v.Name:
			return wrong(at, "what was never deployed to %s could never be; name the environment that comes before it", env)
		case deployed && !slices.ContainsFunc(d.set.Environments, func(o remit.EnvironmentDeclared) bool { return o.Name == env }):
			return wrong(at, "no environment %q is declared", env)
		case !deployed && e != remit.EvidenceBuilt && e != remit.EvidenceMerged:
			return wrong(at, "evidence is %s, %s or %sENVIRONMENT, not %q", remit.EvidenceBuilt, remit.EvidenceMerged, remit.EvidenceDeployed, e)
		}
	}
	if (v.Upstream == "") != v.Spec.IsZero() {
		return wrong(path+".target", "a target says at which upstream, and how")
	}
	if v.Upstream != "" && !d.upstream(v.Upstream, remit.KindKubernetes, remit.KindCommand) {
		return wrong(path+".target.upstream", "no upstream %q of kind %s or %s is declared", v.Upstream, remit.KindKubernetes, remit.KindCommand)
	}
	return nil
}

// upstream tells whether the set declares an upstream of one of the kinds.
func (d *differ) upstream(name string, kinds ...string) bool {
	return slices.ContainsFunc(d.set.Upstreams, func(u remit.UpstreamDeclared) bool { return u.Name == name && slices.Contains(kinds, u.Type) })
}

func environmentWidens(old, now remit.EnvironmentDeclared) string {
	switch {
	case loosens(environmentApprovers(old), environmentApprovers(now)), old.Tier == "production" && now.Tier != "production",
		loosens(rollbackApprovers(old), rollbackApprovers(now)):
		return fmt.Sprintf("environment %s asks for less than it did", now.Name)
	case slices.ContainsFunc(EvidenceOf(old), func(e string) bool { return !slices.Contains(EvidenceOf(now), e) }):
		return fmt.Sprintf("environment %s asks for less evidence", now.Name)
	case !listCovers(old.Artifacts, now.Artifacts):
		return fmt.Sprintf("environment %s accepts other artifacts", now.Name)
	case old.Upstream != now.Upstream || old.Spec != now.Spec:
		return fmt.Sprintf("environment %s is another target, or is deployed otherwise", now.Name)
	}
	return ""
}

// publishing checks what builds of a repository publish, and what a merge to it needs.
func (d *differ) publishing(path string, r remit.RepositoryDeclared) error {
	if err := checkArtifactPatterns(r.Artifacts); err != nil {
		return wrong(path+".artifacts", "%v", err)
	}
	if r.Reviews < 0 || r.Reviews > MaxReviews {
		return wrong(path+".reviews", "a merge asks for 0 to %d reviews, not %d", MaxReviews, r.Reviews)
	}
	return nil
}

// publishes is why a repository widens of which builds publish artifacts: nobody votes on that any more.
func publishes(r remit.RepositoryDeclared, why string) string {
	if why == "" && len(r.Artifacts) > 0 {
		return fmt.Sprintf("builds of repository %s publish %v without a vote", r.Name, r.Artifacts)
	}
	return why
}

// jobs checks the CI jobs that are an agent: each is one agent's, and builds a declared repository.
func (d *differ) jobs(path string, a remit.AgentDeclared) error {
	for i, j := range a.Jobs {
		at := fmt.Sprintf("%s.jobs[%d]", path, i)
		switch {
		case a.Function != remit.FuncBuild:
			return wrong(at, "a CI job is an agent of function build, not %s", a.Function)
		case !d.upstream(j.Issuer, remit.KindOIDC):
			return wrong(at+".issuer", "no upstream %q of kind %s is declared", j.Issuer, remit.KindOIDC)
		case !plain(j.Repository, MaxClaim):
			return wrong(at+".repository", "the immutable id of the job's repository takes 1 to %d bytes of text", MaxClaim)
		case !plain(j.Workflow, MaxClaim):
			return wrong(at+".workflow", "the path of the workflow file takes 1 to %d bytes of text", MaxClaim)
		case j.Environment != "" && !plain(j.Environment, MaxClaim):
			return wrong(at+".environment", "the claim environment takes at most %d bytes of text", MaxClaim)
		case !slices.ContainsFunc(d.set.Repositories, func(r remit.RepositoryDeclared) bool { return r.Name == j.Source }):
			return wrong(at+".source", "no repository %q is declared", j.Source)
		}
		claims := func(o remit.Job) bool {
			return o.Issuer == j.Issuer && o.Repository == j.Repository && o.Workflow == j.Workflow && o.Environment == j.Environment
		}
		if slices.ContainsFunc(a.Jobs[:i], claims) {
			return wrong(at, "this job stands twice; one job is one agent")
		}
		for k, o := range d.set.Agents {
			if o.Name != a.Name && slices.ContainsFunc(o.Jobs, claims) {
				return wrong(at, "this job is also agents[%d]'s; one job is one agent", k)
			}
		}
	}
	return nil
}
