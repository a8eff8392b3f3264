package declare

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// server checks how a server of tools is reached: by URL, or by a command that Remit starts.
func (c *checker) server(at string, u *remit.Upstream) {
	if u.Name == remit.LocalTools || u.Name == remit.OwnTools {
		c.wrong(at+".name", "%s and %s are servers of Remit's own; choose another name", remit.LocalTools, remit.OwnTools)
		return
	}
	switch {
	case len(u.Command) > 0 && u.Location != "":
		c.wrong(at, "a server of tools has a location or a command, not both")
		return
	case len(u.Command) == 0:
		if u.Location == "" {
			c.wrong(at, "a server of tools has a location, https://HOST/PATH, or a command that starts it")
			return
		}
		c.location(at, u)
		c.source(at+".write", u.Write)
		c.source(at+".observer", u.Observer)
		if len(u.Env) > 0 {
			c.wrong(at+".env", "env is what the process of a command gets; this server has none")
		}
		return
	}
	if !path.IsAbs(u.Command[0]) {
		c.wrong(at+".command", "write a command as a list that begins with its full path, [/usr/local/bin/server, --stdio]")
	}
	if u.CA != "" || u.Insecure || !reflect.ValueOf(u.Write).IsZero() || !reflect.ValueOf(u.Observer).IsZero() {
		c.wrong(at, "a server that is started by a command has its credentials in env: remove ca, insecure, write and observer")
	}
	for _, name := range slices.Sorted(maps.Keys(u.Env)) {
		here := at + ".env." + name
		if !variable(name) || strings.HasPrefix(name, "REMIT_") {
			c.wrong(here, "%q is no name for a variable: A-Z 0-9 _, and REMIT_ is Remit's own", name)
		}
		if u.Env[name].From == "" {
			c.wrong(here, "missing; say where the value comes from: {from: file, name: /path}, {from: env, name: NAME} or {from: exec, argv: [command]}")
			continue
		}
		c.source(here, u.Env[name])
	}
}

func (c *checker) tools() {
	kinds := map[string]string{}
	for _, u := range c.set.Upstreams {
		kinds[u.Name] = u.Kind
	}
	declared := make([]remit.ToolDeclared, len(c.set.Tools))
	for i, t := range c.set.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		var err error
		if declared[i], err = t.Declared(); err != nil {
			c.wrong(at+".impact", "%v", err)
		}
		c.needs(at+".approvers", t.Approvers)
		remit.CheckProbe(c.set.Tools, i, c.wrong)
	}
	remit.CheckTools(declared, func(upstream string) string { return kinds[upstream] }, c.wrong)
}
