package main

import (
	"context"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// judged reads the log that a script left, if it left one that can be read, and fails the script where it breaks a
// rule: whatever the script was about, its house kept all of them.
func judged(e *testscript.Env, data string) {
	path := layout(data).db()
	if _, err := os.Stat(path); err != nil {
		return
	}
	store, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		e.T().Log("the log that is left cannot be opened, so nobody judges it: ", err)
		return
	}
	defer store.Close()
	found, err := judge.Log(context.Background(), store)
	if err != nil {
		e.T().Log("the log that is left cannot be read, so nobody judges it: ", err)
		return
	}
	for _, v := range found {
		e.T().Log(v.String())
	}
	if len(found) > 0 {
		e.T().Fatal("the log that is left breaks rules")
	}
}
