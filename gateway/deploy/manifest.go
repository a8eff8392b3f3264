package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/remit-dev/remit"
)

// A manifest is declared, and what is applied differs from it in the images only: each is a placeholder, and each
// artifact of the order takes the place of its own.

const (
	maxManifest = 64 << 10
	maxObjects  = 64
	// placed is the annotation under which an object says which attempt put it there.
	placed = "remit.dev/attempt"
)

// kind is a kind of object that a manifest may have. What is missing here is the cluster's administrators' to make:
// roles, webhooks, nodes, custom resources, bare pods.
type kind struct {
	version, plural string
	pod             []string // where its pod's spec lies
}

var kinds = map[string]kind{
	"Deployment":              {"apps/v1", "deployments", template},
	"StatefulSet":             {"apps/v1", "statefulsets", template},
	"DaemonSet":               {"apps/v1", "daemonsets", template},
	"Job":                     {"batch/v1", "jobs", template},
	"CronJob":                 {"batch/v1", "cronjobs", []string{"spec", "jobTemplate", "spec", "template", "spec"}},
	"Service":                 {"v1", "services", nil},
	"ConfigMap":               {"v1", "configmaps", nil},
	"Ingress":                 {"networking.k8s.io/v1", "ingresses", nil},
	"HorizontalPodAutoscaler": {"autoscaling/v2", "horizontalpodautoscalers", nil},
	"PodDisruptionBudget":     {"policy/v1", "poddisruptionbudgets", nil},
}

var template = []string{"spec", "template", "spec"}

// object is one object to be applied.
type object struct {
	kind, name string
	path       string // of its resource at the API server, with its name
	body       map[string]any
	images     map[string]string // by the place of the image, such as containers[app]
}

func (o *object) String() string { return o.kind + "/" + o.name }

// reference is an artifact as an image reference by digest. A tag is never part of it.
func reference(p remit.Place, a remit.Artifact) (string, error) {
	upstream, name, ok := strings.Cut(a.Resource.Name(), "/")
	host := p.Registries[upstream]
	switch {
	case a.Resource.Type() != "artifact" || !ok || name == "":
		return "", remit.Errorf(remit.BadRequest, "%s is no artifact; one is artifact:UPSTREAM/NAME", a.Resource)
	case !remit.IsContentDigest(a.Digest):
		return "", remit.Errorf(remit.BadRequest, "%s is not named by its digest", a.Resource)
	case host == "":
		return "", remit.Errorf(remit.Conflict, "%s: no registry %q is declared", a.Resource, upstream)
	}
	return host + "/" + name + "@" + a.Digest, nil
}

var (
	placeholder = regexp.MustCompile(`^\$\{artifact:([A-Za-z0-9._~%/-]+)\}$`)
	documents   = regexp.MustCompile(`(?m)^---(?:[ \t].*)?$`)
	label       = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)   // RFC 1123, label
	objectName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`) // RFC 1123, subdomain
	// Without a tag: the digest decides alone. A colon stands before the port of a host only.
	imageByHash = regexp.MustCompile(`^(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?/)?[A-Za-z0-9][A-Za-z0-9._/-]*@(sha256:[0-9a-f]{64})$`)
)

// render makes the objects of a deployment. An error names the place in the manifest.
func render(o *order) ([]*object, error) {
	t := o.target
	if !label.MatchString(t.Namespace) {
		return nil, remit.Errorf(remit.Conflict, "environment %s: %q is no name of a namespace", o.Environment, t.Namespace)
	}
	if len(t.Manifest) > maxManifest {
		return nil, remit.Errorf(remit.TooLarge, "the manifest of %s has %d bytes; at most %d", o.Environment, len(t.Manifest), maxManifest)
	}
	wrong := func(at, format string, args ...any) error {
		return remit.Errorf(remit.Conflict, "the manifest of %s, %s: %s", o.Environment, at, fmt.Sprintf(format, args...))
	}
	text := strings.ReplaceAll(t.Manifest, "\r\n", "\n")
	if strings.ContainsAny(text, "\r\u0085\u2028\u2029") {
		return nil, wrong("as a whole", "it has line ends that parsers disagree about; write it with \\n")
	}
	used := map[remit.Resource]bool{}
	seen := map[string]bool{}
	var out []*object
	for i, doc := range documents.Split(text, -1) {
		at := fmt.Sprintf("document %d", i+1)
		if strings.HasPrefix(doc, "...") || strings.Contains(doc, "\n...") || strings.HasPrefix(doc, "%") || strings.Contains(doc, "\n%") {
			return nil, wrong(at, "directives and end marks of YAML are not read; separate documents with ---")
		}
		js, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			return nil, wrong(at, "%v", err)
		}
		if bytes.Equal(js, []byte("null")) {
			continue // a comment, or nothing
		}
		var body map[string]any
		d := json.NewDecoder(bytes.NewReader(js))
		d.UseNumber()
		if err := d.Decode(&body); err != nil {
			return nil, wrong(at, "it is no object")
		}
		obj, err := identify(o, body)
		if err != nil {
			return nil, wrong(at, "%v", err)
		}
		at = fmt.Sprintf("document %d (%s)", i+1, obj)
		if seen[obj.path] {
			return nil, wrong(at, "it stands twice")
		}
		seen[obj.path] = true
		if err := o.fill(obj, used); err != nil {
			return nil, wrong(at, "%v", err)
		}
		if out = append(out, obj); len(out) > maxObjects {
			return nil, wrong(at, "a manifest has at most %d objects", maxObjects)
		}
	}
	for _, a := range o.Artifacts {
		if !used[a.Resource] {
			return nil, wrong("as a whole", "no image is ${artifact:%s}, which the release ships", a.Resource.Name())
		}
	}
	return out, nil
}

// identify checks what kind of object it is, that it has a name of its own, and that it lies in the target's namespace.
func identify(o *order, body map[string]any) (*object, error) {
	name, _ := body["kind"].(string)
	k, ok := kinds[name]
	if version, _ := body["apiVersion"].(string); !ok || version != k.version {
		return nil, fmt.Errorf("apiVersion %v, kind %v is not deployed; it may be %s", body["apiVersion"], body["kind"], allowedKinds())
	}
	meta, _ := body["metadata"].(map[string]any)
	obj := &object{kind: name, body: body, images: map[string]string{}}
	if obj.name, _ = meta["name"].(string); !objectName.MatchString(obj.name) || strings.Contains(obj.name, "..") {
		return nil, fmt.Errorf("metadata.name of a %s: %v is no name", name, meta["name"])
	}
	if ns, ok := meta["namespace"]; ok && ns != o.target.Namespace {
		return nil, fmt.Errorf("%s: metadata.namespace is %v; this environment is deployed to %s", obj, ns, o.target.Namespace)
	}
	for _, m := range slices.Sorted(mapKeys(meta)) {
		if !slices.Contains([]string{"name", "namespace", "labels", "annotations"}, m) {
			return nil, fmt.Errorf("%s: metadata.%s is the cluster's to set", obj, m)
		}
	}
	if _, ok := body["status"]; ok {
		return nil, fmt.Errorf("%s: status is the cluster's to set", obj)
	}
	notes, ok := meta["annotations"].(map[string]any)
	if !ok {
		if meta["annotations"] != nil {
			return nil, fmt.Errorf("%s: metadata.annotations is no map", obj)
		}
		notes = map[string]any{}
		meta["annotations"] = notes
	}
	notes[placed] = string(o.attempt)
	meta["namespace"] = o.target.Namespace
	base := "/apis/" + k.version
	if !strings.Contains(k.version, "/") {
		base = "/api/" + k.version
	}
	obj.path = base + "/namespaces/" + o.target.Namespace + "/" + k.plural + "/" + obj.name
	return obj, nil
}

func allowedKinds() string {
	var out []string
	for name, k := range kinds {
		out = append(out, k.version+" "+name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// fill puts the artifacts in. An image that is anything else than a placeholder is refused, and so is a placeholder
// anywhere else.
func (o *order) fill(obj *object, used map[remit.Resource]bool) error {
	if path := kinds[obj.kind].pod; path != nil {
		pod, err := dig(obj.body, path)
		if err != nil {
			return err
		}
		if err := eachImage(pod, func(at string, image any, set func(string)) error {
			text, _ := image.(string)
			m := placeholder.FindStringSubmatch(text)
			if m == nil {
				return fmt.Errorf("%s: the image is %v; write ${artifact:NAME}, so that what was approved is what runs", at, image)
			}
			a, err := o.named(m[1])
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			used[a] = true
			set(o.refs[a])
			obj.images[at] = o.refs[a]
			return nil
		}); err != nil {
			return err
		}
	}
	if at := strayPlaceholder("", obj.body); at != "" {
		return fmt.Errorf("%s: ${artifact:…} stands for an image of a container, and nowhere else", at)
	}
	return nil
}

// named finds the artifact of the release that a placeholder means: UPSTREAM/NAME, or NAME where one registry has it.
func (o *order) named(name string) (found remit.Resource, _ error) {
	for _, a := range o.Artifacts {
		_, short, _ := strings.Cut(a.Resource.Name(), "/")
		if a.Resource.Name() != name && short != name {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("${artifact:%s} is both %s and %s; write UPSTREAM/NAME", name, found, a.Resource)
		}
		found = a.Resource
	}
	if found == "" {
		return "", fmt.Errorf("${artifact:%s} is not among what the release ships", name)
	}
	return found, nil
}

func strayPlaceholder(at string, v any) string {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "${artifact:") {
			return at
		}
	case map[string]any:
		for _, k := range slices.Sorted(mapKeys(v)) {
			if strings.Contains(k, "${artifact:") {
				return at + "." + k
			}
			if found := strayPlaceholder(at+"."+k, v[k]); found != "" {
				return strings.TrimPrefix(found, ".")
			}
		}
	case []any:
		for i, e := range v {
			if found := strayPlaceholder(fmt.Sprintf("%s[%d]", at, i), e); found != "" {
				return found
			}
		}
	}
	return ""
}
