package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/scan"
)

// scans look at upstreams for authority outside Remit, in Remit's own name.
type scans struct {
	engine   *engine.Engine
	ups      *upstreams
	follower *follow.Follower
	base     string // of this server: its hooks are nobody else's
	clock    identity.Clock
}

// Scan is server.Scan.
func (x scans) Scan(ctx context.Context, name string) (remit.ScanReport, remit.Digest, error) {
	up, spec, err := x.ups.declared(ctx, name)
	if err != nil {
		return remit.ScanReport{}, spec, err
	}
	t := scan.Target{Name: up.Name, Kind: up.Kind, URL: up.Location, Now: x.clock.Now, Sleep: sleep, Answers: map[string]string{}}
	switch {
	case up.Kind == remit.KindHTTP && up.Forge == scan.GitHub:
		t.Kind, t.URL = scan.GitHub, githubAPI(up.Location)
	case up.Kind == remit.KindGitea, up.Kind == remit.KindKubernetes, up.Kind == remit.KindRegistry: // their kinds are called the same
	default:
		return scan.Look(ctx, t), spec, nil // which says that nothing of it was seen
	}
	at := up
	at.Location = t.URL
	if t.Transport, _, err = x.ups.transport(ctx, at, remit.Hash(spec[:], []byte(t.URL))); err != nil {
		return remit.ScanReport{}, spec, err
	}
	if up.Observer.From != "" { // never the one that writes
		t.Auth = observes(up)
	}
	for _, own := range []remit.Source{up.Observer, up.Write} {
		if own.User != "" {
			t.Own = append(t.Own, strings.ToLower(own.User))
		}
		if up.Kind == remit.KindKubernetes {
			if value, err := broker.Value(ctx, own); err == nil { // one that cannot be read is nobody's
				t.Own = append(t.Own, subjectOfToken(value)...)
			}
		}
	}
	if u, err := url.Parse(x.base); err == nil {
		t.Hosts = append(t.Hosts, u.Hostname())
	}
	x.declared(ctx, &t)
	return scan.Look(ctx, t), spec, nil
}

// declared fills in what the state says about the upstream.
func (x scans) declared(ctx context.Context, t *scan.Target) {
	var people []authority.Person
	x.engine.View(func(s *authority.State) {
		for _, p := range s.People {
			if !p.Removed {
				people = append(people, authority.Person{ID: p.ID, Name: p.Name})
			}
		}
		for name, a := range s.Agents {
			if a.Status != remit.AgentRetired {
				t.Answers[strings.ToLower(name)] = "agent:" + name
			}
		}
		prefix := broker.Prefix(s)
		for id, l := range s.Leases {
			if _, number, ok := strings.Cut(string(id), "-"); ok && l.Upstream == t.Name {
				t.Own = append(t.Own, prefix+number)
			}
		}
		for name, r := range s.Repositories {
			if up, path, _ := strings.Cut(name, "/"); up == t.Name && t.Kind != scan.Registry {
				if r.Path != "" {
					path = strings.TrimSuffix(strings.Trim(r.Path, "/"), ".git")
				}
				t.Repositories = append(t.Repositories, scan.Repository{Name: name, Path: path, DefaultBranch: r.DefaultBranch})
			}
		}
		for key := range s.Artifacts {
			name, _, _ := strings.Cut(strings.TrimPrefix(key, "artifact:"), "@")
			if up, path, _ := strings.Cut(name, "/"); up == t.Name && t.Kind == scan.Registry {
				t.Repositories = append(t.Repositories, scan.Repository{Name: name, Path: path})
			}
		}
	})
	slices.SortFunc(t.Repositories, func(a, b scan.Repository) int { return strings.Compare(a.Name, b.Name) })
	t.Repositories = slices.Compact(t.Repositories)
	dir := x.follower.Directory(ctx, people)
	for _, p := range people {
		t.Answers[strings.ToLower(dir.Name(p.ID))] = "person:" + dir.Name(p.ID)
	}
	if t.Kind == scan.Kubernetes {
		x.environments(ctx, t)
	}
}

// environments are those that are deployed to a cluster.
func (x scans) environments(ctx context.Context, t *scan.Target) {
	specs := map[string]remit.Digest{}
	x.engine.View(func(s *authority.State) {
		for name, e := range s.Environments {
			if e.Upstream == t.Name {
				specs[name] = e.Spec
			}
		}
	})
	for name, spec := range specs {
		body, ok := x.engine.Text(ctx, spec)
		var target remit.Target
		if !ok || json.Unmarshal(body, &target) != nil {
			continue // erased: then nobody answers for its account
		}
		t.Environments = append(t.Environments, scan.Environment{Name: name, Namespace: target.Namespace, ServiceAccount: target.ServiceAccount})
	}
	slices.SortFunc(t.Environments, func(a, b scan.Environment) int { return strings.Compare(a.Name, b.Name) })
	for account, who := range scan.Answering(t.Environments) {
		t.Answers[account] = who
	}
}

// githubAPI is the root of the REST API of a GitHub: one host for github.com, a path for GitHub Enterprise Server.
func githubAPI(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return location
	}
	if strings.EqualFold(u.Hostname(), "github.com") {
		return "https://api.github.com"
	}
	return u.Scheme + "://" + u.Host + "/api/v3"
}

// subjectOfToken is whose a token of a service account is. It is not verified: it is Remit's own, and only its name is
// wanted.
func subjectOfToken(token string) []string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || !strings.HasPrefix(claims.Subject, "system:serviceaccount:") {
		return nil
	}
	return []string{claims.Subject}
}

// sleep waits for as long as an upstream asked.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
