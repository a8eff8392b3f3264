package remit_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit/declare"
)

// block is one fenced block of a document.
type block struct {
	lang, info string // ```sh runnable
	text       string
	line       int
}

var (
	fence  = regexp.MustCompile("^ *```(\\S*) *(.*)$")
	inline = regexp.MustCompile("`([^`\n]+)`")
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	named  = regexp.MustCompile(`^[A-Za-z0-9_./-]+\.(go|md|rego|txt|mod)$`)
)

// parseDoc takes a document apart: its fenced blocks, and what stands outside of them.
func parseDoc(text string) (blocks []block, prose string) {
	var open *block
	var out strings.Builder
	for i, l := range strings.Split(text, "\n") {
		if m := fence.FindStringSubmatch(l); m != nil {
			if open == nil {
				open = &block{lang: m[1], info: m[2], line: i + 1}
			} else {
				blocks, open = append(blocks, *open), nil
			}
			continue
		}
		if open != nil {
			open.text += l + "\n"
			continue
		}
		out.WriteString(l + "\n")
	}
	return blocks, out.String()
}

// commandLines finds what is given to remit in a shell script: `remit run --task T-12 -- claude` is [run --task T-12 --
// claude].
func commandLines(script string) (lines [][]string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for l := range strings.Lines(script) {
		l = strings.ReplaceAll(strings.TrimSpace(l), "go run ./cmd/remit", "remit")
		for _, part := range split(l) {
			words := part
			for len(words) > 0 && (strings.Contains(words[0], "=") || words[0] == "sudo" || words[0] == "exec") {
				words = words[1:]
			}
			if len(words) > 0 && words[0] == "remit" {
				lines = append(lines, words[1:])
			}
		}
	}
	return lines
}

// split is as much of a shell as documents need: words, quotes, comments, and what ends a command.
func split(line string) (commands [][]string) {
	var words []string
	word, quote, started := "", rune(0), false
	end := func() {
		if started {
			words = append(words, word)
		}
		word, started = "", false
	}
	stop := func() {
		end()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word += string(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ' || c == '\t':
			end()
		case c == '#' && !started:
			stop()
			return commands
		case c == '|' || c == ';' || c == '&' || c == '(' || c == ')':
			stop()
		case c == '>' || c == '<':
			stop()
			words = append(words, "redirect")
		default:
			word, started = word+string(c), true
		}
	}
	stop()
	return commands
}

// helps asks a binary, or whatever stands for it, about a command.
type helps func(path []string) (string, error)

var (
	subcommand = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) +\S`)
	flag       = regexp.MustCompile(`(?m)^ +(?:-([a-zA-Z]), )?--([a-z][a-z-]*)(?: ([A-Za-z]+))?`)
)

// takesArgument reports whether a command that has others below it takes an argument of its own: remit inventory [KIND].
func takesArgument(help string, path []string) bool {
	return len(path) > 0 && regexp.MustCompile(`remit `+strings.Join(path, " ")+` \[[A-Z]+\]`).MatchString(help)
}

// checkCommand holds that a command line parses: its commands exist, and so do its flags. What stands after -- is the
// command's own.
func checkCommand(words []string, help helps) error {
	var path []string
	text, err := help(nil)
	if err != nil {
		return err
	}
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--" || strings.Contains(w, "…"):
			return nil
		case strings.HasPrefix(w, "-") && w != "-":
			name, _, given := strings.Cut(strings.TrimLeft(w, "-"), "=")
			found := false
			for _, m := range flag.FindAllStringSubmatch(text, -1) {
				if m[2] == name && strings.HasPrefix(w, "--") || m[1] == name && !strings.HasPrefix(w, "--") {
					found = true
					if m[3] != "" && !given {
						i++ // its value
					}
				}
			}
			if !found && name != "help" && name != "h" {
				return fmt.Errorf("remit %s has no flag %s", strings.Join(path, " "), w)
			}
		default:
			_, rest, group := strings.Cut(text, "Available Commands:")
			rest, _, _ = strings.Cut(rest, "\n\n")
			known := false
			for _, m := range subcommand.FindAllStringSubmatch(rest, -1) {
				known = known || m[1] == w
			}
			if w == strings.ToUpper(w) && group { // a placeholder
				return nil
			}
			if group && !known && !takesArgument(text, path) {
				return fmt.Errorf("remit %s has no command %q", strings.Join(path, " "), w)
			}
			if known {
				path = append(path, w)
				if text, err = help(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// documents are what people read.
func documents(t *testing.T) []string {
	t.Helper()
	docs := []string{"README.md", "SECURITY.md", "CHANGELOG.md"}
	err := filepath.WalkDir("doc", func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".md") {
			docs = append(docs, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// built is the binary: REMIT_BINARY, or one that is built now.
func built(t *testing.T) string {
	t.Helper()
	if b := os.Getenv("REMIT_BINARY"); b != "" {
		return b
	}
	bin := filepath.Join(t.TempDir(), "remit")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/remit").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	return bin
}

// TestDocs runs what the documents show, as far as it runs offline, and holds everything else they say against what
// there is: commands, flags, declarations, files and links.
func TestDocs(t *testing.T) {
	bin := built(t)
	known := map[string]string{}
	help := func(path []string) (string, error) {
		key := strings.Join(path, " ")
		if h, ok := known[key]; ok {
			return h, nil
		}
		out, err := exec.Command(bin, append(slices.Clone(path), "--help")...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("remit %s --help: %w\n%s", key, err, out)
		}
		known[key] = string(out)
		return known[key], nil
	}
	for _, name := range documents(t) {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			blocks, prose := parseDoc(string(text))
			var scripts []string
			for _, b := range blocks {
				if b.lang == "sh" {
					scripts = append(scripts, b.text)
				}
			}
			for _, m := range inline.FindAllStringSubmatch(prose, -1) {
				scripts = append(scripts, m[1])
				if _, err := os.Stat(m[1]); named.MatchString(m[1]) && strings.Contains(m[1], "/") && err != nil {
					t.Errorf("%s is named and does not exist", m[1])
				}
			}
			for _, s := range scripts {
				for _, words := range commandLines(s) {
					if err := checkCommand(words, help); err != nil {
						t.Errorf("remit %s: %v", strings.Join(words, " "), err)
					}
				}
			}
			for _, m := range link.FindAllStringSubmatch(prose, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); !strings.Contains(m[1], "://") && err != nil {
					t.Errorf("the link to %s leads nowhere", m[1])
				}
			}
			runDoc(t, bin, blocks)
		})
	}
}

// runDoc does what a reader would do, from top to bottom, in a directory of its own: it writes YAML and Rego to the
// files that their first lines name, starts what is marked background, and runs what is marked runnable. The reader has
// an SSH key, and has those of two colleagues, ben and cem. Port 8443 is replaced by a free one.
func runDoc(t *testing.T, bin string, blocks []block) {
	dir := t.TempDir()
	declared := false
	runs := slices.ContainsFunc(blocks, func(b block) bool { return b.info == "runnable" })
	if runs {
		if _, err := exec.LookPath("ssh-keygen"); err != nil {
			t.Skip("ssh-keygen is not installed, so nobody has a key")
		}
		for _, name := range []string{".ssh/id_ed25519", "ben", "cem"} {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "someone", "-f", file).CombinedOutput(); err != nil {
				t.Fatalf("ssh-keygen: %v\n%s", err, out)
			}
		}
	}
	port := freePort(t)
	shell := func(script string) (*exec.Cmd, *output) {
		cmd := exec.Command("sh", "-euc", strings.ReplaceAll(script, "8443", port))
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + filepath.Dir(bin) + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
		out := &output{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	for _, b := range blocks {
		switch {
		case b.lang == "yaml" || b.lang == "rego":
			first, _, _ := strings.Cut(b.text, "\n")
			name, ok := strings.CutPrefix(first, "# declarations/")
			if !ok {
				t.Errorf("line %d: the first line of a %s block names its file, as in # declarations/agents.yaml", b.line, b.lang)
				continue
			}
			declared = true
			file := filepath.Join(dir, "declarations", name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case b.lang == "sh" && b.info == "background":
			cmd, out := shell("exec " + b.text)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
			})
			for until := time.Now().Add(30 * time.Second); !strings.Contains(out.String(), " serves "); {
				select {
				case err := <-ended:
					ended <- err
					t.Fatalf("line %d: it ended: %v\n%s", b.line, err, out)
				case <-time.After(20 * time.Millisecond):
				}
				if time.Now().After(until) {
					t.Fatalf("line %d: it does not serve\n%s", b.line, out)
				}
			}
		case b.lang == "sh" && b.info == "runnable":
			cmd, out := shell(b.text)
			if err := cmd.Run(); err != nil {
				t.Errorf("line %d: %v\n%s", b.line, err, out)
			}
			if testing.Verbose() {
				t.Logf("line %d\n%s", b.line, out)
			}
		}
	}
	if !declared {
		return
	}
	if _, _, err := declare.Read(os.DirFS(filepath.Join(dir, "declarations"))); err != nil {
		t.Errorf("the declarations shown: %v", err)
	}
}

// output is what a command says while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestDocChecksCanFail(t *testing.T) {
	help := func(path []string) (string, error) {
		switch strings.Join(path, " ") {
		case "":
			return "Available Commands:\n  run         Run\n  log         The log\n\nFlags:\n  -o, --output FORMAT   x\n", nil
		case "run":
			return "Usage:\n  remit run\n\nFlags:\n      --task ID   x\n      --wait      x\n\nGlobal Flags:\n  -o, --output FORMAT   x\n", nil
		case "log":
			return "Available Commands:\n  verify    Verify\n\nFlags:\n", nil
		}
		return "", nil
	}
	for _, c := range []struct{ line, want string }{
		{"remit walk", `no command "walk"`},
		{"remit log check", `no command "check"`},
		{"cd x && FOO=1 remit run --who me -- x", "no flag --who"},
		{"go run ./cmd/remit run --task T-1 --deep", "no flag --deep"},
		{"remit run -x", "no flag -x"},
		{"remit run --task T-1 --wait -o json -- claude --model m", ""},
		{"remit log verify | less", ""},
		{"remit --help # remit walk", ""},
		{"remit log …", ""},
		{"echo 'remit walk'", ""},
	} {
		var got []string
		for _, words := range commandLines(c.line) {
			if err := checkCommand(words, help); err != nil {
				got = append(got, err.Error())
			}
		}
		if joined := strings.Join(got, "\n"); c.want == "" && joined != "" || !strings.Contains(joined, c.want) {
			t.Errorf("%s: %q, wanted %q", c.line, joined, c.want)
		}
	}
	if n := len(commandLines("remit run \\\n  --task T-1\nremit log verify")); n != 2 {
		t.Errorf("%d command lines, wanted 2", n)
	}
	blocks, prose := parseDoc("a\n```sh runnable\nb\n```\nc `d`\n")
	if len(blocks) != 1 || blocks[0].info != "runnable" || blocks[0].text != "b\n" || strings.Contains(prose, "b\n") {
		t.Errorf("%+v %q", blocks, prose)
	}
}
