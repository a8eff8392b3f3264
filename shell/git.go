package shell

import (
	"slices"
	"strings"
)

// command is a subcommand of git, as tool is a program. A known subcommand cannot be an alias; whatever is not here may
// be one. What the repository's own configuration names (hooks, filters, monitors) belongs to the control surface;
// subcommands that run a hook of the kind that projects have are Run.
type command struct {
	class Class
	spec  string
	judge func(w *walker, p parsed, in dirs)
}

const (
	diffSpec = `-pPuswbRaWzMCDB -USGXlO: --patch --no-patch --stat? --numstat --shortstat --dirstat? --summary --name-only --name-status --raw --color? --no-color --word-diff? --word-diff-regex= --color-words?
		--check --full-index --binary --abbrev? --no-renames --find-renames? --find-copies? --diff-filter= --ignore-all-space --ignore-space-change --ignore-blank-lines --ignore-space-at-eol
		--unified= --minimal --patience --histogram --diff-algorithm= --exit-code --quiet --no-ext-diff --no-textconv --cached --staged --merge-base --cc --text --compact-summary
		--function-context --relative? --pickaxe-regex --pickaxe-all --submodule? --no-prefix --inter-hunk-context= --ignore-submodules? --stat-width= --indent-heuristic`
	logSpec = `-EFPgict -nL: -# --oneline --graph --all --branches? --tags? --remotes? --decorate? --no-decorate --format= --pretty? --abbrev-commit --no-abbrev-commit --max-count= --skip=
		--since= --until= --after= --before= --author= --committer= --grep= --all-match --invert-grep --regexp-ignore-case --extended-regexp --fixed-strings --perl-regexp --merges --no-merges --first-parent
		--reverse --follow --date= --date-order --topo-order --author-date-order --left-right --cherry-pick --cherry-mark --cherry --boundary --ancestry-path? --no-walk? --not --notes? --no-notes
		--relative-date --parents --children --simplify-by-decoration --full-history --no-mailmap --use-mailmap --log-size --source --stdin --walk-reflogs --dense --sparse --exclude= --count ` + diffSpec
)

// gitCommands is every subcommand that is known.
var gitCommands = map[string]command{
	"status": {class: Read, spec: "-sbvuz --short --branch --porcelain? --long --verbose --show-stash --ahead-behind --no-ahead-behind --untracked-files? --ignored? --ignore-submodules? --column? --no-column --no-renames --find-renames?"},
	"log":    {class: Read, spec: logSpec}, "show": {class: Read, spec: logSpec},
	"diff": {class: Read, spec: diffSpec + " --no-index", judge: gitPaths}, "diff-tree": {class: Read, spec: "-rtcm --root --no-commit-id " + diffSpec}, "diff-index": {class: Read, spec: "-m " + diffSpec}, "diff-files": {class: Read, spec: diffSpec},
	"rev-parse": {class: Read, spec: `-q --short? --abbrev-ref? --verify --show-toplevel --show-prefix --show-cdup --git-dir --absolute-git-dir --git-common-dir --git-path= --is-inside-work-tree --is-inside-git-dir
		--is-bare-repository --is-shallow-repository --symbolic-full-name --symbolic --quiet --all --branches? --tags? --remotes? --show-object-format? --show-superproject-working-tree --path-format=`},
	"rev-list": {class: Read, spec: logSpec + " --objects"}, "shortlog": {class: Read, spec: "-sne --summary --numbered --email --since= --until= --all --no-merges --group= --format="},
	"blame":    {class: Read, spec: "-wlstefnpMCb -L: --porcelain --line-porcelain --show-name --show-email --show-number --root --date= --ignore-rev= --since= --color-lines"},
	"cat-file": {class: Read, spec: "-tspe"}, "ls-tree": {class: Read, spec: "-rdtlz --name-only --long --full-name --full-tree --abbrev? --format= --object-only"},
	"ls-files":   {class: Read, spec: "-cdmostuikzvf -x: --cached --deleted --modified --others --ignored --stage --unmerged --killed --directory --exclude-standard --exclude= --error-unmatch --full-name --abbrev? --eol --deduplicate --recurse-submodules --format="},
	"merge-base": {class: Read, spec: "-a --all --octopus --is-ancestor --independent --fork-point"}, "name-rev": {class: Read, spec: "--name-only --tags --always"}, "describe": {class: Read, spec: "--tags --all --always --dirty? --long --abbrev= --match= --exclude= --contains --exact-match --first-parent --candidates= --broken?"},
	"for-each-ref": {class: Read, spec: "--format= --sort= --count= --contains? --merged? --no-merged? --points-at= --color? --ignore-case --exclude="}, "show-ref": {class: Read, spec: "-dqs --head --heads --branches --tags --dereference --hash? --verify --quiet --abbrev? --exists"},
	"symbolic-ref": {class: Read, spec: "-q --short --quiet", judge: atMost(1)}, "count-objects": {class: Read, spec: "-vH --verbose --human-readable"}, "check-ignore": {class: Read, spec: "-qvn --quiet --verbose --non-matching --no-index"},
	"check-attr": {class: Read, spec: "-a --all --cached"}, "version": {class: Read, spec: "--build-options"}, "whatchanged": {class: Read, spec: "-n: -# " + diffSpec},
	"grep": {class: Read, spec: `-niIwlLhHcEFGPpWqovrz -ABCem: --line-number --ignore-case --word-regexp --files-with-matches --files-without-match --count --extended-regexp --fixed-strings --perl-regexp --show-function
		--function-context --untracked --cached --no-index --break --heading --max-depth= --only-matching --and --or --not --all-match --color? --no-color --column --recursive --name-only --text`, judge: gitPaths},
	"reflog":   {class: Read, spec: "-n: -# --all --date= --format= --oneline --no-abbrev", judge: firstOf("show")},
	"remote":   {class: Read, spec: "-v --verbose --all --push", judge: firstOf("get-url")},
	"config":   {class: Read, spec: "-lz --list --get= --get-all= --get-regexp= --local --global --system --worktree --null --name-only --show-origin --show-scope --type= --bool --int --path --default=", judge: gitConfig},
	"worktree": {class: Read, spec: "-vz --porcelain --verbose", judge: firstOf("list", "!")}, "submodule": {class: Read, spec: "--cached --recursive --quiet", judge: firstOf("status", "summary")}, "stash": {class: Read, spec: "-kuaqp -m: --keep-index --include-untracked --all --message= --quiet --index --staged --patch --stat --name-only", judge: gitStash},
	"branch": {class: Read, judge: gitBranch, spec: `-arvqildDmMcCft -u: --all --remotes --list --verbose --show-current --contains? --no-contains? --merged? --no-merged? --points-at= --sort= --format= --column? --color? --no-color --abbrev= --ignore-case
		--delete --move --copy --force --quiet --track? --no-track --set-upstream-to= --unset-upstream`},
	"tag": {class: Read, judge: gitTag, spec: `-lnadfi -m: --list --contains? --no-contains? --merged? --no-merged? --points-at= --sort= --format= --column? --color? --ignore-case --annotate --message= --delete --force`},

	"add": {class: Write, spec: "-AunfvN --all --update --dry-run --force --verbose --intent-to-add --ignore-errors --renormalize --refresh --chmod="}, "rm": {class: Write, judge: gitWrites, spec: "-rfnq --cached --force --dry-run --quiet --ignore-unmatch"},
	"mv": {class: Write, judge: gitMoves, spec: "-fknv --force --dry-run --verbose"}, "restore": {class: Write, judge: gitWrites, spec: "-SWq -s: --staged --worktree --source= --quiet --ours --theirs --merge --ignore-unmerged"},
	"reset": {class: Write, spec: "-qN --soft --mixed --hard --keep --merge --quiet --no-refresh"}, "clean": {class: Write, spec: "-fdnqxX -e: --force --dry-run --quiet --exclude="},

	"fetch": {class: Write, judge: gitRemote, spec: "-pqvtnfa -j: --all --prune --prune-tags --tags --no-tags --depth= --deepen= --unshallow --quiet --verbose --force --dry-run --jobs= --no-recurse-submodules --progress --no-progress"}, "ls-remote": {class: Read, judge: gitRemote, spec: "-htq --heads --branches --tags --refs --quiet --exit-code --symref --get-url --sort="},

	"commit":   {class: Run, spec: "-aqvsnoi -mFCcS: --all --message= --file= --amend --no-edit --allow-empty --allow-empty-message --quiet --verbose --signoff --no-signoff --no-verify --verify --only --include --dry-run --short --author= --date= --fixup= --squash= --reuse-message= --reset-author --trailer= --cleanup= --no-gpg-sign --status --no-status"},
	"merge":    {class: Run, spec: "-qvn -m: --ff --no-ff --ff-only --squash --no-squash --commit --no-commit --edit --no-edit --abort --continue --quit --quiet --verbose --message= --allow-unrelated-histories --stat --no-stat --no-verify --autostash --no-autostash --strategy-option= --signoff -X:"},
	"rebase":   {class: Run, spec: "-qvf -X: --onto= --continue --abort --skip --quit --quiet --verbose --autostash --no-autostash --autosquash --no-autosquash --rebase-merges? --root --keep-base --fork-point --no-fork-point --update-refs --no-verify --no-ff --force-rebase --committer-date-is-author-date --empty= --signoff --strategy-option="},
	"checkout": {class: Run, judge: gitCheckout, spec: "-qfltdm -bB: --quiet --force --track? --no-track --detach --orphan= --ours --theirs --merge --guess --no-guess --progress --no-progress"}, "switch": {class: Run, spec: "-qftdm -cC: --quiet --force --discard-changes --track? --no-track --detach --create= --force-create= --orphan= --merge --guess --no-guess --progress --no-progress"},
	"cherry-pick": {class: Run, spec: "-nxs -mX: --no-commit --continue --abort --skip --quit --allow-empty --mainline= --signoff --strategy-option= --keep-redundant-commits --ff"}, "revert": {class: Run, spec: "-ns -mX: --no-commit --no-edit --continue --abort --skip --quit --mainline= --signoff --strategy-option="},
	"pull":   {class: Run, judge: gitRemote, spec: "-qvr --quiet --verbose --rebase? --no-rebase --ff --ff-only --no-ff --autostash --no-autostash --tags --no-tags --prune --depth= --no-edit --progress --no-progress --all"},
	"bisect": {class: Run, spec: "--no-checkout --first-parent", judge: firstOf("start", "good", "bad", "new", "old", "skip", "reset", "log", "!")},
}

// pushSpec are the options of a push that changes refs of its remote, and nothing of how it gets there.
const pushSpec = `-ufnqvd --set-upstream --force --force-with-lease? --force-if-includes --dry-run --quiet --verbose --delete --tags --follow-tags --no-follow-tags --all --branches --mirror --atomic --no-atomic
	--porcelain --progress --no-progress --prune --no-verify --verify --thin --no-thin --no-signed -o: --push-option=`

// harmlessConfig are the keys that may be given by -c: how output looks, and who wrote what.
var harmlessConfig = set("color.ui core.quotepath core.autocrlf core.longpaths init.defaultbranch user.name user.email commit.gpgsign tag.gpgsign log.date diff.renames diff.algorithm merge.conflictstyle pull.rebase pull.ff advice.detachedhead")

// git judges git: its own options, then the subcommand.
func (w *walker) git(args []arg, in dirs) {
	for len(args) > 0 && strings.HasPrefix(args[0].s, "-") {
		a := args[0]
		args = args[1:]
		switch {
		case a.glob:
			w.deny(WhyOption)
		case a.s == "--version" && len(args) == 0:
			return
		case slices.Contains([]string{"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects", "--no-lazy-fetch"}, a.s):
		case (a.s == "-C" || a.s == "-c") && len(args) > 0:
			value := args[0]
			args = args[1:]
			if a.s == "-C" {
				in = w.gitDir(value, in)
				continue
			}
			key, _, _ := strings.Cut(strings.ToLower(value.s), "=")
			if value.glob || !harmlessConfig[key] {
				w.deny(WhyOption)
			}
		default:
			w.deny(WhyOption)
			if a.s == "--git-dir" || a.s == "--work-tree" || a.s == "--exec-path" || a.s == "--config-env" || a.s == "--namespace" {
				args = args[min(1, len(args)):]
			}
		}
	}
	// Another repository has a configuration of its own, and git obeys it.
	for _, dir := range in {
		if _, ok := under(w.o.Tree, dir); !ok {
			w.deny(WhyOutside)
		}
	}
	if len(args) == 0 || args[0].glob {
		w.deny(WhyOption)
		return
	}
	name := args[0].s
	if name == "push" {
		w.push(args[1:], in)
		return
	}
	c, ok := gitCommands[name]
	if !ok {
		w.deny(WhyProgram)
		return
	}
	p, ok := parse(c.spec, args[1:], false)
	if !ok {
		w.deny(WhyOption)
		return
	}
	w.atLeast(c.class)
	if c.class == Run {
		w.runs("git", in) // its hooks
	}
	for _, o := range p.opts {
		if o.name == "-F" || o.name == "--file" || o.name == "-O" || o.name == "-X" && name == "ls-files" {
			w.reads(o.value, in, content)
		}
	}
	if c.judge != nil {
		c.judge(w, p, in)
	}
}

// gitDir is where git goes by -C.
func (w *walker) gitDir(to arg, in dirs) (out dirs) {
	if to.glob || to.dynamic {
		w.deny(WhyDynamic)
	}
	for _, dir := range in {
		out = out.union(dirs{resolve(dir, to.s)})
	}
	return out
}

// push is privileged whatever it pushes: what it is allowed to push, the gateway decides. Its code says whether anything
// but the refs of a named remote is meant.
func (w *walker) push(args []arg, in dirs) {
	w.deny(WhyGitPush)
	p, ok := parse(pushSpec, args, false)
	if !ok {
		w.deny(WhyOption)
		return
	}
	if len(p.rest) > 0 && !remoteName(p.rest[0]) {
		w.deny(WhyGitURL)
	}
}

// remoteName tells whether an argument can only be the name of a remote, not a URL or a path.
func remoteName(a arg) bool {
	return !a.glob && a.s != "" && strings.Trim(a.s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

func gitRemote(w *walker, p parsed, _ dirs) {
	if len(p.rest) > 0 && !remoteName(p.rest[0]) {
		w.deny(WhyGitURL)
	}
}

func gitPaths(w *walker, p parsed, in dirs) { w.reads(p.rest, in, below) }

func gitWrites(w *walker, p parsed, in dirs) {
	for _, a := range p.rest {
		if a.s == "." || a.s == ":/" { // everything that git knows
			continue
		}
		if strings.HasPrefix(a.s, ":") {
			w.deny(WhyDynamic)
		}
		w.write(a, in)
	}
}

func gitMoves(w *walker, p parsed, in dirs) { moves(w, p, in) }

// gitCheckout: it writes what git knows under names that are not told from revisions; -- is where paths begin for sure.
func gitCheckout(w *walker, p parsed, in dirs) {
	for _, a := range p.rest {
		for _, dir := range in {
			if rel, ok := under(w.o.Tree, resolve(dir, a.s)); ok && rel != "" && control(rel, a.glob) {
				w.deny(WhyControl)
			}
		}
	}
}

// firstOf: the first argument, if there is one, must be one of these; with "!" there must be one.
func firstOf(words ...string) func(*walker, parsed, dirs) {
	return func(w *walker, p parsed, _ dirs) {
		if len(p.rest) == 0 && slices.Contains(words, "!") || len(p.rest) > 0 && (p.rest[0].glob || p.rest[0].s == "!" || !slices.Contains(words, p.rest[0].s)) {
			w.deny(WhyOption)
		}
	}
}

func atMost(n int) func(*walker, parsed, dirs) {
	return func(w *walker, p parsed, _ dirs) {
		if len(p.rest) > n {
			w.deny(WhyOption)
		}
	}
}

// gitConfig: without an option that asks, a second argument sets.
func gitConfig(w *walker, p parsed, _ dirs) {
	asks := p.has["-l"] || p.has["--list"] || p.has["--get"] || p.has["--get-all"] || p.has["--get-regexp"]
	if !asks || len(p.rest) > 1 {
		w.deny(WhyOption)
	}
}

func gitStash(w *walker, p parsed, _ dirs) {
	if len(p.rest) == 0 || p.rest[0].s != "list" && p.rest[0].s != "show" {
		w.atLeast(Write)
	}
	firstOf("push", "pop", "apply", "drop", "list", "show", "save", "branch", "clear")(w, p, nil)
}

// gitBranch and gitTag read unless they are given a name, or told to change one.
func gitBranch(w *walker, p parsed, _ dirs) {
	asks := p.has["--list"] || p.has["-l"] || p.has["--contains"] || p.has["--no-contains"] || p.has["--merged"] || p.has["--no-merged"] || p.has["--points-at"] || p.has["-a"] || p.has["-r"] || p.has["--all"] || p.has["--remotes"]
	changes := slices.ContainsFunc(p.opts, func(o option) bool {
		return slices.Contains(strings.Fields("-d -D -m -M -c -C -f -u -t --delete --move --copy --force --track --no-track --set-upstream-to --unset-upstream"), o.name)
	})
	if changes || !asks && len(p.rest) > 0 {
		w.atLeast(Write)
	}
}

func gitTag(w *walker, p parsed, _ dirs) {
	asks := p.has["--list"] || p.has["-l"] || p.has["-n"] || p.has["--contains"] || p.has["--no-contains"] || p.has["--merged"] || p.has["--no-merged"] || p.has["--points-at"]
	changes := p.has["-d"] || p.has["--delete"] || p.has["-a"] || p.has["--annotate"] || p.has["-f"] || p.has["--force"] || p.has["-m"] || p.has["--message"]
	if changes || !asks && len(p.rest) > 0 {
		w.atLeast(Write)
	}
}
