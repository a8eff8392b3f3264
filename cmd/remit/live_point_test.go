package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// cmdPoint is an enforcement point that is not Remit's: point METHOD PATH TOKEN [BODY]. PATH is below the decision point's
// address, or a whole URL. What status came is said, and judged by the script.
func cmdPoint(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args) > 4 || neg {
		ts.Fatalf("usage: point METHOD PATH TOKEN [BODY]")
	}
	url, body := args[1], ""
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("REMIT_SERVER") + "/v1/orgs/" + ts.Getenv("REMIT_ORG") + "/authzen" + url
	}
	if len(args) == 4 {
		body = args[3]
	}
	r, err := http.NewRequest(args[0], url, strings.NewReader(body))
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+args[2])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	exchange(ts, r)
}

// cmdCalled is the endpoint of an enforcement point: called start, before house, makes $CALLED and the file $CALLED_SECRET;
// called N waits until it was called N times, and says with what. It believes what Standard Webhooks' own library verifies.
func cmdCalled(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: called start|N")
	}
	w := worldOf(ts)
	came := filepath.Join(w.dir, "called.txt")
	if args[0] != "start" {
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // another process: there is nothing to wait on
			b, err := os.ReadFile(came)
			ts.Check(err)
			if fmt.Sprint(strings.Count(string(b), "\n")) == args[0] {
				fmt.Fprint(ts.Stdout(), string(b))
				return
			}
			if time.Now().After(deadline) {
				ts.Fatalf("it was called with\n%s", b)
			}
		}
	}
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	file := filepath.Join(w.dir, "called.secret")
	ts.Check(os.WriteFile(file, []byte(secret+"\n"), 0o600))
	f, err := os.Create(came)
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			var judge *webhooks.Webhook
			if judge, err = webhooks.NewWebhook(secret); err == nil {
				err = judge.Verify(body, r.Header)
			}
		}
		if err != nil {
			body = []byte("not believed: " + err.Error())
		}
		_, _ = f.Write(append(body, '\n')) // what is not there is missed
	}))
	w.runtime.closers = append(w.runtime.closers, server.Close, func() { f.Close() })
	ts.Setenv("CALLED", server.URL+"/approved")
	ts.Setenv("CALLED_SECRET", file)
}

var pointCommands = map[string]func(*testscript.TestScript, bool, []string){"point": cmdPoint, "called": cmdCalled}
