package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

var momentCommands = map[string]func(*testscript.TestScript, bool, []string){"halt": cmdHalt, "lost": cmdLost}

// logged counts the events of a kind that are in the log for good, from an entry on, and gives the log's size.
func (w *world) logged(kind string, from remit.EntryIndex) (n int, size remit.EntryIndex, err error) {
	store, err := sqlite.Open(layout(w.data).db(), sqlite.Options{ReadOnly: true})
	if err != nil {
		return 0, 0, err
	}
	defer store.Close()
	_, _, err = ledger.Replay(context.Background(), store, ledger.Tree{}, func(i remit.EntryIndex, l ledger.Leaf) error {
		if size = i + 1; i >= from && l.Event.Kind() == kind {
			n++
		}
		return nil
	})
	return n, size, err
}

// cmdHalt kills the server at a moment: halt before KIND makes the database stand still in the middle of writing the next
// event of that kind, so that what was decided on the way there is in the log, and the event never is; halt kill9 KIND
// waits until an event of that other kind is there, kills the server, and lets the database go on.
func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) != 2 || args[0] != "before" && args[0] != "kill9" {
		ts.Fatalf("usage: halt before KIND, halt kill9 KIND")
	}
	change := func(statements ...string) {
		db, err := sql.Open("sqlite", "file:"+layout(w.data).db()+"?mode=rw&_pragma=busy_timeout(30000)")
		ts.Check(err)
		for _, s := range statements {
			_, err = db.Exec(s)
			ts.Check(err)
		}
		ts.Check(db.Close())
	}
	if args[0] == "before" {
		_, size, err := w.logged("", 0)
		ts.Check(err)
		w.runtime.halted = size
		// Members 2 and 3 of a leaf, as ledger.Leaf has them. A trigger has no WITH of its own, so it reads a view.
		kind := append([]byte{2, 0x60 + byte(len(args[1]))}, args[1]+"\x03"...)
		change(`CREATE VIEW forever AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n`,
			fmt.Sprintf(`CREATE TRIGGER halt BEFORE INSERT ON batch WHEN instr(NEW.leaves, x'%x') > 0 BEGIN SELECT count(*) FROM forever; END`, kind))
		return
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // another process: there is nothing to wait on
		n, _, err := w.logged(args[1], w.runtime.halted)
		ts.Check(err)
		if n > 0 {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the log has no new event %s", args[1])
		}
	}
	w.server.kill()
	change(`DROP TRIGGER halt`, `DROP VIEW forever`)
}

// cmdLost is lost KIND remit …: the command line asks the server, which is killed when an event of that kind is in the log
// and not a byte of its answer has gone out since. The connection breaks when the next server is there. What loses the
// answer has the server's address meanwhile: nobody signs in elsewhere.
func cmdLost(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) < 3 || args[1] != "remit" {
		ts.Fatalf("usage: lost KIND remit …")
	}
	stop := func() {
		w.server.signal(os.Interrupt)
		waitFor(ts, w.server.done, "the end of the server")
	}
	public, flags := w.url, w.runtime.flags
	stop()
	ln, err := net.Listen("tcp", strings.TrimPrefix(public, "https://"))
	ts.Check(err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	behind := free.Addr().String()
	free.Close()
	w.runtime.flags = append(slices.Clone(flags), "--public", public)
	start := func(at string) {
		w.url = at
		ts.Check(w.startServer(ts))
		w.url = public
	}
	start("https://" + behind)
	_, size, err := w.logged("", 0)
	ts.Check(err)
	through := &lossy{to: behind, lost: make(chan struct{}), broken: make(chan struct{}), commits: func() bool {
		n, _, err := w.logged(args[0], size)
		return err != nil || n > 0 // what cannot be read is not passed on
	}}
	go through.serve(ln)
	cmd := command(ts, w, "", args[1], args[2:]...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	p, err := startProcess(cmd)
	ts.Check(err)
	defer p.kill()
	select {
	case <-through.lost:
	case <-p.done:
		ts.Fatalf("no answer was lost: %v %s%s", p.err, &out, &said)
	case <-time.After(patience):
		ts.Fatalf("the log has no new event %s", args[0])
	}
	w.server.kill()
	start("https://" + behind)
	close(through.broken)
	waitFor(ts, p.done, "the end of what asked again")
	ln.Close()
	stop()
	w.runtime.flags = flags
	start(public)
	_, _ = io.Copy(ts.Stdout(), &out)
	_, _ = io.Copy(ts.Stderr(), &said)
	if (p.err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args[1:], " "), p.err)
	}
}

// lossy passes bytes between a client and a server, until commits; from then on nothing comes back before it is broken.
type lossy struct {
	to           string
	commits      func() bool
	cut          atomic.Bool
	lost, broken chan struct{}
}

func (x *lossy) serve(ln net.Listener) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", x.to)
		if err != nil {
			in.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(out, in)
			out.Close()
		}()
		go x.back(in, out)
	}
}

func (x *lossy) back(in, out net.Conn) {
	defer in.Close()
	defer out.Close()
	for b := make([]byte, 32<<10); ; {
		n, err := out.Read(b)
		if err != nil {
			if x.cut.Load() {
				<-x.broken
			}
			return
		}
		select {
		case <-x.broken: // what comes now is of the next server
		default:
			if x.cut.Load() || x.commits() {
				if x.cut.CompareAndSwap(false, true) {
					close(x.lost)
				}
				<-x.broken
				return
			}
		}
		if _, err := in.Write(b[:n]); err != nil {
			return
		}
	}
}
