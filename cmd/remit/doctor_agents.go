package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/remit-dev/remit/launch"
	"github.com/remit-dev/remit/launch/agents"
	"github.com/remit-dev/remit/launch/isolate"
)

// versionWithin bounds how long an agent may take to say its version.
const versionWithin = 20 * time.Second

// machine looks at what this machine has: the agents in PATH, what the repository here would do to them, and whether a
// sandbox can be had.
func (x *examination) machine(ctx context.Context) {
	tree, err := os.Getwd()
	if err != nil {
		x.fail("agents", "%v", err)
		return
	}
	found := false
	for _, name := range agents.Names() {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found = true
		a, _ := agents.Named(name)
		enforced, observed := a.About()
		x.ok("agent "+name, "%s %s at %s; under remit run is enforced: %s", a.Name(), versionOf(ctx, path), path, strings.Join(enforced, "; "))
		for _, o := range observed {
			x.warn("agent "+name, "only observed: %s", o)
		}
		for _, s := range a.Switches(tree, os.ReadFile) {
			x.warn("agent "+name, "in this repository %s, which reaches past Remit an agent that is started by hand; remit run overrides or refuses it", s)
		}
	}
	if !found {
		x.warn("agents", "none of %s is in PATH", strings.Join(agents.Names(), ", "))
	}
	if err := (launch.Launcher{}).ProbeIsolation(); err != nil {
		x.warn("isolation", "remit run --isolate does not work here: %v", err)
		return
	}
	x.ok("isolation", "remit run --isolate works here, with %s on top", isolate.Strength())
}

// versionOf is what a program says of itself, in a line.
func versionOf(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, versionWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "of unknown version"
	}
	line := firstLine(strings.TrimSpace(string(out)))
	return line[:min(len(line), 80)]
}
