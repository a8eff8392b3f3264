package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

func newLogin(a *app) *cobra.Command {
	var device, browser, link bool
	var name string
	c := &cobra.Command{
		Use:   "login --server URL --org ORG --ca FILE --key FILE | --device | --browser",
		Short: "Say once where the server is and who you are",
		Long: `Signs in with your SSH key and, when that works, keeps the four answers in $XDG_CONFIG_HOME/remit/config.yaml, so that no
other command needs them. There is no password: the server sends a text, and your key signs it. Give the private key's
file, or its .pub when the key is in your ssh-agent or on a hardware token.

--device is for a terminal without a key: it shows a code, and you let it in from a browser in which you are signed in,
with a passkey or at your provider. That lasts an hour. Such a terminal cannot vote, let in others or add keys.

--browser is the other way round: it opens the console in your browser and signs you in there with your key. The link that
does it is good once, for a minute, and the page asks first; --link prints it instead, for a browser on another machine.`,
		Example: `  remit login --server https://remit.example.com:8443 --org acme --ca ca.crt --key ~/.ssh/id_ed25519
  remit login --server https://remit.example.com:8443 --org acme --ca ca.crt --key ~/.ssh/id_ed25519_sk.pub
  remit login --server https://remit.example.com:8443 --org acme --ca ca.crt --device
  remit login --browser`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if device && browser || link && !browser {
				return usagef("--device lets this terminal in, --browser your browser, and --link is for --browser")
			}
			if browser {
				return a.loginBrowser(cmd.Context(), link)
			}
			if device {
				return a.loginDevice(cmd.Context(), name)
			}
			p, err := a.profile()
			if err != nil {
				return err
			}
			if p.Device {
				return usagef("which key? give --key, or --device again")
			}
			if p.Key, err = filepath.Abs(p.Key); err != nil {
				return err
			}
			a.flags = p
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			return a.keepProfile(p, s)
		},
	}
	c.Flags().BoolVar(&device, "device", false, "let this terminal in from your browser, by a code")
	c.Flags().BoolVar(&browser, "browser", false, "sign in your browser with the key of this terminal")
	c.Flags().BoolVar(&link, "link", false, "print the link that signs a browser in, and open none")
	c.Flags().StringVar(&name, "name", "", "what the browser calls this terminal; its host name by default")
	return c
}

// loginDevice shows a code and waits for its person to confirm it (RFC 8628).
func (a *app) loginDevice(ctx context.Context, name string) error {
	if a.flags.Key != "" {
		return usagef("--device is for a terminal without a key; leave out --key")
	}
	a.flags.Key = "none"
	p, err := a.profile()
	a.flags.Key = ""
	if err != nil {
		return err
	}
	p.Key, p.Device = "", true
	s, err := a.dial(p)
	if err != nil {
		return err
	}
	if name == "" {
		name, _ = os.Hostname()
		name = name[:min(len(name), 64)]
	}
	d, err := s.AskDevice(ctx, name)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "open %s\nand compare the code: %s\nIt is good for %s. Let in nothing that you did not start yourself.\n", visible(d.Complete), visible(d.User), time.Duration(d.Expires)*time.Second)
	if s.Client, s.session, err = s.WaitDevice(ctx, d, identity.SystemClock{}); err != nil {
		return err
	}
	cache := a.sessionFile(p, s.ca, nil)
	if cache == "" {
		return remit.Errorf(remit.NotFound, "there is no place to keep the session; set HOME or XDG_RUNTIME_DIR")
	}
	a.keepSession(cache, s.session)
	return a.keepProfile(p, s)
}

// keepProfile keeps what worked, so that no other command needs to be told.
func (a *app) keepProfile(p profile, s *signed) error {
	var err error
	if p.CA, err = filepath.Abs(p.CA); err != nil {
		return err
	}
	to, err := a.configFile()
	if err != nil {
		return err
	}
	b, err := yaml.Marshal(p)
	if err != nil {
		return fmt.Errorf("writing the profile: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("keeping the profile: %w", err)
	}
	if err := replaceFile(to, b); err != nil {
		return fmt.Errorf("keeping the profile: %w", err)
	}
	return a.print(withoutToken(s.session), func() {
		a.printf("signed in to %s at %s as %s; kept in %s\n", visible(p.Org), p.Server, visible(s.session.Name), to)
	})
}
