package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	registryclient "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

// maxPushed bounds what artifact push packs, in bytes: it is held in memory.
const maxPushed = 256 << 20

func newArtifactPush(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "push NAME FILE…",
		Short: "Inside remit run: publish files as an artifact",
		Long: `Packs the files into one OCI artifact and pushes it through Remit to the registry, by its digest, without a tag. The same
files give the same digest. Images that other tools built are pushed by those tools: docker, buildah, crane and skopeo
work through Remit as they are; their password is what remit token oci prints.`,
		Example: "  remit artifact push oci/payments ./payments.tar",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := packImage(args[1:])
			if err != nil {
				return err
			}
			res, err := remit.ParseResource("artifact:" + strings.TrimPrefix(args[0], "artifact:"))
			if err != nil {
				return usagef("%w", err)
			}
			digest, err := a.pushImage(cmd.Context(), res, img)
			if err != nil {
				return err
			}
			v := remit.Artifact{Resource: res, Digest: digest}
			return a.print(v, func() { a.printf("%s\n", visible(v.String())) })
		},
	}
}

// packImage is one layer of the files, without times and owners, so that the same files have the same digest.
func packImage(files []string) (v1.Image, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range files {
		if err := packFile(t, f); err != nil {
			return nil, err
		}
		if b.Len() > maxPushed {
			return nil, remit.Errorf(remit.TooLarge, "the files have more than %d bytes together", maxPushed)
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.AppendLayers(img, static.NewLayer(b.Bytes(), types.OCIUncompressedLayer))
}

func packFile(t *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPushed {
		return remit.Errorf(remit.BadRequest, "%s is no regular file of at most %d bytes", path, maxPushed)
	}
	if err := t.WriteHeader(&tar.Header{Name: filepath.Base(path), Mode: int64(info.Mode().Perm()), Size: info.Size(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := io.CopyN(t, f, info.Size()); err != nil {
		return fmt.Errorf("packing %s: %w", path, err)
	}
	return nil
}

// pushImage pushes by digest, as any client of a registry does.
func (a *app) pushImage(ctx context.Context, res remit.Resource, img v1.Image) (string, error) {
	_, token, err := a.within(ctx, "oci")
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	host := strings.TrimPrefix(a.getenv("REMIT_SERVER"), "https://")
	ref, err := name.NewDigest(host + "/" + res.Name() + "@" + digest.String())
	if err != nil {
		return "", usagef("%s is no name that registries have: %w", res, err)
	}
	ca, err := readBounded(a.getenv("REMIT_CA"))
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	defer t.CloseIdleConnections()
	err = registryclient.Write(ref, img, registryclient.WithContext(ctx), registryclient.WithTransport(t), registryclient.WithAuth(&authn.Basic{Username: "remit", Password: token}))
	return digest.String(), pushError(err)
}

// pushError is what the registry's front said, in Remit's own terms.
func pushError(err error) error {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return err
	}
	for _, d := range refused.Errors {
		detail, _ := d.Detail.(map[string]any)
		code, _ := detail["remit"].(string)
		if code != "" {
			return remit.Errorf(remit.Code(code), "%s", d.Message)
		}
	}
	return err
}
