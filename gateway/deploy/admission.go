package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Releases says what may run in an environment now: the digests of the release that is there, of the one before it
// (which a rollout may still need), and of the deployment under way; each with the entry that names it.
type Releases interface {
	Allowed(ctx context.Context, environment string) (map[string]remit.EntryIndex, error)
}

// Admission answers the validating webhook of governed namespaces. What it cannot read, it denies.
type Admission struct {
	Releases Releases
	// Known tells whether token is the one that was given to the cluster of an environment.
	Known func(environment, token string) bool
	// Namespace is the governed namespace of an environment.
	Namespace func(ctx context.Context, environment string) (string, error)
}

const (
	maxReview = 3 << 20
	within    = 4 * time.Second // the cluster waits for five
	maxUID    = 128
)

// review is AdmissionReview of admission.k8s.io/v1, as far as a decision needs it.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *question `json:"request,omitempty"`
	Response   *answer   `json:"response,omitempty"`
}

type question struct {
	UID         string          `json:"uid"`
	Kind        group           `json:"kind"`
	Resource    group           `json:"resource"`
	SubResource string          `json:"subResource"`
	Name        string          `json:"name"`
	Namespace   string          `json:"namespace"`
	Operation   string          `json:"operation"`
	Object      json.RawMessage `json:"object"`
	OldObject   json.RawMessage `json:"oldObject"`
}

type group struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Kind     string `json:"kind,omitempty"`
	Resource string `json:"resource,omitempty"`
}

type answer struct {
	UID         string            `json:"uid"`
	Allowed     bool              `json:"allowed"`
	Status      *status           `json:"status,omitempty"`
	Annotations map[string]string `json:"auditAnnotations,omitempty"`
}

type status struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
}

// ServeHTTP answers POST …/admission/TOKEN/ENVIRONMENT. Who does not know the token learns nothing.
func (a *Admission) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, ok := strings.Cut(r.URL.Path, "/admission/")
	token, environment, found := strings.Cut(rest, "/")
	if !ok || !found || !a.Known(environment, token) {
		http.Error(w, "there is nothing here", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "a cluster posts AdmissionReview here", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReview+1))
	if err != nil || len(body) > maxReview {
		http.Error(w, fmt.Sprintf("an AdmissionReview has at most %d bytes", maxReview), http.StatusRequestEntityTooLarge)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	out := a.Review(ctx, environment, body)
	if out == nil {
		http.Error(w, "this is no AdmissionReview of admission.k8s.io/v1 with a request; it is denied by failing", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out) // the cluster is gone: it denies by itself
}

// Review decides one AdmissionReview and gives the answer as JSON; nil if there is no request that could be answered.
func (a *Admission) Review(ctx context.Context, environment string, body []byte) []byte {
	var in review
	if err := json.Unmarshal(body, &in); err != nil || in.APIVersion != "admission.k8s.io/v1" || in.Kind != "AdmissionReview" ||
		in.Request == nil || in.Request.UID == "" || len(in.Request.UID) > maxUID {
		return nil
	}
	notes, err := a.decide(ctx, environment, in.Request)
	out := &answer{UID: in.Request.UID, Allowed: err == nil, Annotations: notes}
	if err != nil {
		out.Status = &status{Status: "Failure", Message: clip("remit: "+err.Error(), 2<<10), Reason: "Forbidden", Code: http.StatusForbidden}
		out.Annotations = map[string]string{"environment": environment, "decision": "denied"}
	}
	b, err := json.Marshal(review{APIVersion: in.APIVersion, Kind: in.Kind, Response: out})
	if err != nil {
		return nil
	}
	return b
}

// governed are the resources that the webhook is asked about, with where a pod's spec lies in them.
var governed = map[string][]string{
	"/pods":                   {"spec"},
	"/replicationcontrollers": template,
	"/podtemplates":           {"template", "spec"},
	"apps/deployments":        template,
	"apps/statefulsets":       template,
	"apps/daemonsets":         template,
	"apps/replicasets":        template,
	"batch/jobs":              template,
	"batch/cronjobs":          {"spec", "jobTemplate", "spec", "template", "spec"},
}

// entering are the ways into a running container.
var entering = []string{"exec", "attach", "ephemeralcontainers"}

// decide denies by returning why; otherwise it gives the annotations of the cluster's audit log.
func (a *Admission) decide(ctx context.Context, environment string, q *question) (map[string]string, error) {
	namespace, err := a.Namespace(ctx, environment)
	if err != nil {
		return nil, errors.New("what is declared of " + environment + " cannot be read, so nothing changes there")
	}
	name := q.Resource.Group + "/" + q.Resource.Resource
	if name == "/namespaces" {
		return a.namespace(environment, namespace, q)
	}
	if q.Namespace != namespace {
		return nil, fmt.Errorf("this address answers for namespace %s, and the request is of %.64q", namespace, q.Namespace)
	}
	if name == "/pods" && slices.Contains(entering, q.SubResource) {
		return nil, fmt.Errorf("%s would run what no release of %s names; put what you need into a release (remit release request), or look with logs and describe", q.SubResource, environment)
	}
	path, known := governed[name]
	if !known || q.SubResource != "" || q.Operation != "CREATE" && q.Operation != "UPDATE" {
		return nil, fmt.Errorf("%.32s of %.64s %.32s is not among what a release of %s does", q.Operation, name, q.SubResource, environment)
	}
	images, err := imagesOf(q.Object, path)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be read: %w", strings.TrimPrefix(name, "/"), err)
	}
	allowed, err := a.Releases.Allowed(ctx, environment)
	if err != nil {
		return nil, errors.New("what is released to " + environment + " cannot be told now, so nothing new runs there")
	}
	var before map[string]string
	if q.Operation == "UPDATE" {
		// An older ReplicaSet is scaled down long after its release was replaced. That brings nothing in: where it would
		// make a pod, the pod is asked about.
		if before, err = imagesOf(q.OldObject, path); err != nil {
			return nil, fmt.Errorf("what is changed cannot be read: %w", err)
		}
	}
	var entries []remit.EntryIndex
	for _, at := range sortedPlaces(images) {
		image := images[at]
		if old, ok := before[at]; ok && old == image {
			continue
		}
		m := imageByHash.FindStringSubmatch(image)
		if m == nil {
			return nil, fmt.Errorf("%s is %.200q; in %s images are named by digest alone, NAME@sha256:…, because a tag moves", at, image, environment)
		}
		entry, ok := allowed[m[1]]
		if !ok {
			return nil, fmt.Errorf("%s is %.200s, which no release names that %s may run now; request it with `remit release request`", at, image, environment)
		}
		entries = append(entries, entry)
	}
	slices.Sort(entries)
	notes := map[string]string{"environment": environment, "decision": "allowed"}
	var list []string
	for _, e := range slices.Compact(entries) {
		list = append(list, strconv.FormatUint(uint64(e), 10))
	}
	if len(list) > 0 {
		notes["release"] = strings.Join(list, ",")
	}
	return notes, nil
}

// namespace keeps the governed namespace and what the webhook finds it by. The API server itself sets
// kubernetes.io/metadata.name; a cluster that let go of it would let go of the webhook.
func (a *Admission) namespace(environment, governed string, q *question) (map[string]string, error) {
	if q.Name != governed {
		return nil, fmt.Errorf("this address answers for namespace %s, and the request is about %.64q", governed, q.Name)
	}
	if q.Operation == "DELETE" {
		return nil, fmt.Errorf("namespace %s is where %s runs; remove the environment's declaration and its webhook first", governed, environment)
	}
	var o struct {
		Metadata struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if q.Operation != "UPDATE" || q.SubResource != "" || json.Unmarshal(q.Object, &o) != nil || o.Metadata.Name != governed {
		return nil, fmt.Errorf("%.32s of namespace %s cannot be read", q.Operation, governed)
	}
	if o.Metadata.Labels[nameLabel] != governed {
		return nil, fmt.Errorf("namespace %s keeps its label %s: by it the cluster knows that %s is governed", governed, nameLabel, environment)
	}
	return map[string]string{"environment": environment, "decision": "allowed"}, nil
}

// imagesOf reads the images of an object by their places. An object without containers runs nothing, and what runs nothing
// is not among what is governed: it is an error.
func imagesOf(raw json.RawMessage, path []string) (map[string]string, error) {
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil || body == nil {
		return nil, errors.New("it is no object")
	}
	pod, err := dig(body, path)
	if err != nil {
		return nil, err
	}
	images := map[string]string{}
	err = eachImage(pod, func(at string, image any, _ func(string)) error {
		s, ok := image.(string)
		if !ok {
			return fmt.Errorf("%s is no text", at)
		}
		if _, twice := images[at]; twice {
			return fmt.Errorf("%s stands twice", at)
		}
		images[at] = s
		return nil
	})
	if err == nil && len(images) == 0 {
		err = errors.New("it has no containers")
	}
	return images, err
}

func sortedPlaces(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
