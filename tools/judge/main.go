// Command judge has Tessera's fsck read a log as C2SP tlog-tiles, over HTTPS or from files: it fetches every entry, builds
// the tree from them, compares every tile with it, and the root with what was signed. Tessera's own command of that name
// ends with 0 whatever it finds, and trusts the system's certificates only.
//
// It is no part of the product: it is built by tools/real/build for ./test interop.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	ca := flag.String("ca", "", "file with the certificates that the server's leads to, PEM")
	bearer := flag.String("bearer", "", "file with the bearer token to show")
	workers := flag.Uint("workers", 4, "how many requests at a time")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge [FLAGS] URL|DIRECTORY VERIFIER-KEY")
		os.Exit(2)
	}
	if err := judge(context.Background(), flag.Arg(0), flag.Arg(1), *ca, *bearer, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
	fmt.Println("whole")
}

func judge(ctx context.Context, where, key, ca, bearer string, workers uint) error {
	v, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	u, err := url.Parse(where)
	if err != nil {
		return err
	}
	var src fsck.Fetcher = client.FileFetcher{Root: where}
	if u.Scheme == "https" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		http, err := client.NewHTTPFetcher(u, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}})
		if err != nil {
			return err
		}
		if bearer != "" {
			token, err := os.ReadFile(bearer)
			if err != nil {
				return err
			}
			http.SetAuthorizationHeader("Bearer " + string(token))
		}
		src = http
	}
	return fsck.New(v.Name(), v, src, leafHashes, fsck.Opts{N: workers}).Check(ctx)
}

// leafHashes reads an entry bundle with Tessera's own parser.
func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, e := range b.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return out, nil
}
