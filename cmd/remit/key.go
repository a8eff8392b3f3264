package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

func newKey(a *app) *cobra.Command {
	return group("key", "Your keys: list, add, confirm, remove",
		`Your keys prove who you are and sign your votes. Some are part of your declaration; further ones you enrol yourself, and
applying declarations leaves those alone. A new one counts for votes only once an older one has confirmed it.

Passkeys are made in the browser, on the page "Your keys": remit login --browser opens it for who has an SSH key only.`,
		`  remit key list
  remit key add ~/.ssh/id_ed25519_sk.pub --label "my token"
  remit key confirm ~/.ssh/id_new.pub`, newKeyList(a), newKeyAdd(a), newKeyConfirm(a), newKeyRemove(a))
}

func newKeyConfirm(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm NEW.pub",
		Short: "Prove a new key of yours with an old one",
		Long: `A key that was added to your declaration counts at once when a key that you had before signs for it: this command makes that
signature with --key (the old key) for NEW.pub. Without it, a new key counts only 24 hours after a second administrator
has approved it.`,
		Example: `  remit key confirm ~/.ssh/id_new.pub
  remit key confirm ~/.ssh/id_ed25519_sk.pub --key ~/.ssh/id_old`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			pub, err := publicKey(args[0])
			if err != nil {
				return err
			}
			s, org, err := a.connectOrg(ctx)
			if err != nil {
				return err
			}
			r := remit.ConfirmKeyRequest{Key: remit.Hash(pub.Marshal())}
			text := authority.ConfirmStatement(org.Origin, s.session.Person, r.Key)
			if r.Signature, err = a.sign(ctx, s.profile.Key, authority.ConfirmNamespace, text); err != nil {
				return err
			}
			if err := s.ConfirmKey(ctx, r); err != nil {
				return err
			}
			return a.print(r, func() { a.printf("%s counts for requests made from now on\n", args[0]) })
		},
	}
}

func newKeyList(a *app) *cobra.Command {
	var person string
	c := &cobra.Command{
		Use:   "list",
		Short: "List your keys",
		Long:  "Lists your keys: declared or enrolled, SSH keys or passkeys, and whether they count. Administrators list those of others.",
		Example: `  remit key list
  remit key list --person eve -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			keys, err := s.Keys(cmd.Context(), person)
			if err != nil {
				return err
			}
			return a.print(keys, func() {
				for _, k := range keys {
					a.printf("%s  %s\n", k.Fingerprint, keyWords(k))
				}
			})
		},
	}
	c.Flags().StringVar(&person, "person", "", "another person's keys, for administrators")
	return c
}

// keyWords is what there is to say of a key.
func keyWords(k remit.KeyView) string {
	words := []string{k.Type}
	if k.Passkey != "" {
		words = []string{"passkey of " + visible(k.Passkey)}
	}
	if k.Label != "" {
		words = append(words, `"`+visible(k.Label)+`"`)
	}
	if k.Declared {
		words = append(words, "declared")
	} else {
		words = append(words, "enrolled")
	}
	if k.InvitedBy != "" {
		words = append(words, "invited by "+visible(k.InvitedBy))
	}
	switch {
	case k.Counts:
		words = append(words, "counts")
	case k.Access != "":
		words = append(words, "waits for another administrator: "+visible(string(k.Access)))
	case k.From != nil:
		words = append(words, "counts from "+k.From.Local().Format("2006-01-02 15:04"))
	default:
		words = append(words, "does not count: confirm it with an older key")
	}
	return strings.Join(words, ", ")
}

func newKeyAdd(a *app) *cobra.Command {
	var label, invitation, made string
	c := &cobra.Command{
		Use:   "add [NEW]",
		Short: "Enrol a further key of yours, or by an invitation your first",
		Long: `Enrols an SSH key: NEW signs that it is to be enrolled, and the key that you have (--key) that it is yours. With
--invitation it is your first key; then an administrator invited you, and --key is not needed.

Give the private key's file, or its .pub when the key is in your ssh-agent or on a hardware token. A passkey is made in the
browser: remit login --browser opens it, its page "Your keys" makes the passkey and shows the command with --passkey by
which your SSH key confirms it. Give here only what you have just made there yourself.`,
		Example: `  remit key add ~/.ssh/id_ed25519_sk.pub --label "my token"
  remit key add ~/.ssh/id_ed25519 --invitation remiti_…
  remit key add --passkey eyJrZXki…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (made != "") || made != "" && (invitation != "" || label != "") {
				return usagef("it takes the file of an SSH key, or --passkey alone")
			}
			ctx := cmd.Context()
			k, file, name := remit.EnrolKey{Secret: invitation, Label: label}, "", ""
			if made != "" {
				var err error
				if k, name, err = madeKey(made); err != nil {
					return err
				}
			} else {
				file, name = args[0], args[0]
				pub, err := publicKey(file)
				if err != nil {
					return err
				}
				k.Key = pub.Marshal()
			}
			s, err := a.enroller(ctx, invitation != "")
			if err != nil {
				return err
			}
			answer, err := a.enrol(ctx, s, file, k)
			if err != nil {
				return err
			}
			return a.print(answer, func() {
				if answer.Decision.Verdict == remit.Hold {
					a.printf("%s is enrolled; %s: %s\n", visible(name), visible(answer.Decision.Sentence), visible(string(answer.Decision.Access)))
					return
				}
				a.printf("%s is enrolled\n", visible(name))
			})
		},
	}
	c.Flags().StringVar(&label, "label", "", "what you call it")
	c.Flags().StringVar(&invitation, "invitation", "", "what an administrator gave you: remiti_…")
	c.Flags().StringVar(&made, "passkey", "", "what the page \"Your keys\" gave you when you made a passkey")
	return c
}

// madeKey reads a passkey that a page made, and what it signed: base64url of the JSON of a remit.EnrolKey. It gives what
// people call it as well.
func madeKey(text string) (k remit.EnrolKey, name string, err error) {
	bad := func(why string) (remit.EnrolKey, string, error) {
		return remit.EnrolKey{}, "", remit.Errorf(remit.BadRequest, "--passkey: %s; copy the whole command that the page shows", why)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return bad("it is not what the page made")
	}
	if err := json.Unmarshal(b, &k); err != nil || k.Credential == nil {
		return bad("no passkey is in it")
	}
	pub, err := sshsig.ParseKey(k.Key)
	if err != nil {
		return bad("the passkey in it cannot be read")
	}
	k = remit.EnrolKey{Key: k.Key, Label: k.Label, Credential: k.Credential}
	return k, cmp.Or(k.Label, "the passkey") + " (" + ssh.FingerprintSHA256(pub) + ")", nil
}

// enroller is a client for whoever enrols a key: signed in, or not yet anybody.
func (a *app) enroller(ctx context.Context, invited bool) (*signed, error) {
	if !invited {
		return a.connect(ctx)
	}
	_, s, err := a.place()
	return s, err
}

// enrol has the new key, at file, and the old one sign, after checking that what the server asks to be signed is just that.
// A passkey has signed already.
func (a *app) enrol(ctx context.Context, s *signed, file string, k remit.EnrolKey) (remit.EnrolAnswer, error) {
	none := remit.EnrolAnswer{}
	st, err := s.EnrolStatement(ctx, remit.NewKey{Secret: k.Secret, Key: k.Key})
	if err != nil {
		return none, err
	}
	org, err := s.Org(ctx)
	if err != nil {
		return none, err
	}
	hash := remit.Hash(k.Key)
	person, err := enrolledPerson(st.Text)
	if err != nil {
		return none, err
	}
	token, err := invitationHash(k.Secret)
	if err != nil {
		return none, err
	}
	if k.Secret == "" && person != s.session.Person || string(st.Text) != string(authority.EnrolStatement(org.Origin, person, hash, token)) {
		return none, remit.Errorf(remit.Forbidden, "the server asks for a signature of something else than this key's enrolment; nothing was signed")
	}
	if k.Credential == nil {
		if k.Proof, err = sshsig.SignFile(ctx, file, authority.ConfirmNamespace, st.Text, a.person()); err != nil {
			return none, err
		}
	}
	if k.Secret == "" {
		if k.Confirmation, err = a.sign(ctx, s.profile.Key, authority.ConfirmNamespace, authority.ConfirmStatement(org.Origin, person, hash)); err != nil {
			return none, err
		}
	}
	return s.EnrolKey(ctx, k)
}

// enrolledPerson reads for whom a key is enrolled.
func enrolledPerson(text []byte) (remit.ID, error) {
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "person: "); ok {
			return remit.ID(id), nil
		}
	}
	return "", remit.Errorf(remit.Forbidden, "the server asks for a signature of something that names no person; nothing was signed")
}

func newKeyRemove(a *app) *cobra.Command {
	var person string
	c := &cobra.Command{
		Use:   "remove FINGERPRINT",
		Short: "Take an enrolled key away, at once",
		Long:  "Takes a key away that was enrolled: votes and sessions of it end with it. Declared keys are taken out of the declarations instead.",
		Example: `  remit key remove SHA256:Zl6g…
  remit key remove SHA256:Zl6g… --person eve`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			keys, err := s.Keys(ctx, person)
			if err != nil {
				return err
			}
			for _, k := range keys {
				if k.Fingerprint != args[0] && hex.EncodeToString(k.Key[:]) != args[0] {
					continue
				}
				if err := s.RemoveKey(ctx, remit.KeyName{Person: person, Key: k.Key}); err != nil {
					return err
				}
				return a.print(k, func() { a.printf("%s is no key of yours here any more\n", args[0]) })
			}
			return remit.Errorf(remit.NotFound, "there is no key %s; remit key list prints them", visible(args[0]))
		},
	}
	c.Flags().StringVar(&person, "person", "", "whose key, for administrators")
	return c
}
