//go:build unix

package real

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Forge is a running Gitea.
type Forge struct {
	URL                  string // http://127.0.0.1:PORT
	Admin                string // name of an administrator
	Password             string // of the administrator
	authorization        string
	program, config, dir string
}

// Authorization is the administrator's header.
func (f *Forge) Authorization() string { return f.authorization }

// Do makes one API request as the administrator; path starts with /api/v1. Any status but 2xx is an error.
func (f *Forge) Do(ctx context.Context, method, path string, in, out any) (int, error) {
	return call(ctx, http.DefaultClient, method, f.URL+path, f.authorization, in, out)
}

// config is Gitea's app.ini: SQLite, loopback only, nothing that calls out.
const giteaConfig = `APP_NAME = forge
RUN_MODE = prod
WORK_PATH = %[1]s
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]d
ROOT_URL = http://127.0.0.1:%[2]d/
STATIC_ROOT_PATH = %[3]s
APP_DATA_PATH = %[1]s/data
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
SQLITE_JOURNAL_MODE = WAL
LOG_SQL = false
[repository]
ROOT = %[1]s/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = %[4]s
INTERNAL_TOKEN = %[5]s
PASSWORD_HASH_ALGO = pbkdf2_v1
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[migrations]
ALLOW_LOCALNETWORKS = false
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
[log]
MODE = console
LEVEL = Warn
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[mailer]
ENABLED = false
`

// Gitea starts a forge with one administrator and nothing in it.
func Gitea(t testing.TB) *Forge {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		missing(t, "git is missing; install it (Debian: git)")
	}
	f := &Forge{Admin: "keeper", Password: secret(), dir: directory(t)}
	f.program = program(t, "gitea")
	source := filepath.Dir(f.program)
	if os.Getuid() == 0 {
		// Gitea refuses root, and nobody may not look into root's directories.
		source = filepath.Join(t.TempDir(), "gitea")
		for _, name := range []string{"gitea", "templates", "options", "public"} {
			if err := link(filepath.Join(filepath.Dir(f.program), name), filepath.Join(source, name)); err != nil {
				t.Fatal(err)
			}
		}
		f.program = filepath.Join(source, "gitea")
	}
	port := ports(t, 1)[0]
	f.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	f.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(f.Admin+":"+f.Password))
	f.config = write(t, f.dir, "app.ini", fmt.Sprintf(giteaConfig, f.dir, port, source, secret(), secret()))
	f.command(t, "migrate")
	f.command(t, "admin", "user", "create", "--admin", "--username", f.Admin, "--password", f.Password,
		"--email", f.Admin+"@example.invalid", "--must-change-password=false")
	p := start(t, true, f.dir, []string{"GITEA_WORK_DIR=" + f.dir}, f.program, "--config", f.config, "web")
	p.ready(t, func(ctx context.Context) error {
		_, err := f.Do(ctx, http.MethodGet, "/api/v1/user", nil, nil)
		return err
	})
	return f
}

// command runs one of Gitea's own commands beside the server.
func (f *Forge) command(t testing.TB, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.program, append([]string{"--config", f.config}, args...)...)
	cmd.Dir, cmd.Env = f.dir, append(plainEnv(f.dir), "GITEA_WORK_DIR="+f.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gitea %s: %v\n%s", args[0], err, strings.ReplaceAll(string(out), f.Password, "…"))
	}
}

// link makes to the same file or tree as from, without copying where the file system is the same.
func link(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(at, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if os.Link(path, at) == nil {
			return nil
		}
		return copyFile(path, at)
	})
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
