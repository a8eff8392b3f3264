package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/sshsig"
)

func newLogVotes(a *app) *cobra.Command {
	var file, trust, dir string
	c := &cobra.Command{
		Use:   "votes --file FILE --dir DIR",
		Short: "Take the signed votes out of an exported log, for other programs to verify",
		Long: `Writes every vote of an exported log as files, as it was signed: for entry N, vote-N.txt is the statement and vote-N.sig the
SSH signature of it; allowed_signers names the keys, each by the id of its person. Of a passkey's vote there are also
vote-N.pem, the public key, vote-N.der, the signature, vote-N.signed, what it is of (authenticatorData and the SHA-256 of
clientDataJSON), and vote-N.client.json, which holds the challenge. The bundle is checked on the way: --trust is as with verify.

Whose key it is, the log says, and not these files: compare allowed_signers with what you know.`,
		Example: `  remit log votes --file log.bundle --trust log.trust --dir votes
  ssh-keygen -Y verify -f votes/allowed_signers -I p-0123456789ab -n vote@remit -s votes/vote-41.sig < votes/vote-41.txt
  openssl dgst -sha256 -verify votes/vote-42.pem -signature votes/vote-42.der votes/vote-42.signed`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := os.Open(file)
			if err != nil {
				return fmt.Errorf("opening the bundle: %w", err)
			}
			defer f.Close()
			t, err := readTrust(trust)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("making the directory: %w", err)
			}
			votes, err := takeVotes(cmd.Context(), f, t, dir)
			if err != nil {
				return err
			}
			return a.print(votes, func() {
				for _, v := range votes {
					a.printf("%s  %s %s by %s, %s\n", v.Statement, v.Verdict, v.Request, v.Person, v.Assurance)
				}
			})
		},
	}
	c.Flags().StringVar(&file, "file", "", "the exported log")
	c.Flags().StringVar(&dir, "dir", "", "directory to write to; made where it is not there")
	c.Flags().StringVar(&trust, "trust", "", "trust file: the verifier key and, if you have one, the newest checkpoint that you saw")
	required(c, "file", "dir")
	return c
}

func readTrust(file string) (ledger.Trust, error) {
	if file == "" {
		return ledger.Trust{}, nil
	}
	b, err := readBounded(file)
	if err != nil {
		return ledger.Trust{}, fmt.Errorf("reading the trust file: %w", err)
	}
	return ledger.ParseTrust(b)
}

// takenVote is a vote that was written as files.
type takenVote struct {
	Entry     remit.EntryIndex `json:"entry"`
	Request   remit.ID         `json:"request"`
	Person    remit.ID         `json:"person"`
	Verdict   string           `json:"verdict"`
	Assurance remit.Assurance  `json:"assurance"`
	Statement string           `json:"statement"` // its file
}

// takeVotes writes the votes of a bundle into a directory. A vote whose words were erased is passed over: nobody can verify
// it any more.
func takeVotes(ctx context.Context, bundle io.Reader, trust ledger.Trust, dir string) (out []takenVote, err error) {
	var signers bytes.Buffer
	listed := map[string]bool{}
	_, err = ledger.VerifyBundle(ctx, bundle, trust, func(b *ledger.Bundle, i remit.EntryIndex, l ledger.Leaf) error {
		e, ok := l.Event.(*remit.VoteCast)
		if !ok {
			return nil
		}
		p, err := b.Payload(l.Command)
		if err != nil {
			return nil // erased: VerifyBundle has found that an entry says so
		}
		cmd, err := authority.DecodeCommand(p.Body)
		if err != nil {
			return err
		}
		c, ok := cmd.(*authority.CastVote)
		if !ok || remit.Hash(c.Statement) != e.Statement {
			return remit.Errorf(remit.BadRequest, "entry %d is a vote, and its payload is another", i)
		}
		v := takenVote{Entry: i, Request: e.Access, Person: e.Person, Verdict: "deny", Assurance: e.Assurance, Statement: fmt.Sprintf("vote-%d.txt", i)}
		if e.Approve {
			v.Verdict = "approve"
		}
		key, err := writeVote(filepath.Join(dir, fmt.Sprintf("vote-%d", i)), c)
		if err != nil {
			return err
		}
		if line := fmt.Sprintf("%s namespaces=%q %s", e.Person, remit.VoteNamespace, ssh.MarshalAuthorizedKey(key)); !listed[line] {
			listed[line] = true
			signers.WriteString(line)
		}
		out = append(out, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, writeOwn(filepath.Join(dir, "allowed_signers"), signers.Bytes())
}

// writeVote writes one vote, each file after base.
func writeVote(base string, c *authority.CastVote) (ssh.PublicKey, error) {
	key, err := sshsig.Signer(c.Signature)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{".txt": c.Statement, ".sig": c.Signature}
	plain, passkey, err := sshsig.AsPlain(c.Signature)
	if err != nil {
		return nil, err
	}
	if crypto, ok := key.(ssh.CryptoPublicKey); ok && passkey {
		der, err := x509.MarshalPKIXPublicKey(crypto.CryptoPublicKey())
		if err != nil {
			return nil, fmt.Errorf("writing a passkey: %w", err)
		}
		files[".pem"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		files[".der"], files[".signed"], files[".client.json"] = plain.Signature, plain.Signed, plain.ClientData
	}
	for end, content := range files {
		if err := writeOwn(base+end, content); err != nil {
			return nil, err
		}
	}
	return key, nil
}

func writeOwn(file string, content []byte) error {
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return fmt.Errorf("writing a vote: %w", err)
	}
	return nil
}
