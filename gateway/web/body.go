package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Limits of bodies, in bytes.
const (
	maxBody     = 1 << 20
	maxContents = 32 << 20
	maxPassed   = 20 << 10 // what is passed on lies in the work order, which has at most 32 KiB
)

// The bodies of writes: what the forge documents, without what would reach beyond the operation. Members that are
// absent and members that are null are the same to the forge.
type (
	changeFile struct {
		commit
		Content string `json:"content,omitempty"`
		SHA     string `json:"sha,omitempty"`
		From    string `json:"from_path,omitempty"`
	}
	changeFiles struct {
		commit
		Files []struct {
			Operation string `json:"operation"`
			Path      string `json:"path"`
			Content   string `json:"content,omitempty"`
			SHA       string `json:"sha,omitempty"`
			From      string `json:"from_path,omitempty"`
		} `json:"files"`
	}
	commit struct {
		Message   string `json:"message,omitempty"`
		Branch    string `json:"branch,omitempty"`
		NewBranch string `json:"new_branch,omitempty"`
		Force     bool   `json:"force_push,omitempty"`
		Signoff   bool   `json:"signoff,omitempty"`
		Author    person `json:"author,omitzero"`
		Committer person `json:"committer,omitzero"`
		Dates     dates  `json:"dates,omitzero"`
	}
	person struct {
		Name  string `json:"name,omitempty"`
		Email string `json:"email,omitempty"`
	}
	dates struct {
		Author    time.Time `json:"author,omitzero"`
		Committer time.Time `json:"committer,omitzero"`
	}
	createBranch struct {
		New       string `json:"new_branch_name"`
		OldBranch string `json:"old_branch_name,omitempty"`
		OldRef    string `json:"old_ref_name,omitempty"`
	}
	moveBranch struct {
		New   string `json:"new_commit_id"`
		Old   string `json:"old_commit_id,omitempty"`
		Force bool   `json:"force,omitempty"`
	}
	createTag struct {
		Name    string `json:"tag_name"`
		Message string `json:"message,omitempty"`
		Target  string `json:"target,omitempty"`
	}
	createPull struct {
		Head          string     `json:"head"`
		Base          string     `json:"base"`
		Title         string     `json:"title"`
		Body          string     `json:"body,omitempty"`
		Assignee      string     `json:"assignee,omitempty"`
		Assignees     []string   `json:"assignees,omitempty"`
		Milestone     int64      `json:"milestone,omitempty"`
		Labels        []int64    `json:"labels,omitempty"`
		Deadline      *time.Time `json:"due_date,omitempty"`
		Reviewers     []string   `json:"reviewers,omitempty"`
		TeamReviewers []string   `json:"team_reviewers,omitempty"`
		Maintainer    *bool      `json:"allow_maintainer_edit,omitempty"`
	}
	editPull struct {
		Title          string     `json:"title,omitempty"`
		Body           *string    `json:"body,omitempty"`
		Base           string     `json:"base,omitempty"`
		Assignee       string     `json:"assignee,omitempty"`
		Assignees      []string   `json:"assignees,omitempty"`
		Milestone      int64      `json:"milestone,omitempty"`
		Labels         []int64    `json:"labels,omitempty"`
		State          *string    `json:"state,omitempty"`
		Deadline       *time.Time `json:"due_date,omitempty"`
		RemoveDeadline *bool      `json:"unset_due_date,omitempty"`
		Maintainer     *bool      `json:"allow_maintainer_edit,omitempty"`
		Version        *int64     `json:"content_version,omitempty"`
	}
	reviewers struct {
		Reviewers []string `json:"reviewers,omitempty"`
		Teams     []string `json:"team_reviewers,omitempty"`
	}
	createReview struct {
		Event    string `json:"event"`
		Body     string `json:"body,omitempty"`
		Commit   string `json:"commit_id"`
		Comments []struct {
			Path string `json:"path"`
			Body string `json:"body"`
			Old  int64  `json:"old_position,omitempty"`
			New  int64  `json:"new_position,omitempty"`
		} `json:"comments,omitempty"`
	}
	mergePull struct {
		Do         string `json:"do"`
		Title      string `json:"merge_title_field,omitempty"`
		Message    string `json:"merge_message_field,omitempty"`
		OldTitle   string `json:"MergeTitleField,omitempty"` // as earlier clients spell it
		OldMessage string `json:"MergeMessageField,omitempty"`
		Commit     string `json:"merge_commit_id,omitempty"`
		OldCommit  string `json:"MergeCommitID,omitempty"`
		Head       string `json:"head_commit_id,omitempty"`
		Force      bool   `json:"force_merge,omitempty"`
		WhenGreen  bool   `json:"merge_when_checks_succeed,omitempty"`
		Delete     *bool  `json:"delete_branch_after_merge,omitempty"`
	}
	createIssue struct {
		Title     string     `json:"title"`
		Body      string     `json:"body,omitempty"`
		Ref       string     `json:"ref,omitempty"`
		Assignee  string     `json:"assignee,omitempty"`
		Assignees []string   `json:"assignees,omitempty"`
		Deadline  *time.Time `json:"due_date,omitempty"`
		Milestone int64      `json:"milestone,omitempty"`
		Labels    []int64    `json:"labels,omitempty"`
		Closed    bool       `json:"closed,omitempty"`
	}
	editIssue struct {
		Title          string     `json:"title,omitempty"`
		Body           *string    `json:"body,omitempty"`
		Ref            *string    `json:"ref,omitempty"`
		Assignee       *string    `json:"assignee,omitempty"`
		Assignees      []string   `json:"assignees,omitempty"`
		Milestone      *int64     `json:"milestone,omitempty"`
		State          *string    `json:"state,omitempty"`
		Deadline       *time.Time `json:"due_date,omitempty"`
		RemoveDeadline *bool      `json:"unset_due_date,omitempty"`
		Version        *int64     `json:"content_version,omitempty"`
	}
	comment struct {
		Body string `json:"body"`
	}
	deadline struct {
		Deadline *time.Time `json:"due_date"`
	}
	labels struct {
		Labels []any `json:"labels"` // ids or names
	}
	createRelease struct {
		Tag        string `json:"tag_name"`
		TagMessage string `json:"tag_message,omitempty"`
		Target     string `json:"target_commitish,omitempty"`
		Name       string `json:"name,omitempty"`
		Body       string `json:"body,omitempty"`
		Draft      bool   `json:"draft,omitempty"`
		Prerelease bool   `json:"prerelease,omitempty"`
	}
	editRelease struct {
		Name       string `json:"name,omitempty"`
		Body       string `json:"body,omitempty"`
		Tag        string `json:"tag_name,omitempty"`
		Target     string `json:"target_commitish,omitempty"`
		Draft      *bool  `json:"draft,omitempty"`
		Prerelease *bool  `json:"prerelease,omitempty"`
	}
	dispatch struct {
		Ref    string            `json:"ref"`
		Inputs map[string]string `json:"inputs,omitempty"`
	}
)

// readBody parses the body of a request as its route says, and refuses one where there should be none.
func readBody(r *http.Request, rt *route) (any, error) {
	if rt.body == nil {
		if n, err := io.ReadFull(r.Body, make([]byte, 1)); n > 0 || err != io.EOF {
			return nil, remit.Errorf(remit.BadRequest, "%s %s takes no body", rt.method, rt.path)
		}
		return nil, nil
	}
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return nil, remit.Errorf(remit.BadRequest, "the body is to be sent as it is, without a Content-Encoding")
	}
	types := r.Header.Values("Content-Type")
	if len(types) != 1 || !strings.EqualFold(strings.ReplaceAll(types[0], " ", ""), "application/json") && !strings.EqualFold(strings.ReplaceAll(types[0], " ", ""), "application/json;charset=utf-8") {
		return nil, remit.Errorf(remit.BadRequest, "the body is to be JSON, with Content-Type: application/json")
	}
	most := int64(maxBody)
	if strings.HasPrefix(rt.path, "/repos/{owner}/{repo}/contents") {
		most = maxContents
	}
	v := rt.body()
	return v, remit.DecodeStrict(r.Body, most, v)
}

// encode writes a parsed body anew.
func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	b, err := marshal(v)
	if err == nil && len(b) > maxPassed {
		err = remit.Errorf(remit.TooLarge, "the body has %d bytes; what is passed on to the forge has at most %d", len(b), maxPassed)
	}
	return b, err
}

// marshal leaves HTML escapes out: they cost room and change the bytes that were judged.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, remit.Errorf(remit.Internal, "the request cannot be written anew: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func decode64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "content is to be base64 (RFC 4648 §4): %w", err)
	}
	return b, nil
}
