package web

import (
	"strings"

	"github.com/remit-dev/remit"
)

// route is one operation of the forge's API, as its own OpenAPI file names it, and what it is.
type route struct {
	method, path string
	action       remit.Action      // of a read, and of a write that is passed on as it was parsed
	query        string            // parameters that are passed on, parted by spaces
	body         func() any        // what the body of a write is parsed into; nil: it has none
	write        func(*call) error // says what a write is; nil: a read
}

const paging = "page limit"

// served is everything that is served. What is not here is denied.
var served = []route{
	// The repository and its contents.
	read("/repos/{owner}/{repo}", source, ""),
	read("/repos/{owner}/{repo}/archive/{archive}", source, "path"),
	read("/repos/{owner}/{repo}/branches", source, paging),
	read("/repos/{owner}/{repo}/branches/{branch}", source, ""),
	read("/repos/{owner}/{repo}/commits", source, "sha path since until stat verification files page limit not"),
	read("/repos/{owner}/{repo}/commits/{sha}/pull", review, ""),
	read("/repos/{owner}/{repo}/compare/{basehead}", source, ""),
	read("/repos/{owner}/{repo}/contents", source, "ref"),
	read("/repos/{owner}/{repo}/contents/{filepath}", source, "ref"),
	read("/repos/{owner}/{repo}/contents-ext/{filepath}", source, "ref includes"),
	read("/repos/{owner}/{repo}/editorconfig/{filepath}", source, "ref"),
	read("/repos/{owner}/{repo}/git/blobs/{sha}", source, ""),
	read("/repos/{owner}/{repo}/git/commits/{sha}.{diffType}", source, ""),
	read("/repos/{owner}/{repo}/git/commits/{sha}", source, "stat verification files"),
	read("/repos/{owner}/{repo}/git/notes/{sha}", source, "verification files"),
	read("/repos/{owner}/{repo}/git/refs", source, ""),
	read("/repos/{owner}/{repo}/git/refs/{ref}", source, ""),
	read("/repos/{owner}/{repo}/git/tags/{sha}", source, ""),
	read("/repos/{owner}/{repo}/git/trees/{sha}", source, "recursive page per_page"),
	read("/repos/{owner}/{repo}/languages", source, ""),
	read("/repos/{owner}/{repo}/licenses", source, ""),
	read("/repos/{owner}/{repo}/raw/{filepath}", source, "ref"),
	read("/repos/{owner}/{repo}/releases", source, "draft pre-release page limit"),
	read("/repos/{owner}/{repo}/releases/latest", source, ""),
	read("/repos/{owner}/{repo}/releases/tags/{tag}", source, ""),
	read("/repos/{owner}/{repo}/releases/{id}", source, ""),
	read("/repos/{owner}/{repo}/releases/{id}/assets", source, ""),
	read("/repos/{owner}/{repo}/releases/{id}/assets/{attachment_id}", source, ""),
	read("/repos/{owner}/{repo}/tags", source, paging),
	read("/repos/{owner}/{repo}/tags/{tag}", source, ""),
	read("/repos/{owner}/{repo}/topics", source, paging),

	// Pull requests, and the checks that belong to them.
	read("/repos/{owner}/{repo}/pulls", review, "base_branch state sort milestone labels poster page limit"),
	read("/repos/{owner}/{repo}/pulls/pinned", review, ""),
	read("/repos/{owner}/{repo}/pulls/{index}", review, ""),
	read("/repos/{owner}/{repo}/pulls/{index}.{diffType}", review, "binary"),
	read("/repos/{owner}/{repo}/pulls/{index}/commits", review, "page limit verification files"),
	read("/repos/{owner}/{repo}/pulls/{index}/files", review, "skip-to whitespace page limit"),
	read("/repos/{owner}/{repo}/pulls/{index}/merge", review, ""),
	read("/repos/{owner}/{repo}/pulls/{index}/reviews", review, paging),
	read("/repos/{owner}/{repo}/pulls/{index}/reviews/{id}", review, ""),
	read("/repos/{owner}/{repo}/pulls/{index}/reviews/{id}/comments", review, ""),
	read("/repos/{owner}/{repo}/pulls/{base}/{head}", review, ""), // after those that it looks like
	read("/repos/{owner}/{repo}/reviewers", review, ""),
	read("/repos/{owner}/{repo}/commits/{ref}/status", review, paging),
	read("/repos/{owner}/{repo}/commits/{ref}/statuses", review, "sort state page limit"),
	read("/repos/{owner}/{repo}/statuses/{sha}", review, "sort state page limit"),
	read("/repos/{owner}/{repo}/actions/jobs", review, "status page limit"),
	read("/repos/{owner}/{repo}/actions/jobs/{job_id}", review, ""),
	read("/repos/{owner}/{repo}/actions/jobs/{job_id}/logs", review, ""),
	read("/repos/{owner}/{repo}/actions/runs", review, "event branch status actor head_sha page limit"),
	read("/repos/{owner}/{repo}/actions/runs/{run}", review, ""),
	read("/repos/{owner}/{repo}/actions/runs/{run}/jobs", review, "status page limit"),
	read("/repos/{owner}/{repo}/actions/tasks", review, paging),
	read("/repos/{owner}/{repo}/actions/workflows", source, ""),
	read("/repos/{owner}/{repo}/actions/workflows/{workflow_id}", source, ""),

	// Issues.
	read("/repos/{owner}/{repo}/issue_config", issue, ""),
	read("/repos/{owner}/{repo}/issue_config/validate", issue, ""),
	read("/repos/{owner}/{repo}/issue_templates", issue, ""),
	read("/repos/{owner}/{repo}/issues", issue, "state labels q type milestones since before created_by assigned_by mentioned_by page limit"),
	read("/repos/{owner}/{repo}/issues/comments", issue, "since before page limit"),
	read("/repos/{owner}/{repo}/issues/comments/{id}", issue, ""),
	read("/repos/{owner}/{repo}/issues/comments/{id}/reactions", issue, ""),
	read("/repos/{owner}/{repo}/issues/pinned", issue, ""),
	read("/repos/{owner}/{repo}/issues/{index}", issue, ""),
	read("/repos/{owner}/{repo}/issues/{index}/blocks", issue, paging),
	read("/repos/{owner}/{repo}/issues/{index}/comments", issue, "since before"),
	read("/repos/{owner}/{repo}/issues/{index}/dependencies", issue, paging),
	read("/repos/{owner}/{repo}/issues/{index}/labels", issue, ""),
	read("/repos/{owner}/{repo}/issues/{index}/reactions", issue, paging),
	read("/repos/{owner}/{repo}/issues/{index}/timeline", issue, "since page limit before"),
	read("/repos/{owner}/{repo}/labels", issue, paging),
	read("/repos/{owner}/{repo}/labels/{id}", issue, ""),
	read("/repos/{owner}/{repo}/milestones", issue, "state name page limit"),
	read("/repos/{owner}/{repo}/milestones/{id}", issue, ""),

	// What moves a ref is made by Remit itself, and judged and carried out as a push.
	{"POST", "/repos/{owner}/{repo}/contents", push, "", as[changeFiles], (*call).changeFiles},
	{"POST", "/repos/{owner}/{repo}/contents/{filepath}", push, "", as[changeFile], (*call).createFile},
	{"PUT", "/repos/{owner}/{repo}/contents/{filepath}", push, "", as[changeFile], (*call).updateFile},
	{"DELETE", "/repos/{owner}/{repo}/contents/{filepath}", push, "", as[changeFile], (*call).deleteFile},
	{"POST", "/repos/{owner}/{repo}/branches", push, "", as[createBranch], (*call).createBranch},
	{"PUT", "/repos/{owner}/{repo}/branches/{branch}", push, "", as[moveBranch], (*call).moveBranch},
	{"DELETE", "/repos/{owner}/{repo}/branches/{branch}", push, "", nil, (*call).deleteBranch},
	{"POST", "/repos/{owner}/{repo}/tags", push, "", as[createTag], (*call).createTag},
	{"DELETE", "/repos/{owner}/{repo}/tags/{tag}", push, "", nil, (*call).deleteTag},
	{"POST", "/repos/{owner}/{repo}/pulls/{index}/update", push, "style", nil, (*call).updatePull},

	// Pull requests.
	{"POST", "/repos/{owner}/{repo}/pulls", propose, "", as[createPull], (*call).createPull},
	{"PATCH", "/repos/{owner}/{repo}/pulls/{index}", propose, "", as[editPull], (*call).editPull},
	{"POST", "/repos/{owner}/{repo}/pulls/{index}/requested_reviewers", propose, "", as[reviewers], (*call).pass},
	{"DELETE", "/repos/{owner}/{repo}/pulls/{index}/requested_reviewers", propose, "", as[reviewers], (*call).pass},
	{"POST", "/repos/{owner}/{repo}/pulls/{index}/reviews", "review.submit", "", as[createReview], (*call).createReview},
	{"POST", "/repos/{owner}/{repo}/pulls/{index}/merge", "source.merge", "", as[mergePull], (*call).mergePull},

	// Issues.
	{"POST", "/repos/{owner}/{repo}/issues", "issue.write", "", as[createIssue], (*call).pass},
	{"PATCH", "/repos/{owner}/{repo}/issues/{index}", "issue.write", "", as[editIssue], (*call).editIssue},
	{"POST", "/repos/{owner}/{repo}/issues/{index}/comments", "issue.comment", "", as[comment], (*call).pass},
	{"POST", "/repos/{owner}/{repo}/issues/{index}/deadline", "issue.write", "", as[deadline], (*call).pass},
	{"POST", "/repos/{owner}/{repo}/issues/{index}/labels", "issue.write", "", as[labels], (*call).pass},
	{"PUT", "/repos/{owner}/{repo}/issues/{index}/labels", "issue.write", "", as[labels], (*call).pass},
	{"DELETE", "/repos/{owner}/{repo}/issues/{index}/labels", "issue.write", "", nil, (*call).pass},
	{"DELETE", "/repos/{owner}/{repo}/issues/{index}/labels/{id}", "issue.write", "", nil, (*call).pass},

	// Releases and pipelines.
	{"POST", "/repos/{owner}/{repo}/releases", release, "", as[createRelease], (*call).createRelease},
	{"PATCH", "/repos/{owner}/{repo}/releases/{id}", release, "", as[editRelease], (*call).editRelease},
	{"DELETE", "/repos/{owner}/{repo}/releases/{id}", release, "", nil, (*call).pass},
	{"DELETE", "/repos/{owner}/{repo}/releases/tags/{tag}", release, "", nil, (*call).pass},
	{"POST", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches", "build.trigger", "return_run_details", as[dispatch], (*call).dispatch},
}

const (
	source  remit.Action = "source.read"
	review  remit.Action = "review.read"
	issue   remit.Action = "issue.read"
	push    remit.Action = "source.push"
	propose remit.Action = "source.propose"
	release remit.Action = "artifact.release"
)

func read(path string, action remit.Action, query string) route {
	return route{method: "GET", path: path, action: action, query: query}
}

func as[T any]() any { return new(T) }

// refusal says why operations are not served, and what would be right. A path that ends in /** covers what lies below
// it and itself; methods are parted by spaces, none: all.
type refusal struct{ methods, path, why string }

// refused is not what denies: whatever is not served is denied. It is what to say, and shows that each operation of the
// forge was looked at.
var refused = []refusal{
	{"", "/admin/**", "it administers the forge itself, which no agent may"},
	{"", "/user/**", "it is about the forge's user, which is Remit's, not the agent's"},
	{"", "/users/**", "it is about people and their keys and tokens"},
	{"", "/orgs/**", "it is about an organisation, not about a repository"},
	{"", "/org/**", "it makes repositories in an organisation"},
	{"", "/teams/**", "it is about who may do what at the forge"},
	{"", "/notifications/**", "notifications are those of the forge's user, which is Remit's"},
	{"", "/packages/**", "packages are published to and read from a registry that is declared as an upstream"},
	{"", "/settings/**", "it is about the forge, not about a repository"},
	{"", "/topics/**", "it looks across repositories; ask for one"},
	{"", "/gitignore/**", "it is about the forge, not about a repository"},
	{"", "/label/**", "it is about the forge, not about a repository"},
	{"", "/licenses/**", "it is about the forge, not about a repository"},
	{"", "/markdown/**", "it renders text, which needs no forge"},
	{"", "/markup", "it renders text, which needs no forge"},
	{"", "/signing-key.gpg", "it is about the forge, not about a repository"},
	{"", "/signing-key.pub", "it is about the forge, not about a repository"},
	{"", "/repositories/{id}", "a repository is asked for by its name, which is what is declared"},
	{"", "/repos/search", "it looks across repositories; ask for one"},
	{"", "/repos/issues/search", "it looks across repositories; ask for one"},
	{"", "/repos/migrate", "it makes a repository, which an administrator declares"},
	{"", "/repos/{template_owner}/{template_repo}/generate", "it makes a repository, which an administrator declares"},
	{"DELETE PATCH", "/repos/{owner}/{repo}", "it changes or deletes the repository itself"},
	{"", "/repos/{owner}/{repo}/actions/artifacts/**", "what a job left at the forge has no provenance; publish artifacts to a registry"},
	{"", "/repos/{owner}/{repo}/actions/runs/{run}/artifacts", "what a job left at the forge has no provenance; publish artifacts to a registry"},
	{"", "/repos/{owner}/{repo}/actions/runners/**", "it is about what runs jobs"},
	{"", "/repos/{owner}/{repo}/actions/secrets/**", "it is about the secrets of jobs"},
	{"", "/repos/{owner}/{repo}/actions/variables/**", "variables steer jobs, unseen by reviewers; write them in the workflow file"},
	{"DELETE", "/repos/{owner}/{repo}/actions/runs/{run}", "it removes what shows what a job did"},
	{"POST", "/repos/{owner}/{repo}/actions/runs/**", "a job that runs again runs what was there then; dispatch the workflow instead"},
	{"PUT", "/repos/{owner}/{repo}/actions/workflows/**", "it changes which workflows run"},
	{"", "/repos/{owner}/{repo}/activities/**", "it is about people"},
	{"", "/repos/{owner}/{repo}/assignees", "it is about people"},
	{"", "/repos/{owner}/{repo}/avatar", "it changes the repository itself"},
	{"", "/repos/{owner}/{repo}/branch_protections/**", "it is about what the forge protects"},
	{"PATCH", "/repos/{owner}/{repo}/branches/{branch}", "it renames a branch; create the new one and delete the old one"},
	{"", "/repos/{owner}/{repo}/collaborators/**", "it is about who may do what at the forge"},
	{"POST", "/repos/{owner}/{repo}/diffpatch", "a patch is applied by the forge, unseen; change the contents, or push with git"},
	{"", "/repos/{owner}/{repo}/file-contents", "ask for the contents of one file at a time, or read with git"},
	{"", "/repos/{owner}/{repo}/forks", "a fork is another repository, which an administrator declares"},
	{"", "/repos/{owner}/{repo}/hooks/**", "it is about what the forge calls when something happens"},
	{"PATCH DELETE", "/repos/{owner}/{repo}/issues/comments/{id}", "it rewrites what others may have said; add a comment instead"},
	{"", "/repos/{owner}/{repo}/issues/comments/{id}/assets/**", "attachments are not passed through; put the text into the comment"},
	{"POST DELETE", "/repos/{owner}/{repo}/issues/comments/{id}/reactions", "say it in a comment"},
	{"PATCH DELETE", "/repos/{owner}/{repo}/issues/{index}/comments/{id}", "it rewrites what others may have said; add a comment instead"},
	{"DELETE", "/repos/{owner}/{repo}/issues/{index}", "what was discussed is not deleted; close it instead"},
	{"", "/repos/{owner}/{repo}/issues/{index}/assets/**", "attachments are not passed through; put the text into the issue"},
	{"POST DELETE", "/repos/{owner}/{repo}/issues/{index}/blocks", "it may name another repository; say it in a comment"},
	{"POST DELETE", "/repos/{owner}/{repo}/issues/{index}/dependencies", "it may name another repository; say it in a comment"},
	{"", "/repos/{owner}/{repo}/issues/{index}/lock", "it keeps people from speaking"},
	{"", "/repos/{owner}/{repo}/issues/{index}/pin/**", "it decides what people see first"},
	{"POST DELETE", "/repos/{owner}/{repo}/issues/{index}/reactions", "say it in a comment"},
	{"", "/repos/{owner}/{repo}/issues/{index}/stopwatch/**", "it is about people's time"},
	{"", "/repos/{owner}/{repo}/issues/{index}/subscriptions/**", "it is about people"},
	{"", "/repos/{owner}/{repo}/issues/{index}/times/**", "it is about people's time"},
	{"", "/repos/{owner}/{repo}/keys/**", "it is about keys that open the repository"},
	{"POST PATCH DELETE", "/repos/{owner}/{repo}/labels/**", "which labels there are is for people to say; an issue can be given those that exist"},
	{"", "/repos/{owner}/{repo}/media/{filepath}", "Git LFS is not passed through"},
	{"POST", "/repos/{owner}/{repo}/merge-upstream", "it brings commits of another repository, unseen; push them with git"},
	{"POST PATCH DELETE", "/repos/{owner}/{repo}/milestones/**", "milestones are for people to set"},
	{"", "/repos/{owner}/{repo}/mirror-sync", "it brings commits of another repository, unseen"},
	{"", "/repos/{owner}/{repo}/new_pin_allowed", "it is about what people see first"},
	{"", "/repos/{owner}/{repo}/notifications", "notifications are those of the forge's user, which is Remit's"},
	{"POST", "/repos/{owner}/{repo}/pulls/comments/**", "what a reviewer asked for is for people to call settled"},
	{"DELETE", "/repos/{owner}/{repo}/pulls/{index}/merge", "it takes back a merge that waits for checks; Remit makes none"},
	{"POST DELETE", "/repos/{owner}/{repo}/pulls/{index}/reviews/{id}/**", "a review is given whole, in one request, and stays; give another one"},
	{"", "/repos/{owner}/{repo}/push_mirrors/**", "it sends the repository elsewhere"},
	{"", "/repos/{owner}/{repo}/push_mirrors-sync", "it sends the repository elsewhere"},
	{"POST PATCH DELETE", "/repos/{owner}/{repo}/releases/{id}/assets/**", "what is attached to a release has no provenance; publish artifacts to a registry"},
	{"", "/repos/{owner}/{repo}/signing-key.gpg", "it is about the forge, not about a repository"},
	{"", "/repos/{owner}/{repo}/signing-key.pub", "it is about the forge, not about a repository"},
	{"", "/repos/{owner}/{repo}/stargazers", "it is about people"},
	{"POST", "/repos/{owner}/{repo}/statuses/{sha}", "a status is what a check says, and no agent may say it in a check's place"},
	{"", "/repos/{owner}/{repo}/subscribers", "it is about people"},
	{"", "/repos/{owner}/{repo}/subscription", "it is about the forge's user, which is Remit's"},
	{"", "/repos/{owner}/{repo}/tag_protections/**", "it is about what the forge protects"},
	{"", "/repos/{owner}/{repo}/teams/**", "it is about who may do what at the forge"},
	{"", "/repos/{owner}/{repo}/times/**", "it is about people's time"},
	{"PUT DELETE", "/repos/{owner}/{repo}/topics/**", "it changes the repository itself"},
	{"", "/repos/{owner}/{repo}/transfer/**", "it gives the repository away"},
	{"", "/repos/{owner}/{repo}/wiki/**", "a wiki is a repository that nobody looks into; write documents in the repository itself"},
}

// version is answered by Remit: clients ask for it before anything else, and it says nothing of any repository.
const version = "/version"

// covers tells whether r is about an operation; path is a template, or a path that matches one.
func (r refusal) covers(method, path string) bool {
	if r.methods != "" && !strings.Contains(" "+r.methods+" ", " "+method+" ") {
		return false
	}
	want, below := strings.CutSuffix(r.path, "/**")
	parts, have := strings.Split(want, "/"), strings.Split(path, "/")
	if len(have) < len(parts) || len(have) > len(parts) && !below {
		return false
	}
	for i, p := range parts {
		if !strings.HasPrefix(p, "{") && p != have[i] {
			return false
		}
	}
	return true
}
