package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

var reviewCommands = map[string]func(*testscript.TestScript, bool, []string){"answer": cmdAnswer}

// cmdAnswer answers an item with a statement that is signed by hand, with what is given changed in it, and hands it in:
// answer ben R-12 keep [key=cem|item=R-13|shown=…|origin=…|namespace=…|as=cem]. as is who hands it in; `again` hands in, byte
// for byte, what was handed in last.
func cmdAnswer(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) < 3 || w.people[args[0]] == "" {
		ts.Fatalf("usage: answer PERSON ITEM keep|shrink|remove [member=value …]")
	}
	err := w.answerForged(ts, args[0], remit.ID(args[1]), remit.Answer(args[2]), args[3:])
	if err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
	if (err != nil) != neg {
		ts.Fatalf("answer %s: %v", strings.Join(args, " "), err)
	}
}

func (w *world) answerForged(ts *testscript.TestScript, person string, id remit.ID, answer remit.Answer, changes []string) error {
	ctx, namespace, key, by, again := context.Background(), remit.ReviewNamespace, person, person, false
	values := map[string]string{}
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		switch name {
		case "namespace":
			namespace = value
		case "key":
			key = value
		case "as":
			by = value
		case "again":
			again = true
		default:
			values[name] = value
		}
	}
	env := func(name string) (string, bool) {
		if name == "REMIT_KEY" {
			return w.people[by], true
		}
		v := ts.Getenv(name)
		return v, v != ""
	}
	a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: env, now: machine.Now}
	s, org, err := a.connectOrg(ctx)
	if err != nil {
		return err
	}
	if !again {
		v, err := s.ReviewItem(ctx, id)
		if err != nil {
			return err
		}
		said := remit.Certification{Origin: org.Origin, Answers: []remit.Certified{{Item: id, Answer: answer, Shown: v.Shown}}}
		if o := values["origin"]; o != "" {
			said.Origin = o
		}
		if i := values["item"]; i != "" {
			said.Answers[0].Item = remit.ID(i)
		}
		if d := values["shown"]; d != "" {
			said.Answers[0].Shown = remit.Hash([]byte(d))
		}
		sig, err := sshsig.SignFile(ctx, w.people[key], namespace, said.Bytes(), sshsig.Person{})
		if err != nil {
			return err
		}
		w.answered = remit.CertifyRequest{Statement: said.Bytes(), Signature: sig}
	}
	_, err = s.Certify(ctx, w.answered)
	return err
}
