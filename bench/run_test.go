package bench

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
)

// BenchmarkRun is what remit run adds to a command's start and end: the same command alone, under remit run, as an agent
// that is set up (the program is an empty one: what the agent itself takes is not ours), and in a sandbox.
func BenchmarkRun(b *testing.B) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		b.Fatal(err)
	}
	private, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	write := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			b.Fatal(err)
		}
		return path
	}
	d := commenters(dir)
	d.People = []remit.Person{{Name: "ben", Keys: []string{string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}}}
	d.Agents[0].Owner = "ben" // who launches it
	h := newHouse(b, d, nil)
	keyFile, ca := write("ben", pem.EncodeToMemory(private), 0o600), write("ca.pem", h.ca, 0o600)
	write("claude", []byte("#!/bin/sh\n"), 0o700)
	task, err := h.ana.CreateTask(b.Context(), remit.TaskRequest{Agent: "commenter", Intent: "answer the reports of today"})
	if err != nil {
		b.Fatal(err)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		b.Fatal(err)
	}
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + b.TempDir(), "REMIT_SERVER=https://" + h.addr, "REMIT_ORG=acme", "REMIT_CA=" + ca, "REMIT_KEY=" + keyFile}
	took := func(name string, args ...string) float64 {
		var all []float64
		for range atMost(20, 2) + 1 {
			cmd := exec.Command(name, args...)
			cmd.Env, cmd.Dir = env, tree
			begin := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s %q: %v\n%s", name, args, err, out)
			}
			all = append(all, float64(time.Since(begin).Microseconds())/1000)
		}
		return median(all[1:]) // the first signs in
	}
	remitBinary := filepath.Join(h.dir, "remit")
	under := func(args ...string) float64 {
		return took(remitBinary, append([]string{"run", "--task", string(task.ID)}, args...)...)
	}
	for b.Loop() {
		alone, agent := took("/bin/true"), took(filepath.Join(dir, "claude"))
		b.ReportMetric(alone, "alone-ms")
		b.ReportMetric(under("--", "/bin/true")-alone, "run-adds-ms")
		b.ReportMetric(under("--", "claude")-agent, "agent-adds-ms")
		b.ReportMetric(under("--isolate", "--", "/bin/true")-alone, "isolated-adds-ms")
	}
	b.ReportMetric(0, "ns/op")
}
