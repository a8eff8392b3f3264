// Package scan looks, read-only, at an upstream for authority that lies outside Remit: personal tokens, deploy keys, Apps,
// secrets of CI, lists of who passes a gate, default permissions of workflows, service accounts and role bindings. It
// changes nothing, sends nothing but GET, and says what it could not see.
//
// A collector for each kind of upstream turns answers into things; judge.go alone says which of them are findings.
package scan

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// What is looked at, as Report.Kind has it.
const (
	Gitea      = "gitea"
	GitHub     = "github"
	Kubernetes = "kubernetes"
	Registry   = "registry"
)

// Repository is a declared repository at the upstream, or a place for artifacts there.
type Repository struct {
	Name          string // as declared, UPSTREAM/PATH
	Path          string // at the upstream, OWNER/NAME without .git
	DefaultBranch string
}

// Environment is a declared environment at the upstream.
type Environment struct {
	Name           string
	Namespace      string
	ServiceAccount string // as which it is deployed; empty: none
}

// Target is an upstream with what is declared about it.
type Target struct {
	Name      string // of the upstream
	Kind      string // Gitea, GitHub, Kubernetes or Registry; another kind is reported as unseen
	URL       string // of its API's root, without a slash at its end
	Transport http.RoundTripper
	Auth      func(*http.Request) error // puts the observer's credential on a request; nil: nobody's

	Repositories []Repository
	Environments []Environment
	// Answers maps accounts at the upstream to who is declared to answer for them, person:NAME, agent:NAME or
	// environment:NAME. An account is a login in lower case, or a user of a cluster: system:serviceaccount:NAMESPACE:NAME.
	Answers map[string]string
	// Own are the accounts that are Remit's: of its declared credentials and of its live leases.
	Own []string
	// Hosts are hosts besides the upstream's own that hooks may call: Remit's.
	Hosts []string

	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error // waits; an error ends the scan
}

// Look makes the report. It never fails: what goes wrong is in the report as unseen. The context bounds its time.
func Look(ctx context.Context, t Target) remit.ScanReport {
	report := remit.ScanReport{Upstream: t.Name, Kind: t.Kind, At: t.Now().UTC().Truncate(time.Second),
		Seen: []remit.ScanSeen{}, Unseen: []remit.ScanGap{}, Findings: []remit.ScanFinding{}, Reach: []remit.ScanReach{}}
	r := &reader{ctx: ctx, target: t, base: strings.TrimSuffix(t.URL, "/"), report: &report}
	var found []thing
	switch t.Kind {
	case Gitea:
		found = gitea(r)
	case GitHub:
		r.kind = byLink
		found = github(r)
	case Kubernetes:
		r.kind = byContinue
		found = kubernetes(r)
	case Registry:
		r.kind = byLast
		found = registry(r)
	default:
		r.unsupported("the whole upstream", "Remit has no way to look at an upstream of this kind for authority outside; look at it yourself")
	}
	for i := range found {
		r.target.answer(&found[i])
	}
	report.Findings, report.Reach = judge(found, report.At)
	if len(report.Findings) > maxFindings {
		r.unsupported("findings", "there are more findings than a report holds; the worst are here")
		report.Unseen[len(report.Unseen)-1].Code = gapLimit
		report.Findings = report.Findings[:maxFindings]
	}
	if len(report.Reach) > maxReach {
		r.unsupported("reach", "there is more reach than a report holds; the worst is here")
		report.Unseen[len(report.Unseen)-1].Code = gapLimit
		report.Reach = report.Reach[:maxReach]
	}
	return report
}

const (
	maxFindings = 2000
	maxReach    = 5000
)

// answer says who is declared to answer for x.
func (t Target) answer(x *thing) {
	if x.owner == "" {
		x.owner = t.Answers[x.account]
	}
	x.own = x.own || t.owns(x.account)
}

// owns tells whether an account is Remit's.
func (t Target) owns(account string) bool { return account != "" && slices.Contains(t.Own, account) }

// resource is the declared repository at a path of the upstream, or what it would be called.
func (t Target) resource(path string) remit.Pattern {
	for _, repo := range t.Repositories {
		if repo.Path == path {
			return remit.Pattern("repo:" + repo.Name)
		}
	}
	return remit.Pattern("repo:" + t.Name + "/" + names(path))
}

// all is everything of a type at the upstream.
func (t Target) all(typ string) remit.Pattern { return remit.Pattern(typ + ":" + t.Name + "/**") }

// owners are the users and organisations whose repositories are declared, sorted.
func (t Target) owners() []string {
	var out []string
	for _, repo := range t.Repositories {
		if owner, _, ok := strings.Cut(repo.Path, "/"); ok {
			out = append(out, owner)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// of is the declared repositories of an owner.
func (t Target) of(owner string) []Repository {
	var out []Repository
	for _, repo := range t.Repositories {
		if strings.HasPrefix(repo.Path, owner+"/") {
			out = append(out, repo)
		}
	}
	return out
}

// names writes a path of the upstream as segments of a resource (remit.Resource).
func names(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '~', c == '-', c == '/':
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// refPatterns are the refs that a forge's rule for branches means, as far as a pattern can say it: never more.
func refPatterns(rule string) []remit.Pattern {
	ref := "refs/heads/" + rule
	body := strings.TrimSuffix(strings.TrimSuffix(ref, "/**"), "/*")
	if strings.ContainsAny(body, "*?[]{}\\!,") {
		return nil
	}
	return []remit.Pattern{remit.Pattern(ref)}
}

// outside tells whether a hook's address lies outside: another host than the upstream's and Remit's. insecure tells that
// what it sends can be read on the way, or that nobody checks who gets it.
func (t Target) outside(address string) (host string, outside, insecure bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", true, true
	}
	own, _ := url.Parse(t.URL)
	host = u.Hostname()
	outside = !(own != nil && strings.EqualFold(host, own.Hostname())) && !slices.ContainsFunc(t.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
	return clip(host), outside, u.Scheme != "https"
}
