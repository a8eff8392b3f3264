package depend

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rhysd/actionlint"

	"github.com/remit-dev/remit"
)

const (
	maxWorkflow = 1 << 20         // bytes
	lintTime    = 5 * time.Second // of one file
	maxFindings = 50
)

// isWorkflow tells whether a forge runs the file.
func isWorkflow(file string) bool {
	dir, name := path.Split(strings.ToLower(file))
	switch dir {
	case ".github/workflows/", ".gitea/workflows/", ".forgejo/workflows/":
		return path.Ext(name) == ".yml" || path.Ext(name) == ".yaml"
	}
	return false
}

// linting bounds how many files are looked at at once, also those that take too long.
var linting = make(chan struct{}, 4)

// Workflow lists what is wrong with a workflow file that was not wrong with the old one.
func Workflow(file string, old, new []byte) []remit.WorkflowFinding {
	if !isWorkflow(file) || new == nil {
		return nil
	}
	is, err := lint(file, new)
	if err != nil {
		return []remit.WorkflowFinding{{Path: file, Kind: remit.OddUnread, Text: err.Error()}}
	}
	was, err := lint(file, old)
	if err != nil {
		was = nil
	}
	var out []remit.WorkflowFinding
	for _, f := range is {
		same := func(o remit.WorkflowFinding) bool { return o.Kind == f.Kind && o.Text == f.Text } // wherever it stands
		if !slices.ContainsFunc(was, same) && !slices.ContainsFunc(out, same) {
			out = append(out, f)
		}
	}
	if n := len(out) - maxFindings; n > 0 {
		out = append(out[:maxFindings], remit.WorkflowFinding{Path: file, Kind: remit.OddUnread, Text: fmt.Sprintf("and %d more", n)})
	}
	return out
}

// lint runs actionlint on one content. Its rules that call other programs are off.
func lint(file string, text []byte) ([]remit.WorkflowFinding, error) {
	if len(text) > maxWorkflow {
		return nil, fmt.Errorf("the workflow is larger than the %d bytes that are looked at", maxWorkflow)
	}
	if len(text) == 0 {
		return nil, nil
	}
	type result struct {
		found []remit.WorkflowFinding
		err   error
	}
	done := make(chan result, 1)
	limit := time.NewTimer(lintTime)
	defer limit.Stop()
	select {
	case linting <- struct{}{}:
	case <-limit.C:
		return nil, fmt.Errorf("the workflow was not looked at: others take too long")
	}
	go func() {
		defer func() { <-linting }()
		defer func() {
			if recover() != nil {
				done <- result{err: fmt.Errorf("the workflow cannot be looked at")}
			}
		}()
		l, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
		if err != nil {
			done <- result{err: err}
			return
		}
		errs, err := l.Lint(path.Base(file), text, nil)
		var found []remit.WorkflowFinding
		for _, e := range errs {
			found = append(found, remit.WorkflowFinding{Path: file, Line: e.Line, Kind: e.Kind, Text: strings.Join(strings.Fields(e.Message), " ")})
		}
		done <- result{found, err}
	}()
	select {
	case r := <-done:
		return r.found, r.err
	case <-limit.C:
		return nil, fmt.Errorf("the workflow took longer than %s to look at", lintTime)
	}
}

var pinned = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})$`)

// actions compares what two workflow files use: actions, reusable workflows and images.
func actions(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	if len(old) > maxWorkflow || len(new) > maxWorkflow {
		return nil, nil // Workflow says so
	}
	out := differ("actions", used(old), used(new))
	for i, c := range out {
		if c.To != "" && c.Text == "" && !strings.HasPrefix(c.Name, "./") && !pinned.MatchString(c.To) {
			odd(&out[i], remit.OddUnpinned, "it is not pinned to a commit or digest")
		}
	}
	return out, nil
}

func used(text []byte) (out map[string]dep) {
	out = map[string]dep{}
	defer func() {
		if recover() != nil {
			out = map[string]dep{}
		}
	}()
	if len(text) == 0 {
		return out
	}
	w, _ := actionlint.Parse(text)
	if w == nil {
		return out
	}
	add := func(s *actionlint.String) {
		if s == nil || s.Value == "" {
			return
		}
		name, version, _ := strings.Cut(s.Value, "@")
		if before, ok := out[name]; ok && before.version != version && !strings.Contains(before.version, version) {
			version = before.version + ", " + version
		}
		out[name] = dep{version: version}
	}
	for _, job := range w.Jobs {
		if job == nil {
			continue
		}
		if job.WorkflowCall != nil {
			add(job.WorkflowCall.Uses)
		}
		if job.Container != nil {
			add(job.Container.Image)
		}
		for _, step := range job.Steps {
			if e, ok := step.Exec.(*actionlint.ExecAction); ok {
				add(e.Uses)
			}
		}
	}
	return out
}
