package declare_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit/declare"
)

// chain is a whole chain from source to production that is right: tests change one thing of it.
const chain = `people:
- name: ada
  keys: [KEY1]
groups:
- name: team
  members: [ada]
upstreams:
- name: forge
  kind: gitea
  location: https://git.example.org
  write: {from: file, name: /etc/remit/forge}
- name: oci
  kind: registry
  location: https://oci.example.org
- name: cluster
  kind: kubernetes
  location: https://cluster.example.org
  write: {from: file, name: /etc/remit/cluster}
- name: host
  kind: command
  location: local
- name: ci
  kind: oidc
  location: https://ci.example.org
  claims: github
repositories:
- name: forge/acme/app
  default_branch: main
  effects: none
  artifacts: [artifact:oci/app]
  reviews: 1
agents:
- name: builder
  function: build
  owner: ada
  purpose: builds
  jobs:
  - {issuer: ci, repository: "4711", workflow: .github/workflows/build.yml, source: forge/acme/app}
secrets:
- name: app/db
  zone: P
- name: app/npm
  zone: B
  send: {location: https://npm.example.org, header: Authorization, prefix: "Bearer "}
environments:
- name: app/staging
  tier: staging
  artifacts: [artifact:oci/app]
  target:
    upstream: host
    apply: [/usr/local/bin/deploy, staging]
    observe: [/usr/local/bin/deployed]
    secrets: {DB_URL: "secret:app/db"}
    timeout: 5m
- name: app/production
  tier: production
  artifacts: [artifact:oci/app]
  evidence: [merged, "deployed:app/staging"]
  rollback: [{group: team, n: 1}]
  target:
    upstream: cluster
    namespace: app
    service_account: deployer
    manifest: |
      kind: Deployment
`

func TestAChainOfDeclarationsIsReadAndWritten(t *testing.T) {
	set, _, err := declare.Read(fstest.MapFS{"chain.yaml": {Data: []byte(keys(chain))}})
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{}
	for name, text := range declare.Write(set) {
		dir[name] = &fstest.MapFile{Data: text}
	}
	again, _, err := declare.Read(dir)
	if err != nil || !reflect.DeepEqual(set, again) {
		t.Fatalf("%v\n%+v\n%+v", err, set, again)
	}
	if e := set.Environments[0].Target; e.Secrets["DB_URL"] != "secret:app/db" || e.Timeout != "5m" {
		t.Fatalf("%+v", e)
	}
}

func TestWhatIsWrongWithAChain(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"a credential for two zones", "/etc/remit/cluster", "/etc/remit/forge", "one credential serves one zone, and these are S and P"},
		{"a forge without the means to make credentials", "  write: {from: file, name: /etc/remit/forge}\n", "", "upstreams[0].write: missing; it is what Remit makes and ends its credentials with there"},
		{"claims of a forge", "  kind: registry\n", "  kind: registry\n  claims: github\n", "upstreams[1]: claims and audience are for kind: oidc only"},
		{"an issuer without claims", "  claims: github\n", "", `upstreams[4].claims: "": write github or gitlab`},
		{"an issuer with a credential", "  claims: github\n", "  claims: github\n  observer: {from: env, name: X}\n", "an issuer of identities takes no credential"},
		{"a command elsewhere", "  location: local\n", "  location: https://x.example.org\n", "a command upstream is the host of the executor"},
		{"an artifact of no registry", "artifacts: [artifact:oci/app]\n  reviews", "artifacts: [artifact:forge/app]\n  reviews", `"artifact:forge/app": no upstream "forge" of kind registry is declared`},
		{"an artifact that is none", "artifacts: [artifact:oci/app]\n  reviews", "artifacts: [repo:oci/app]\n  reviews", `write artifact:UPSTREAM/NAME`},
		{"many reviews", "reviews: 1", "reviews: 9", "between 0 and 8 verdicts"},
		{"a job that deploys", "function: build", "function: deploy", "CI jobs are agents of function build"},
		{"a job of no issuer", "issuer: ci", "issuer: oci", `no upstream "oci" of kind oidc`},
		{"a job by a name", `"4711"`, "acme/app", "write the forge's immutable id"},
		{"a job's workflow with a ref", "build.yml,", "build.yml@main,", "write the path of the workflow file"},
		{"a job of no repository", "source: forge/acme/app}", "source: forge/acme/other}", `no repository "forge/acme/other"`},
		{"a secret of no zone", "  zone: B", "  zone: C", `"C": write S, B or P`},
		{"a secret of another zone", `"secret:app/db"`, `"secret:app/npm"`, "write secret:NAME with a declared secret of zone P"},
		{"a variable of Remit's own", "DB_URL", "REMIT_X", "REMIT_ is Remit's own"},
		{"a secret sent in the clear", "https://npm", "http://npm", "secrets[1].send.location: http:// sends credentials in the clear"},
		{"a header that is none", "header: Authorization", "header: \"X: y\"", "write the name of a header"},
		{"a prefix with a line break", `"Bearer "`, `"Bearer \n"`, "at most 64 printable characters"},
		{"evidence that nobody knows", "[merged,", "[signed,", `"signed": write built, merged or deployed:ENVIRONMENT`},
		{"evidence twice", "[merged,", "[merged, merged,", `"merged" stands twice`},
		{"an environment before itself", "deployed:app/staging", "deployed:app/production", "cannot come before itself"},
		{"evidence of no environment", "deployed:app/staging", "deployed:app/qa", `no environment "app/qa" is declared`},
		{"a rollback that nobody decides", "{group: team, n: 1}", "{group: team, n: 2}", "nobody could ever approve"},
		{"a target without artifacts", "  artifacts: [artifact:oci/app]\n  target:\n    upstream: host", "  target:\n    upstream: host", "says which artifacts may be deployed to it"},
		{"a target at a forge", "upstream: host", "upstream: forge", `no upstream "forge" of kind kubernetes or command`},
		{"a command for a cluster", "    namespace: app\n", "    namespace: app\n    apply: [/bin/true]\n", "apply, observe and secrets are for an upstream of kind command"},
		{"a namespace for a command", "    timeout: 5m\n", "    namespace: app\n", "are for an upstream of kind kubernetes"},
		{"no service account", "    service_account: deployer\n", "", "target.service_account: missing"},
		{"a command from the path", "/usr/local/bin/deployed", "deployed", "begins with its full path"},
		{"a time", "timeout: 5m", "timeout: 2h", "write a time between 1s and 1h"},
		{"a large manifest", "      kind: Deployment\n", "      " + strings.Repeat("k", 33<<10) + "\n", "at most 32768 bytes"},
		{"secrets as a list", `{DB_URL: "secret:app/db"}`, `[DB_URL]`, "members are wanted here"},
		{"a secret that is no text", `"secret:app/db"`, `1`, "text is wanted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(chain, c.old, c.new, 1)
			if text == chain {
				t.Fatal("nothing was changed")
			}
			_, _, err := declare.Read(fstest.MapFS{"chain.yaml": {Data: []byte(keys(text))}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("one thing is wrong, and this is said: %v", err)
			}
		})
	}
}
