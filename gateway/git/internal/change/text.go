package change

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

const (
	// TextLimit is what Unified writes at most if no limit is given.
	TextLimit = 64 << 10
	// textBlob is the largest blob that is compared line by line.
	textBlob = 256 << 10
)

// Unified shows changes to a person as unified diffs, at most limit bytes
// (0: TextLimit) and one closing line that counts what was left out. Binary
// and large contents are given by size. What a terminal or a browser would not
// show as it is (control characters, direction marks, zero-width characters)
// is written as an escape, so that the text reads as it is compiled.
func Unified(ctx context.Context, in Input, changes []Change, limit int) string {
	if limit <= 0 {
		limit = TextLimit
	}
	s := newSource(in.Pack, in.Base, in.Limits.withDefaults())
	var out strings.Builder
	for i, c := range changes {
		text := s.show(ctx, c)
		if room := limit - out.Len(); len(text) > room {
			cut := strings.LastIndexByte(text[:room], '\n') + 1
			out.WriteString(text[:cut])
			what := fmt.Sprintf("... %d more changes are not shown\n", len(changes)-i)
			if cut > 0 {
				what = fmt.Sprintf("... the rest of this change and %d more are not shown\n", len(changes)-i-1)
			}
			out.WriteString(what)
			break
		}
		out.WriteString(text)
	}
	return out.String()
}

// show renders one change.
func (s *source) show(ctx context.Context, c Change) string {
	var out strings.Builder
	fmt.Fprintf(&out, "=== %s %s", c.Kind, Visible(c.Path))
	if c.OldMode != c.NewMode {
		fmt.Fprintf(&out, " (mode %06o -> %06o)", c.OldMode, c.NewMode)
	}
	if c.InHistoryOnly {
		fmt.Fprintf(&out, " (only in commit %s)", c.Commit)
	}
	out.WriteByte('\n')
	before, was := s.text(ctx, c.OldMode, c.Old)
	after, is := s.text(ctx, c.NewMode, c.New)
	if was != "" || is != "" {
		fmt.Fprintf(&out, "    before: %s\n    after:  %s\n", shown(was), shown(is))
		return out.String()
	}
	// The first three lines only repeat the name.
	body := diff.Diff("a", before, "b", after)
	for range 3 {
		_, body, _ = bytes.Cut(body, []byte("\n"))
	}
	out.Write(body)
	return out.String()
}

func shown(what string) string {
	if what == "" {
		return "text"
	}
	return what
}

// text gives content to compare, or else a description of it.
func (s *source) text(ctx context.Context, mode uint32, oid object.OID) (body []byte, instead string) {
	switch mode {
	case 0:
		return nil, ""
	case object.ModeGitlink:
		return nil, "submodule at " + oid.String()
	}
	if s.pack != nil {
		if _, _, size, ok := s.pack.Find(oid); ok && size > textBlob {
			return nil, fmt.Sprintf("%d bytes", size)
		}
	}
	_, body, _, err := s.object(ctx, oid)
	var refused *object.Error
	if errors.As(err, &refused) {
		return nil, "content " + oid.String() + " is not at hand"
	}
	if err != nil {
		return nil, "content " + oid.String() + " could not be read"
	}
	if len(body) > textBlob {
		return nil, fmt.Sprintf("%d bytes", len(body))
	}
	if bytes.IndexByte(body, 0) >= 0 || !utf8.Valid(body) {
		return nil, fmt.Sprintf("%d bytes, not text", len(body))
	}
	return []byte(escape(string(body))), ""
}

// Visible writes a path so that it stands on one line and shows every
// character: as it is if that is plain, else quoted with escapes.
func Visible(path string) string {
	if utf8.ValidString(path) && !strings.ContainsFunc(path, hidden) && !strings.ContainsAny(path, "\"\\\n\t") && path == strings.TrimSpace(path) && path != "" {
		return path
	}
	return strconv.QuoteToASCII(path)
}

// hidden are characters that do not show, or change how others show.
func hidden(r rune) bool { return r != '\n' && r != '\t' && remit.Hidden(r) }

// escape makes hidden characters of a text visible and keeps its lines.
func escape(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if hidden(r) {
			fmt.Fprintf(&out, "<U+%04X>", r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// Scrub takes out of a text from outside whatever a terminal would obey or not show.
func Scrub(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// Readable writes bytes that are not UTF-8 as \xNN.
func Readable(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, path[0])
		} else {
			b.WriteString(path[:n])
		}
		path = path[n:]
	}
	return b.String()
}

// Clip cuts s to at most n bytes, between characters.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
