package shell

// tool is a program of which all is known that the options of its spec can do. Every other option is privileged.
type tool struct {
	class Class
	// spec lists its options: `-abc` short ones, `-n:` short ones with a value, `-i?` with a value that
	// is attached or none, `-#` a number, `--long`, `--long=` with a value,
	// `--long?` with a value after "=" or none, `--long==` with two, and `-*`: none of its options does more than read its
	// arguments.
	spec  string
	use   depthOf // what becomes of its positional arguments
	max   int     // how many there may be; 0: any number, -1: none
	here  bool    // without a positional argument it works below where it runs
	judge func(w *walker, p parsed, in dirs)
}

// tools is every program that is known to read, or to write what it names, and no more.
var tools = map[string]tool{
	":": {class: Read, spec: "-*"}, "true": {class: Read, spec: "-*"}, "false": {class: Read, spec: "-*"},
	"pwd": {class: Read, spec: "-LP"}, "basename": {class: Read, spec: "-*"}, "dirname": {class: Read, spec: "-*"},
	"whoami": {class: Read, spec: "-*"}, "id": {class: Read, spec: "-*"}, "groups": {class: Read, spec: "-*"}, "uname": {class: Read, spec: "-*"},
	"arch": {class: Read, max: -1}, "nproc": {class: Read, spec: "-*"}, "uptime": {class: Read, spec: "-*"}, "tty": {class: Read, spec: "-*"},
	"hostname": {class: Read, spec: "-fis", max: -1}, "free": {class: Read, spec: "-*"}, "lscpu": {class: Read, spec: "-*"}, "seq": {class: Read, spec: "-*"},
	"expr": {class: Read, spec: "-*"}, "which": {class: Read, spec: "-*"}, "type": {class: Read, spec: "-*"}, "tr": {class: Read, spec: "-cCdst"},
	"sleep": {class: Read, judge: numbers}, "exit": {class: Read, judge: numbers}, "return": {class: Read, judge: numbers},
	"break": {class: Read, judge: numbers}, "continue": {class: Read, judge: numbers}, "wait": {class: Read, judge: numbers},
	"date": {class: Read, spec: "-uRI -d: --utc --iso-8601? --rfc-3339= --rfc-email --date=", judge: dateFormat},

	"cat": {class: Read, spec: "-*", use: content}, "tac": {class: Read, spec: "-*", use: content}, "nl": {class: Read, spec: "-*", use: content},
	"rev": {class: Read, spec: "-*", use: content}, "cut": {class: Read, spec: "-*", use: content}, "paste": {class: Read, spec: "-*", use: content},
	"comm": {class: Read, spec: "-*", use: content}, "join": {class: Read, spec: "-*", use: content}, "fold": {class: Read, spec: "-*", use: content},
	"expand": {class: Read, spec: "-*", use: content}, "column": {class: Read, spec: "-*", use: content}, "od": {class: Read, spec: "-*", use: content},
	"md5sum": {class: Read, spec: "-bt --tag -z", use: content}, "sha1sum": {class: Read, spec: "-bt --tag -z", use: content},
	"sha256sum": {class: Read, spec: "-bt --tag -z", use: content}, "sha512sum": {class: Read, spec: "-bt --tag -z", use: content},
	"shasum": {class: Read, spec: "-bt -a: --algorithm=", use: content}, "cksum": {class: Read, spec: "", use: content},
	"wc":      {class: Read, spec: "-clmwL --bytes --chars --lines --words --max-line-length", use: content},
	"head":    {class: Read, spec: "-qvz -nc: -# --lines= --bytes= --quiet --verbose", use: content},
	"tail":    {class: Read, spec: "-qvzfF -ncs: -# --lines= --bytes= --quiet --verbose --follow? --retry", use: content},
	"strings": {class: Read, spec: "-a -nt: --all --bytes= --radix=", use: content},
	"base64":  {class: Read, spec: "-dDi -w: --decode --ignore-garbage --wrap=", use: content},
	"xxd":     {class: Read, spec: "-abeEipu -cgls:", use: content, max: 1}, // a second argument is written
	"hexdump": {class: Read, spec: "-bcCdovx -ns:", use: content},
	"uniq":    {class: Read, spec: "-cdDiuz -fsw: --count --repeated --unique --ignore-case --skip-fields= --skip-chars= --check-chars=", use: content, max: 1},
	"sort": {class: Read, use: content, spec: `-bdfgiMhnRrVcCmsuz -kt: --key= --field-separator= --numeric-sort --general-numeric-sort --human-numeric-sort --version-sort
		--reverse --unique --ignore-case --stable --check --zero-terminated`},
	"diff": {class: Read, use: below, spec: `-abBcdeEiNnpqrstuwyZ -UCWFIx: --unified? --context? --recursive --new-file --brief --ignore-case --ignore-all-space
		--ignore-space-change --ignore-blank-lines --side-by-side --color? --exclude= --text --strip-trailing-cr --report-identical-files`},
	"cmp":  {class: Read, spec: "-bls -in: --silent --quiet --verbose", use: content},
	"file": {class: Read, spec: "-bhiILNrs0 --brief --mime --mime-type --mime-encoding --dereference --no-dereference", use: content},
	"ls": {class: Read, use: names, judge: listing, spec: `-aAbBcCdfFgGhHiklLmnNopqQrRsStuUvxXZ1 -ITw: --all --almost-all --color? --human-readable --recursive --directory --reverse --size
		--sort= --time= --time-style= --full-time --classify --group-directories-first --inode --si`},
	"stat":     {class: Read, spec: "-Lt -c: --format= --printf= --dereference --terse", use: names},
	"readlink": {class: Read, spec: "-*", use: names}, "realpath": {class: Read, spec: "-*", use: names},
	"du":   {class: Read, spec: "-abchHklLmsSxD0 -d: --max-depth= --human-readable --summarize --all --total --apparent-size --exclude=", use: names},
	"df":   {class: Read, spec: "-*", use: names},
	"tree": {class: Read, use: below, here: true, spec: `-adfilpsugDFhNQrtvxCnAS -LPI: --dirsfirst --noreport --gitignore --prune`},
	"grep": {class: Read, judge: search, spec: grepSpec}, "egrep": {class: Read, judge: search, spec: grepSpec}, "fgrep": {class: Read, judge: search, spec: grepSpec},
	"rg": {class: Read, judge: search, spec: `-aFHiIlLnNoPpqsSuUvVwx0c -ABCEfgjmMrtTed: -# --files --hidden --no-ignore --no-ignore-vcs --glob= --iglob= --type= --type-not= --type-list
		--json --count --count-matches --files-with-matches --files-without-match --fixed-strings --ignore-case --smart-case --case-sensitive --invert-match --line-number
		--no-line-number --no-heading --heading --max-count= --max-depth= --multiline --multiline-dotall --only-matching --pcre2 --quiet --regexp= --file= --replace= --sort=
		--sortr= --stats --text --trim --vimgrep --with-filename --no-filename --word-regexp --line-regexp --after-context= --before-context= --context= --color= --colors=
		--column --no-config --null --passthru --unrestricted --follow --no-messages --max-columns= --version`},
	"fd": {class: Read, judge: search, spec: `-HIsigauLp0 -dteEcS: --hidden --no-ignore --type= --extension= --exclude= --max-depth= --min-depth= --glob --fixed-strings --full-path
		--absolute-path --follow --size= --changed-within= --changed-before= --color= --case-sensitive --ignore-case --print0`},
	"jq": {class: Read, judge: filter, spec: `-rcnesRSaMCj -f: --raw-output --compact-output --slurp --null-input --exit-status --raw-input --sort-keys --join-output --ascii-output
		--tab --indent= --arg== --argjson== --from-file= --color-output --monochrome-output`},
	"sed": {class: Read, judge: sedScript, spec: `-nErsuz -e: -i? --quiet --silent --regexp-extended --expression= --separate --unbuffered --null-data --in-place? --posix`},
	"awk": {class: Read, judge: awkScript, spec: "-F: -v:"}, "gawk": {class: Read, judge: awkScript, spec: "-F: -v:"}, "mawk": {class: Read, judge: awkScript, spec: "-F: -v:"},

	// Remit's own commands that wait and explain; those that act are privileged.
	"remit": {class: Read, judge: firstOf("wait", "why", "version", "!"), spec: "--timeout="},

	"mkdir": {class: Write, judge: writesAll, spec: "-pv -m: --parents --verbose --mode="}, "rmdir": {class: Write, judge: writesAll, spec: "-pv --parents --verbose"},
	"touch": {class: Write, judge: writesAll, spec: "-acmh -dt: --no-create --date="},
	"rm":    {class: Write, judge: writesAll, spec: "-rRfvdiI --recursive --force --verbose --dir --interactive? --one-file-system"},
	"tee":   {class: Write, judge: writesAll, spec: "-ai --append --ignore-interrupts"}, "truncate": {class: Write, judge: writesAll, spec: "-c -s: --size= --no-create"},
	"chmod": {class: Write, judge: writesRest, spec: "-Rvcf --recursive --verbose --changes --quiet"},
	"cp":    {class: Write, judge: copies, spec: "-aRrpvnfudxPL --archive --recursive --verbose --no-clobber --force --update --preserve?"},
	"mv":    {class: Write, judge: moves, spec: "-fnvu --force --no-clobber --verbose --update"},
	"ln":    {class: Write, judge: links, spec: "-sfnvr --symbolic --force --no-dereference --verbose --relative"},
	"gofmt": {class: Read, judge: formats, spec: "-ldsew", use: content},
}

const grepSpec = `-abcEFGhHiIlLnoPqrRsTUvVwxyzZ -ABCDdefm: -# --extended-regexp --fixed-strings --basic-regexp --perl-regexp --regexp= --file= --ignore-case --no-ignore-case
	--invert-match --word-regexp --line-regexp --count --color? --colour? --files-with-matches --files-without-match --max-count= --only-matching --quiet --silent --no-messages
	--byte-offset --with-filename --no-filename --label= --line-number --null --after-context= --before-context= --context= --text --binary-files= --exclude= --exclude-from=
	--exclude-dir= --include= --recursive --dereference-recursive --null-data --version`

// runner is a program that runs what the project says: tests, builds, scripts.
type runner struct {
	subs string // the first argument must be one of these; empty: any
	bans string // options that name another program, or code
	outs string // options whose value is a file that it writes
}

var runners = map[string]runner{
	"make": {bans: "--eval -E --include-dir -I -e --environment-overrides"}, "gmake": {bans: "--eval -E --include-dir -I -e --environment-overrides"},
	"ninja": {}, "ctest": {bans: "--test-command --script -S -SP -D"}, "just": {bans: "--shell --shell-arg --command -c --choose --chooser --edit -e"}, "rake": {bans: "-e --execute -p -E --execute-print --execute-continue -r --require"},
	"npm":  {subs: "test t run run-script start stop restart", bans: npmBans},
	"yarn": {subs: "test run build lint start", bans: npmBans}, "pnpm": {subs: "test run build lint start", bans: npmBans}, "bun": {subs: "test", bans: "--preload -r --require -e --eval -p --print"},
	"go":     {subs: "test build vet run generate list fmt mod doc", bans: "-exec --exec -toolexec --toolexec -overlay --overlay -vettool --vettool -fixtool -pkgdir -C -modfile -outputdir", outs: "-o -coverprofile -cpuprofile -memprofile -blockprofile -mutexprofile -trace"},
	"cargo":  {subs: "test build check clippy fmt run bench doc tree metadata t b c r", bans: "--config -Z --manifest-path --target-dir"},
	"pytest": {bans: "-c --rootdir --confcutdir -p -o --override-ini --basetemp --pdb --pdbcls --pastebin --trace"}, "tox": {bans: "-c -x --override --root --workdir"}, "nox": {bans: "-f --noxfile"},
	"mypy": {bans: "--python-executable --install-types --config-file --cache-dir"}, "ruff": {subs: "check format", bans: "--config --cache-dir --output-file -o"},
	"black": {bans: "-c --code --config"}, "isort": {}, "flake8": {bans: "--config --append-config"}, "pylint": {bans: "--init-hook --rcfile --load-plugins"},
	"jest": {bans: "--config -c --globalSetup --testRunner --runner --rootDir"}, "vitest": {bans: "--config -c --root -r --ui --open"}, "mocha": {bans: "-r --require --config --import --node-option -n"},
	"eslint": {bans: "-c --config --rulesdir --resolve-plugins-relative-to -o --output-file --parser --plugin"}, "prettier": {bans: "--config --plugin"}, "tsc": {bans: "--build -b --outDir"},
	"rspec": {bans: "-r --require -I"}, "rubocop": {bans: "-r --require -c --config"}, "phpunit": {bans: "--bootstrap -c --configuration"},
	"dotnet": {subs: "build test run", bans: ""}, "swift": {subs: "build test run", bans: "--package-path"}, "mix": {subs: "test compile format", bans: "-r --require"},
	"gradle": {bans: "-I --init-script -b --build-file -g --gradle-user-home -D -p"}, "mvn": {subs: "test compile verify package", bans: "-s --settings -gs -D"},
	"golangci-lint": {subs: "run", bans: "-c --config --out-format"}, "staticcheck": {bans: ""}, "shellcheck": {bans: ""},
}

const npmBans = "--script-shell --prefix --userconfig --globalconfig --node-options --call -c --shell --cwd --use-yarnrc --dir -C --registry"

// interpreters run the file that their first argument names; spec lists the options that may stand before it.
var interpreters = map[string]string{
	"bash": "-euxvn", "sh": "-euxvn", "dash": "-euxvn", "ksh": "-euxvn", "zsh": "-euxvn",
	"python": "-uBOEIsSbqv -WX:", "node": "--test --enable-source-maps --no-warnings --trace-warnings --experimental-strip-types", "ruby": "-w", "perl": "-w", "php": "", "lua": "",
	"tsx": "", "ts-node": "", "Rscript": "--vanilla",
}

// modules are what `python -m` may run.
var modules = set("pytest unittest mypy black ruff flake8 isort pylint tox nox coverage json.tool compileall py_compile doctest")

// wrappers run the command that follows their own options and as many arguments.
var wrappers = map[string]struct {
	spec string
	skip int
}{
	"timeout": {"-pv -ks: --preserve-status --foreground --verbose --kill-after= --signal=", 1}, "nice": {"-n: -# --adjustment=", 0}, "nohup": {"", 0}, "setsid": {"-w --wait", 0},
	"stdbuf": {"-ioe: --input= --output= --error=", 0}, "time": {"-p", 0}, "command": {"-p", 0}, "env": {"", 0},
}
