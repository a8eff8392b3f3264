package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/server"
)

// asker answers questions about attack paths: a server, or declarations that are in force nowhere.
type asker interface {
	Paths(context.Context, remit.PathsQuery) (remit.PathsAnswer, error)
	Reach(context.Context, remit.PathsQuery) (remit.PathsReach, error)
	Cut(context.Context, remit.PathsQuery) (remit.PathsCut, error)
	PathGraph(context.Context) (remit.PathGraph, error)
	PlanWorkflow(context.Context, remit.Workflow) (remit.WorkflowPlan, error)
}

// draftHouse is a house of which nobody knows, over a log in a directory of its own: declarations come into force in it by
// the same code as in any other, and the rules and the policy are asked there.
type draftHouse struct {
	*server.Server
	house *House
	dir   string
	by    remit.ID // the administrator who began it
	notes []string
}

// openDraft makes a house in which set is in force. It takes no port and serves nobody. Close removes it.
func openDraft(ctx context.Context, set remit.Declarations, profile remit.Profile) (_ *draftHouse, err error) {
	d := &draftHouse{}
	if d.dir, err = os.MkdirTemp("", "remit-draft-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	set, d.notes, err = completed(set)
	if err != nil {
		return nil, err
	}
	admin, err := founder(set)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(d.dir, "data")
	if err := found(ctx, Founding{Data: data, Org: "draft", Profile: profile, Admin: admin.Name, Keys: admin.Keys}); err != nil {
		return nil, err
	}
	if d.house, err = Open(ctx, Config{Data: data, Listen: "127.0.0.1:0"}); err != nil {
		return nil, err
	}
	d.Server = d.house.api
	d.by, err = d.Declare(ctx, admin.Name, set)
	return d, err
}

// Close removes the house.
func (d *draftHouse) Close() {
	if d.house != nil {
		d.house.Close()
	}
	os.RemoveAll(d.dir)
}

// PlanWorkflow says what w would meet.
func (d *draftHouse) PlanWorkflow(ctx context.Context, w remit.Workflow) (remit.WorkflowPlan, error) {
	return d.Server.PlanWorkflow(ctx, d.by, w)
}

// founder is the declared administrator who begins the house.
func founder(set remit.Declarations) (remit.Person, error) {
	for _, g := range set.Groups {
		if g.Name != remit.Administrators {
			continue
		}
		for _, m := range g.Members {
			if i := slices.IndexFunc(set.People, func(p remit.Person) bool { return p.Name == m }); i >= 0 {
				return set.People[i], nil
			}
		}
	}
	return remit.Person{}, remit.Errorf(remit.BadRequest, "the declarations have no group %s with a declared member; without one nobody could put them in force", remit.Administrators)
}

// completed gives people whose keys are not declared a key that nobody has, of the kind that proves a touch: they have
// enrolled one where they are in force, and without it no approval of theirs could be asked for.
func completed(set remit.Declarations) (remit.Declarations, []string, error) {
	var notes []string
	set.People = slices.Clone(set.People)
	keyless := 0
	for i := range set.People {
		p := &set.People[i]
		if len(p.Keys) > 0 {
			continue
		}
		keyless++
		seed := remit.Hash([]byte("remit: the key of nobody, for "), []byte(p.Name)) // the same for a baseline
		own, _ := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		key, err := ssh.ParsePublicKey(ssh.Marshal(struct {
			Name string
			Key  []byte
			App  string
		}{ssh.KeyAlgoSKED25519, own, "ssh:"}))
		if err != nil {
			return set, nil, err
		}
		p.Keys = []string{string(ssh.MarshalAuthorizedKey(key))}
	}
	if keyless > 0 {
		who := fmt.Sprintf("%d people have", keyless)
		if keyless == 1 {
			who = "1 person has"
		}
		notes = append(notes, who+" no declared key; taken as if they had enrolled a passkey.")
	}
	for _, g := range set.Groups {
		if len(g.From) > 0 {
			notes = append(notes, fmt.Sprintf("Group %s takes members from a provider; here it has only those that are declared.", g.Name))
		}
	}
	return set, notes, nil
}

// asks gives who answers: the declarations of dir, or, without one, the server. The caller calls done.
func (a *app) asks(ctx context.Context, dir, profile string) (who asker, pos *declare.Positions, done func(), err error) {
	if dir == "" {
		s, err := a.connect(ctx)
		return s, nil, func() {}, err
	}
	set, pos, err := readDeclarations(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := a.draft(ctx, *set, dir, pos, profile)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, n := range d.notes {
		a.notef("%s", visible(n))
	}
	return d, pos, d.Close, nil
}

// draft is openDraft with errors that name a file and a line.
func (a *app) draft(ctx context.Context, set remit.Declarations, dir string, pos *declare.Positions, profile string) (*draftHouse, error) {
	p := remit.Profile(cmp.Or(profile, string(remit.Team)))
	if p != remit.Team && p != remit.Solo && p != remit.Demo {
		return nil, usagef("--profile is team, solo or demo, as at remit init")
	}
	d, err := openDraft(ctx, set, p)
	if err != nil {
		return nil, locate(err, dir, pos)
	}
	return d, nil
}

// readBaseline reads the declarations of a directory, or, where there is none of that name, those that dir had at a commit.
func readBaseline(ctx context.Context, dir, against string) (*remit.Declarations, *declare.Positions, string, error) {
	if fi, err := os.Stat(against); err == nil && fi.IsDir() {
		set, pos, err := readDeclarations(against)
		return set, pos, against, err
	}
	tmp, err := os.MkdirTemp("", "remit-baseline-")
	if err != nil {
		return nil, nil, "", err
	}
	defer os.RemoveAll(tmp)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, "", err
	}
	files, err := filesAt(ctx, tmp, abs, against)
	if err != nil {
		return nil, nil, "", err
	}
	at := filepath.Join(tmp, "declarations")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		to := filepath.Join(at, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return nil, nil, "", err
		}
		if err := os.WriteFile(to, files[name], 0o600); err != nil {
			return nil, nil, "", err
		}
	}
	set, pos, err := readDeclarations(at)
	if err != nil {
		return nil, nil, "", fmt.Errorf("the declarations at %s: %w", against, err)
	}
	return set, pos, against, nil
}

// filesAt are the files of declarations that dir, in a work tree of git, had at a commit.
func filesAt(ctx context.Context, tmp, dir, ref string) (map[string][]byte, error) {
	g, err := newPlainGit(tmp, "*")
	if err != nil {
		return nil, err
	}
	commit, err := g.run(ctx, dir, "rev-parse", "--quiet", "--verify", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return nil, remit.Errorf(remit.NotFound, "--against %q is neither a directory nor a commit of the repository in which %s lies", ref, dir)
	}
	list, err := g.run(ctx, dir, "ls-tree", "-r", "-z", "--name-only", commit) // below dir, by names relative to it
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(list, "\x00") {
		ext, in := strings.ToLower(path.Ext(name)), path.Dir(name)
		if !filepath.IsLocal(name) || !(in == "." && (ext == ".yaml" || ext == ".yml") || in == "policy" && ext == ".rego") {
			continue
		}
		body, err := g.run(ctx, dir, "cat-file", "blob", commit+":./"+name)
		if err != nil {
			return nil, err
		}
		files[name] = []byte(body + "\n")
	}
	if len(files) == 0 {
		return nil, remit.Errorf(remit.NotFound, "at %s there were no declarations in %s; compare with a later commit, or with a directory", ref, dir)
	}
	return files, nil
}
