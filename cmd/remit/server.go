package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/telemetry"
)

func newServer(a *app) *cobra.Command {
	c := Config{}
	var verbose bool
	var zones []string
	cmd := &cobra.Command{
		Use:   "server --data DIR",
		Short: "Serve the API and the gateways",
		Long: `Serves one organisation: the API, the git gateway and the approval pages, over TLS from the built-in CA. Run it under a
uid of its own, or on a host of its own: an agent under the same uid could read its keys.

It stops on SIGTERM after answering what is under way. A second server on the same data directory refuses to start.`,
		Example: `  remit server --data /var/lib/remit
  remit server --data /var/lib/remit --listen 0.0.0.0:8443 --name remit.example.com --second-head /mnt/other/head`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			c.Log = slog.New(telemetry.Lines(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
			for _, z := range zones {
				if authority.ExecutorOf(remit.Zone(z)) == "" || z == "" {
					return usagef("--executors lists zones: S, B, P; %q is none", z)
				}
				c.Executors = append(c.Executors, remit.Zone(z))
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(300) // the state is small beside what requests leave behind; a collection per 4 MB would take a seventh of the time
			}
			h, err := Open(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer h.Close()
			fmt.Fprintf(a.stdout, "remit %s serves %s at %s; clients trust %s\n", version, h.Org, h.URL, layout(c.Data).roots())
			for _, z := range []remit.Zone{remit.ZoneSource, remit.ZoneBuild, remit.ZoneProduction} {
				if !slices.Contains(h.Executors, z) {
					c.Log.Info("approved work of this zone waits for an executor of its own: remit executor", "zone", z)
				}
			}
			return h.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&c.Data, "data", "", "data directory, made by remit init")
	cmd.Flags().StringVar(&c.Listen, "listen", "127.0.0.1:8443", "address to listen on")
	cmd.Flags().StringArrayVar(&c.Names, "name", nil, "host name or address that clients use (repeatable; the first is the public one)")
	cmd.Flags().StringVar(&c.Public, "public", "", "base URL that clients use, if it is another than the first name and port")
	cmd.Flags().StringVar(&c.Certificate, "certificate", "", "certificate chain that browsers and phones trust, PEM, served for the names that it holds; read again when it changes")
	cmd.Flags().StringVar(&c.CertificateKey, "certificate-key", "", "private key of --certificate, PEM, mode 0600")
	cmd.Flags().StringVar(&c.SecondHead, "second-head", "", "file on another volume for the second head of the log")
	cmd.Flags().StringSliceVar(&zones, "executors", nil, "zones whose approved work this process carries out itself; S,B, and in the demo profile also P")
	cmd.Flags().BoolVar(&c.PublicLog, "public-log", false, "let anyone read the log's entries as tiles (C2SP tlog-tiles), not only signed-in people; they hold declared names and nothing personal")
	cmd.Flags().StringVar(&c.Metrics, "metrics", "", "address for operators, like 127.0.0.1:9464: /metrics, /healthz and /readyz, without TLS or sign-in")
	cmd.Flags().StringVar(&c.OTLP, "otlp", "", "base URL of a collector that takes traces by OTLP over HTTP [OTEL_EXPORTER_OTLP_ENDPOINT]")
	cmd.Flags().IntVar(&c.MaxDebt, "ready-debt", 0, "upstream credentials not seen dead in time with which the server is still ready")
	cmd.Flags().DurationVar(&c.Settle, "settle", executor.Settle, "how long an upstream may still be at work on what was sent before a crash; until then its outcome stays open")
	cmd.Flags().DurationVar(&c.HoldOpen, "hold-open", 20*time.Second, "how long a tool's call that waits for people keeps its request open, for clients that can only wait")
	cmd.Flags().StringVar(&c.Providers, "providers", "", "file of the OpenID providers at which people sign in, YAML")
	cmd.Flags().BoolVar(&verbose, "debug", false, "log more")
	if err := cmd.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
	return cmd
}
