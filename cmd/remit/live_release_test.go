package main

import (
	"bufio"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	registryclient "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	testworld "github.com/remit-dev/remit/internal/world"
)

// runtimeParts is what a script has beyond the source: where artifacts go, what they are deployed to, and who deploys.
type runtimeParts struct {
	flags    []string // of remit server
	executor *process
	issuer   *testworld.Issuer
	hooks    *hooks
	halted   remit.EntryIndex // the log's size when a halt was asked for
	closers  []func()
}

func (r *runtimeParts) end() {
	if r.executor != nil {
		r.executor.kill()
	}
	for _, c := range r.closers {
		c()
	}
}

// cmdRegistry starts a registry that knows nothing of Remit, and asks nobody who he is: registry. $REGISTRY is its address.
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: registry")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(discard{}, "", 0))))
	w := worldOf(ts)
	w.runtime.closers = append(w.runtime.closers, s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}

// cmdImage goes to the registry itself, around Remit: image push NAME TEXT | image tag NAME DIGEST TAG. A push prints the digest.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	at := ts.Getenv("REGISTRY") + "/"
	switch {
	case !neg && len(args) == 3 && args[0] == "push":
		img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer([]byte(args[2]), types.OCIUncompressedLayer))
		ts.Check(err)
		digest, err := img.Digest()
		ts.Check(err)
		ref, err := name.NewDigest(at+args[1]+"@"+digest.String(), name.Insecure)
		ts.Check(err)
		ts.Check(registryclient.Write(ref, img))
		fmt.Fprintln(ts.Stdout(), digest)
	case !neg && len(args) == 4 && args[0] == "tag":
		ref, err := name.NewDigest(at+args[1]+"@"+args[2], name.Insecure)
		ts.Check(err)
		d, err := registryclient.Get(ref)
		ts.Check(err)
		tag, err := name.NewTag(at+args[1]+":"+args[3], name.Insecure)
		ts.Check(err)
		ts.Check(registryclient.Tag(tag, d))
	default:
		ts.Fatalf("usage: image push NAME TEXT, or image tag NAME DIGEST TAG")
	}
}

// cmdTargets makes places to deploy to, and declares the agents of a chain: targets NAME…. $TARGETS/NAME/running names what
// runs there, $TARGETS/NAME/calls has a line for each run of the command that deploys.
func cmdTargets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: targets NAME …")
	}
	w := worldOf(ts)
	all := filepath.Join(w.dir, "targets")
	ts.Setenv("TARGETS", all)
	for _, n := range args {
		at := filepath.Join(all, n)
		ts.Check(os.MkdirAll(at, 0o700))
		for file, text := range map[string]string{"deploy": deployScript, "observe": observeScript} {
			ts.Check(os.WriteFile(filepath.Join(at, file), []byte("#!/bin/sh\nat="+quote(at)+"\n"+text), 0o700))
		}
		for _, pipe := range []string{"reached", "go"} {
			ts.Check(ts.Exec("mkfifo", filepath.Join(at, pipe)))
		}
		ts.Check(os.WriteFile(filepath.Join(at, "how"), []byte("good"), 0o600))
	}
	for file, text := range releaseDeclared {
		if _, err := os.Stat(filepath.Join(w.dir, "declarations", file)); err != nil {
			ts.Check(writeUnder(filepath.Join(w.dir, "declarations"), file, text))
		}
	}
}

const deployScript = `put() { printf '%s\n' "$1" > "$at/next"; mv "$at/next" "$at/running"; }
echo "$REMIT_ARTIFACTS" >> "$at/calls"
echo $$ > "$at/pid"
read how once < "$at/how"
[ -z "$once" ] || echo good > "$at/how"
case $how in
good) put "$REMIT_ARTIFACTS";;
fails) echo 'the target is not there'; exit 1;;
half) put "${REMIT_ARTIFACTS%@*}@sha256:$(printf %064d 0)"; echo 'one of two is there'; exit 1;;
lies) echo 'all is well';;
grumbles) put "$REMIT_ARTIFACTS"; echo 'something went wrong'; exit 1;;
blind) put "$REMIT_ARTIFACTS"; : > "$at/blind";;
hangs) sleep 3600;;
before) echo > "$at/reached"; read x < "$at/go"; put "$REMIT_ARTIFACTS";;
after) put "$REMIT_ARTIFACTS"; echo > "$at/reached"; read x < "$at/go";;
esac
`

const observeScript = `[ ! -e "$at/blind" ] || { echo 'it does not answer'; exit 1; }
[ ! -e "$at/running" ] || sed 's/.*@//' "$at/running"
`

// cmdTarget says how the command that deploys goes from now on: target NAME good|fails|half|lies|grumbles|blind|hangs|before|after
// [once]; target NAME reached waits until one that stops before or after what it does is there, release lets it go on, dies kills it.
func cmdTarget(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: target NAME HOW [once]")
	}
	at := filepath.Join(ts.Getenv("TARGETS"), args[0])
	// Both ends are open here, so that opening never waits.
	pipe := func(name string) *os.File {
		f, err := os.OpenFile(filepath.Join(at, name), os.O_RDWR, 0)
		ts.Check(err)
		ts.Defer(func() { f.Close() })
		return f
	}
	switch args[1] {
	case "reached":
		f, there := pipe("reached"), make(chan struct{})
		go func() {
			if _, err := f.Read(make([]byte, 1)); err == nil {
				close(there)
			}
		}()
		waitFor(ts, there, "a deployment to "+args[0])
	case "release":
		_, err := pipe("go").WriteString("\n")
		ts.Check(err)
	case "dies":
		var pid int
		_, err := fmt.Sscan(ts.ReadFile(filepath.Join(at, "pid")), &pid)
		ts.Check(err)
		p, err := os.FindProcess(pid)
		ts.Check(err)
		ts.Check(p.Kill())
	default:
		if !strings.Contains(deployScript, "\n"+args[1]+") ") {
			ts.Fatalf("a target is good, fails, half, lies, grumbles, blind, hangs, before or after, not %s", args[1])
		}
		ts.Check(os.WriteFile(filepath.Join(at, "how"), []byte(strings.Join(args[1:], " ")+"\n"), 0o600))
	}
}

// cmdRuns wants an artifact to be what runs: runs NAME ARTIFACT|nothing. ! runs wants anything else.
func cmdRuns(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: runs NAME ARTIFACT|nothing")
	}
	b, err := os.ReadFile(filepath.Join(ts.Getenv("TARGETS"), args[0], "running"))
	now := strings.TrimSpace(string(b))
	_, digest, _ := strings.Cut(args[1], "@")
	is := digest != "" && strings.HasSuffix(now, "@"+digest) || args[1] == "nothing" && os.IsNotExist(err)
	if is == neg {
		ts.Fatalf("%s runs %q, not %s", args[0], now, args[1])
	}
}

// cmdChain brings a change all the way to an artifact: chain NAME. A coder pushes it, it is merged with ben's vote, a
// builder publishes it and asks a releaser. Then there are the tasks code, build and rel, $HEAD, $MERGED and the
// artifact $NAME.
func cmdChain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: chain NAME")
	}
	as := func(name, value string) { ts.Setenv(name, value) }
	cmdAs(ts, false, []string{"ana"})
	cmdTask(ts, false, []string{"code", "--agent", "coder", "--intent", "Round down", "--repo", "forge/payments"})
	as("HEAD", told1(ts, "code", 0, `\b([0-9a-f]{40})\b`,
		"git clone -q $FORGE/payments.git . && echo x >> README.md && git commit -qam Round && git push -q origin HEAD:$REMIT_BRANCH/r && git rev-parse HEAD"))
	cmdTask(ts, false, []string{"merge", "--agent", "merger", "--intent", "Merge it", "--repo", "forge/payments", "--action", "source.read",
		"--action", "source.merge", "--ref", "refs/heads/main"})
	cmdApproved(ts, false, []string{told1(ts, "merge", remit.ExitWaiting, `held as (A-[0-9]+)`, "remit merge --repo forge/payments --head "+ts.Getenv("HEAD")), "ben"})
	ts.Check(ts.Exec("git", "-C", filepath.Join(ts.Getenv("UP"), "payments.git"), "rev-parse", "main"))
	as("MERGED", strings.TrimSpace(ts.ReadFile("stdout")))
	as("BUILD", told1(ts, "code", 0, `task (T-[0-9]+) is made`, "remit task request --agent builder --intent 'Build it' --resource artifact:oci/payments "+
		"--action artifact.read --action artifact.upload --action artifact.publish --input repo:forge/payments@"+ts.Getenv("MERGED")))
	cmdTask(ts, false, []string{"build", "--id", ts.Getenv("BUILD")})
	cmdPublish(ts, false, args)
	as("RELEASE", told1(ts, "build", 0, `task (T-[0-9]+) is made`, "remit task request --agent releaser --intent 'Release it' --resource artifact:oci/payments "+
		"--action artifact.read --input "+ts.Getenv(args[0])))
	cmdTask(ts, false, []string{"rel", "--id", ts.Getenv("RELEASE")})
}

// told1 has a task's shell do a line, which must end with a code, and gives what a pattern finds in what it said.
func told1(ts *testscript.TestScript, task string, want int, pattern, line string) string {
	said, code := taskOf(ts, []string{task}).do(ts, line)
	fmt.Fprint(ts.Stdout(), said)
	m := regexp.MustCompile(pattern).FindStringSubmatch(said)
	if code != want || m == nil {
		ts.Fatalf("%s: it ended with %d, and nothing of the form %s:\n%s", line, code, pattern, said)
	}
	return m[1]
}

// cmdPublish has the builder of a chain publish something else: publish NAME; $NAME is the artifact.
func cmdPublish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: publish NAME")
	}
	ts.Setenv(args[0], told1(ts, "build", 0, `(artifact:\S+@sha256:[0-9a-f]{64})`, "echo "+args[0]+" > f && remit artifact push oci/payments f"))
}

// cmdAsk has the releaser of a chain ask for a deployment: ask NAME ENVIRONMENT ARTIFACT; $NAME is the access request that waits.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: ask NAME ENVIRONMENT ARTIFACT")
	}
	line := "remit release request --environment " + args[1] + " --artifact " + args[2] + " --intent 'Release it'"
	if neg {
		cmdIn(ts, true, []string{"rel", line})
		return
	}
	ts.Setenv(args[0], told1(ts, "rel", 0, `held as (A-[0-9]+)`, line))
}

// cmdApproved has people approve a request and waits until it is carried out: approved REQUEST PERSON…. ! approved is for
// what then is anything but done. What remit wait says is stdout.
func cmdApproved(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: approved REQUEST PERSON …")
	}
	was := ts.Getenv("REMIT_KEY")
	for _, p := range args[1:] {
		cmdAs(ts, false, []string{p})
		ts.Check(ts.Exec("remit", "approvals", "approve", args[0], "--yes"))
	}
	err := ts.Exec("remit", "wait", args[0])
	ts.Setenv("REMIT_KEY", was)
	if (err != nil) != neg {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

// cmdServing gives remit server further flags: serving FLAG….
func cmdServing(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).runtime.flags = args }

// cmdExecutor is the executor of zone P as a process of its own: executor start|stop|kill9, after remit executor enroll
// --zone P --dir executor.
func cmdExecutor(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 1 || neg {
		ts.Fatalf("usage: executor start|stop|kill9")
	}
	switch args[0] {
	case "start":
		log, err := os.OpenFile(filepath.Join(w.dir, "executor.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		ts.Check(err)
		defer log.Close()
		out, in, err := os.Pipe()
		ts.Check(err)
		defer out.Close()
		cmd := command(ts, w, "", "remit", "executor", "--dir", "executor")
		cmd.Stdout, cmd.Stderr = in, log
		w.runtime.executor, err = startProcess(cmd)
		in.Close()
		ts.Check(err)
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.Contains(line, "is executor/production") {
			ts.Fatalf("the executor does not start: %q, %v\n%s", line, err, ts.ReadFile("executor.log"))
		}
	case "stop":
		w.runtime.executor.signal(syscall.SIGTERM)
		waitFor(ts, w.runtime.executor.done, "the end of the executor")
	case "kill9":
		w.runtime.executor.kill()
	default:
		ts.Fatalf("usage: executor start|stop|kill9")
	}
}

// cmdIssuer starts a forge's issuer of CI jobs' tokens: issuer, before house. $ISSUER is its address.
func cmdIssuer(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	w.runtime.issuer = testworld.NewIssuer(scriptTB{ts: ts, w: w}, time.Now, jose.RS256)
	ts.Setenv("ISSUER", w.runtime.issuer.URL)
}

// cmdJob is a token that the issuer signs for a job: job NAME COMMIT [claim=value …].
func cmdJob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: job NAME COMMIT [claim=value …]")
	}
	w := worldOf(ts)
	changes := map[string]any{}
	for _, a := range args[2:] {
		k, v, _ := strings.Cut(a, "=")
		changes[k] = v
	}
	ts.Setenv(args[0], w.runtime.issuer.Sign(w.runtime.issuer.GitHub(w.url, args[1], changes)))
}

// scriptTB is a script where a test is wanted.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
	w  *world
}

func (t scriptTB) Helper()                   {}
func (t scriptTB) Fatal(args ...any)         { t.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (t scriptTB) Fatalf(f string, a ...any) { t.ts.Fatalf(f, a...) }
func (t scriptTB) Cleanup(f func())          { t.w.runtime.closers = append(t.w.runtime.closers, f) }

// cmdFetch is fetch METHOD URL TOKEN: one request to the server with a token as it is. The status is stdout.
func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: fetch METHOD URL TOKEN")
	}
	r, err := http.NewRequest(args[0], args[1], nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+args[2])
	sendRequest(ts, neg, r)
}

var releaseCommands = map[string]func(*testscript.TestScript, bool, []string){
	"registry": cmdRegistry, "image": cmdImage, "targets": cmdTargets, "target": cmdTarget, "runs": cmdRuns, "chain": cmdChain,
	"publish": cmdPublish, "intoto": cmdInToto, "ask": cmdAsk, "approved": cmdApproved, "serving": cmdServing, "executor": cmdExecutor,
	"issuer": cmdIssuer, "job": cmdJob, "fetch": cmdFetch,
}

// releaseDeclared is what a script with targets has declared.
var releaseDeclared = map[string]string{
	"people.yaml": strings.Replace(declared["people.yaml"], "groups:", "  - {name: dan, keys: [\"${DAN_KEY}\"]}\ngroups:", 1),
	"agents.yaml": `agents:
  - name: coder
    function: code
    owner: ana
    purpose: Changes code on branches of its own
    may_request: [review, build]
    entitlements:
      - {actions: [source.read, source.push], resources: ["repo:forge/*"]}
  - name: merger
    function: code
    owner: dan
    purpose: Merges what was reviewed
    requesters: [administrators]
    entitlements:
      - {actions: [source.read, source.merge], resources: ["repo:forge/*"], refs: [refs/heads/main]}
  - name: builder
    function: build
    owner: ana
    purpose: Builds merged commits
    requesters: [administrators]
    may_request: [release]
    entitlements:
      - {actions: [source.read], resources: ["repo:forge/*"]}
      - {actions: [artifact.read, artifact.upload, artifact.publish], resources: ["artifact:oci/*"]}
  - name: releaser
    function: release
    owner: ana
    purpose: Has artifacts deployed
    requesters: [administrators]
    may_request: [deploy]
    entitlements:
      - {actions: [artifact.read, artifact.publish], resources: ["artifact:oci/*"]}
  - name: deployer
    function: deploy
    owner: ana
    purpose: Puts approved artifacts where they belong
    entitlements:
      - {actions: [deploy.read, deploy.promote, deploy.rollback], resources: ["environment:payments/*"]}
`,
	"places.yaml": `upstreams:
  - ${UPSTREAM}
  - {name: oci, kind: registry, location: "http://${REGISTRY}", insecure: true}
  - {name: host, kind: command, location: local}
repositories:
  - name: forge/payments
    default_branch: main
    approvers: [{group: reviewers, n: 1}]
    effects: none
    artifacts: ["artifact:oci/payments"]
  - name: forge/other
    default_branch: main
    effects: none
    artifacts: ["artifact:oci/other"]
environments:
  - name: payments/staging
    tier: staging
    approvers: [{group: operators, n: 1}]
    artifacts: ["artifact:oci/*"]
    evidence: [built]
    target: {upstream: host, apply: ["${TARGETS}/staging/deploy"], observe: ["${TARGETS}/staging/observe"], timeout: 3s}
  - name: payments/production
    tier: production
    approvers: [{group: operators, n: 2}]
    artifacts: ["artifact:oci/payments"]
    evidence: [merged, "deployed:payments/staging"]
    target: {upstream: host, apply: ["${TARGETS}/production/deploy"], observe: ["${TARGETS}/production/observe"]}
`,
}
