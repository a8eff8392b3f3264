package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
)

func newArtifact(a *app) *cobra.Command {
	return group("artifact", "What was built and published, by digest",
		`Shows what was published through Remit: from which commit, by which agent, at whose request, and where it runs. A digest
names an artifact; a tag does not, since it moves.`,
		`  remit artifact list
  remit artifact show images/app@sha256:…`,
		newArtifactPush(a), newArtifactList(a), newArtifactShow(a), newArtifactProvenance(a), newArtifactVerify(a), newArtifactKey(a))
}

func newArtifactList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list [NAME]",
		Short: "List what was published, newest first",
		Long:  "Lists the artifacts that were published through Remit, newest first, or those of one name, UPSTREAM/NAME.",
		Example: `  remit artifact list
  remit artifact list images/app -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			l, err := s.Artifacts(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.print(l.Artifacts, func() {
				var rows [][]string
				for _, v := range l.Artifacts {
					rows = append(rows, []string{visible(v.Resource.Name() + "@" + v.Digest), visible(v.Agent), visible(string(v.Task)), v.At.Local().Format("2006-01-02 15:04"), visible(strings.Join(v.Releases, " "))})
				}
				a.table([]string{"ARTIFACT", "AGENT", "TASK", "PUBLISHED", "DEPLOYED TO"}, rows)
			})
		},
	}
}

func newArtifactShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME@DIGEST",
		Short: "Tell where an artifact comes from",
		Long: `Tells what Remit knows of one artifact: the commit that it was built from, the agent and the task that published it, who is
behind them, and the environments that it was deployed to.`,
		Example: `  remit artifact show images/app@sha256:4f5e…
  remit artifact show images/app@sha256:4f5e… -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			art, err := parseArtifact(args[0])
			if err != nil {
				return err
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			v, err := s.Artifact(cmd.Context(), art)
			if err != nil {
				return err
			}
			return a.print(v, func() { a.printArtifact(v) })
		},
	}
}

func (a *app) printArtifact(v remit.ArtifactView) {
	a.printf("%s\n", a.paint(bold, visible(v.Resource.Name()+"@"+v.Digest)))
	a.field("published", fmt.Sprintf("entry %d, %s", v.Entry, v.At.Local().Format("2006-01-02 15:04:05")))
	a.field("by agent", visible(v.Agent)+" in task "+visible(string(v.Task)))
	who := visible(v.Requester)
	if v.RequestedBy != "" {
		who += ", through task " + visible(string(v.RequestedBy))
	}
	a.field("for", who)
	if j := v.Job; j != nil {
		a.field("built by", "a job of "+visible(j.Workflow)+" in repository "+visible(j.Repository)+" of "+visible(j.Issuer))
	}
	for _, in := range v.Inputs {
		a.field("rests on", visible(in.String()))
	}
	for _, r := range v.Sources {
		a.field("declared by", visible(string(r)))
	}
	if len(v.Sources) == 0 {
		a.field("declared by", "no repository that it rests on")
	}
	for _, e := range v.Releases {
		a.field("deployed to", visible(e))
	}
}

func newArtifactProvenance(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "provenance NAME@DIGEST",
		Short: "Print the signed provenance of an artifact",
		Long: `Prints the SLSA provenance of an artifact: an in-toto statement in a DSSE envelope, signed by the server. Tools that know
nothing of Remit verify it with the key of remit artifact key.`,
		Example: `  remit artifact provenance images/app@sha256:4f5e… > app.intoto.json`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			art, err := parseArtifact(args[0])
			if err != nil {
				return err
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			return a.printEnvelope(s.Provenance(cmd.Context(), art))
		},
	}
}

func newArtifactKey(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the public key that statements are signed with",
		Long:    "Prints the public key with which this server signs provenance, verdicts and releases, as PEM. Keep it where you verify: a key that comes with what it signs proves nothing.",
		Example: `  remit artifact key > acme-provenance.pub`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			l, err := s.Artifacts(cmd.Context(), "")
			if err != nil {
				return err
			}
			if l.Key == "" {
				return remit.Errorf(remit.NotFound, "this server signs no provenance")
			}
			return a.print(map[string]string{"key": l.Key}, func() { a.printf("%s", l.Key) })
		},
	}
}

func newArtifactVerify(a *app) *cobra.Command {
	var key, name string
	c := &cobra.Command{
		Use:   "verify --key FILE [--artifact NAME@DIGEST] FILE",
		Short: "Check a provenance file, without a server",
		Long: `Checks that a DSSE envelope was signed by a key and holds an in-toto statement, and, with --artifact, that it is about that
artifact. Nothing is asked of a server. The key is a public key in PEM, or the verifier key of a log.`,
		Example: `  remit artifact verify --key acme-provenance.pub --artifact images/app@sha256:4f5e… app.intoto.json`,
		Args:    one,
	}
	c.Flags().StringVar(&key, "key", "", "file of the public key, which you have from elsewhere than the provenance")
	c.Flags().StringVar(&name, "artifact", "", "what it must be about, NAME@DIGEST")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if key == "" {
			return usagef("say whose signature counts: --key FILE")
		}
		text, err := readBounded(key)
		if err != nil {
			return fmt.Errorf("reading the key: %w", err)
		}
		pub, err := attest.ParseKey(text)
		if err != nil {
			return finding{fmt.Errorf("%s: %w", key, err)}
		}
		envelope, err := readBounded(args[0])
		if err != nil {
			return fmt.Errorf("reading the provenance: %w", err)
		}
		s, err := attest.Verify(cmd.Context(), envelope, pub)
		if err != nil {
			return finding{fmt.Errorf("%s: %w", args[0], err)}
		}
		if name != "" {
			art, err := parseArtifact(name)
			if err != nil {
				return err
			}
			if !s.About(art) {
				return finding{remit.Errorf(remit.Conflict, "%s is signed by that key, but it is not about %s", args[0], art)}
			}
		}
		return a.print(s, func() { a.printStatement(s) })
	}
	return c
}

func (a *app) printStatement(s attest.Statement) {
	a.printf("%s  %s\n", a.paint(green, "signed by that key"), visible(s.PredicateType))
	for _, sub := range s.Subjects {
		for kind, d := range sub.Digest {
			a.field("about", visible(sub.URI+" "+kind+":"+d))
		}
	}
	b, err := json.MarshalIndent(s.Predicate, "", "  ")
	if err == nil {
		a.printf("%s\n", visibleText(string(b)))
	}
}

// parseArtifact reads UPSTREAM/NAME@sha256:…, with or without artifact: before it.
func parseArtifact(s string) (remit.Artifact, error) {
	in, err := remit.ParseInput("artifact:" + strings.TrimPrefix(s, "artifact:"))
	if err != nil {
		return remit.Artifact{}, usagef("%w", err)
	}
	return remit.Artifact{Resource: in.Resource, Digest: in.ID}, nil
}

// tokenKey is a key that tokens are signed with: those for registries, and those of the decision point. It is made at the
// first start.
func tokenKey(path string) (*ecdsa.PrivateKey, error) {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		if err := makeTokenKey(path); err != nil {
			return nil, fmt.Errorf("making the key that signs tokens: %w", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "the key that signs tokens: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.Forbidden, "%s can be read by others; say: chmod 600 %s", path, path)
	}
	text, err := readBounded(path)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "the key that signs tokens: %w", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if ec, ok := k.(*ecdsa.PrivateKey); ok {
				return ec, nil
			}
		}
	}
	return nil, remit.Errorf(remit.Internal, "%s is no ECDSA key (PKCS #8 in PEM)", path)
}

func makeTokenKey(path string) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
