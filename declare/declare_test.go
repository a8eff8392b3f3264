package declare_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

var update = flag.Bool("update", false, "write the golden files")

func TestExample(t *testing.T) {
	set, pos, err := declare.Read(os.DirFS("testdata/example"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("testdata/example.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/example.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s", got)
	}
	for _, c := range []struct {
		path, file string
		line       int
	}{
		{"agents[1].owner", "agents.yaml", 18},
		{"agents[1].purpose", "agents.yaml", 19},
		{"agents[0].entitlements[0].resources[0]", "agents.yaml", 12},
		{"agents[0].entitlements", "agents.yaml", 10},
		{"agents[0].entitlements[1].paths", "agents.yaml", 14},
		{"repositories[0].effects[1].runs[1]", "repositories.yml", 24},
		{"repositories[1].effects", "repositories.yml", 27},
		{"environments[0].approvers[1].n", "environments.yaml", 4},
		{"policy[0]", "policy/any.rego", 1},
		{"policy[0].text", "policy/any.rego", 1},
	} {
		if file, line, ok := pos.Locate(c.path); !ok || file != c.file || line != c.line {
			t.Errorf("%s is at %s:%d, %t; want %s:%d", c.path, file, line, ok, c.file, c.line)
		}
	}
	for _, path := range []string{"", "nothing", "agents2[0]", "[", "."} {
		if file, _, ok := pos.Locate(path); ok {
			t.Errorf("%q is at %s", path, file)
		}
	}
	var none *declare.Positions
	if _, _, ok := none.Locate("agents"); ok {
		t.Error("no positions locate")
	}
}

func pub(seed byte) string {
	s := make([]byte, ed25519.SeedSize)
	s[0] = seed
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(s).Public())
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func pubRSA(t *testing.T, bits int) string {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// base is a set that is right: tests add the one thing that is wrong.
const base = "people:\n- name: ada\n  keys: [KEY1]\ngroups:\n- name: team\n  members: [ada]\n" +
	"upstreams:\n- name: forge\n  kind: http\n  location: https://git.example.org\n"

func identities(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("  - {issuer: \"https://id.example\", subject: u%d}\n", i))
	}
	return lines
}

func agent(lines string) string {
	return "agents:\n- name: fixer\n  function: code\n  owner: ada\n  purpose: p\n" + lines
}

func repo(lines string) string {
	return "repositories:\n- name: forge/shop\n  default_branch: main\n" + lines
}

func upstream(lines string) string { return "upstreams:\n- name: two\n  kind: http\n" + lines }

func keys(s string) string {
	for i := byte(1); i < 5; i++ {
		s = strings.ReplaceAll(s, fmt.Sprintf("KEY%d", i), pub(i))
	}
	return s
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	small, dsa := pubRSA(t, 2048), "ssh-dss AAAAB3NzaC1kc3MAAAAA"
	for _, c := range []struct{ name, text, want string }{
		// The form.
		{"an unknown member", agent("  owners: ada\n"), `x.yaml:6: agents[0]: unknown member "owners"; "owner" is meant, perhaps`},
		{"a member that resembles nothing", agent("  colour: red\n"), `x.yaml:6: agents[0]: unknown member "colour"; there are name, function, owner, purpose, requesters, expires, review, entitlements, may_request, jobs`},
		{"an unknown list", "agent: []\n", `x.yaml:1: unknown member "agent"; "agents" is meant, perhaps`},
		{"policy in YAML", "policy: []\n", `x.yaml:1: policy is written as Rego, in files policy/*.rego`},
		{"a member twice", agent("  owner: ada\n"), `x.yaml:6: not YAML: mapping key "owner" already defined at [4:3]`},
		{"a list twice", "people: []\npeople: []\n", `x.yaml:2: not YAML: mapping key "people" already defined at [1:1]`},
		{"an anchor", agent("  expires: &a 2027-01-31\n"), `x.yaml:6: agents[0].expires: an anchor or alias, which declarations do not have; write it out; text is wanted`},
		{"an alias", agent("  expires: *a\n"), `x.yaml:6: agents[0].expires: an anchor or alias, which declarations do not have; write it out; text is wanted`},
		{"an anchor of a list", "agents: &a []\n", `x.yaml:1: agents: an anchor or alias, which declarations do not have; write it out; a list is wanted`},
		{"a tag", agent("  expires: !!str 2027-01-31\n"), `x.yaml:6: agents[0].expires: a tag, which declarations do not have; text is wanted`},
		{"a merge key", "boundaries:\n- <<: {name: x}\n  seal: [secret:a]\n", `x.yaml:2: boundaries[0]: the name of a member is plain text, not a merge key, which declarations do not have`},
		{"a complex key", "? a\n: 1\n", `x.yaml:2: the name of a member is plain text, not a complex key`},
		{"a directive", "%YAML 1.2\n---\npeople: []\n", "x.yaml:2: one file is one document; remove \"---\" and what stands before or after it, or write two files"},
		{"two documents", "people: []\n---\nagents: []\n", "x.yaml:2: one file is one document; remove \"---\" and what stands before or after it, or write two files"},
		{"a tab", "people:\n\t- name: x\n", `x.yaml:2: a tab; YAML is indented with spaces (write \t within double quotes)`},
		{"a control character", "people:\n# \x01\n", `x.yaml:2: the character U+0001; declarations are plain text`},
		{"a hidden character", "people: [] # \u2028\n", `x.yaml:1: the character U+2028; declarations are plain text`},
		{"not UTF-8", "people:\n# \xff\n", `x.yaml:2: not UTF-8 text`},
		{"too many brackets", "people: " + strings.Repeat("[", 25) + "\n", `x.yaml:1: more than 24 brackets are open`},
		{"too deep", "people:\n" + strings.Repeat(" ", 50) + "- a\n", `x.yaml:2: indented by more than 48; declarations are not that deep`},
		{"too deep in one line", strings.Repeat("- ", 50) + "a\n", `x.yaml:1: indented by more than 48; declarations are not that deep`},
		{"too large", "#" + strings.Repeat("x", declare.MaxFile), `x.yaml: it is larger than 1048576 bytes; split it`},
		{"not YAML", "people: a: b\n", `x.yaml:1: not YAML: mapping value is not allowed in this context`},
		{"a list of everything", "- people\n", "x.yaml:1: a list; members are wanted here, each a line `name: value`"},
		{"text for a list", agent("  requesters: team\n"), `x.yaml:6: agents[0].requesters: text; a list is wanted in brackets, [a, b]`},
		{"nothing for a list", "agents:\n", `x.yaml:1: agents: nothing; a list is wanted`},
		{"a colon that YAML takes for a mapping", "boundaries:\n- {name: a, seal: [secret:a]}\n", `x.yaml:2: boundaries[0].seal[0]: a mapping; text is wanted: if it has a colon, put it in double quotes`},
		{"a number for text", agent("  expires: 2027\n"), `x.yaml:6: agents[0].expires: a number; text is wanted: put it in double quotes`},
		{"a truth for text", agent("  expires: true\n"), `x.yaml:6: agents[0].expires: true; text is wanted: put it in double quotes`},
		{"text for a truth", upstream("  location: http://localhost\n  insecure: yes\n"), `x.yaml:5: upstreams[0].insecure: text; write true or false`},
		{"text for a number", repo("  effects: none\n  approvers: [{group: team, n: one}]\n"), `x.yaml:5: repositories[0].approvers[0].n: text; a whole number is wanted`},
		{"another base", repo("  effects: none\n  approvers: [{group: team, n: 0x1}]\n"), `x.yaml:5: repositories[0].approvers[0].n: write the number with decimal digits only, without a leading zero`},
		{"too large a number", repo("  effects: none\n  approvers: [{group: team, n: 99999999999999999999}]\n"), `x.yaml:5: repositories[0].approvers[0].n: text; a whole number is wanted`},
		{"a missing member", "agents:\n- name: fixer\n  function: code\n  owner: ada\n", `x.yaml:2: agents[0].purpose: missing`},
		{"an empty member", agent("  requesters: []\n") + "- name: \"\"\n  function: code\n  owner: ada\n  purpose: p\n", `x.yaml:7: agents[1].name: empty; it needs a value`},
		{"an empty list", "groups:\n- name: others\n  members: []\n", "x.yaml:3: groups[0].members: empty; it needs a value, or the group takes members `from` a provider"},
		{"a name twice in a file", agent("") + "- name: fixer\n  function: code\n  owner: ada\n  purpose: p\n", `x.yaml:6: agents[1].name: "fixer" is declared already, at x.yaml:2; a name is declared once`},

		// People and groups.
		{"a person's name", "people:\n- {name: a b, keys: [KEY2]}\n", `x.yaml:2: people[0].name: "a b": a person's name is 1 to 64 of A-Z a-z 0-9 . - _ @ +`},
		{"not a key", "people:\n- {name: ben, keys: [ssh-ed25519 AAAA]}\n", `x.yaml:2: people[0].keys[0]: not a public SSH key; write one line as in an .pub file: ssh-ed25519 AAAA…, without options`},
		{"a key with options", "people:\n- {name: ben, keys: [no-pty KEY2]}\n", `x.yaml:2: people[0].keys[0]: not a public SSH key; write one line as in an .pub file: ssh-ed25519 AAAA…, without options`},
		{"two keys in one", "people:\n- {name: ben, keys: [\"KEY2\\nKEY3\"]}\n", `x.yaml:2: people[0].keys[0]: not a public SSH key; write one line as in an .pub file: ssh-ed25519 AAAA…, without options`},
		{"a weak key", "people:\n- {name: ben, keys: [" + small + "]}\n", `x.yaml:2: people[0].keys[0]: an RSA key of less than 3,072 bits; use ssh-ed25519`},
		{"an old key", "people:\n- {name: ben, keys: [" + dsa + "]}\n", `x.yaml:2: people[0].keys[0]: not a public SSH key; write one line as in an .pub file: ssh-ed25519 AAAA…, without options`},
		{"a key of two people", "people:\n- {name: ben, keys: [KEY1 ben@host]}\n", `base.yaml:3: people[1].keys[0]: this key is declared already, at x.yaml:2; one key belongs to one person`},
		{"a member who is not declared", "groups:\n- name: others\n  members: [adaa]\n", `x.yaml:3: groups[0].members[0]: no person "adaa" is declared; "ada" is meant, perhaps`},
		{"a member twice", "groups:\n- name: others\n  members: [ada, ada]\n", `x.yaml:3: groups[0].members[1]: "ada" stands twice`},
		{"a group of nobody", "groups:\n- name: others\n", "x.yaml:2: groups[0].members: empty; it needs a value, or the group takes members `from` a provider"},
		{"an identity of two people", "people:\n- {name: ben, identities: [{issuer: \"https://id.example\", subject: u1}]}\n- {name: cat, identities: [{issuer: \"https://id.example\", subject: u1}]}\n",
			`x.yaml:3: people[1].identities[0]: this identity is declared already, at x.yaml:2; one identity is one person`},
		{"an identity without TLS", "people:\n- {name: ben, identities: [{issuer: \"http://id.example\", subject: u1}]}\n",
			`x.yaml:2: people[0].identities[0]: the issuer is the URL of a provider, https://…, without user, query and fragment`},
		{"too many identities", "people:\n- name: ben\n  identities:\n" + strings.Join(identities(9), ""), `x.yaml:3: people[0].identities: 9 identities; a person has at most 8`},
		{"an administrator by a provider", "groups:\n- name: administrators\n  members: [ada]\n  from: [{issuer: \"https://id.example\", group: g}]\n",
			`x.yaml:4: groups[0].from: administrators are declared one by one; a provider makes nobody one`},
		{"a source twice", "groups:\n- name: others\n  from: [{issuer: \"https://id.example\", group: g}, {issuer: \"https://id.example\", group: g}]\n",
			`x.yaml:3: groups[0].from[1]: this source stands twice`},
		{"a source without a group", "groups:\n- name: others\n  from: [{issuer: \"https://id.example\", group: \"a\\tb\"}]\n",
			`x.yaml:3: groups[0].from[0]: the group is 1 to 255 bytes of text, as the provider says it`},
		{"a group's name", "groups:\n- name: Others\n  members: [ada]\n", `x.yaml:2: groups[0].name: "Others": a name is 1 to 40 of a-z 0-9 -`},

		// Agents.
		{"an agent's name", "agents:\n- {name: " + strings.Repeat("a", 41) + ", function: code, owner: ada, purpose: p}\n", `x.yaml:2: agents[0].name: "` + strings.Repeat("a", 41) + `": a name is 1 to 40 of a-z 0-9 -`},
		{"a function", "agents:\n- {name: a, function: coding, owner: ada, purpose: p}\n", `x.yaml:2: agents[0].function: "coding": write plan, code, review, build, release, deploy or operate`},
		{"nearly a function", "agents:\n- {name: a, function: reveiw, owner: ada, purpose: p}\n", `x.yaml:2: agents[0].function: "reveiw": write plan, code, review, build, release, deploy or operate; "review" is meant, perhaps`},
		{"an owner", "agents:\n- {name: a, function: code, owner: bob, purpose: p}\n", `x.yaml:2: agents[0].owner: no person "bob" is declared`},
		{"requesters", agent("  requesters: [teams]\n"), `x.yaml:6: agents[0].requesters[0]: no group "teams" is declared; "team" is meant, perhaps`},
		{"a date", agent("  expires: 31.1.2027\n"), `x.yaml:6: agents[0].expires: "31.1.2027": write a date as 2027-01-31`},
		{"a day that is not", agent("  review: 2027-02-30\n"), `x.yaml:6: agents[0].review: "2027-02-30": write a date as 2027-01-31`},
		{"a long purpose", "agents:\n- {name: a, function: code, owner: ada, purpose: " + strings.Repeat("p", 1025) + "}\n", `x.yaml:2: agents[0].purpose: a purpose has at most 1,024 bytes`},
		{"what it may request", agent("  may_request: [codes]\n"), `x.yaml:6: agents[0].may_request[0]: "codes": write plan, code, review, build, release, deploy or operate; "code" is meant, perhaps`},
		{"an action", agent("  entitlements: [{actions: [source.pull], resources: [\"repo:forge/shop\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].actions[0]: the catalogue has no action "source.pull"; "source.push" is meant, perhaps`},
		{"an action for people", agent("  entitlements: [{actions: [control.apply], resources: [\"control:all\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].actions[0]: control.apply is for people; no agent is entitled to it`},
		{"an action of another function", agent("  entitlements: [{actions: [deploy.promote], resources: [\"environment:a\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].actions[0]: deploy.promote is not for an agent of function code; declare an agent of another function, and let this one request its tasks (may_request)`},
		{"a resource", agent("  entitlements: [{actions: [source.read], resources: [forge/shop]}]\n"), `x.yaml:6: agents[0].entitlements[0].resources[0]: "forge/shop" has no type; write TYPE:NAME, for instance repo:forge/acme/payments`},
		{"a resource of another type", agent("  entitlements: [{actions: [source.read], resources: [\"repo:forge/shop\", \"pipeline:a\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].resources[1]: no action here acts on a resource of type pipeline; there is repo`},
		{"an action without its resource", agent("  entitlements: [{actions: [source.read, build.read], resources: [\"repo:forge/shop\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].actions[1]: build.read acts on a resource of type pipeline, and none is named here`},
		{"a ref", agent("  entitlements: [{actions: [source.push], resources: [\"repo:forge/shop\"], refs: [main]}]\n"), `x.yaml:6: agents[0].entitlements[0].refs[0]: "main": a ref pattern is a full name, for instance refs/heads/main or refs/heads/release/**`},
		{"a path", agent("  entitlements: [{actions: [source.push], resources: [\"repo:forge/shop\"], paths: [a*]}]\n"), `x.yaml:6: agents[0].entitlements[0].paths[0]: "a*": * and ** stand alone, as the last segment; other segments are literal and not empty`},
		{"a path that only protects", agent("  entitlements: [{actions: [source.push], resources: [\"repo:forge/shop\"], paths: [\"**/Makefile\"]}]\n"), `x.yaml:6: agents[0].entitlements[0].paths[0]: "**/Makefile": a pattern that begins with **/ protects; it does not grant`},
		{"a limit", agent("  entitlements: [{actions: [source.push], resources: [\"repo:forge/shop\"], max_commits: -1}]\n"), `x.yaml:6: agents[0].entitlements[0]: a limit is not negative; leave it out for none`},

		// Upstreams and their credentials.
		{"a kind", "upstreams:\n- {name: two, kind: htp, location: /a}\n", `x.yaml:2: upstreams[0].kind: "htp": write local, http, gitea, registry, kubernetes, command, oidc or mcp; "http" is meant, perhaps`},
		{"a relative directory", "upstreams:\n- {name: two, kind: local, location: git}\n", `x.yaml:2: upstreams[0].location: "git": write the full path of a directory of bare repositories`},
		{"a directory with a credential", "upstreams:\n- {name: two, kind: local, location: /git, ca: /ca.pem}\n", `x.yaml:2: upstreams[0]: a local upstream has no ca, insecure, write or observer`},
		{"not a URL", upstream("  location: git.example.org\n"), `x.yaml:4: upstreams[0].location: not a URL with a host; write https://HOST/PATH`},
		{"a password in a URL", upstream("  location: https://u:hunter2@git.example.org\n"), `x.yaml:4: upstreams[0].location: a URL here has no user or password; write them as a source in write and observer`},
		{"a token in a URL", upstream("  location: https://git.example.org/?token=hunter2\n"), `x.yaml:4: upstreams[0].location: a URL here ends with its path; remove what follows ? or #`},
		{"plain http", upstream("  location: http://localhost/\n"), `x.yaml:4: upstreams[0].location: http:// sends credentials in the clear; write https://, or insecure: true for a loopback address`},
		{"plain http elsewhere", upstream("  location: http://git.example.org/\n  insecure: true\n"), `x.yaml:4: upstreams[0].location: insecure: true is for a loopback address only; write https://`},
		{"insecure for nothing", upstream("  location: https://git.example.org/\n  insecure: true\n"), `x.yaml:5: upstreams[0].insecure: insecure is for http:// only; remove it`},
		{"another scheme", upstream("  location: ssh://git.example.org/\n"), `x.yaml:4: upstreams[0].location: write https://`},
		{"a credential written down", upstream("  location: https://a\n  write: hunter2\n"), `x.yaml:5: upstreams[0].write: a credential is never written in a declaration; say where it comes from: {from: file, name: /path}, {from: env, name: NAME} or {from: exec, argv: [command]}`},
		{"a credential as a member", upstream("  location: https://a\n  write: {from: env, name: A, token: hunter2}\n"), `x.yaml:5: upstreams[0].write: unknown member "token"; a source has from, name, argv and user. A credential is never written in a declaration`},
		{"a credential as a name", upstream("  location: https://a\n  write: {from: env, name: hunter2}\n"), `x.yaml:5: upstreams[0].write: a source from the environment has the name of a variable as name: A-Z 0-9 _`},
		{"a credential as a source", upstream("  location: https://a\n  write: {from: hunter2}\n"), `x.yaml:5: upstreams[0].write.from: write file, env or exec; a credential is never written in a declaration`},
		{"a relative file", upstream("  location: https://a\n  write: {from: file, name: hunter2}\n"), `x.yaml:5: upstreams[0].write: a source from a file has its full path as name`},
		{"a command without a command", upstream("  location: https://a\n  write: {from: exec}\n"), `x.yaml:5: upstreams[0].write: a source from a command has argv, and no name`},
		{"a command for a file", upstream("  location: https://a\n  write: {from: file, name: /a, argv: [b]}\n"), `x.yaml:5: upstreams[0].write.argv: argv is for from: exec only`},
		{"a password as a user", upstream("  location: https://a\n  write: {from: file, name: /a, user: \"u:hunter2\"}\n"), `x.yaml:5: upstreams[0].write.user: a user name has no colon; the password comes from the source`},
		{"a source without from", upstream("  location: https://a\n  write: {name: /a}\n"), `x.yaml:5: upstreams[0].write.from: missing`},
		{"one credential for two purposes", upstream("  location: https://a\n  write: {from: file, name: /a, user: x}\n  observer: {from: file, name: /a}\n"), `x.yaml:6: upstreams[0].observer: the same credential as upstreams[0].write at x.yaml:5; what observes has a credential that can only read`},

		// Repositories, environments, secrets, boundaries.
		{"no effects", repo(""), "x.yaml:2: repositories[0].effects: missing; run `remit inspect REPO` to draft it, or write `effects: none` if a push or merge sets off nothing"},
		{"empty effects", repo("  effects: []\n"), "x.yaml:4: repositories[0].effects: a list; write a list of effects, or `none`"},
		{"other text for effects", repo("  effects: nothing\n"), "x.yaml:4: repositories[0].effects: text; write a list of effects, or `none`"},
		{"an upstream", "repositories:\n- {name: frge/shop, default_branch: main, effects: none}\n", `x.yaml:2: repositories[0].name: "frge/shop": write UPSTREAM/PATH with a declared upstream; "forge" is meant, perhaps`},
		{"an upstream alone", "repositories:\n- {name: forge, default_branch: main, effects: none}\n", `x.yaml:2: repositories[0].name: "forge": write UPSTREAM/PATH with a declared upstream; "forge" is meant, perhaps`},
		{"a repository's name", "repositories:\n- {name: forge/a b, default_branch: main, effects: none}\n", `x.yaml:2: repositories[0].name: "repo:forge/a b": segment "a b": write byte ' ' as %20`},
		{"a path that leaves", repo("  effects: none\n  path: ../x.git\n"), `x.yaml:5: repositories[0].path: "../x.git": write the path at the upstream, such as team/name.git`},
		{"a branch in full", "repositories:\n- {name: forge/shop, default_branch: refs/heads/main, effects: none}\n", `x.yaml:2: repositories[0].default_branch: "refs/heads/main": write the short name of a branch, such as main`},
		{"an approver", repo("  effects: none\n  approvers: [{group: tema, n: 1}]\n"), `x.yaml:5: repositories[0].approvers[0].group: no group "tema" is declared`},
		{"no approver", repo("  effects: none\n  approvers: [{group: team, n: 0}]\n"), `x.yaml:5: repositories[0].approvers[0].n: n is at least 1`},
		{"more approvers than there are", repo("  effects: none\n  approvers: [{group: team, n: 2}]\n"), `x.yaml:5: repositories[0].approvers[0].n: n is 2, and group "team" has 1; nobody could ever approve`},
		{"a group twice", repo("  effects: none\n  approvers: [{group: team, n: 1}, {group: team, n: 1}]\n"), `x.yaml:5: repositories[0].approvers[1].group: group "team" stands twice; write one line with the larger n`},
		{"a protected path", repo("  effects: none\n  protected: [/etc]\n"), `x.yaml:5: repositories[0].protected[0]: "/etc": * and ** stand alone, as the last segment; other segments are literal and not empty`},
		{"an effect's ref", repo("  effects: [{refs: main, causes: build.trigger, on: pipeline:a, secrets: none}]\n"), `x.yaml:4: repositories[0].effects[0].refs: "main": a ref pattern is a full name, for instance refs/heads/main or refs/heads/release/**`},
		{"an effect that reads", repo("  effects: [{refs: refs/heads/main, causes: build.read, on: pipeline:a}]\n"), `x.yaml:4: repositories[0].effects[0].causes: build.read is nothing that a push sets off; build.trigger and deploy.promote are`},
		{"an effect's resource", repo("  effects: [{refs: refs/heads/main, causes: build.trigger, on: repo:a, secrets: none}]\n"), `x.yaml:4: repositories[0].effects[0].on: build.trigger acts on a resource of type pipeline, not repo`},
		{"a pattern as an effect's resource", repo("  effects: [{refs: refs/heads/main, causes: build.trigger, on: \"pipeline:a/*\", secrets: none}]\n"), `x.yaml:4: repositories[0].effects[0].on: "pipeline:a/*": segment "*": * and ** stand alone, as the last segment of a pattern`},
		{"an effect's environment", repo("  effects: [{refs: refs/heads/main, causes: deploy.promote, on: environment:a}]\n"), `x.yaml:4: repositories[0].effects[0].on: no environment "a" is declared`},
		{"a build that says nothing of secrets", repo("  effects: [{refs: refs/heads/main, causes: build.trigger, on: pipeline:a}]\n"), "x.yaml:4: repositories[0].effects[0].secrets: missing; write `none`, or `exposed` if the build that a push starts can read secrets"},
		{"a build with some secrets", repo("  effects: [{refs: refs/heads/main, causes: build.trigger, on: pipeline:a, secrets: some}]\n"), `x.yaml:4: repositories[0].effects[0].secrets: "some": write none or exposed`},
		{"a deployment with secrets", repo("  effects: [{refs: refs/heads/main, causes: deploy.promote, on: environment:a, secrets: none}]\n") + "environments: [{name: a, tier: staging}]\n", `x.yaml:4: repositories[0].effects[0]: secrets and runs are for build.trigger only`},
		{"what runs", repo("  effects: [{refs: refs/heads/main, causes: build.trigger, on: pipeline:a, secrets: none, runs: [\"\"]}]\n"), `x.yaml:4: repositories[0].effects[0].runs[0]: "": * and ** stand alone, as the last segment; other segments are literal and not empty`},
		{"an environment's name", "environments:\n- {name: a//b, tier: staging}\n", `x.yaml:2: environments[0].name: "environment:a//b": segment "" is not a name`},
		{"a tier", "environments:\n- {name: a, tier: prod}\n", `x.yaml:2: environments[0].tier: "prod": write staging or production`},
		{"a boundary's name", "boundaries:\n- {name: A, seal: [\"secret:a\"]}\n", `x.yaml:2: boundaries[0].name: "A": a name is 1 to 40 of a-z 0-9 -`},
		{"a detection", "detections:\n- {name: probin}\n", `x.yaml:2: detections[0].name: "probin": write denial-burst, probing, instance-twice, outside-hours, ref-moved-outside or unused-broad-grant; "probing" is meant, perhaps`},
		{"a seal", "boundaries:\n- {name: a, seal: [\"*\"]}\n", `x.yaml:2: boundaries[0].seal[0]: "*" has no type; write TYPE:NAME, for instance repo:forge/acme/payments`},
		{"a boundary's function", "boundaries:\n- {name: a, seal: [\"secret:a\"], functions: [coder]}\n", `x.yaml:2: boundaries[0].functions[0]: "coder": write plan, code, review, build, release, deploy or operate; "code" is meant, perhaps`},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The file under test comes first, so that its records are the first of their lists; base is read after it.
			dir := fstest.MapFS{"base.yaml": {Data: []byte(keys(base))}, "x.yaml": {Data: []byte(keys(c.text))}}
			got := readFirst(t, dir)
			if len(got) != 1 || got[0].Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", got, c.want)
			}
			if strings.Contains(got.Error(), "hunter2") {
				t.Error("the error repeats a credential")
			}
		})
	}
}

// readFirst reads x.yaml of dir before base.yaml, and names it so again.
func readFirst(t *testing.T, dir fstest.MapFS) declare.Errors {
	t.Helper()
	dir["a.yaml"] = dir["x.yaml"]
	delete(dir, "x.yaml")
	_, _, err := declare.Read(dir)
	var errs declare.Errors
	if err != nil && !errors.As(err, &errs) {
		t.Fatal(err)
	}
	for _, e := range errs {
		e.Sentence = strings.ReplaceAll(e.Sentence, "a.yaml:", "x.yaml:")
		if e.File == "a.yaml" {
			e.File = "x.yaml"
		}
	}
	return errs
}

func TestTheBaseOfTheTestsIsRight(t *testing.T) {
	dir := fstest.MapFS{"base.yml": {Data: []byte(keys(base))}, "README.md": {Data: []byte("\t")}, ".x.yaml": {Data: []byte("\t")},
		"x.yaml": {Data: []byte("---\r\n# nothing\r\n")}, "sub/x.yaml": {Data: []byte("\t")}}
	if _, _, err := declare.Read(dir); err != nil {
		t.Fatal(err)
	}
	strong := fstest.MapFS{"x.yaml": {Data: []byte("people:\n- {name: ben, keys: [" + pubRSA(t, 3072) + "]}\n")}}
	if _, _, err := declare.Read(strong); err != nil {
		t.Fatal(err)
	}
	loop := fstest.MapFS{"x.yaml": {Data: []byte(upstream("  location: http://[::1]:8080/\n  insecure: true\n  write: {from: exec, argv: [pass, show]}\n"))}}
	if _, _, err := declare.Read(loop); err != nil {
		t.Fatal(err)
	}
}

func TestDirectories(t *testing.T) {
	big := []byte("#" + strings.Repeat("x", declare.MaxFile-1))
	for _, c := range []struct {
		name string
		dir  fstest.MapFS
		want string
	}{
		{"no file", fstest.MapFS{"README.md": {}}, "there is no file *.yaml here; an empty set would remove everything. Write one, for instance with `people: []`"},
		{"a directory of that name", fstest.MapFS{"x.yaml/y": {}}, "x.yaml: it cannot be read: "},
		{"a policy in a directory", fstest.MapFS{"x.yaml": {}, "policy/more/x.rego": {}}, "policy/more: a directory; modules lie directly in policy/"},
		{"policy that is not text", fstest.MapFS{"x.yaml": {}, "policy/x.rego": {Data: []byte("a\n\xff")}}, "policy/x.rego:2: not UTF-8 text"},
		{"too much together", fstest.MapFS{"1.yaml": {Data: big}, "2.yaml": {Data: big}, "3.YAML": {Data: big}, "4.yml": {Data: big}, "5.yaml": {Data: []byte("#")}},
			"5.yaml: with it, the files are larger than 4194304 bytes together"},
		{"a name in two files", fstest.MapFS{"1.yaml": {Data: []byte("people:\n- {name: ada, keys: [" + pub(1) + "]}\n")}, "2.yaml": {Data: []byte("people:\n- name: ada\n  keys: [" + pub(2) + "]\n")}},
			`2.yaml:2: people[1].name: "ada" is declared already, at 1.yaml:2; a name is declared once`},
		{"several errors", fstest.MapFS{"1.yaml": {Data: []byte("x: 1\ny: 2\n")}, "2.yaml": {Data: []byte("\t")}},
			"1.yaml:1: unknown member \"x\"; there are people, groups, agents, upstreams, repositories, environments, secrets, tools, boundaries, detections, break_glass, activation, notify, escalations, campaigns, reviews\n" +
				"1.yaml:2: unknown member \"y\"; there are people, groups, agents, upstreams, repositories, environments, secrets, tools, boundaries, detections, break_glass, activation, notify, escalations, campaigns, reviews\n" +
				`2.yaml:1: a tab; YAML is indented with spaces (write \t within double quotes)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, pos, err := declare.Read(c.dir)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || set != nil || pos == nil {
				t.Fatalf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, _, err := declare.Read(os.DirFS("testdata/nowhere")); err == nil {
		t.Fatal("a directory that is not there is read")
	}
}

// anySet is a set that is right.
func anySet(t *rapid.T) *remit.Declarations {
	name := rapid.StringMatching(`[a-z0-9-]{1,12}`)
	text := rapid.OneOf(rapid.SampledFrom([]string{"yes", "null", "Fix: it # now", "-", "a: b", "12", "1e3", "~", "'", "\"", "\\", "a\nb", " a ", "a ", "{", "é\u2028\u0085", "true", "@x", "a\tb", "<<", "2027-01-31", "0x1", "[a]", "?", "-- a"}),
		rapid.StringN(1, 20, 40)).Filter(func(s string) bool { return strings.ToValidUTF8(s, "") == s })
	segment := rapid.StringMatching(`[A-Za-z0-9._~-]{1,8}`).Filter(func(s string) bool { return s != "." && s != ".." })
	function := rapid.SampledFrom([]remit.Function{"plan", "code", "review", "build", "release", "deploy", "operate"})
	var s remit.Declarations
	for i, n := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9._@+-]{1,12}`), 1, 4, rapid.ID).Draw(t, "people") {
		p := remit.Person{Name: n, Keys: []string{pub(byte(i)) + rapid.SampledFrom([]string{"", " x", " a: b # c"}).Draw(t, "comment")}}
		if rapid.Bool().Draw(t, "provider") {
			p.Keys, p.Identities = nil, []remit.Identity{{Issuer: "https://id.example.org", Subject: fmt.Sprint("u", i)}}
		}
		s.People = append(s.People, p)
	}
	anyone := rapid.Custom(func(t *rapid.T) string { return rapid.SampledFrom(s.People).Draw(t, "person").Name })
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "groups") {
		g := remit.Group{Name: n, Members: rapid.SliceOfNDistinct(anyone, 1, len(s.People), rapid.ID).Draw(t, "members")}
		if n != remit.Administrators && rapid.Bool().Draw(t, "from") {
			g.From = []remit.GroupSource{{Issuer: "https://id.example.org", Group: rapid.SampledFrom([]string{"eng", "a: b", "Ä"}).Draw(t, "source")}}
		}
		s.Groups = append(s.Groups, g)
	}
	needs := func() []remit.Need {
		var list []remit.Need
		for _, g := range s.Groups {
			if rapid.Bool().Draw(t, "asked") {
				list = append(list, remit.Need{Group: g.Name, N: rapid.IntRange(1, len(g.Members)).Draw(t, "n")})
			}
		}
		return list
	}
	patterns := func(head string) []remit.Pattern {
		var list []remit.Pattern
		for _, p := range rapid.SliceOfN(segment, 1, 12).Draw(t, "patterns") {
			list = append(list, remit.Pattern(head+p+rapid.SampledFrom([]string{"", "/*", "/**"}).Draw(t, "tail")))
		}
		return list
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "agents") {
		a := remit.Agent{Name: n, Function: function.Draw(t, "function"), Owner: anyone.Draw(t, "owner"), Purpose: text.Draw(t, "purpose"),
			Expires: rapid.SampledFrom([]string{"", "2027-01-31"}).Draw(t, "expires"), MayRequest: rapid.SliceOfN(function, 1, 3).Draw(t, "may request")}
		for _, g := range s.Groups {
			a.Requesters = append(a.Requesters, g.Name)
		}
		for range rapid.IntRange(0, 2).Draw(t, "entitlements") {
			a.Entitlements = append(a.Entitlements, remit.Scope{Actions: []remit.Action{"source.read"}, Resources: patterns("repo:a/"), Refs: patterns("refs/heads/"),
				Paths: patterns(""), MaxBytes: rapid.Int64Min(0).Draw(t, "bytes"), MaxCommits: rapid.IntRange(0, 9).Draw(t, "commits")})
		}
		s.Agents = append(s.Agents, a)
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 2, rapid.ID).Draw(t, "upstreams") {
		u := remit.Upstream{Name: n, Kind: "http", Location: "https://git.example.org/" + n, CA: rapid.SampledFrom([]string{"", "/ca.pem"}).Draw(t, "ca")}
		if rapid.Bool().Draw(t, "write") {
			u.Write = remit.Source{From: "exec", Argv: rapid.SliceOfN(text, 1, 3).Draw(t, "argv"), User: "x"}
		}
		if rapid.Bool().Draw(t, "local") {
			u = remit.Upstream{Name: n, Kind: "local", Location: "/srv/git"}
		}
		s.Upstreams = append(s.Upstreams, u)
		effects := []remit.Effect{}
		for range rapid.IntRange(0, 2).Draw(t, "effects") {
			effects = append(effects, remit.Effect{Refs: patterns("refs/tags/")[0], Causes: "build.trigger", On: remit.Resource("pipeline:" + segment.Draw(t, "pipeline")), Secrets: "none", Runs: patterns("")})
		}
		s.Repositories = append(s.Repositories, remit.Repository{Name: n + "/" + segment.Draw(t, "repository"), DefaultBranch: "main", Approvers: needs(),
			Protected: patterns("**/"), Effects: &effects})
	}
	for _, n := range rapid.SliceOfNDistinct(segment, 0, 2, rapid.ID).Draw(t, "environments") {
		s.Environments = append(s.Environments, remit.Environment{Name: n, Tier: "staging", Approvers: needs()})
		s.Boundaries = append(s.Boundaries, remit.Boundary{Name: fmt.Sprint("b", len(s.Boundaries)), Seal: patterns("secret:"), Functions: rapid.SliceOfN(function, 1, 9).Draw(t, "functions")})
	}
	for _, of := range []string{"declarations", "policy"} {
		a := remit.Activation{Name: of, TriedWithinHours: rapid.IntRange(1, 720).Draw(t, "within"), OverHours: rapid.IntRange(0, 500).Draw(t, "over")}
		if rapid.Bool().Draw(t, "bound") {
			most := rapid.IntRange(0, 50).Draw(t, "questions")
			a.MaxMoreQuestions = &most
		}
		s.Activation = append(s.Activation, a)
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(remit.DetectionNames()), 0, 2, rapid.ID).Draw(t, "detections") {
		s.Detections = append(s.Detections, remit.Detection{Name: n, Suspend: rapid.Bool().Draw(t, "suspend")})
	}
	if rapid.Bool().Draw(t, "policy") {
		s.Policy = []remit.PolicyFile{{Name: "a.rego", Text: "package remit.any\n\t# é\n"}}
	}
	return &s
}

func fsOf(files map[string][]byte) fstest.MapFS {
	dir := fstest.MapFS{}
	for n, b := range files {
		dir[n] = &fstest.MapFile{Data: b}
	}
	return dir
}

func TestWhatIsWrittenIsReadBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anySet(t)
		files := declare.Write(want)
		got, _, err := declare.Read(fsOf(files))
		if err != nil {
			t.Fatalf("%v\n%s", err, files)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\n%s", got, want, files)
		}
	})
	if got, _, err := declare.Read(fsOf(declare.Write(&remit.Declarations{}))); err != nil || !reflect.DeepEqual(got, &remit.Declarations{}) {
		t.Fatalf("the empty set: %+v, %v", got, err)
	}
}

func TestTheExampleIsWrittenReadably(t *testing.T) {
	set, _, err := declare.Read(os.DirFS("testdata/example"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, n := range []string{"people.yaml", "agents.yaml", "repositories.yaml", "environments.yaml", "boundaries.yaml"} {
		fmt.Fprintf(&got, "# %s\n%s\n", n, declare.Write(set)[n])
	}
	if *update {
		if err := os.WriteFile("testdata/example.written", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/example.written")
	if err != nil || got.String() != string(want) {
		t.Errorf("got\n%s", got.String())
	}
}

func FuzzRead(f *testing.F) {
	entries, _ := os.ReadDir("testdata/example")
	for _, e := range entries {
		if b, err := os.ReadFile("testdata/example/" + e.Name()); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte(keys(base)))
	f.Add([]byte(keys(called)))
	f.Add([]byte("people: [{name: a, keys: [\"\\x41\"]}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, pos, err := declare.Read(fstest.MapFS{"x.yaml": {Data: b}})
		if err != nil {
			var errs declare.Errors
			if !errors.As(err, &errs) || set != nil || pos == nil {
				t.Fatalf("%v", err)
			}
			for _, e := range errs {
				if e.File != "x.yaml" || e.Sentence == "" || e.Line > strings.Count(string(b), "\n")+1 {
					t.Fatalf("%+v", e)
				}
			}
			return
		}
		again, _, err := declare.Read(fsOf(declare.Write(set)))
		if err != nil || !reflect.DeepEqual(again, set) {
			t.Fatalf("it is not read back: %v\n%+v\n%+v", err, set, again)
		}
	})
}
