package identity

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/remit-dev/remit"
)

// What the claims of a job's token say that decides. Names that others can take over (sub, the repository's name) decide
// nothing: a name is only held against another claim of the same token.
//
// A job whose code or time a stranger chooses proves nothing about the commit that the token names: a workflow on
// pull_request_target, issue_comment or workflow_run has the base's commit in its claims and usually runs the stranger's.
// From the claims of a pull_request a fork cannot be told. So events are listed that need the right to write to the
// repository; all others are refused.
var (
	githubEvents  = []string{"push", "merge_group", "workflow_dispatch", "repository_dispatch", "schedule", "release", "deployment"}
	gitlabSources = []string{"push", "web", "api", "schedule", "trigger", "pipeline"} // not parent_pipeline: its file may be generated
)

const maxClaim = 512 // bytes of a claim that is read

type claims struct{ all map[string]any }

func (c claims) read(kind string, j *Job) error {
	switch kind {
	case "github":
		return c.github(j)
	case "gitlab":
		return c.gitlab(j)
	}
	return remit.Errorf(remit.Internal, "issuer %s is declared with the claims %q, which this release does not know", j.Issuer, kind)
}

// github reads the claims of GitHub Actions (docs.github.com, OpenID Connect reference).
func (c claims) github(j *Job) (err error) {
	if j.Repository, err = c.must("repository_id"); err != nil {
		return err
	}
	if j.Commit, err = c.must("sha"); err != nil {
		return err
	}
	if j.Environment, err = c.text("environment"); err != nil {
		return err
	}
	name, err := c.must("repository")
	if err != nil {
		return err
	}
	if err := c.among("event_name", githubEvents); err != nil {
		return err
	}
	// Of a reusable workflow of the same repository the called file is what runs; one of another repository was chosen by
	// the file that calls it, which then is the job's.
	which, version := "workflow_ref", "workflow_sha"
	called, err := c.text("job_workflow_ref")
	if err != nil {
		return err
	}
	if strings.HasPrefix(called, name+"/") {
		which, version = "job_workflow_ref", "job_workflow_sha"
	}
	if j.Workflow, err = c.path(which, name+"/", "ref"); err != nil {
		return err
	}
	return c.same(version)
}

// gitlab reads the claims of GitLab's ID tokens (docs.gitlab.com, ID token authentication).
func (c claims) gitlab(j *Job) (err error) {
	if j.Repository, err = c.must("project_id"); err != nil {
		return err
	}
	if j.Commit, err = c.must("sha"); err != nil {
		return err
	}
	if j.Environment, err = c.text("environment"); err != nil {
		return err
	}
	name, err := c.must("project_path")
	if err != nil {
		return err
	}
	if err := c.among("pipeline_source", gitlabSources); err != nil {
		return err
	}
	uri, err := c.must("ci_config_ref_uri") // HOST/GROUP/PROJECT//PATH@REF
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(uri, "/")
	if j.Workflow, err = c.path("ci_config_ref_uri", host+"/"+name+"//", "ref_path"); err != nil {
		return err
	}
	return c.same("ci_config_sha")
}

// path is the file in a claim of the form PREFIX PATH @ REF. The ref is that of the job: a file name may hold an @, and
// so may a ref, and the file must be that of the commit that is built.
func (c claims) path(name, prefix, refClaim string) (string, error) {
	whole, err := c.must(name)
	if err != nil {
		return "", err
	}
	ref, err := c.must(refClaim)
	if err != nil {
		return "", err
	}
	rest, ours := strings.CutPrefix(whole, prefix)
	file, same := strings.CutSuffix(rest, "@"+ref)
	if !ours || !same || file == "" {
		return "", refused("%s is %.200q; a workflow file of the job's own repository at its own ref is %sPATH@%s", name, whole, prefix, ref)
	}
	return file, nil
}

// same refuses a workflow file of another commit than the one that is built, where the issuer tells it.
func (c claims) same(version string) error {
	of, err := c.text(version)
	if err != nil {
		return err
	}
	if sha := c.all["sha"]; of != "" && of != sha {
		return refused("%s is %.64q: the workflow is that of another commit than sha", version, of)
	}
	return nil
}

func (c claims) among(name string, allowed []string) error {
	v, err := c.must(name)
	if err != nil {
		return err
	}
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return refused("%s is %.64q, which strangers may cause; Remit takes %s", name, v, strings.Join(allowed, ", "))
}

func (c claims) must(name string) (string, error) {
	v, err := c.text(name)
	if err == nil && v == "" {
		return "", refused("the claim %s is missing", name)
	}
	return v, err
}

// text is a claim that is a text; empty when it is absent or null.
func (c claims) text(name string) (string, error) {
	s, ok := "", true
	switch v := c.all[name].(type) {
	case nil:
	case string:
		s = v
	default:
		ok = false
	}
	if !ok || len(s) > maxClaim || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return "", refused("the claim %s is not a text of at most %d bytes", name, maxClaim)
	}
	return s, nil
}

// audience is the one that a token is for (RFC 7519 §4.1.3: a text, or several in a list).
func (c claims) audience() (string, error) {
	if list, ok := c.all["aud"].([]any); ok && len(list) == 1 {
		c = claims{map[string]any{"aud": list[0]}}
	}
	return c.must("aud")
}

// during gives the end of a token that is good at now, with a leeway for the clocks.
func (c claims) during(now time.Time) (exp time.Time, err error) {
	exp, iat, nbf := c.time("exp"), c.time("iat"), c.time("nbf")
	if nbf.IsZero() {
		nbf = iat
	}
	switch {
	case exp.IsZero() || iat.IsZero():
		return exp, refused("it has no exp or no iat that is a time")
	case !now.Before(exp.Add(JobLeeway)):
		return exp, refused("it expired at %s; have the job ask for a new one", stamp(exp))
	case now.Add(JobLeeway).Before(iat) || now.Add(JobLeeway).Before(nbf):
		return exp, refused("it is good from %s and it is %s here", stamp(nbf), stamp(now))
	case exp.Sub(iat) > MaxJobLife:
		return exp, refused("it is good for %s; the longest is %s", exp.Sub(iat), MaxJobLife)
	}
	return exp, nil
}

// time is a NumericDate (RFC 7519 §2), or zero.
func (c claims) time(name string) time.Time {
	if v, ok := c.all[name].(float64); ok && v > 0 && v < 1<<40 {
		return time.Unix(int64(v), 0)
	}
	return time.Time{}
}

// id names this very token: by the issuer's own jti, or else by what was signed. The signature is not part of it: some
// can be written in two ways.
func (c claims) id(issuer, token string) (remit.Digest, error) {
	jti, err := c.text("jti")
	if err != nil {
		return remit.Digest{}, err
	}
	kind := "jti"
	if jti == "" {
		kind, jti = "token", token[:strings.LastIndex(token, ".")]
	}
	return remit.Hash([]byte("remit job\x00" + issuer + "\x00" + kind + "\x00" + jti)), nil
}

// JobEnd is when the token with these claims expired, or will; zero where they do not say.
func JobEnd(raw []byte) time.Time {
	c := claims{}
	if json.Unmarshal(raw, &c.all) != nil {
		return time.Time{}
	}
	return c.time("exp")
}
