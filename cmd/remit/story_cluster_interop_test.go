//go:build interop && unix

package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/remit-dev/remit/internal/real"
)

func newPool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

type object = map[string]any

const (
	production = "payments"
	staging    = "payments-staging"
)

// plant is a real cluster with two namespaces to deploy to, prepared as doc/kubernetes.md says.
type plant struct {
	*real.Cluster
	s        *street
	token    string // Remit's own, to make leases
	observer string // Remit's own, to look after a crash
}

func newPlant(s *street) *plant {
	s.Helper()
	p := &plant{Cluster: real.Kubernetes(s), s: s}
	text, err := os.ReadFile("../../doc/kubernetes.yaml")
	s.ok(err)
	for _, ns := range []string{production, staging} {
		p.must("POST", "/api/v1/namespaces", object{"metadata": object{"name": ns}}, nil)
		p.must("POST", "/api/v1/namespaces/"+ns+"/serviceaccounts", object{"metadata": object{"name": "deployer"}}, nil)
		// What a namespace's owners let its deployer do is theirs to say.
		p.must("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/"+ns+"/roles", object{"metadata": object{"name": "deploy"}, "rules": []object{
			{"apiGroups": []string{"apps"}, "resources": []string{"deployments"}, "verbs": []string{"get", "create", "patch"}},
			{"apiGroups": []string{""}, "resources": []string{"services", "configmaps"}, "verbs": []string{"get", "create", "patch"}}}}, nil)
		p.must("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/"+ns+"/rolebindings", object{"metadata": object{"name": "deploy"},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deploy"},
			"subjects": []object{{"kind": "ServiceAccount", "name": "deployer", "namespace": ns}}}, nil)
		for part := range strings.SplitSeq(string(text), "\n---\n") {
			mine := strings.Contains(part, "namespace: payments}\nrules") || strings.Contains(part, "namespace: payments}\nroleRef")
			if ns != production && !mine {
				continue // made already
			}
			p.create(strings.ReplaceAll(part, "namespace: payments}", "namespace: "+ns+"}"))
		}
	}
	p.must("POST", "/api/v1/namespaces/remit/serviceaccounts", object{"metadata": object{"name": "observer"}}, nil)
	// No controller fills the role view from its parts here.
	p.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{"metadata": object{"name": "remit-observer"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-view"},
		"subjects": []object{{"kind": "ServiceAccount", "name": "observer", "namespace": "remit"}}}, nil)
	p.token, p.observer = p.account("remit", "remit"), p.account("remit", "observer")
	return p
}

// account makes a token of a service account.
func (p *plant) account(namespace, name string) string {
	var r struct{ Status struct{ Token string } }
	p.must("POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token", object{"spec": object{"expirationSeconds": 3600}}, &r)
	return r.Status.Token
}

func (p *plant) must(method, path string, in, out any) {
	p.s.Helper()
	if _, err := p.Do(p.s.Context(), method, path, in, out); err != nil {
		p.s.Fatal(err)
	}
}

// create makes what one YAML document says.
func (p *plant) create(text string) {
	p.s.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	p.s.ok(err)
	var o struct {
		APIVersion, Kind string
		Metadata         struct{ Namespace string }
	}
	p.s.ok(json.Unmarshal(raw, &o))
	path := "/apis/" + o.APIVersion
	if o.APIVersion == "v1" {
		path = "/api/v1"
	}
	if o.Metadata.Namespace != "" {
		path += "/namespaces/" + o.Metadata.Namespace
	}
	p.must("POST", path+"/"+strings.Replace(strings.ToLower(o.Kind)+"s", "policys", "policies", 1), json.RawMessage(raw), nil)
}

func pod(name, image string) object {
	return object{"metadata": object{"name": name}, "spec": object{"containers": []object{{"name": "app", "image": image}}}}
}

// govern makes the cluster ask Remit about a namespace, and waits until it does.
func (p *plant) govern(environment, namespace string) {
	p.s.Helper()
	p.create(p.s.remit("ana", "environment", "webhook", environment))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		status, err := p.Do(p.s.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod("x", "nginx:latest"), nil)
		if status == http.StatusForbidden {
			return
		}
		select {
		case <-end:
			p.s.Fatalf("the cluster does not ask: %d %v", status, err)
		case <-tick.C:
		}
	}
}

// runs is the image of what is deployed to a namespace.
func (p *plant) runs(namespace string) string {
	p.s.Helper()
	var d struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	p.must("GET", "/apis/apps/v1/namespaces/"+namespace+"/deployments/payments", nil, &d)
	return d.Spec.Template.Spec.Containers[0].Image
}

// attacks are what somebody with every right in the cluster but without a release tries. good is the image that runs now.
func (p *plant) attacks(good string) {
	s, ctx := p.s, p.s.Context()
	const pods = "/api/v1/namespaces/" + production + "/pods"
	const deployment = "/apis/apps/v1/namespaces/" + production + "/deployments/payments"
	p.must("POST", pods, pod("good", good), nil) // what the ReplicaSet's controller would make
	name, _, _ := strings.Cut(good, "@")
	foreign := name + "@sha256:" + strings.Repeat("0", 64)
	get := func(path string) object {
		o := object{}
		p.must("GET", path, nil, &o)
		return o
	}
	image := func(o object, image string) object {
		dig := func(o object, path ...string) object {
			for _, m := range path {
				o, _ = o[m].(object)
			}
			return o
		}
		dig(o, "spec", "template", "spec")["containers"].([]any)[0].(object)["image"] = image
		return o
	}
	inside := get(pods + "/good")
	inside["spec"].(object)["ephemeralContainers"] = []object{{"name": "debug", "image": good}}
	initially := pod("init", good)
	initially["spec"].(object)["initContainers"] = []object{{"name": "first", "image": foreign}}
	mixed := pod("both", name+":v1@"+strings.TrimPrefix(good, name+"@"))
	replaced := get(pods + "/good")
	replaced["spec"].(object)["containers"].([]any)[0].(object)["image"] = foreign
	for _, x := range []struct {
		what, method, path string
		in                 any
		why                string
	}{
		{"a pod by tag", "POST", pods, pod("tag", name+":latest"), "by digest alone"},
		{"a pod of a foreign digest", "POST", pods, pod("foreign", foreign), "no release names"},
		{"a tag beside the digest", "POST", pods, mixed, "by digest alone"},
		{"an init container", "POST", pods, initially, "no release names"},
		{"exec", "POST", pods + "/good/exec?container=app&command=sh&stdout=true", nil, "would run what no release"},
		{"exec by GET", "GET", pods + "/good/exec?container=app&command=sh&stdout=true", nil, "would run what no release"},
		{"attach", "POST", pods + "/good/attach?container=app&stdin=true", nil, "would run what no release"},
		{"an ephemeral container, even of the release's own image", "PUT", pods + "/good/ephemeralcontainers", inside, "would run what no release"},
		{"another image in a pod that runs", "PUT", pods + "/good", replaced, "no release names"},
		{"another image in the deployment", "PUT", deployment, image(get(deployment), foreign), "no release names"},
		{"a tag in the deployment", "PUT", deployment, image(get(deployment), name+":latest"), "by digest alone"},
		{"a job", "POST", "/apis/batch/v1/namespaces/" + production + "/jobs", object{"metadata": object{"name": "miner"},
			"spec": object{"template": object{"spec": object{"restartPolicy": "Never", "containers": []object{{"name": "x", "image": foreign}}}}}}, "no release names"},
		{"the end of the namespace", "DELETE", "/api/v1/namespaces/" + production, nil, "remove the environment's declaration"},
	} {
		status, err := p.Do(ctx, x.method, x.path, x.in, nil)
		if status != http.StatusForbidden || err == nil || !strings.Contains(err.Error(), x.why) {
			s.Errorf("%s: %d, want 403 because %s (%v)", x.what, status, x.why, err)
		}
	}
	// The label that the webhook finds the namespace by is the cluster's own: it cannot be taken off.
	for what, labels := range map[string]any{"without labels": object{}, "with another value": object{"kubernetes.io/metadata.name": "elsewhere"}} {
		ns := get("/api/v1/namespaces/" + production)
		ns["metadata"].(object)["labels"] = labels
		status, err := p.Do(ctx, "PUT", "/api/v1/namespaces/"+production, ns, nil)
		s.Logf("the namespace %s: %d %v", what, status, err)
		if status, err := p.Do(ctx, "POST", pods, pod("unlabelled", name+":latest"), nil); status != http.StatusForbidden {
			s.Errorf("a pod by tag after the namespace was put %s: %d %v", what, status, err)
		}
	}
	// What is no change of images goes on.
	scaled := get(deployment)
	scaled["spec"].(object)["replicas"] = 3
	p.must("PUT", deployment, scaled, nil)
	if got := p.runs(production); got != good {
		s.Errorf("after all that %s runs", got)
	}
}

// deaf is what the cluster lets in while Remit does not answer: nothing.
func (p *plant) deaf(good string) {
	for _, image := range []string{good, "nginx:latest"} {
		status, err := p.Do(p.s.Context(), "POST", "/api/v1/namespaces/"+production+"/pods", pod("deaf", image), nil)
		if status/100 == 2 || err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			p.s.Errorf("while the webhook is down, %s: %d %v", image, status, err)
		}
	}
	if status, err := p.Do(p.s.Context(), "POST", "/api/v1/namespaces/default/pods", pod("else", "nginx:latest"), nil); status != http.StatusCreated {
		p.s.Errorf("a namespace that nobody governs: %d %v", status, err)
	}
}

// dead holds that a bearer token of the cluster is no credential any more, by the cluster's own word.
func (p *plant) dead(authorization string) error {
	token := strings.TrimPrefix(authorization, "Bearer ")
	claims, err := claimsOf(token)
	if err != nil {
		return err
	}
	var review struct{ Status struct{ Authenticated bool } }
	p.must("POST", "/apis/authentication.k8s.io/v1/tokenreviews", object{"spec": object{"token": token}}, &review)
	if review.Status.Authenticated {
		return fmt.Errorf("the cluster still takes a token of %s", claims.Kubernetes.Namespace)
	}
	if claims.Kubernetes.Secret.Name == "" {
		return fmt.Errorf("the token of %s hangs on no Secret", claims.Kubernetes.Namespace)
	}
	status, _ := p.Do(p.s.Context(), "GET", "/api/v1/namespaces/"+claims.Kubernetes.Namespace+"/secrets/"+claims.Kubernetes.Secret.Name, nil, nil)
	if status != http.StatusNotFound {
		return fmt.Errorf("the Secret %s is still there: %d", claims.Kubernetes.Secret.Name, status)
	}
	return nil
}
