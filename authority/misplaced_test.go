package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestAStepIsTakenWhereItsUpstreamServesItsZone: nobody is asked for what no credential could carry out (R4d), and the
// denial says what would be right.
func TestAStepIsTakenWhereItsUpstreamServesItsZone(t *testing.T) {
	w := newWorld(t, remit.Team, func(s *authority.Set) {
		s.Upstreams[0].Type = remit.KindGitea
		for name, kind := range map[string]string{"oci": remit.KindRegistry, "ci": remit.KindOIDC} {
			s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: name, Type: kind, Spec: remit.Hash([]byte(name))})
		}
		s.Agents = append(s.Agents, remit.AgentDeclared{Name: "builder", Function: remit.FuncBuild, Owner: "p-tom", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"artifact.release", "issue.comment", "source.read"}, Resources: []remit.Pattern{"repo:forge/acme/*"}},
			{Actions: []remit.Action{"artifact.upload"}, Resources: []remit.Pattern{"artifact:oci/app", "artifact:forge/app"}},
			{Actions: []remit.Action{"build.trigger"}, Resources: []remit.Pattern{"pipeline:forge/**", "pipeline:payments/*", "pipeline:ci/*"}}}})
	})
	c := w.task("builder", "p-mia")
	const zones = "credentials of upstream forge serve zone S only"
	w.deny(step(c, "artifact.release", payments), remit.CrossesBoundary, "artifact.release lies in zone B, and "+zones+"; publish what was built to a registry")
	w.deny(step(c, "build.trigger", "pipeline:forge/acme/payments/build.yml"), remit.CrossesBoundary, zones+"; push to a ref whose declared effects")
	w.deny(step(c, "artifact.upload", "artifact:forge/app"), remit.CrossesBoundary, zones+"; it is done at an upstream of that zone")
	w.allow(step(c, "build.trigger", "pipeline:payments/ci")) // at no declared upstream
	w.allow(step(c, "build.trigger", "pipeline:ci/build"))    // at one of no zone
	w.allow(step(c, "artifact.upload", "artifact:oci/app"))
	w.allow(step(c, "issue.comment", payments)) // in no zone
	w.allow(step(c, "source.read", payments))
	w.replay()
}
