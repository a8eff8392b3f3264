package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
)

// fault is one thing that goes wrong in a system call of the server, or of the git that it starts.
type fault struct {
	calls string   // of strace; "": the size of files is limited, so that writes are short and then fail
	error string   // what they answer; a number is what they return without doing anything, SIGKILL the end of the process
	paths []string // below the data directory, or all
	most  int      // the n-th call of a thread is drawn from 1…most
}

func (f fault) String() string { return f.calls + " " + f.error + " " + strings.Join(f.paths, ",") }

// Each write, fsync, rename and open is in one of them. A log that is written is log.db-wal, and now and then log.db.
var faults = []fault{
	{"pwrite64", "EIO", []string{"log.db-wal", "log.db"}, 20},
	{"pwrite64", "ENOSPC", []string{"log.db-wal", "log.db"}, 20},
	{"pwrite64", "0", []string{"log.db-wal", "log.db"}, 20},
	{"fsync,fdatasync", "EIO", []string{"log.db-wal", "log.db"}, 10},
	{"fsync,fdatasync", "ENOSPC", []string{"log.db-wal", "log.db"}, 10},
	{"fsync,fdatasync", "EIO", nil, 20},
	{"rename,renameat,renameat2,link,linkat", "EIO", nil, 6},
	{"rename,renameat,renameat2,link,linkat", "ENOSPC", nil, 6},
	{"openat", "EIO", nil, 60},
	{"openat", "ENOSPC", nil, 60},
	{"ftruncate,fallocate", "EIO", nil, 3},
	{"unlink,unlinkat", "EIO", nil, 6},
	{"pwrite64", "SIGKILL", []string{"log.db-wal", "log.db"}, 20},
	{"fsync,fdatasync", "SIGKILL", nil, 20},
	{"rename,renameat,renameat2,link,linkat", "SIGKILL", nil, 6},
	{"", "10", nil, 300 << 10},
}

// cmdFaults is faults SEED: each fault twice, at other moments. There is one server after the other in which a system call fails, and what it told is looked for in
// what its successor has.
func cmdFaults(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: faults SEED")
	}
	var seed uint64
	_, err := fmt.Sscan(args[0], &seed)
	ts.Check(err)
	if soak() > 1 {
		seed = uint64(time.Now().UnixNano())
		ts.Logf("seed %d", seed)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	o := newOutside(ts)
	o.w.server.signal(os.Interrupt)
	waitFor(ts, o.w.server.done, "the end of the server")
	hits, begun := map[string]int{}, time.Now()
	for range 2 * soak() {
		for _, f := range faults {
			n, lasting := 1+r.IntN(f.most), r.IntN(2) == 0
			if soak() == 1 && f.calls != "" { // so few must hit: the first calls surely happen
				n = 1 + (n-1)/4
			}
			name := fmt.Sprintf("%s at %d, lasting: %v", f, n, lasting)
			hit, err := o.suffer(f, n, lasting)
			if err != nil {
				ts.Fatalf("%s: %v", name, err)
			}
			hits[f.String()] += hit
			ts.Logf("%s: %d hits, after %s", name, hit, time.Since(begun).Round(time.Millisecond))
		}
	}
	for _, f := range faults {
		for try := 0; hits[f.String()] == 0; try++ { // a slow machine may come to none of these calls before its time is up
			if try == 5 {
				ts.Fatalf("%s never came: that shows nothing", f)
			}
			hit, err := o.suffer(f, 1, false)
			if err != nil {
				ts.Fatalf("%s, once more: %v", f, err)
			}
			hits[f.String()] += hit
		}
	}
	ts.Logf("%d answers, %d refs pushed, %d pushes broken off", len(o.entries), len(o.pushed), o.tried)
	if len(o.entries) == 0 || len(o.pushed) == 0 || o.tried == 0 {
		ts.Fatalf("that shows nothing")
	}
}

// suffer runs a server for a small workload with one fault, and looks after it.
func (o *outside) suffer(f fault, n int, lasting bool) (hits int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begun := o.serverLog()
	trace := filepath.Join(o.w.dir, "strace.out")
	when := fmt.Sprint(n)
	if lasting {
		when += "+"
	}
	if f.calls != "" {
		how, flag := "error="+f.error, "--seccomp-bpf" // stops at these calls only; but strace 6.1 injects no signals then
		switch f.error {
		case "0":
			how = "retval=0"
		case "SIGKILL":
			how, flag = "signal=SIGKILL", "-q"
		}
		o.w.under = []string{"strace", "-D", "-f", flag, "-o", trace, "-e", "trace=" + f.calls, "-e", "inject=" + f.calls + ":" + how + ":when=" + when}
		for _, p := range f.paths {
			o.w.under = append(o.w.under, "-P", layout(o.w.data).at(p))
		}
	}
	err = o.w.startServer(o.ts)
	o.w.under = nil
	died := err != nil
	if err == nil { // one that does not start has told nobody anything
		if f.calls == "" {
			if err := limitFiles(o.w.server.cmd.Process.Pid, uint64(n)); err != nil {
				return 0, err
			}
			hits = 1
		}
		o.small(ctx)
		c, err := net.Dial("tcp", strings.TrimPrefix(o.w.url, "https://"))
		if died = err != nil; !died {
			c.Close()
		}
		o.w.server.kill()
	}
	if f.calls != "" {
		said, err := o.traced(trace)
		if err != nil {
			return 0, err
		}
		if hits = bytes.Count(said, []byte("(INJECTED)")); f.error == "SIGKILL" && died {
			hits = 1
		}
	}
	if wrong := regexp.MustCompile(`(?m)^(panic|fatal error|SIG\w+): .*`).FindString(o.serverLog()[len(begun):]); wrong != "" {
		return hits, fmt.Errorf("the server says %s", wrong)
	}
	if _, err := o.settled(ctx, false); err != nil {
		return hits, err
	}
	o.w.server.kill()
	return hits, nil
}

// traced is what strace has said when it has seen the server's end.
func (o *outside) traced(file string) ([]byte, error) {
	for late := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // it goes on by itself
		said, err := os.ReadFile(file)
		switch {
		case err == nil && bytes.Contains(said, fmt.Appendf(nil, "%-5d +++ ", o.w.pid)):
			return said, os.Remove(file)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case time.Now().After(late):
			return nil, fmt.Errorf("strace has not seen the server's end: %.400s", said)
		}
	}
}

func (o *outside) serverLog() string {
	b, err := os.ReadFile(filepath.Join(o.w.dir, "server.log"))
	o.ts.Check(err)
	return string(b)
}

// small is the workload: questions, a task, two pushes. Each may fail.
func (o *outside) small(ctx context.Context) {
	s := o.signIn(ctx)
	if s == nil {
		return
	}
	_, _ = s.CreateTask(ctx, remit.TaskRequest{Agent: "coder", Intent: "Fail", For: time.Minute})
	h, err := o.worker(ctx, s, 9)
	if err != nil {
		return
	}
	_ = h.ask(ctx, "source.read")
	_ = h.push()
	_ = h.ask(ctx, "source.merge")
	_ = h.push()
	_ = h.ask(ctx, "source.read")
}

// canInject tells whether system calls of a server can be made to fail here.
func canInject() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("only Linux's strace makes system calls fail")
	}
	out, err := exec.Command("strace", "-D", "-f", "-q", "-o", os.DevNull, "-e", "inject=fsync:error=EIO", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("strace 5.3 or later is needed, and may trace (Debian: apt-get install strace; in a container, the capability SYS_PTRACE): %w %s", err, out)
	}
	return nil
}
