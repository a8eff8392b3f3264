package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/sshsig"
)

// profile is where the server is and who calls. Its file is $XDG_CONFIG_HOME/remit/config.yaml.
type profile struct {
	Server string `yaml:"server" json:"server"` // https://HOST:PORT
	Org    string `yaml:"org" json:"org"`
	CA     string `yaml:"ca" json:"ca"`   // file, PEM
	Key    string `yaml:"key" json:"key"` // file: private key, or .pub of a key in an ssh-agent
	// Device is a terminal without a key: its person lets it in from their browser (remit login --device).
	Device bool `yaml:"device,omitempty" json:"device,omitempty"`
}

const maxProfileFile = 64 << 10 // bytes; of the configuration, a session, a CA file

// configFile is where remit login keeps the profile.
func (a *app) configFile() (string, error) {
	if dir := a.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "remit", "config.yaml"), nil
	}
	home := a.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", remit.Errorf(remit.NotFound, "HOME is not set, so there is no place for a configuration; set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(home, ".config", "remit", "config.yaml"), nil
}

// stored reads the profile's file; without one it is empty.
func (a *app) stored() (p profile, err error) {
	path, err := a.configFile()
	if err != nil {
		return p, nil // flags and variables may say everything
	}
	b, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return p, nil
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&p); err != nil {
		return p, remit.Errorf(remit.BadRequest, "%s is not a profile (server, org, ca, key): %s", path, firstLine(yaml.FormatError(err, false, false)))
	}
	return p, nil
}

// profile is what flags, then variables, then the file say, and complains about what none of them says.
func (a *app) profile() (profile, error) {
	p, err := a.stored()
	if err != nil {
		return p, err
	}
	var missing []string
	for _, f := range []struct {
		to         *string
		flag, name string
	}{{&p.Server, a.flags.Server, "server"}, {&p.Org, a.flags.Org, "org"}, {&p.CA, a.flags.CA, "ca"}, {&p.Key, a.flags.Key, "key"}} {
		if v := a.getenv("REMIT_" + strings.ToUpper(f.name)); v != "" {
			*f.to = v
		}
		if f.flag != "" {
			*f.to = f.flag
		}
		if *f.to == "" && !(f.name == "key" && p.Device) {
			missing = append(missing, "--"+f.name)
		}
	}
	p.Device = p.Device && p.Key == ""
	if len(missing) > 0 {
		return p, usagef("which server, and who are you: %s not given, not set as REMIT_… and not stored by remit login", strings.Join(missing, ", "))
	}
	p.Server, err = origin(p.Server)
	return p, err
}

// origin is a server's address in its one form, as sign-in challenges name it: https://host:port, without :443.
func origin(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", usagef("the server's address is https://HOST:PORT, not %q", address)
	}
	return "https://" + strings.TrimSuffix(strings.ToLower(u.Host), ":443"), nil
}

func readBounded(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxProfileFile {
		return nil, remit.Errorf(remit.BadRequest, "%s is not a file of at most %d bytes", path, maxProfileFile)
	}
	return os.ReadFile(path)
}

// signed is a person's connection to a server.
type signed struct {
	*client.Client
	profile profile
	ca      []byte // PEM
	session remit.Session
	cached  bool
}

// connect gives a client that is signed in, with the session of an earlier command where there is a good one.
func (a *app) connect(ctx context.Context) (*signed, error) {
	p, err := a.profile()
	if err != nil {
		return nil, err
	}
	s, err := a.dial(p)
	if err != nil {
		return nil, err
	}
	var pub ssh.PublicKey
	if !p.Device {
		if pub, err = publicKey(p.Key); err != nil {
			return nil, err
		}
	}
	cache := a.sessionFile(p, s.ca, pub)
	if old, ok := a.cachedSession(cache); ok {
		c := s.WithToken(old.Token)
		switch _, err := c.WhoAmI(ctx); {
		case err == nil:
			s.Client, s.session, s.cached = c, old, true
			return a.renewing(s, cache, pub), nil
		case !isCode(err, remit.Unauthenticated):
			return nil, err
		}
	}
	if p.Device {
		return nil, remit.Errorf(remit.Unauthenticated, "this terminal is not let in any more; say: remit login --device")
	}
	if err := a.signIn(ctx, s, pub); err != nil {
		return nil, err
	}
	a.keepSession(cache, s.session)
	return a.renewing(s, cache, pub), nil
}

// connectOrg connects, for what is signed: a signature names the log that it is for.
func (a *app) connectOrg(ctx context.Context) (*signed, remit.OrgInfo, error) {
	s, err := a.connect(ctx)
	if err != nil {
		return nil, remit.OrgInfo{}, err
	}
	org, err := s.Org(ctx)
	return s, org, err
}

// renewing has a session that ends within a command, or whose proof is too old for what it does, begun anew. A terminal
// without a key keeps what it has: its person lets it in again.
func (a *app) renewing(s *signed, cache string, pub ssh.PublicKey) *signed {
	anew := &signed{Client: s.Client.WithToken(""), profile: s.profile}
	s.Client = s.Client.Renewing(func(ctx context.Context) (string, error) {
		if pub == nil {
			return "", remit.Errorf(remit.Unauthenticated, "your session is over, or older than what this asks for, and this terminal has no key to prove you with; say: remit login --device")
		}
		if err := a.signIn(ctx, anew, pub); err != nil {
			return "", err
		}
		a.keepSession(cache, anew.session)
		token := anew.session.Token
		anew.Client = anew.Client.WithToken("")
		return token, nil
	})
	return s
}

// dial makes a client that nobody is signed in with.
func (a *app) dial(p profile) (*signed, error) {
	ca, err := readBounded(p.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the server's CA: %w", err)
	}
	c, err := client.New(p.Server, remit.Org(p.Org), ca)
	if err != nil {
		return nil, err
	}
	return &signed{Client: c, profile: p, ca: ca}, nil
}

// signIn signs the server's challenge, if it is one for this server and organisation.
func (a *app) signIn(ctx context.Context, s *signed, pub ssh.PublicKey) error {
	c, session, err := s.Client.SignIn(ctx, pub.Marshal(), func(text []byte) ([]byte, error) {
		if err := checkChallenge(text, s.profile); err != nil {
			return nil, err
		}
		return a.sign(ctx, s.profile.Key, identity.SignInNamespace, text)
	})
	if err != nil {
		return err
	}
	s.Client, s.session = c, session
	return nil
}

// checkChallenge refuses to sign what another server would take as a sign-in there.
func checkChallenge(text []byte, p profile) error {
	ch, err := identity.ParseChallenge(text)
	if err != nil {
		return err
	}
	meant, err := origin(p.Server)
	if err != nil {
		return err
	}
	if got, err := origin(ch.Origin); err != nil || got != meant {
		return remit.Errorf(remit.Forbidden, "the server at %s asks for a signature that signs you in at %s; nothing was signed. If both are the same server, give its own name for itself with --server", meant, visible(ch.Origin))
	}
	if ch.Org != remit.Org(p.Org) {
		return remit.Errorf(remit.Forbidden, "the server asks for a signature that signs you in to organisation %s, not %s; nothing was signed", visible(string(ch.Org)), p.Org)
	}
	return nil
}

// sign makes a person's signature; where a passphrase or a touch is needed, the person is asked.
func (a *app) sign(ctx context.Context, key, namespace string, message []byte) ([]byte, error) {
	if key == "" {
		return nil, remit.Errorf(remit.Unauthenticated, "this needs a signature, and this terminal was let in without a key: give one with --key, or do it in your browser")
	}
	return sshsig.SignFile(ctx, key, namespace, message, a.person())
}

func (a *app) person() sshsig.Person {
	p := sshsig.Person{Screen: a.stderr, Agent: a.getenv("SSH_AUTH_SOCK")}
	if a.terminal() {
		p.Passphrase = a.passphrase
	}
	return p
}

func (a *app) passphrase(path string) ([]byte, error) {
	if pass, ok := a.passphrases[path]; ok {
		return pass, nil
	}
	fd := int(file(a.stdin).Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	// An interrupt leaves the terminal as it was.
	defer context.AfterFunc(a.ctx, func() { _ = term.Restore(fd, state) })()
	fmt.Fprintf(a.stderr, "passphrase of %s: ", visible(path))
	type answer struct {
		pass []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		pass, err := term.ReadPassword(fd)
		got <- answer{pass, err}
	}()
	select {
	case r := <-got:
		fmt.Fprintln(a.stderr)
		if r.err != nil {
			return nil, r.err
		}
		if a.passphrases == nil {
			a.passphrases = map[string][]byte{}
		}
		a.passphrases[path] = r.pass
		return r.pass, nil
	case <-a.ctx.Done():
		return nil, a.ctx.Err()
	}
}

// publicKey is the public half of the key at path: the file itself, what stands in the private key, or the .pub beside
// it.
func publicKey(path string) (ssh.PublicKey, error) {
	raw, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading your key: %w", err)
	}
	if pub, err := sshsig.ParseAuthorizedKey(string(raw)); err == nil {
		return pub, nil
	}
	var missing *ssh.PassphraseMissingError
	signer, err := ssh.ParsePrivateKey(raw)
	switch {
	case err == nil:
		return sshsig.ParseKey(signer.PublicKey().Marshal())
	case errors.As(err, &missing) && missing.PublicKey != nil:
		return sshsig.ParseKey(missing.PublicKey.Marshal())
	}
	beside, pubErr := readBounded(path + ".pub")
	if pubErr != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s holds no SSH key that can be read, and there is no %s.pub beside it; give a private key, or the .pub of a key in your ssh-agent", path, path)
	}
	pub, pubErr := sshsig.ParseAuthorizedKey(string(beside))
	if pubErr != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s.pub: %w", path, pubErr)
	}
	return pub, nil
}

// sessionDir is where sessions are cached; empty: nowhere.
func (a *app) sessionDir() string {
	if dir := a.getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			return filepath.Join(dir, "remit")
		}
	}
	if dir := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "remit")
	}
	if home := a.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "remit")
	}
	return ""
}

// sessionFile names the cache of one person at one server: another server, CA, organisation or key is another file.
func (a *app) sessionFile(p profile, ca []byte, pub ssh.PublicKey) string {
	dir := a.sessionDir()
	if dir == "" {
		return ""
	}
	caHash, who := remit.Hash(ca), []byte("device")
	if pub != nil {
		who = pub.Marshal()
	}
	h := remit.Hash([]byte("remit session v1\n"+p.Server+"\n"+p.Org+"\n"), caHash[:], who)
	return filepath.Join(dir, "session-"+h.String()[:32]+".json")
}

// cachedSession reads a session that is good for a while yet, from a file that nobody else can read.
func (a *app) cachedSession(path string) (s remit.Session, ok bool) {
	if path == "" {
		return s, false
	}
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 || fi.Size() > maxProfileFile {
		return s, false
	}
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &s) != nil || s.Token == "" {
		return s, false
	}
	return s, a.now().Add(5 * time.Second).Before(s.NotAfter)
}

// keepSession caches a session. Without a cache the next command signs in again, which is no error.
func (a *app) keepSession(path string, s remit.Session) {
	if path == "" {
		return
	}
	b, err := json.Marshal(s)
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	if fi, err := os.Lstat(filepath.Dir(path)); err != nil || !fi.IsDir() || fi.Mode().Perm()&0o077 != 0 {
		return
	}
	_ = replaceFile(path, b)
}

// replaceFile writes a file of mode 0600, whole or not at all.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".remit-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func newWhoAmI(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Print who the server takes you for",
		Long: `Signs in, if no session is good any more, and prints who you are and how you signed in. Administrators may apply
declarations and policy; everyone else requests tasks, votes where they are asked to, and reads.`,
		Example: `  remit whoami
  remit whoami -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			w, err := s.WhoAmI(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(withoutToken(w), func() {
				role := ""
				if w.Admin {
					role = ", administrator"
				}
				how := ""
				if w.Method != "" {
					how = strings.TrimSuffix(", by "+visible(w.Method)+" "+visible(w.Provider), " ")
				}
				a.printf("%s (%s%s) of %s at %s%s\n", visible(w.Name), w.Person, role, visible(s.profile.Org), s.profile.Server, how)
			})
		},
	}
}

// withoutToken is a session as it may be shown: the token is a secret.
func withoutToken(s remit.Session) remit.Session {
	s.Token = ""
	return s
}
