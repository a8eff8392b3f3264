package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

var approvalCommands = map[string]func(*testscript.TestScript, bool, []string){"replay": cmdReplay, "ballot": cmdBallot}

// cmdReplay hands in the last vote that `vote` signed once more, byte for byte: replay PERSON REQUEST, as that person.
func cmdReplay(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 2 || w.people[args[0]] == "" || len(w.cast.Signature) == 0 {
		ts.Fatalf("usage: replay PERSON REQUEST, after vote")
	}
	env := func(name string) (string, bool) {
		if name == "REMIT_KEY" {
			return w.people[args[0]], true
		}
		v := ts.Getenv(name)
		return v, v != ""
	}
	ctx := context.Background()
	a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: env, now: time.Now}
	s, err := a.connect(ctx)
	ts.Check(err)
	if _, err = s.Vote(ctx, remit.ID(args[1]), w.cast); err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
	if (err != nil) != neg {
		ts.Fatalf("replay %s: %v", strings.Join(args, " "), err)
	}
}

// cmdBallot approves in somebody's browser, with their SSH key: ballot PERSON REQUEST. What the session there is worth
// counts, not one of the terminal.
func cmdBallot(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 2 || w.signIn.tabs[args[0]] == nil || w.people[args[0]] == "" {
		ts.Fatalf("usage: ballot PERSON REQUEST, after tab PERSON")
	}
	b, id, at := w.signIn.tabs[args[0]], remit.ID(args[1]), "/v1/orgs/"+ts.Getenv("REMIT_ORG")
	var org remit.OrgInfo
	var card remit.AccessView
	b.must(ts, "GET", at, nil, &org)
	b.must(ts, "GET", at+"/approvals/"+args[1], nil, &card)
	st, err := bindVote(card, id, org, true)
	ts.Check(err)
	sig, err := sshsig.SignFile(context.Background(), w.people[args[0]], remit.VoteNamespace, st.Bytes(), sshsig.Person{})
	ts.Check(err)
	vote, err := json.Marshal(remit.VoteRequest{Statement: st.Bytes(), Signature: sig})
	ts.Check(err)
	status, text := b.send(ts, "POST", at+"/approvals/"+args[1]+"/votes", string(vote), nil)
	fmt.Fprintf(ts.Stdout(), "status %d\n%s\n%s\n", status, b.head.Get("WWW-Authenticate"), text)
	if (status != http.StatusOK) != neg {
		ts.Fatalf("ballot %s: status %d", strings.Join(args, " "), status)
	}
}
