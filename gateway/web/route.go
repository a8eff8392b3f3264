package web

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// place is a request found in the table.
type place struct {
	forge   string
	route   *route
	params  map[string]string
	path    string // below /api/v1, written anew
	query   url.Values
	version bool
}

const api = "/api/v1"

// parse finds the request in the table. The path is taken apart before it is decoded, each part is decoded once, and
// what is sent is written anew from the parts: two readers of it cannot disagree.
func parse(prefix string, r *http.Request) (place, error) {
	var at place
	for _, h := range []string{"Sudo", "X-Gitea-Otp", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if len(r.Header.Values(h)) > 0 {
			return at, remit.Errorf(remit.Forbidden, "the header %s is not taken here: a request is made as the task, and is what its method says", h)
		}
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), strings.TrimSuffix(prefix, "/")+"/")
	if !ok {
		return at, remit.Errorf(remit.NotFound, "no forge lies there")
	}
	at.forge, rest, _ = strings.Cut(rest, "/")
	rest, ok = strings.CutPrefix("/"+rest, api)
	if !ok || !strings.HasPrefix(rest, "/") || !plain(at.forge) {
		return at, remit.Errorf(remit.NotFound, "a forge's API lies at FORGE%s/…", api)
	}
	parts := strings.Split(rest[1:], "/")
	for i, p := range parts {
		text, err := url.PathUnescape(p)
		if err != nil || bad(text) {
			return at, remit.Errorf(remit.BadRequest, "the path has a part that no name of a forge has: %.60q", p)
		}
		parts[i] = text
	}
	if r.Method == http.MethodGet && "/"+strings.Join(parts, "/") == version && r.URL.RawQuery == "" {
		at.version = true
		return at, nil
	}
	for i := range served {
		if params, path, ok := match(&served[i], r.Method, parts); ok {
			at.route, at.params, at.path = &served[i], params, path
			var err error
			at.query, err = query(r.URL.RawQuery, at.route.query)
			return at, err
		}
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, f := range refused {
		if f.covers(method, "/"+strings.Join(parts, "/")) {
			return at, remit.Errorf(remit.Forbidden, "this operation is not served: %s", f.why)
		}
	}
	return at, remit.Errorf(remit.Forbidden, "%.20s %.200q is none of the operations that are served; what is not listed is denied", r.Method, "/"+strings.Join(parts, "/"))
}

// bad tells whether a decoded part of a path could be read in two ways.
func bad(text string) bool {
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '\\' || c == '%' || c == utf8.RuneError
	}) {
		return true
	}
	for seg := range strings.SplitSeq(text, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return true
		}
	}
	return false
}

// plain tells whether s is a name of a repository, an owner or an upstream.
func plain(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	})
}

// match compares the parts of a path with a route's. A parameter that names a branch, a tag or a file may hold slashes:
// at the end of a route it takes all parts that are left, elsewhere clients write them as %2F.
func match(rt *route, method string, parts []string) (params map[string]string, path string, ok bool) {
	if rt.method != method {
		return nil, "", false
	}
	want := strings.Split(rt.path[1:], "/")
	if len(parts) < len(want) {
		return nil, "", false
	}
	params = map[string]string{}
	for i, w := range want {
		have, last := parts[i], i == len(want)-1
		if last {
			have = strings.Join(parts[i:], "/")
		}
		switch name, kind := parameter(w); {
		case kind == "":
			if have != w {
				return nil, "", false
			}
		case !fits(kind, have):
			return nil, "", false
		case kind == "patch":
			params[name], params["diffType"], _ = cutLast(have, ".")
		default:
			params[name] = have
		}
		path += "/" + escape(have, last)
	}
	return params, path, true
}

// escape writes a part anew; the slashes of a parameter at the end stay what they are.
func escape(text string, last bool) string {
	if !last {
		return url.PathEscape(text)
	}
	segs := strings.Split(text, "/")
	for i := range segs {
		segs[i] = url.PathEscape(segs[i])
	}
	return strings.Join(segs, "/")
}

// parameter tells what a part of a route may be; no kind: itself.
func parameter(part string) (name, kind string) {
	name, ok := strings.CutPrefix(part, "{")
	if !ok {
		return "", ""
	}
	name, rest, _ := strings.Cut(name, "}")
	switch {
	case rest == ".{diffType}":
		return name, "patch"
	case name == "index" || name == "id" || name == "run" || name == "job_id" || name == "attachment_id":
		return name, "number"
	case name == "owner" || name == "repo":
		return name, "plain"
	case name == "filepath" || name == "branch" || name == "tag" || name == "ref" || name == "basehead" || name == "archive" || name == "base" || name == "head":
		return name, "deep"
	}
	return name, "flat"
}

func fits(kind, s string) bool {
	switch kind {
	case "number":
		return s != "" && len(s) <= 18 && strings.Trim(s, "0123456789") == ""
	case "plain":
		return plain(s)
	case "deep":
		return len(s) <= 1024
	case "patch":
		name, ext, ok := cutLast(s, ".")
		return ok && (ext == "diff" || ext == "patch") && name != "" && strings.Trim(name, "0123456789abcdef") == ""
	}
	return len(s) <= 200 && !strings.Contains(s, "/")
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// query takes the parameters that a route knows, each once. A credential has no place in an address, which is logged.
func query(raw, known string) (url.Values, error) {
	if len(raw) > 4096 || strings.Contains(raw, ";") {
		return nil, remit.Errorf(remit.BadRequest, "the query is not one of key=value pairs of at most 4096 bytes in all")
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the query cannot be read")
	}
	for name, values := range q {
		switch name {
		case "token", "access_token", "private_token", "sudo":
			return nil, remit.Errorf(remit.Forbidden, "the parameter %s is not taken here; send the task's token as Authorization: token …", name)
		}
		if !strings.Contains(" "+known+" ", " "+name+" ") || name == "" || strings.Contains(name, " ") {
			return nil, remit.Errorf(remit.BadRequest, "the parameter %.60q is none of this operation's (%s)", name, known)
		}
		if len(values) != 1 || strings.ContainsFunc(values[0], func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError }) {
			return nil, remit.Errorf(remit.BadRequest, "the parameter %s is given once, as plain text", name)
		}
	}
	return q, nil
}
