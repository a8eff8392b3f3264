// Command remit is the authority that developer agents work under: server, gateways and command line in one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is the release; the build sets it.
var version = "0.1.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := newApp(ctx).run(os.Args[1:])
	stop()
	os.Exit(code)
}
