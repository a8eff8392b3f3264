package naming

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/remit-dev/remit"
)

// Exactly is the record that names a tool in full.
func Exactly(server string, tools []remit.Tool, tool string) (remit.Tool, bool) {
	r, err := Tool(server, tool)
	if err != nil {
		return remit.Tool{}, false
	}
	i := slices.IndexFunc(tools, func(t remit.Tool) bool { return t.Name == r.Name() })
	if i < 0 {
		return remit.Tool{}, false
	}
	return tools[i], true
}

// Certain refuses the name of a tool that people or a model can take for another one. What is declared by its full name
// was looked at by a person.
func Certain(server string, tools []remit.Tool, tool string) error {
	if _, ok := Exactly(server, tools, tool); ok {
		return nil
	}
	if strings.ContainsFunc(tool, func(r rune) bool { return r > unicode.MaxASCII }) {
		return remit.Errorf(remit.UnknownResource, "the name %s has letters outside ASCII, which others can be taken for; declare it in full", remit.VisibleText(strconv.Quote(tool)))
	}
	own := Skeleton(tool)
	for _, t := range tools {
		name, ok := strings.CutPrefix(t.Name, server+"/")
		if ok && !strings.ContainsAny(name, "/*") && Skeleton(Unquote(name)) == own {
			return remit.Errorf(remit.UnknownResource, "no tool %s of server %s is declared in full; it can be taken for %s, which is", remit.VisibleText(strconv.Quote(tool)), server, name)
		}
	}
	return nil
}
