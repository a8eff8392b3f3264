package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
	"github.com/remit-dev/remit/policy"
	"github.com/remit-dev/remit/sshsig"
)

// Founding is what genesis is made of.
type Founding struct {
	Data    string
	Org     remit.Org
	Profile remit.Profile
	Admin   string   // name
	Keys    []string // authorized_keys lines
}

var (
	orgName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	personName = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)
)

// found makes a data directory: keys, the built-in CA, and a log that begins with genesis. It is the only way in which
// an organisation gets its first administrator; the network never makes one.
func found(ctx context.Context, f Founding) (err error) {
	if !orgName.MatchString(string(f.Org)) {
		return remit.Errorf(remit.BadRequest, "--org %q: an organisation is lower-case letters, digits, '-' and '.'", f.Org)
	}
	if !personName.MatchString(f.Admin) {
		return remit.Errorf(remit.BadRequest, "--admin %q: a name is letters, digits and . _ @ + -", f.Admin)
	}
	admin := remit.PersonDeclared{}
	for _, line := range f.Keys {
		pub, err := sshsig.ParseAuthorizedKey(line)
		if err != nil {
			return remit.Errorf(remit.BadRequest, "--key: %w", err)
		}
		admin.Keys = append(admin.Keys, remit.Key{Public: pub.Marshal()})
	}
	l := layout(f.Data)
	if entries, err := os.ReadDir(f.Data); err == nil && len(entries) > 0 {
		return remit.Errorf(remit.Conflict, "%s is not empty; a log is begun in a directory of its own", f.Data)
	}
	if err := os.MkdirAll(f.Data, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if err := os.Chmod(f.Data, 0o700); err != nil {
		return fmt.Errorf("closing the data directory to others: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(l.key()), 0o700); err != nil {
		return fmt.Errorf("making the directory of keys: %w", err)
	}
	signer, err := ledger.GenerateKey(l.key())
	if err != nil {
		return err
	}
	ca, err := identity.CreateCA(l.ca(), f.Org, time.Now)
	if err != nil {
		return err
	}
	// What clients trust, apart from the file that has the key in it.
	if err := os.WriteFile(l.roots(), ca.PEM(), 0o644); err != nil {
		return fmt.Errorf("writing the CA's certificate: %w", err)
	}
	var tag [4]byte
	_, _ = rand.Read(tag[:]) // never fails, crypto/rand
	origin := string(f.Org) + "/" + hex.EncodeToString(tag[:])
	var own [32]byte
	_, _ = rand.Read(own[:])
	if err := os.WriteFile(l.serverKey(), own[:], 0o600); err != nil {
		return fmt.Errorf("writing the server's key: %w", err)
	}
	verifier, err := ledger.VerifierKey(origin, signer.Public())
	if err != nil {
		return err
	}
	store, err := sqlite.Open(l.db(), sqlite.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	blobs, err := ledger.OpenBlobDir(l.blobs(), ledger.BlobOptions{})
	if err != nil {
		return err
	}
	policies := &bundles{blobs: blobs}
	bundle, err := policies.Install(ctx, policy.Builtin())
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, engine.Config{Store: store, Blobs: blobs, Policies: policies, Clock: systemClock{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer e.Close()
	text, err := e.NewPayload(follow.NameBody(f.Admin))
	if err != nil {
		return err
	}
	admin.Name, admin.ID = text.Commitment(), follow.PersonID(text)
	if _, err := e.Do(ctx, &authority.Init{Org: f.Org, Origin: origin, Verifier: verifier, Profile: f.Profile, OPA: policy.Version(),
		Admins: []remit.PersonDeclared{admin}, Policy: bundle}, text); err != nil {
		return err
	}
	if err := writeOrg(l.org(), f.Org, origin); err != nil {
		return err
	}
	first := &checkpoints{store: store, signer: signer, second: ledger.SecondHead{Path: l.at("second-head")}, origin: origin}
	_, err = first.sign(ctx)
	return err
}

// orgFile says whose data directory this is, before the log is read.
type orgFile struct {
	Org    remit.Org `json:"org"`
	Origin string    `json:"origin"`
}

func writeOrg(path string, org remit.Org, origin string) error {
	b, err := json.Marshal(orgFile{org, origin})
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

func readOrg(l layout) (o orgFile, err error) {
	b, err := os.ReadFile(l.org())
	if errors.Is(err, os.ErrNotExist) {
		return o, remit.Errorf(remit.NotFound, "%s is no data directory of Remit; make one with: remit init --data %s --org ORG --admin NAME --key FILE.pub", string(l), string(l))
	}
	if err != nil {
		return o, remit.Errorf(remit.Internal, "the data directory cannot be read: %w", err)
	}
	if err := json.Unmarshal(b, &o); err != nil || o.Org == "" || o.Origin == "" {
		return o, remit.Errorf(remit.Internal, "%s is damaged; it names the organisation and the origin of its log", l.org())
	}
	return o, nil
}

func newInit(a *app) *cobra.Command {
	f := Founding{}
	var keys []string
	var profile string
	c := &cobra.Command{
		Use:   "init --data DIR --org ORG --admin NAME --key FILE.pub",
		Short: "Make a data directory: keys, CA, and a log with its first administrator",
		Long: `Makes everything that a server needs, in a directory of its own: the key that signs the log, the built-in
certificate authority, the built-in policy, and a log whose first entry names the organisation and its first
administrator. Nothing over the network ever makes an administrator.

The profile is fixed for good: team (a second person approves) or solo (one person, with a hardware-backed key and
a delay, never for production).`,
		Example: `  remit init --data /var/lib/remit --org acme --admin ana --key ~/.ssh/id_ed25519.pub
  remit init --data ./remit --org me --profile solo --admin me --key ~/.ssh/id_ed25519_sk.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if profile == string(remit.Demo) || !slices.Contains([]string{"team", "solo"}, profile) {
				return remit.Errorf(remit.BadRequest, "--profile is team or solo; demo is what `remit quickstart` makes")
			}
			f.Profile = remit.Profile(profile)
			for _, k := range keys {
				b, err := os.ReadFile(k)
				if err != nil {
					return remit.Errorf(remit.BadRequest, "--key: %w", err)
				}
				f.Keys = append(f.Keys, string(b))
			}
			if err := found(cmd.Context(), f); err != nil {
				return err
			}
			ca := layout(f.Data).roots()
			return a.print(map[string]any{"data": f.Data, "org": f.Org, "admin": f.Admin, "ca": ca}, func() {
				fmt.Fprintf(a.stdout, "organisation %s begins, with %s as its first administrator\n\nclients trust %s\n\nnext:\n  remit server --data %s\n", f.Org, f.Admin, ca, f.Data)
			})
		},
	}
	c.Flags().StringVar(&f.Data, "data", "", "directory to make")
	c.Flags().StringVar((*string)(&f.Org), "org", "", "organisation, also the SPIFFE trust domain")
	c.Flags().StringVar(&f.Admin, "admin", "", "name of the first administrator")
	c.Flags().StringArrayVar(&keys, "key", nil, "their SSH public key (repeatable)")
	c.Flags().StringVar(&profile, "profile", "team", "team or solo")
	for _, name := range []string{"data", "org", "admin", "key"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}
