package shell

import "strings"

// sedScript judges sed: a script of commands that only print, delete and replace reads; with -i it writes its files.
func sedScript(w *walker, p parsed, in dirs) {
	var scripts []string
	edits := false
	for _, o := range p.opts {
		switch o.name {
		case "-e", "--expression":
			scripts = append(scripts, o.value[0].s)
		case "-i", "--in-place":
			// The suffix of the backup is a part of its name, or with a slash or an asterisk another name.
			if len(o.value) > 0 && strings.ContainsAny(o.value[0].s, "/*") {
				w.deny(WhyOption)
			}
			edits = true
		}
	}
	files := p.rest
	if len(scripts) == 0 {
		if len(files) == 0 || files[0].glob {
			w.deny(WhyInline)
			return
		}
		if files[0].s == "" && edits && len(files) > 1 {
			files = files[1:] // BSD's -i takes the suffix as an argument: none
		}
		scripts, files = []string{files[0].s}, files[1:]
	}
	for _, s := range scripts {
		if !sedOnlyEdits(s) {
			w.deny(WhyInline)
		}
	}
	for _, f := range files {
		if edits {
			w.write(f, in)
		} else {
			w.read(f, in, content)
		}
	}
}

// sedOnlyEdits tells whether a script consists of commands that change the text at hand only: no r, R, w, W, e, F, no
// flag e or w of s, no labels and no text that goes on over lines.
func sedOnlyEdits(script string) bool {
	s := sedScanner{script}
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\n;")
		if s.rest == "" {
			return true
		}
		if !s.address() {
			return false
		}
		if strings.HasPrefix(s.rest, ",") {
			s.rest = s.rest[1:]
			if s.rest = strings.TrimLeft(s.rest, "+~"); !s.address() {
				return false
			}
		}
		s.rest = strings.TrimLeft(s.rest, " \t!")
		if s.rest == "" {
			return false
		}
		command := s.rest[0]
		s.rest = s.rest[1:]
		switch command {
		case '{', '}':
			continue
		case 'p', 'd', 'P', 'D', 'n', 'N', 'g', 'G', 'h', 'H', 'x', '=', 'l', 'q', 'Q':
			s.rest = strings.TrimLeft(s.rest, "0123456789 \t")
		case 's', 'y':
			if !s.substitution(command == 's') {
				return false
			}
		default:
			return false
		}
		if s.rest != "" && !strings.ContainsRune(";\n}", rune(s.rest[0])) {
			return false
		}
	}
}

type sedScanner struct{ rest string }

// address takes an address off, if there is one.
func (s *sedScanner) address() bool {
	switch {
	case s.rest == "":
		return false
	case s.rest[0] == '$':
		s.rest = s.rest[1:]
	case s.rest[0] >= '0' && s.rest[0] <= '9':
		s.rest = strings.TrimLeft(s.rest, "0123456789~")
	case s.rest[0] == '/':
		s.rest = s.rest[1:]
		if !s.until('/') {
			return false
		}
		s.rest = strings.TrimLeft(s.rest, "IM")
	}
	return true
}

// until takes off what stands before an unescaped delimiter, and the delimiter. Within brackets a delimiter may or may
// not end the text, so there it is not understood.
func (s *sedScanner) until(delim byte) bool {
	for i, bracket := 0, false; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '\\':
			i++
			if i < len(s.rest) && s.rest[i] == '\n' {
				return false
			}
		case c == '\n', c == delim && bracket:
			return false
		case c == delim:
			s.rest = s.rest[i+1:]
			return true
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		}
	}
	return false
}

func (s *sedScanner) substitution(flags bool) bool {
	if s.rest == "" {
		return false
	}
	delim := s.rest[0]
	if strings.IndexByte("/|#,:@!%_+~", delim) < 0 {
		return false
	}
	s.rest = s.rest[1:]
	for range 2 { // what is replaced, and by what
		if !s.until(delim) {
			return false
		}
	}
	if flags {
		s.rest = strings.TrimLeft(s.rest, "gpiIm0123456789")
	}
	s.rest = strings.TrimLeft(s.rest, " \t")
	return true
}
