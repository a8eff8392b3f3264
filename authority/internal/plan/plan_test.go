package plan

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

const commit = "0123456789012345678901234567890123456789"

func TestCheck(t *testing.T) {
	digest := remit.Hash([]byte("x"))
	main := []remit.Pattern{"refs/heads/main"}
	for _, row := range []struct {
		name string
		step remit.PlanStep
		want string // words; empty: nothing is wrong
	}{
		{"an envelope", remit.PlanStep{Action: "source.push", Resource: "repo:forge/acme/**", Paths: []remit.Pattern{"src/**"}, Uses: 3}, ""},
		{"a commit", remit.PlanStep{Action: "source.merge", Resource: "repo:forge/a", Refs: main, New: commit, Old: commit}, ""},
		{"arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Args: digest}, ""},
		{"an effect", remit.PlanStep{Action: "secret.read", Resource: "secret:vault/db", Effect: digest}, ""},
		{"no resource", remit.PlanStep{Action: "source.push"}, "has no type"},
		{"arguments on a pattern", remit.PlanStep{Action: "secret.use", Resource: "secret:vault/**", Args: digest}, "names one resource"},
		{"an effect on a pattern", remit.PlanStep{Action: "secret.use", Resource: "secret:vault/**", Effect: digest}, "names one resource"},
		{"a pattern of tools", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/*"}, "each tool in full"},
		{"a commit of what moves no ref", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", New: commit}, "brings no commit"},
		{"only what was before", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Old: commit}, "old belongs to new"},
		{"a branch as a commit", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: main, New: "main"}, "lower-case hex"},
		{"a branch as the one before", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: main, New: commit, Old: "main"}, "lower-case hex"},
		{"a commit to no ref", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", New: commit}, "one ref"},
		{"a commit to two refs", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: append(main, "refs/heads/x"), New: commit}, "one ref"},
		{"a commit to a pattern", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: []remit.Pattern{"refs/heads/*"}, New: commit}, "one ref"},
		{"refs of what moves none", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Refs: main}, "moves no ref"},
		{"limits of what moves no ref", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", MaxCommits: 1}, "moves no ref"},
		{"fewer than no uses", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Uses: -1}, "1 to 100 times"},
		{"too many uses", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Uses: 101}, "1 to 100 times"},
		{"what is exact, twice", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Args: digest, Uses: 2}, "done once"},
		{"too many patterns", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Paths: make([]remit.Pattern, 17)}, "at most 16"},
		{"a limit below none", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", MaxPaths: -1}, "limits are"},
		{"a ref that is none", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: []remit.Pattern{"main"}}, "refs: "},
		{"a path that is none", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Paths: []remit.Pattern{"../x"}}, "paths: "},
		{"a path at any depth", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Paths: []remit.Pattern{"**/x"}}, "plans nothing"},
	} {
		if why := Check(row.step); (why == "") != (row.want == "") || !strings.Contains(why, row.want) {
			t.Errorf("%s: %q; want %q", row.name, why, row.want)
		}
	}
}

func TestDiffers(t *testing.T) {
	digest, other := remit.Hash([]byte("x")), remit.Hash([]byte("y"))
	call := func(args, effect remit.Digest) Act {
		return Act{Step: remit.Step{Action: "tool.call", Resource: "tool:jira/close", Args: args}, Effect: effect}
	}
	push := func(change func(*Act)) Act {
		a := Act{Step: remit.Step{Action: "source.push", Resource: "repo:forge/a"}, Own: []remit.Pattern{"refs/heads/remit/T-1/**"},
			Ref: &remit.RefChange{Ref: "refs/heads/remit/T-1/x", Op: remit.RefUpdate, Paths: []remit.PathChange{{Path: "src/a"}}}}
		if change != nil {
			change(&a)
		}
		return a
	}
	src := remit.PlanStep{Action: "source.push", Resource: "repo:forge/**", Paths: []remit.Pattern{"src/**"}}
	exact := remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: []remit.Pattern{"refs/heads/remit/T-1/x"}, New: commit}
	for _, row := range []struct {
		name string
		step remit.PlanStep
		act  Act
		want string
	}{
		{"inside", src, push(nil), ""},
		{"the arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Args: digest}, call(digest, other), ""},
		{"other arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Args: digest}, call(other, other), "its arguments"},
		{"the effect", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Effect: digest}, call(other, digest), ""},
		{"another effect", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Effect: digest}, call(other, other), "its effect"},
		{"any arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close"}, call(other, other), ""},
		{"another action", src, call(digest, digest), "it is tool.call, not source.push"},
		{"another resource", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/open"}, call(digest, digest), "it is on tool:jira/close"},
		{"in production, any arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close"}, func() Act { a := call(digest, other); a.Pinned = true; return a }(), "by digest"},
		{"in production, the arguments", remit.PlanStep{Action: "tool.call", Resource: "tool:jira/close", Args: digest}, func() Act { a := call(digest, other); a.Pinned = true; return a }(), ""},
		{"in production, the arguments of a push", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Args: digest}, push(func(a *Act) { a.Step.Args, a.Pinned = digest, true }), "by digest"},
		{"not one's own branch", src, push(func(a *Act) { a.Ref.Ref = "refs/heads/main" }), "it moves refs/heads/main"},
		{"one's own branch by force", src, push(func(a *Act) { a.Ref.Op = remit.RefForce }), ""},
		{"another branch by force", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: []remit.Pattern{"refs/heads/**"}}, push(func(a *Act) { a.Ref.Ref, a.Ref.Op = "refs/heads/main", remit.RefForce }), "it is a force"},
		{"another branch deleted", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Refs: []remit.Pattern{"refs/heads/**"}}, push(func(a *Act) { a.Ref.Ref, a.Ref.Op = "refs/heads/main", remit.RefDelete }), "it is a delete"},
		{"by force, by its effect", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Effect: digest}, push(func(a *Act) { a.Ref.Ref, a.Ref.Op, a.Effect = "refs/heads/main", remit.RefForce, digest }), ""},
		{"the commit", exact, push(func(a *Act) { a.Ref.New = commit }), ""},
		{"another commit", exact, push(func(a *Act) { a.Ref.New = "f" + commit[1:] }), "it brings commit"},
		{"a path outside", src, push(func(a *Act) { a.Ref.Paths = append(a.Ref.Paths, remit.PathChange{Path: "doc/x"}) }), "doc/x, outside"},
		{"what is protected", src, push(func(a *Act) { a.Guarded, a.Guards = []string{"src/a"}, []remit.Pattern{"**/a"} }), "src/a, which is protected"},
		{"what is protected, by its commit", exact, push(func(a *Act) { a.Ref.New, a.Guarded, a.Guards = commit, []string{"src/a"}, []remit.Pattern{"**/a"} }), ""},
		{"what is protected, by its arguments", remit.PlanStep{Action: "source.push", Resource: "repo:forge/a", Args: digest}, push(func(a *Act) { a.Step.Args, a.Guarded, a.Guards = digest, []string{"src/a"}, []remit.Pattern{"**/a"} }), "which is protected"},
		{"what runs with secrets", src, push(func(a *Act) { a.Runs = true }), "runs with secrets"},
		{"what runs with secrets, by its commit", exact, push(func(a *Act) { a.Ref.New, a.Runs = commit, true }), ""},
	} {
		if why, _ := Differs(row.step, row.act); (why == "") != (row.want == "") || !strings.Contains(why, row.want) {
			t.Errorf("%s: %q; want %q", row.name, why, row.want)
		}
	}
}

func TestNames(t *testing.T) {
	guards := []remit.Pattern{".github/**", "**/AGENTS.md", "**/.claude/**", "Makefile"}
	for q, want := range map[remit.Pattern]bool{
		"src/**": false, "**": false, ".github": false, ".github/**": true, ".github/workflows/ci.yml": true, ".github/workflows/*": true,
		"AGENTS.md": true, "src/AGENTS.md": true, "src/*": false, "Makefile": true, "a/.claude/**": true, "a/.claude/x": true, "a/.claude": false,
	} {
		if got := Names(q, guards); got != want {
			t.Errorf("%s: %v", q, got)
		}
	}
}
