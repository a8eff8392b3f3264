package main

import (
	"bytes"
	"context"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/identity/signin"
)

// maxProviders bounds what people choose from.
const maxProviders = 16

// providersFile is what --providers names: the OpenID providers at which people sign in. It stands beside the server and
// not in the declarations: who can change it can let in anybody as anybody who declared an identity there.
type providersFile struct {
	Providers []struct {
		Name     string       `yaml:"name"`      // in addresses: a-z 0-9 -
		Title    string       `yaml:"title"`     // as people know it; name
		Issuer   string       `yaml:"issuer"`    // exactly as it names itself
		ClientID string       `yaml:"client_id"` // what this server is registered as there
		Secret   remit.Source `yaml:"secret"`    // where the client's secret comes from; none: PKCE alone
		CA       string       `yaml:"ca"`        // file, PEM; the system's
		Insecure bool         `yaml:"insecure"`  // http:// to a loopback address is meant
		Hosts    []string     `yaml:"hosts"`     // others that it spreads its endpoints over
		Scopes   []string     `yaml:"scopes"`    // beside openid
		Groups   string       `yaml:"groups"`    // the claim with a person's groups; none
		ACR      []string     `yaml:"acr"`       // asked for when people must prove themselves anew
	} `yaml:"providers"`
}

// readProviders reads the file at path; base is where the API of the organisation lies.
func readProviders(path, base string) (*signin.Providers, error) {
	var list []signin.Provider
	if path != "" {
		b, err := readBounded(path)
		if err != nil {
			return nil, err
		}
		var f providersFile
		if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&f); err != nil {
			return nil, remit.Errorf(remit.BadRequest, "%s has no list of providers: %s", path, firstLine(yaml.FormatError(err, false, false)))
		}
		if len(f.Providers) > maxProviders {
			return nil, remit.Errorf(remit.BadRequest, "%s has %d providers; at most %d", path, len(f.Providers), maxProviders)
		}
		for _, p := range f.Providers {
			n := signin.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer, CA: p.CA, Insecure: p.Insecure, Hosts: p.Hosts, ClientID: p.ClientID, Scopes: p.Scopes, Groups: p.Groups, ACR: p.ACR}
			switch p.Secret.From {
			case "":
			case "file", "env", "exec":
				n.Secret = func(ctx context.Context) (string, error) { return broker.Value(ctx, p.Secret) }
			default:
				return nil, remit.Errorf(remit.BadRequest, "%s: provider %s: secret: write {from: file, name: /path}, {from: env, name: NAME} or {from: exec, argv: [command]}; a secret itself is never written down", path, visible(p.Name))
			}
			list = append(list, n)
		}
	}
	out, err := signin.NewProviders(base, list, time.Now)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s: %w", path, err)
	}
	return out, nil
}
