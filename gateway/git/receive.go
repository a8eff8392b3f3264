package git

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
	"github.com/remit-dev/remit/gateway/git/internal/refname"
)

// classifyPush says what a push would do. It is one flat list, cheapest first; each line refuses what the next ones may
// then rely on, and every limit names itself when it is met. Nothing has left for the upstream when it returns but
// Remit's own reading of the repository.
func (x *exchange) classifyPush(ctx context.Context, caller remit.Caller, repo Repo, r *http.Request) (req remit.Request, payloads []remit.Payload, err error) {
	none := remit.Request{}

	// A place in the queue: a task cannot fill disk or cores by pushing many times at once.
	if x.free, err = x.g.admit(caller.Task); err != nil {
		x.free = func() {}
		return none, nil, err
	}

	// The commands: which refs, from where to where. The answer to everything below is a report on these.
	push, body, err := pktline.ReadPush(x.stream.body(r))
	x.push = push
	if err != nil {
		return none, nil, clientGone(err)
	}
	if len(push.Commands) == 0 {
		return none, nil, remit.Errorf(remit.BadRequest, "the push names no ref")
	}

	// Names that mislead a person, a file system or another tool.
	for _, c := range push.Commands {
		if err := refname.Check(c.Ref); err != nil {
			return none, nil, err
		}
	}

	// What scope alone denies is denied before a byte of the pack is read.
	req = x.g.request(caller, repo, "source.push", order{Service: receivePack, Repo: repo.Name, Commands: push.Commands})
	if x.g.Preview != nil {
		preview := req
		preview.Preview, preview.Order, preview.Refs = true, nil, roughly(push.Commands)
		d, err := x.g.Preview(ctx, preview)
		if err != nil {
			return none, nil, err
		}
		if d.Verdict == remit.Deny {
			x.denied = &d
			return none, nil, &remit.Error{Code: d.Code, Sentence: d.Sentence}
		}
	}

	// The pack, spooled and checked as it streams; then every delta resolved and every object hashed.
	spool, err := x.spool(ctx, body, push)
	if err != nil {
		return none, nil, err
	}
	defer spool.close()

	// What upstream has now, read in Remit's own name.
	view, err := x.g.mirrors.Observe(ctx, repo.Name, repo.remote())
	if err != nil {
		return none, nil, asError(err)
	}
	defer view.Close()
	in, err := input(push, view, repo)
	if err != nil {
		return none, nil, err
	}
	if err := spool.resolve(ctx, view); err != nil {
		return none, nil, asError(err)
	}
	in.Pack = spool.pack

	// The facts: operation, new commits, changed paths, what differs from the trusted ref, what must not be, and what
	// changes for dependencies, workflows and owners.
	facts, err := change.Facts(ctx, in)
	if err != nil {
		return none, nil, asError(err)
	}
	meant, err := x.g.explain(ctx, in, view, facts)
	if err != nil {
		return none, nil, asError(err)
	}
	if req.Refs, err = x.g.refChanges(ctx, repo, in, facts, meant); err != nil {
		return none, nil, asError(err)
	}
	req.Bytes = spool.size

	// What an approver sees, as a payload; the request carries its commitment.
	card, err := x.g.card(ctx, in, view, facts, meant)
	if err != nil {
		return none, nil, asError(err)
	}
	req.Card = card.Commitment()

	// The pack is kept before the decision that will name it: a hold is completed from it.
	o := order{Service: receivePack, Repo: repo.Name, Commands: push.Commands}
	if push.HasPack() {
		if o.Pack, err = x.g.Blobs.PutFile(ctx, spool.file.Name()); err != nil {
			return none, nil, remit.Errorf(remit.NoSpace, "the pack cannot be kept: %w", err)
		}
		x.kept = o.Pack
		if o.Pack != spool.digest {
			return none, nil, remit.Errorf(remit.Internal, "the pack that was kept is not the one that was judged")
		}
		o.Bytes = spool.size
	}
	req.Order = o.encode()
	return req, []remit.Payload{card}, nil
}

// request is a step on the repository.
func (g *Gateway) request(caller remit.Caller, repo Repo, action remit.Action, o order) remit.Request {
	return remit.Request{
		Gateway: "gateway/git", Caller: caller, Order: o.encode(),
		Steps: []remit.Step{{Action: action, Resource: repo.Resource()}},
	}
}

func (o order) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic("gateway/git: an order holds only what JSON can say: " + err.Error())
	}
	return b
}

// roughly is what the commands alone say about the refs. Whether an update is a fast-forward is not yet known.
func roughly(commands []pktline.Command) []remit.RefChange {
	refs := make([]remit.RefChange, len(commands))
	for i, c := range commands {
		refs[i] = remit.RefChange{Ref: c.Ref, Op: remit.RefUpdate, Old: c.Old, New: c.New}
		switch {
		case c.Delete():
			refs[i].Op = remit.RefDelete
		case c.Create():
			refs[i].Op = remit.RefCreate
		}
	}
	return refs
}

// input compares the commands with what was observed.
func input(push *pktline.Push, view *mirror.View, repo Repo) (change.Input, error) {
	in := change.Input{Base: view, Trusted: trusted(repo, view), Control: control(repo.Watched)}
	names := refname.NewSet()
	for name := range view.Refs() {
		names.Add(name)
	}
	for _, c := range push.Commands {
		cmd := change.Command{Ref: c.Ref}
		var err error
		if cmd.Old, err = parseOID(c.Old); err != nil {
			return in, err
		}
		if cmd.New, err = parseOID(c.New); err != nil {
			return in, err
		}
		if seen := view.Refs()[c.Ref]; seen != cmd.Old {
			return in, remit.Errorf(remit.Stale, "%s is not where the push takes it to be: upstream it %s; fetch, and push again", c.Ref, isAt(seen))
		}
		if c.Create() {
			if err := names.Fits(c.Ref); err != nil {
				return in, err
			}
			names.Add(c.Ref)
		}
		in.Commands = append(in.Commands, cmd)
	}
	return in, nil
}

func parseOID(s string) (object.OID, error) {
	if s == "" {
		return object.OID{}, nil
	}
	oid, err := object.ParseOID(s)
	return oid, asError(err)
}

func isAt(oid object.OID) string {
	if oid.IsZero() {
		return "does not exist"
	}
	return "is at " + oid.String()
}

func trusted(repo Repo, view *mirror.View) string {
	switch {
	case repo.DefaultBranch == "":
		return view.Head()
	case strings.HasPrefix(repo.DefaultBranch, "refs/"):
		return repo.DefaultBranch
	}
	return "refs/heads/" + repo.DefaultBranch
}

// spooled is a pack on disk.
type spooled struct {
	file   *os.File
	dir    string
	index  *pack.Index
	pack   *pack.Pack
	size   int64
	digest remit.Digest
}

// spool writes the pack to a file that nobody else can read, and checks its framing on the way. A push of deletions has
// none, and then nothing may follow the commands.
func (x *exchange) spool(ctx context.Context, body io.Reader, push *pktline.Push) (*spooled, error) {
	s := &spooled{dir: x.g.spool}
	if !push.HasPack() {
		if n, err := body.Read(make([]byte, 1)); n > 0 || err != nil && err != io.EOF {
			return nil, remit.Errorf(remit.BadPack, "a push that only deletes carries nothing behind its commands")
		}
		return s, nil
	}
	var err error
	if s.file, err = os.CreateTemp(x.g.spool, "pack-*"); err != nil {
		return nil, remit.Errorf(remit.NoSpace, "the pack cannot be spooled: %w", err)
	}
	s.index, err = pack.Ingest(ctx, body, s.file, pack.Limits{PackBytes: x.g.MaxPack})
	if err != nil {
		s.close()
		return nil, clientGone(asError(err))
	}
	s.size, s.digest = s.index.Size(), s.index.Digest()
	return s, nil
}

// resolve is the second pass; deltas against what upstream has are resolved from the view.
func (s *spooled) resolve(ctx context.Context, view *mirror.View) (err error) {
	if s.index == nil {
		return nil
	}
	s.pack, err = pack.Resolve(ctx, s.index, s.file, pack.Options{Dir: s.dir, Base: view.Object})
	return err
}

func (s *spooled) close() {
	if s.pack != nil {
		s.pack.Close()
	}
	if s.file == nil {
		return
	}
	s.file.Close()
	if err := os.Remove(s.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return // New empties the spool at the next start
	}
}

// clientGone names the commonest failure of reading a request.
func clientGone(err error) error {
	var known *remit.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return remit.Errorf(remit.BadRequest, "the push could not be read to its end: %w", err)
}

// asError says a refusal of the packages below in terms of the registry.
func asError(err error) error {
	var refused *object.Error
	if err == nil || !errors.As(err, &refused) {
		return err
	}
	code, ok := codes[refused.Code]
	if !ok {
		code = remit.BadObject
	}
	sentence := refused.Sentence
	if refused.Object != "" {
		sentence = refused.Object + ": " + sentence
	}
	return &remit.Error{Code: code, Sentence: sentence, Err: err}
}

// codes are the registry's names of what the packages below find; what is not listed is BAD_OBJECT.
var codes = map[string]remit.Code{
	object.CodeBadPack:       remit.BadPack,
	object.CodeObjectMissing: remit.UnseenObject,
	object.CodeTooLarge:      remit.TooLarge,
	object.CodeTooLargeJudge: remit.TooLargeToJudge,
	object.CodeUnseenObject:  remit.UnseenObject,
	change.CodeMoved:         remit.Stale,
	change.CodeBadTag:        remit.BadRef,
	change.CodeBadTarget:     remit.BadRef,
	// A submodule points into a repository that Remit has not looked into.
	change.CodeSubmodule: remit.UnseenObject,
}
