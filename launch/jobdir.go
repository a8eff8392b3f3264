package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
)

// The steps of a workflow are processes of their own, and none of them outlives the others for sure. So what `remit ci
// login` gets lies in a directory of mode 0700 until the job ends: the key, the access token that is bound to it, and
// what git is told. REMIT_SOCKET names the directory where it names a socket under `remit run`, and is asked in the same
// way: CredentialHelper, TokenThrough and WaitThrough work in both.

const (
	jobFile  = "job.json"
	jobDirs  = "remit-job-"
	jobSpare = 30 * time.Second // an instance with less left is replaced, where the job can get another token
)

// keptJob is job.json, mode 0600.
type keptJob struct {
	Server   string    `json:"server"`
	Org      remit.Org `json:"org"`
	CA       []byte    `json:"ca"`
	Key      []byte    `json:"key"`   // PKCS #8
	Token    string    `json:"token"` // access token of Instance
	Instance remit.ID  `json:"instance"`
	Task     remit.ID  `json:"task"`
	NotAfter time.Time `json:"not_after"`
	Audience string    `json:"audience"`
	Variable string    `json:"variable,omitempty"` // that has the job's token, where the forge does not give it on request
}

// JobLogin says where a job logs in and how it gets its token.
type JobLogin struct {
	Server   string // https://HOST:PORT
	Org      remit.Org
	CA       []byte
	Audience string // that its tokens are asked for; Server by default
	Variable string // see identity.JobSubject
	Dir      string // in which the job's directory is made: one that is removed with the job
	Launcher Launcher
}

// KeepJob logs a job in, keeps the login in a new directory, and gives the environment of the steps to come.
func KeepJob(ctx context.Context, l JobLogin) (inst client.Instance, until time.Time, env []string, err error) {
	dir, err := os.MkdirTemp(l.Dir, jobDirs) // mode 0700
	if err != nil {
		return inst, until, nil, fmt.Errorf("making a directory for the job: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	key, err := identity.NewProofKey()
	if err != nil {
		return inst, until, nil, err
	}
	k := keptJob{Server: l.Server, Org: l.Org, CA: l.CA, Audience: l.Audience, Variable: l.Variable}
	if k.Key, err = key.Encode(); err != nil {
		return inst, until, nil, err
	}
	s, err := k.session()
	if err != nil {
		return inst, until, nil, err
	}
	l.Launcher.Session = s // not asked: only git's configuration and the environment are made with it
	launcher, err := l.Launcher.withDefaults()
	if err != nil {
		return inst, until, nil, err
	}
	if inst, err = k.start(ctx, s, dir); err != nil {
		return inst, until, nil, err
	}
	// The room's socket is the directory itself.
	r := newRoom(dir)
	r.socket = dir
	if err := launcher.writeGitConfig(ctx, r, inst, os.Environ()); err != nil {
		return inst, until, nil, err
	}
	var node []string
	if v, ok := os.LookupEnv("NODE_EXTRA_CA_CERTS"); ok {
		node = append(node, "NODE_EXTRA_CA_CERTS="+v)
	}
	env, err = launcher.exports(r, inst, remit.ConfineHost, "", node)
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "SPIFFE_ENDPOINT_SOCKET=") })
	return inst, k.NotAfter, env, err
}

// session is the server for a kept job.
func (k *keptJob) session() (*client.JobSession, error) {
	c, err := client.New(k.Server, k.Org, k.CA)
	if err != nil {
		return nil, err
	}
	key, err := identity.ParseProofKey(k.Key)
	if err != nil {
		return nil, err
	}
	return c.Job(key, func(ctx context.Context) (string, error) {
		return identity.JobSubject(ctx, os.LookupEnv, k.Audience, k.Variable)
	}), nil
}

// start makes a new instance, and writes it down whole or not at all.
func (k *keptJob) start(ctx context.Context, s *client.JobSession, dir string) (client.Instance, error) {
	inst, err := s.StartInstance(ctx, client.InstanceStart{Confinement: remit.ConfineHost})
	if err != nil {
		return inst, err
	}
	k.Token, k.Instance, k.Task, k.NotAfter = string(inst.Secret), inst.ID, inst.Task, s.NotAfter
	b, err := json.Marshal(k)
	if err != nil {
		return inst, err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return inst, fmt.Errorf("writing the job's login: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, jobFile))
	}
	if err != nil {
		return inst, fmt.Errorf("writing the job's login: %w", err)
	}
	return inst, nil
}

// readJob reads a login that nobody else could read or have written.
func readJob(dir string) (k keptJob, err error) {
	for _, path := range []string{dir, filepath.Join(dir, jobFile)} {
		fi, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return k, remit.Errorf(remit.NotLive, "there is no login of a CI job at %s; `remit ci login` makes one", dir)
		}
		if err != nil {
			return k, err
		}
		if fi.Mode().Perm()&0o077 != 0 || !identity.OwnedByUs(fi) || fi.Mode()&fs.ModeSymlink != 0 {
			return k, remit.Errorf(remit.Forbidden, "%s is open to others, or belongs to another user; log in again", path)
		}
	}
	f, err := os.Open(filepath.Join(dir, jobFile))
	if err != nil {
		return k, err
	}
	defer f.Close()
	return k, remit.DecodeStrict(f, 1<<20, &k)
}

// jobAt opens the login in a directory, with a new instance where the old one is at its end.
func jobAt(ctx context.Context, dir string) (k keptJob, s *client.JobSession, err error) {
	if k, err = readJob(dir); err != nil {
		return k, nil, err
	}
	if s, err = k.session(); err != nil || time.Now().Add(jobSpare).Before(k.NotAfter) {
		return k, s, err
	}
	_ = s.End(ctx, k.Instance, client.Secret(k.Token)) // it may have ended; a task has one job at a time
	old := k.Token
	if _, err = k.start(ctx, s, dir); err != nil {
		// Another step may have been faster.
		if again, rerr := readJob(dir); rerr == nil && again.Token != old {
			return again, s, nil
		}
		return k, nil, err
	}
	return k, s, nil
}

// isJob tells whether REMIT_SOCKET names the directory of a job.
func isJob(socket string) bool {
	fi, err := os.Stat(socket)
	return err == nil && fi.IsDir()
}

// throughJob answers what an instance's socket would.
func throughJob(ctx context.Context, dir, path string, out any) error {
	k, s, err := jobAt(ctx, dir)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodGet, "http://instance"+path, nil)
	if err != nil {
		return err
	}
	switch v := out.(type) {
	case *remit.Token:
		v.Token, v.NotAfter, err = s.Token(ctx, k.Instance, client.Secret(k.Token), r.URL.Query().Get("gateway"))
	case *remit.AccessView:
		*v, err = s.WaitAccess(ctx, remit.ID(r.URL.Query().Get("access")), k.Instance, []byte(k.Token))
	default:
		err = remit.Errorf(remit.Internal, "a CI job cannot be asked for %s", r.URL.Path)
	}
	return err
}

// jobCredential is git's credential helper for a job that logged in.
func jobCredential(ctx context.Context, dir string, ask credentialAsk, out io.Writer) error {
	k, err := readJob(dir)
	if err != nil {
		return err
	}
	gateway := k.Server + "/v1/orgs/" + string(k.Org) + "/git"
	t, err := newTokens(&Launcher{}, client.Instance{Gateway: gateway})
	if err != nil || !t.ours(ask) {
		return err
	}
	var token remit.Token
	if err := throughJob(ctx, dir, "/token?gateway=git", &token); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "username=%s\npassword=%s\npassword_expiry_utc=%d\n", userName, token.Token, token.NotAfter.Unix())
	return err
}

// EndJob ends a login: its task's too, when the work is done. The directory goes in any case.
func EndJob(ctx context.Context, dir string, complete bool) error {
	k, err := readJob(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := k.session()
	if err != nil {
		return err
	}
	if complete {
		if err := s.Complete(ctx, k.Task, k.Instance, client.Secret(k.Token)); err != nil {
			return err
		}
	}
	return s.End(ctx, k.Instance, client.Secret(k.Token))
}
