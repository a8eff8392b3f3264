package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/sshsig"
)

// quickstart is the whole house in one process and one directory, and a story on a real repository.
type quickstart struct {
	a     *app
	repo  string // of the user; empty: the sample
	dir   string
	kept  bool // the user named the directory, so it stays
	json  bool
	exit  bool
	plays string // which story: push or release
	say   *narrator
	git   *plainGit
	house *House

	name     string // of the repository as declared: local/payments
	upstream string // bare repository
	branch   string
	draft    analysis.Draft
	people   map[string]string // name → key file
	registry string            // host:port of the story's registry
}

func newQuickstart(a *app) *cobra.Command {
	q := quickstart{a: a}
	c := &cobra.Command{
		Use:   "quickstart [--repo PATH]",
		Short: "See an agent work within its remit, on a real repository",
		Long: `Starts everything in one process and a fresh directory, then lets an agent work with ordinary git through the
gateway: what is in its task passes, what is not is denied with a lesson, what runs by itself is held until a person
approves, and the log of it all is exported and verified offline.

With --story release it goes on from there: a dependency change is proposed, reviewed, merged, built, published, deployed to
staging and to production, each step by an identity of its own and by digest, and then a bad release is rolled back.

With --repo the story plays on a copy of that repository; the repository itself is never touched. It is the demo
profile: one machine, one uid, keys of made-up people, confinement none.`,
		Example: `  remit quickstart
  remit quickstart --story release
  remit quickstart --repo ~/src/payments --dir ./remit-demo
  remit quickstart --exit --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return q.run(cmd.Context()) },
	}
	c.Flags().StringVar(&q.repo, "repo", "", "play on a copy of this repository")
	c.Flags().StringVar(&q.plays, "story", "push", "push, or release: from a dependency change to production and back")
	c.Flags().StringVar(&q.dir, "dir", "", "directory to make and keep; a temporary one by default")
	c.Flags().BoolVar(&q.exit, "exit", false, "end after the story instead of serving on")
	c.Flags().BoolVar(&q.json, "json", false, "one JSON object for each step")
	return c
}

func (q *quickstart) run(ctx context.Context) (err error) {
	q.json = q.json || q.a.output == "json"
	q.say = newNarrator(q.a, q.json)
	if q.plays != "push" && q.plays != "release" || q.plays == "release" && q.repo != "" {
		return usagef("--story is push or release; the story of a release plays on the sample, without --repo")
	}
	q.kept = q.dir != ""
	if !q.kept {
		if q.dir, err = os.MkdirTemp("", "remit-quickstart-"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(q.dir)
	}
	if err := q.prepare(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := q.open(ctx); err != nil {
		return err
	}
	defer q.house.Close()
	served := make(chan error, 1)
	go func() { served <- q.house.Run(ctx) }()
	if q.plays == "release" {
		if err := q.makeTargets(ctx); err != nil {
			return err
		}
	}
	if err := q.declare(ctx); err != nil {
		return err
	}
	play := q.story
	if q.plays == "release" {
		play = q.release
	}
	if err := play(ctx); err != nil {
		return err
	}
	if q.exit {
		stop()
		return <-served
	}
	q.say.running(q)
	return <-served
}

// prepare makes the directory, the upstream and the keys of the people in the story.
func (q *quickstart) prepare(ctx context.Context) error {
	dir, err := filepath.Abs(q.dir)
	if err != nil {
		return err
	}
	q.dir = dir
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return remit.Errorf(remit.Conflict, "--dir %s is not empty; the story begins in a directory of its own", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "upstream"), 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	var safe []string
	name := "payments"
	if q.repo != "" {
		path, err := filepath.Abs(q.repo)
		if err != nil {
			return err
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		q.repo, safe = path, []string{path, filepath.Join(path, ".git")}
		name = repositoryName(path)
	}
	q.upstream, q.name = filepath.Join(dir, "upstream", name+".git"), "local/"+name
	if q.git, err = newPlainGit(dir, append(safe, q.upstream)...); err != nil {
		return err
	}
	if q.repo == "" {
		q.branch, err = q.git.createSample(ctx, filepath.Join(dir, "sample"), q.upstream)
	} else {
		q.branch, err = q.git.cloneBare(ctx, q.repo, q.upstream)
	}
	if err != nil {
		return err
	}
	if err := q.git.createOther(ctx, filepath.Join(dir, "sample"), filepath.Join(dir, "upstream", otherRepository+".git")); err != nil {
		return err
	}
	files, err := q.git.workflowFiles(ctx, q.upstream, q.branch)
	if err != nil {
		return err
	}
	q.draft = analysis.DraftEffects(q.name, q.branch, files)
	q.people = map[string]string{}
	for _, p := range q.cast() {
		if q.people[p], err = makeKey(filepath.Join(dir, "people"), p); err != nil {
			return err
		}
	}
	return nil
}

// cast are the people of the story; the first is the administrator.
func (q *quickstart) cast() []string {
	if q.plays == "release" {
		return []string{"ana", "ben", "cem", "dan"}
	}
	return []string{"ana", "ben", "cem"}
}

func (q *quickstart) agents() string {
	if q.plays == "release" {
		return "planner, coder, reviewer, merger, builder, releaser, deployer"
	}
	return "planner, coder, reviewer, releaser"
}

// repositoryName is the last part of a path, as one segment of a resource name.
func repositoryName(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".git")
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, base)
	if strings.Trim(clean, ".-") == "" {
		return "repository"
	}
	return clean
}

// makeKey makes an SSH key of a person in the story.
func makeKey(dir, name string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(key, name)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, name+".key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	spub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(spub))) + " " + name + "\n"
	return path, os.WriteFile(path+".pub", []byte(line), 0o644)
}

func (q *quickstart) open(ctx context.Context) error {
	data := filepath.Join(q.dir, "data")
	pub, err := os.ReadFile(q.people["ana"] + ".pub")
	if err != nil {
		return err
	}
	if err := found(ctx, Founding{Data: data, Org: "quickstart", Profile: remit.Demo, Admin: "ana", Keys: []string{string(pub)}}); err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(q.dir, "server.log"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	q.house, err = Open(ctx, Config{Data: data, Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(logFile, nil))})
	return err
}

// as signs a person in.
func (q *quickstart) as(ctx context.Context, name string) (*client.Client, error) {
	c, err := client.New(q.house.URL, q.house.Org, q.house.CA.PEM())
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(q.people[name] + ".pub")
	if err != nil {
		return nil, err
	}
	pub, err := sshsig.ParseAuthorizedKey(string(line))
	if err != nil {
		return nil, err
	}
	c, _, err = c.SignIn(ctx, pub.Marshal(), func(text []byte) ([]byte, error) {
		return sshsig.SignFile(ctx, q.people[name], "signin@remit", text, sshsig.Person{})
	})
	return c, err
}

// declare writes the declarations as files, reads them back as anybody would, and applies them.
func (q *quickstart) declare(ctx context.Context) error {
	set := q.declarations()
	dir := filepath.Join(q.dir, "declarations")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, body := range declare.Write(set) {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return err
		}
	}
	read, _, err := declare.Read(os.DirFS(dir))
	if err != nil {
		return fmt.Errorf("the declarations in %s: %w", dir, err)
	}
	ana, err := q.as(ctx, "ana")
	if err != nil {
		return err
	}
	answer, err := ana.Apply(ctx, remit.ApplyRequest{Declarations: *read})
	if err != nil {
		return err
	}
	q.say.house(q, len(answer.Changes))
	return nil
}

func (q *quickstart) declarations() *remit.Declarations {
	set := &remit.Declarations{}
	for _, p := range q.cast() {
		line, err := os.ReadFile(q.people[p] + ".pub")
		if err != nil {
			panic(err) // written a moment ago
		}
		set.People = append(set.People, remit.Person{Name: p, Keys: []string{strings.TrimSpace(string(line))}})
	}
	if q.plays == "release" {
		return q.releaseDeclarations(set)
	}
	set.Groups = []remit.Group{{Name: "reviewers", Members: []string{"ana", "ben"}}, {Name: "operators", Members: []string{"ben", "cem"}}}
	// The coder is entitled to every repository of the upstream; a task asks for one.
	repo := remit.Pattern("repo:local/*")
	expires := time.Now().AddDate(0, 3, 0).Format("2006-01-02")
	agent := func(name string, f remit.Function, purpose string, actions ...remit.Action) remit.Agent {
		a := remit.Agent{Name: name, Function: f, Owner: "ana", Purpose: purpose, Expires: expires, Review: expires}
		if len(actions) > 0 {
			a.Entitlements = []remit.Scope{{Actions: actions, Resources: []remit.Pattern{repo}}}
		}
		return a
	}
	set.Agents = []remit.Agent{
		agent("planner", remit.FuncPlan, "Turns issues into tasks", "issue.read", "source.read"),
		agent("coder", remit.FuncCode, "Changes code on branches of its own", "source.read", "source.push"),
		agent("reviewer", remit.FuncReview, "Reviews what others wrote", "source.read", "review.submit"),
		agent("releaser", remit.FuncRelease, "Publishes what was built", "source.read"),
	}
	set.Upstreams = []remit.Upstream{{Name: "local", Kind: "local", Location: filepath.Dir(q.upstream)}}
	effects := q.draft.Effects
	if effects == nil {
		effects = []remit.Effect{}
	}
	set.Repositories = []remit.Repository{{Name: q.name, DefaultBranch: q.branch, Approvers: []remit.Need{{Group: "reviewers", N: 1}}, Effects: &effects},
		{Name: "local/" + otherRepository, DefaultBranch: "main", Effects: &[]remit.Effect{}}}
	set.Environments = q.draft.Environments
	for i := range set.Environments {
		set.Environments[i].Approvers = []remit.Need{{Group: "operators", N: 1}}
	}
	return set
}

// line is one step of the story as --json prints it.
type line struct {
	Step     int              `json:"step"`
	Actor    string           `json:"actor"`
	Action   string           `json:"action"`
	Resource string           `json:"resource"`
	Decision string           `json:"decision"`
	Rules    []string         `json:"rules"`
	Entry    remit.EntryIndex `json:"entry"`
}

// narrator tells the story, to a person or as JSON.
type narrator struct {
	w    io.Writer
	json bool
	bold, dim, red, green, yellow,
	reset string
	step int
}

func newNarrator(a *app, asJSON bool) *narrator {
	n := &narrator{w: a.stdout, json: asJSON}
	if a.color() && !asJSON {
		n.bold, n.dim, n.red, n.green, n.yellow, n.reset = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
	}
	return n
}

func (n *narrator) printf(format string, args ...any) {
	if !n.json {
		fmt.Fprintf(n.w, format, args...)
	}
}

// house says what stands before the story begins.
func (n *narrator) house(q *quickstart, changes int) {
	n.printf("%sRemit%s  an agent works within its remit, and everyone can check that it did.\n\n", n.bold, n.reset)
	n.printf("  everything lies in  %s", q.dir)
	if !q.kept {
		n.printf(", until this ends (--dir keeps it)")
	}
	n.printf("\n")
	if q.repo != "" {
		n.printf("  the upstream        a bare copy of %s; yours is not touched\n", q.repo)
	} else {
		n.printf("  the upstream        %s, a small sample\n", q.upstream)
	}
	n.printf("  the server          %s, TLS from its own CA\n", q.house.URL)
	n.printf("  profile             %sdemo%s: one machine, one uid, %sconfinement: none%s; it shows, it does not protect\n", n.yellow, n.reset, n.yellow, n.reset)
	n.printf("  people              ana (administrator), %s; agents %s; %d declarations\n", strings.Join(q.cast()[1:], ", "), q.agents(), changes)
	if len(q.draft.Effects) == 0 {
		n.printf("  effects             no workflow files, so a push sets nothing off\n")
	}
	for i, e := range q.draft.Effects {
		head := ""
		if i == 0 {
			head = "effects"
		}
		what := string(e.Causes) + " " + string(e.On)
		if e.Secrets != "" {
			what += ", secrets " + e.Secrets
		}
		n.printf("  %-19s a push to %s causes %s\n", head, e.Refs, what)
	}
}

func (n *narrator) scene(title string) {
	n.step++
	n.printf("\n%s%d  %s%s\n", n.bold, n.step, title, n.reset)
}

// did tells one decision, with git's own words below it.
func (n *narrator) did(l line, words string) {
	l.Step = n.step
	if l.Rules == nil {
		l.Rules = []string{}
	}
	if n.json {
		if b, err := json.Marshal(l); err == nil {
			fmt.Fprintf(n.w, "%s\n", b)
		}
		return
	}
	color := map[string]string{"allow": n.green, "deny": n.red, "hold": n.yellow}[l.Decision]
	n.printf("   %s  %s %s: %s%s%s", l.Actor, l.Action, l.Resource, color, l.Decision, n.reset)
	if len(l.Rules) > 0 {
		n.printf(" by %s", strings.Join(l.Rules, ", "))
	}
	n.printf("   %sentry %d%s\n", n.dim, l.Entry, n.reset)
	for w := range strings.Lines(words) {
		n.printf("      %s%s%s\n", n.dim, visible(strings.TrimRight(w, "\r\n")), n.reset)
	}
}

func (n *narrator) note(format string, args ...any) { n.printf("   "+format+"\n", args...) }

func (n *narrator) running(q *quickstart) {
	n.printf("\n%sThe server goes on%s at %s; ctrl-C ends it. Try, in another terminal:\n", n.bold, n.reset, q.house.URL)
	n.printf("  export REMIT_SERVER=%s REMIT_ORG=quickstart REMIT_CA=%s REMIT_KEY=%s\n", q.house.URL, layout(filepath.Join(q.dir, "data")).roots(), q.people["ana"])
	n.printf("  remit approvals list --all\n  remit run --agent coder --intent \"try it\" --repo %s -- bash\n", q.name)
	n.printf("  git clone %s   # in there\n", q.upstream)
}
