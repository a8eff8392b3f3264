package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// maxManifest is the largest manifest that is read, from either side (distribution-spec, "Pushing Manifests": registries
// take at least 4 MiB).
const maxManifest = 4 << 20

// Media types of what is published: images and indexes, of OCI (image-spec) and of Docker (schema 2).
const (
	ociImage    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	dockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// descriptor points to content (image-spec, "OCI Content Descriptors").
type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"size"`
	Platform  *platform `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

func (d descriptor) String() string {
	if d.Platform == nil {
		return d.Digest
	}
	p := d.Platform.OS + "/" + d.Platform.Architecture
	if d.Platform.Variant != "" {
		p += "/" + d.Platform.Variant
	}
	return fmt.Sprintf("%s (%.40s)", d.Digest, p)
}

// document is a manifest or an index; what it says besides is not looked at.
type document struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
	Manifests     []descriptor `json:"manifests"`
	Subject       *descriptor  `json:"subject"`
	FSLayers      any          `json:"fsLayers"` // of Docker's schema 1
}

// members are the names that decide. A manifest that spells one of them otherwise says one thing to readers that fold
// case, as Go's do, and another thing to those that do not.
var members = []string{"schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "fsLayers", "digest", "size", "platform", "urls", "data", "artifactType"}

// parseManifest reads a manifest that says the same to every reader: one kind of document, of the type that the request
// says, with no member twice (CVE-2021-41190 is what comes of less).
func parseManifest(mediaType string, body []byte) (document, error) {
	var doc document
	bad := func(format string, args ...any) (document, error) {
		return document{}, remit.Errorf(remit.BadObject, format, args...)
	}
	if err := json.Unmarshal(body, &doc); err != nil { // first of all: it bounds how deep the value nests
		return bad("the manifest is not JSON of the right form: %w", err)
	}
	if err := unambiguous(json.NewDecoder(bytes.NewReader(body))); err != nil {
		return bad("the manifest says different things to different readers: %w", err)
	}
	if doc.SchemaVersion != 2 || doc.FSLayers != nil {
		return bad("the manifest is of schema %d; schema 2 is served, which has no fsLayers", doc.SchemaVersion)
	}
	if doc.MediaType != "" && doc.MediaType != mediaType {
		return bad("the manifest calls itself %.100q and the request calls it %.100q; they say the same", doc.MediaType, mediaType)
	}
	var list []descriptor
	switch mediaType {
	case ociImage, dockerImage:
		if doc.Config == nil || doc.Manifests != nil {
			return bad("an image has a config and no manifests")
		}
		list = append(slices.Clone(doc.Layers), *doc.Config)
	case ociIndex, dockerIndex:
		if doc.Config != nil || doc.Layers != nil {
			return bad("an index has manifests, and neither config nor layers")
		}
		list = slices.Clone(doc.Manifests)
	default:
		return bad("%.100q is not published here; what is, is %s, %s, %s or %s", mediaType, ociImage, ociIndex, dockerImage, dockerIndex)
	}
	if doc.Subject != nil {
		list = append(list, *doc.Subject)
	}
	for _, d := range list {
		if !remit.IsContentDigest(d.Digest) || d.Size < 0 {
			return bad("the manifest points to %.100q with size %d; content is named by sha256: and 64 lower-case hex digits", d.Digest, d.Size)
		}
	}
	return doc, nil
}

// unambiguous walks one value that is known to be JSON.
func unambiguous(dec *json.Decoder) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			tok, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ := tok.(string)
			if seen[key] {
				return fmt.Errorf("member %.60q stands twice", key)
			}
			seen[key] = true
			for _, m := range members {
				if key != m && strings.EqualFold(key, m) {
					return fmt.Errorf("member %.60q is not spelled %s", key, m)
				}
			}
		}
		if err := unambiguous(dec); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// child is a manifest of an index that another task published.
type child struct {
	Digest string   `json:"digest"`
	Task   remit.ID `json:"task"`
}

// children says whose the manifests of an index are. Each was published through Remit under the same name: by the same
// task, or by another one that rested on a commit of a repository that declares the artifact. So nothing comes into an
// index that the task did not build and that nobody answers for, whatever platform it says it is for.
func (g *Gateway) children(ctx context.Context, task remit.ID, rt route, doc document) (others []child, err error) {
	for _, d := range doc.Manifests {
		p, ok := g.Publications.Published(ctx, remit.Artifact{Resource: rt.resource(), Digest: d.Digest})
		switch {
		case !ok:
			return nil, remit.Errorf(remit.UnseenObject, "the index names %s, which was not published through Remit as %s; publish each image of an index before the index", d, rt.resource())
		case p.Task == task:
		case !p.Built:
			return nil, remit.Errorf(remit.UnseenObject, "the index names %s, which task %s published, and that rested on no commit of a repository that declares %s; build it in this task, or from a declared repository", d, p.Task, rt.resource())
		default:
			others = append(others, child{d.Digest, p.Task})
		}
	}
	return others, nil
}
