package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/remit-dev/remit"
)

// maxFacts is how much of an entry a line of a list shows.
const maxFacts = 8

// fact is a member of an event that people can read.
type fact struct{ Name, Text, Link string }

// leafView is what of an entry's view every entry has.
type leafView struct {
	Kind  string          `json:"kind"`
	Time  time.Time       `json:"time"`
	Event json.RawMessage `json:"event"`
}

func lineOf(e remit.LogEntry) logLine {
	l := logLine{Entry: e.Entry}
	var leaf leafView
	if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
		l.Facts = []fact{{Name: "this entry cannot be read:", Text: clip(160, err.Error())}}
		return l
	}
	l.Kind, l.At, l.Facts = leaf.Kind, leaf.Time, factsOf(leaf.Event)
	return l
}

var (
	opaque = regexp.MustCompile(`^[0-9a-f]{40,}$`) // digests, keys: for machines
	named  = regexp.MustCompile(`^(A|T)-[0-9]+$`)
	paged  = map[byte]string{'A': "approvals", 'T': "tasks"}
)

// factsOf gives the members of an event in their order, without what only machines read; lists are given by their simple
// values.
func factsOf(event json.RawMessage) (out []fact) {
	d := json.NewDecoder(bytes.NewReader(event))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() && len(out) < maxFacts {
		name, err := d.Token()
		if err != nil {
			return out
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return out
		}
		f := fact{Name: clip(40, fmt.Sprint(name)), Text: plain(value)}
		if seconds, ok := value.(json.Number); ok && f.Name == "expires" {
			if n, err := seconds.Int64(); err == nil {
				f.Text = time.Unix(n, 0).UTC().Format("2 Jan 2006")
			}
		}
		if f.Text == "" {
			continue
		}
		if named.MatchString(f.Text) {
			f.Link = Base + "/" + paged[f.Text[0]] + "/" + f.Text
		}
		if f.Name == "agent" {
			f.Link = Base + "/agents/" + url.PathEscape(f.Text)
		}
		out = append(out, f)
	}
	return out
}

// plain is a value as people read it; empty: they do not.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		if opaque.MatchString(v) {
			return ""
		}
		return clip(80, v)
	case json.Number:
		if n, err := v.Int64(); err == nil && n > 1e18 { // no count is so large: it is a time
			return time.Unix(0, n).UTC().Format("2 Jan 2006 15:04 UTC")
		}
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		var list []byte
		for _, x := range v[:min(len(v), 4)] {
			if text := plain(x); text != "" {
				list = append(append(list, text...), ", "...)
			}
		}
		return clip(80, string(bytes.TrimSuffix(list, []byte(", "))))
	case map[string]any:
		// A step says what is done to what.
		step, ok := v["step"].(map[string]any)
		if !ok {
			step = v
		}
		action, ok := step["action"].(string)
		if resource, is := step["resource"].(string); ok && is {
			return clip(80, action+" on "+resource)
		}
		if group, ok := v["group"].(string); ok && v["n"] != nil {
			return clip(80, fmt.Sprint(v["n"], " of ", group))
		}
	}
	return ""
}
