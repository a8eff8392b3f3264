// Package card is what people are shown of a call before they decide: text in which nothing hides.
package card

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
)

// Pretty is JSON with a line for each member, in the order of RFC 8785.
func Pretty(raw []byte) string {
	plain, err := jcs.Transform(raw)
	if err != nil {
		plain = raw
	}
	var b bytes.Buffer
	if json.Indent(&b, plain, "", "  ") != nil {
		return string(plain) + "\n"
	}
	return b.String() + "\n"
}

// maxShown bounds what people are shown, in bytes.
const maxShown = 30 << 10

// Call is a call as people see it before they decide: what it asks of which server, then body and notes. asked tells that the
// server asks it of the agent. What is longer than people are shown is cut, and says so.
func Call(method, name, server string, asked bool, body []byte, notes string) remit.Shown {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", method)
	if name != "" {
		fmt.Fprintf(&b, " %s", remit.VisibleText(name))
	}
	if asked {
		fmt.Fprintf(&b, ", which the server %s asks of the agent\n", server)
	} else {
		fmt.Fprintf(&b, " of the server %s\n", server)
	}
	if len(body) > 0 {
		var pretty bytes.Buffer
		if json.Indent(&pretty, body[:min(len(body), 4*maxShown)], "", "  ") != nil {
			pretty.Reset()
			pretty.Write(body[:min(len(body), 4*maxShown)])
		}
		fmt.Fprintf(&b, "\n%s\n", remit.VisibleText(pretty.String()))
	}
	if notes != "" {
		fmt.Fprintf(&b, "\n%s", remit.VisibleText(notes))
	}
	text := b.String()
	if len(text) <= maxShown {
		return remit.Shown{Diff: text}
	}
	text = text[:maxShown]
	return remit.Shown{Diff: strings.ToValidUTF8(text, ""), Cut: true}
}

// Difference shows two texts by lines: what both begin and end with is left out but for its last and first line.
func Difference(before, after string) string {
	a, b := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out strings.Builder
	show := func(sign string, lines []string) {
		for _, l := range lines {
			if l = strings.TrimSuffix(l, "\n"); l != "" {
				out.WriteString(sign + l + "\n")
			}
		}
	}
	show("  ", a[max(head-1, 0):head])
	show("- ", a[head:len(a)-tail])
	show("+ ", b[head:len(b)-tail])
	show("  ", a[len(a)-tail:min(len(a)-tail+1, len(a))])
	return out.String()
}
