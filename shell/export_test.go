package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// parses tells why bash would not take a command as one.
func parses(command string) error {
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(command), "")
	return err
}
