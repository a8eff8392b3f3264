package scan

import (
	"fmt"

	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// cluster is a scan of a Kubernetes API server: who may do what by RBAC, which credentials lie about, and which checks can
// be gone round. Nothing of a Secret but its type and names is kept.
type cluster struct {
	*reader
	found []thing
	roles map[string][]policyRule // by KIND/NAMESPACE/NAME
	loose map[string]bool         // roles of the cluster itself that it does not put right
}

type kubeMeta struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Created     *time.Time        `json:"creationTimestamp"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type policyRule struct {
	Verbs     []string `json:"verbs"`
	Groups    []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Names     []string `json:"resourceNames"`
	URLs      []string `json:"nonResourceURLs"`
}

type kubeRole struct {
	Meta  kubeMeta     `json:"metadata"`
	Rules []policyRule `json:"rules"`
}

type kubeBinding struct {
	Meta     kubeMeta `json:"metadata"`
	Subjects []struct {
		Kind      string `json:"kind"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"subjects"`
	Role struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"roleRef"`
}

// everywhere is where a thing lies that is in no namespace.
const everywhere = "the cluster"

const rbacAPI = "/apis/rbac.authorization.k8s.io/v1/"

func kubernetes(r *reader) []thing {
	k := &cluster{reader: r, roles: map[string][]policyRule{}, loose: map[string]bool{}}
	if r.target.Auth == nil {
		r.unsupported("what only members see", "no observer is declared for this upstream, so it was looked at as a stranger")
	}
	k.read()
	k.accounts()
	k.tokens()
	k.webhooks()
	k.requests()
	r.unsupported("client certificates and kubeconfig files", "a cluster does not remember which certificates its authority signed; keep them short")
	r.unsupported("users and groups of an identity provider", "a cluster does not know who is in them; look there")
	return k.found
}

// read reads the roles and judges the bindings with them.
func (k *cluster) read() {
	const auto = "rbac.authorization.kubernetes.io/autoupdate"
	for _, c := range list[kubeRole](k.reader, "cluster roles", rbacAPI+"clusterroles", "items") {
		k.roles["ClusterRole//"+c.Meta.Name] = c.Rules
		if c.Meta.Labels["kubernetes.io/bootstrapping"] != "rbac-defaults" || c.Meta.Annotations[auto] != "true" {
			k.loose["ClusterRole//"+c.Meta.Name] = true
		}
	}
	for _, c := range list[kubeRole](k.reader, "roles", rbacAPI+"roles", "items") {
		k.roles["Role/"+c.Meta.Namespace+"/"+c.Meta.Name] = c.Rules
		if c.Meta.Labels["kubernetes.io/bootstrapping"] != "rbac-defaults" || c.Meta.Annotations[auto] != "true" {
			k.loose["Role/"+c.Meta.Namespace+"/"+c.Meta.Name] = true
		}
	}
	own := 0
	for _, kind := range []string{"clusterrolebindings", "rolebindings"} {
		for _, b := range list[kubeBinding](k.reader, kind[:len(kind)-8]+" bindings", rbacAPI+kind, "items") {
			role := b.Role.Kind + "//" + b.Role.Name
			if b.Role.Kind == "Role" {
				role = "Role/" + b.Meta.Namespace + "/" + b.Role.Name
			}
			rules, known := k.roles[role]
			where := everywhere
			if b.Meta.Namespace != "" {
				where = "namespace " + clip(b.Meta.Namespace)
			}
			if !known {
				k.unseen(fmt.Sprintf("what binding %s gives", b.Meta.Name), &gap{code: gapMissing, why: fmt.Sprintf("its role %s is not among those that the observer sees", clip(b.Role.Name))})
				continue
			}
			for _, s := range b.Subjects {
				user, part := subjectOf(s.Kind, s.Namespace, s.Name)
				admins := user == "group:system:masters" && b.Meta.Name == "cluster-admin" && b.Role.Name == "cluster-admin" // compiled into the API server
				comes := strings.HasPrefix(b.Role.Name, "system:") || b.Role.Name == "extension-apiserver-authentication-reader"
				trust := user == "group:system:serviceaccounts" && b.Meta.Name == b.Role.Name && b.Role.Name == "system:cluster-trust-bundle-discovery"
				if admins || (part || trust) && strings.HasPrefix(b.Meta.Name, "system:") && comes && !k.loose[role] {
					own++ // the cluster's own parts, as it comes
					continue
				}
				x := thing{subject: "kubernetes:binding/" + slashed(b.Meta.Namespace) + clip(b.Meta.Name) + "/" + clip(user), kind: "binding", where: where,
					text: fmt.Sprintf("%s, by binding %s to role %s,", clip(user), clip(b.Meta.Name), clip(b.Role.Name)), holder: clip(user), account: user, answerable: true, created: when0(b.Meta.Created)}
				k.judgeRole(&x, rules, b.Meta.Namespace)
				if toEverybody(user) && len(x.facts) == 0 && harmless(rules) {
					continue // discovery, and what one may ask about oneself
				}
				if toEverybody(user) {
					x.power = max(x.power, reads)
					x.saw(everybody, "has it, whoever that is")
				}
				k.add(x)
			}
		}
	}
	if own > 0 {
		k.seen("bindings of the cluster's own parts, as it comes with them", own)
	}
}

func (k *cluster) add(x thing) { k.found = append(k.found, x) }

func slashed(namespace string) string {
	if namespace == "" {
		return ""
	}
	return clip(namespace) + "/"
}

// subjectOf is a subject as the API server calls whoever asks. part tells whether it is a part of the cluster itself.
func subjectOf(kind, namespace, name string) (user string, part bool) {
	switch kind {
	case "ServiceAccount":
		return "system:serviceaccount:" + namespace + ":" + name, namespace == "kube-system"
	case "Group":
		return "group:" + name, strings.HasPrefix(name, "system:") && !toEverybody("group:"+name)
	}
	return name, strings.HasPrefix(name, "system:kube-") || strings.HasPrefix(name, "system:node") || name == "system:apiserver" || strings.HasPrefix(name, "system:controller")
}

// toEverybody tells whether a subject is whoever asks, has an account, or is a program in the cluster.
func toEverybody(user string) bool {
	return user == "group:system:authenticated" || user == "group:system:unauthenticated" || user == "system:anonymous" || user == "group:system:serviceaccounts"
}

// harmless tells whether rules only let one ask about oneself and about the API.
func harmless(rules []policyRule) bool {
	for _, r := range rules {
		if len(r.Resources) > 0 && slices.ContainsFunc(r.Resources, func(s string) bool { return !strings.HasPrefix(s, "self") }) {
			return false
		}
		if len(r.URLs) > 0 && slices.ContainsFunc(r.Verbs, func(v string) bool { return v != "get" && v != "head" }) {
			return false
		}
	}
	return true
}

// able tells whether r allows one of the verbs on one of the resources (RBAC: * is all of them).
func (r policyRule) able(group string, verbs, resources []string) bool {
	any := func(have, want []string) bool {
		return slices.ContainsFunc(have, func(h string) bool { return h == "*" || slices.Contains(want, h) })
	}
	among := func(have []string) bool {
		return slices.ContainsFunc(have, func(h string) bool {
			return h == "*" || slices.ContainsFunc(resources, func(want string) bool {
				_, sub, isSub := strings.Cut(want, "/")
				return h == want || isSub && h == "*/"+sub
			})
		})
	}
	return (slices.Contains(r.Groups, "*") || slices.Contains(r.Groups, group)) && any(r.Verbs, verbs) && among(r.Resources)
}

var (
	changes   = []string{"create", "update", "patch"}
	anyChange = []string{"create", "update", "patch", "delete", "deletecollection"}
)

// dangers are what a role may allow that leads further than it says; the first line that fits a fact speaks for it.
var dangers = []struct {
	fact      fact
	group     string
	verbs     []string
	resources []string
	text      string
}{
	{readsSecrets, "", []string{"get", "list", "watch"}, []string{"secrets"}, "reads secrets"},
	{runsAnything, "", []string{"create"}, []string{"pods"}, "starts pods"},
	{runsAnything, "", []string{"create", "get"}, []string{"pods/exec", "pods/attach"}, "runs commands in pods"},
	{runsAnything, "", []string{"update", "patch"}, []string{"pods/ephemeralcontainers"}, "puts containers into pods"},
	{runsAnything, "", []string{"create", "get"}, []string{"nodes/proxy"}, "speaks to kubelets, past the API server's checks"},
	{runsAnything, "apps", changes, []string{"deployments", "daemonsets", "statefulsets", "replicasets"}, "changes workloads"},
	{runsAnything, "batch", changes, []string{"jobs", "cronjobs"}, "changes jobs"},
	{runsAnything, "", changes, []string{"replicationcontrollers"}, "changes workloads"},
	{escalates, "rbac.authorization.k8s.io", []string{"escalate", "bind"}, []string{"roles", "clusterroles"}, "gives roles that it does not have"},
	{escalates, "", []string{"impersonate"}, []string{"users", "groups", "serviceaccounts"}, "acts as others"},
	{escalates, "authentication.k8s.io", []string{"impersonate"}, []string{"userextras", "uids"}, "acts as others"},
	{escalates, "", []string{"create"}, []string{"serviceaccounts/token"}, "makes tokens of service accounts"},
	{escalates, "certificates.k8s.io", []string{"update", "patch"}, []string{"certificatesigningrequests/approval"}, "approves certificates, and so new identities"},
	{escalates, "certificates.k8s.io", []string{"approve", "sign"}, []string{"signers"}, "approves certificates, and so new identities"},
	{changesGates, "admissionregistration.k8s.io", anyChange, []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}, "changes what the cluster checks"},
}

// judgeRole notes what rules let their holder do, in namespace or, where that is empty, everywhere.
func (k *cluster) judgeRole(x *thing, rules []policyRule, namespace string) {
	said := map[string]bool{}
	for _, r := range rules {
		if len(r.URLs) > 0 && len(r.Resources) == 0 {
			continue
		}
		x.power = max(x.power, reads)
		if slices.ContainsFunc(r.Verbs, func(v string) bool { return v == "*" || !slices.Contains([]string{"get", "list", "watch"}, v) }) {
			x.power = max(x.power, writes)
		}
		bounded := ""
		if len(r.Names) > 0 {
			bounded = ", of " + clip(strings.Join(r.Names, ", ")) + " only"
		}
		if slices.Contains(r.Verbs, "*") && slices.Contains(r.Resources, "*") && slices.Contains(r.Groups, "*") {
			x.saw(wildcard, "may do everything%s", bounded)
			x.power = administers
		} else if slices.Contains(r.Verbs, "*") && bounded == "" || slices.Contains(r.Resources, "*") && x.power >= writes && !onlyReads(r) {
			text := fmt.Sprintf("has %s on %s", clip(strings.Join(r.Verbs, ", ")), clip(strings.Join(r.Resources, ", ")))
			if !said[text] {
				said[text] = true
				x.saw(wildcard, "%s", text)
			}
		}
		for _, d := range dangers {
			if !r.able(d.group, d.verbs, d.resources) || said[d.text+bounded] {
				continue
			}
			said[d.text+bounded] = true
			x.saw(d.fact, "%s%s", d.text, bounded)
			if d.fact == escalates || d.fact == changesGates {
				x.power = administers
			}
		}
	}
	if len(x.facts) == 0 {
		return
	}
	x.actions = []remit.Action{}
	if x.facts[runsAnything] != nil || x.facts[wildcard] != nil || x.facts[escalates] != nil {
		x.actions = append(x.actions, "deploy.promote", "operate.change")
	}
	if x.facts[readsSecrets] != nil || x.facts[wildcard] != nil || x.facts[escalates] != nil {
		x.actions = append(x.actions, "secret.read")
	}
	for _, e := range k.target.Environments {
		if namespace == "" || e.Namespace == namespace {
			x.resources = append(x.resources, remit.Pattern("environment:"+e.Name))
		}
	}
	if len(x.actions) > 0 {
		x.note = "secret.read is of the cluster's own secrets there, which Remit does not know by name"
		if x.actions[len(x.actions)-1] != "secret.read" {
			x.note = ""
		}
	}
}

func onlyReads(r policyRule) bool {
	return !slices.ContainsFunc(r.Verbs, func(v string) bool { return v != "get" && v != "list" && v != "watch" })
}

// accounts looks at service accounts that give pods a credential by themselves.
func (k *cluster) accounts() {
	type account struct {
		Meta  kubeMeta `json:"metadata"`
		Mount *bool    `json:"automountServiceAccountToken"`
	}
	ours := map[string]bool{}
	for _, e := range k.target.Environments {
		ours[e.Namespace] = true
	}
	for _, a := range list[account](k.reader, "service accounts", "/api/v1/serviceaccounts", "items") {
		if a.Meta.Name != "default" || a.Mount != nil && !*a.Mount || strings.HasPrefix(a.Meta.Namespace, "kube-") && !ours[a.Meta.Namespace] {
			continue
		}
		x := thing{subject: "kubernetes:serviceaccount/" + clip(a.Meta.Namespace) + "/default", kind: "service-account", where: "namespace " + clip(a.Meta.Namespace),
			text: "service account default of " + clip(a.Meta.Namespace), created: when0(a.Meta.Created)}
		x.saw(mountsToken, "is mounted into every pod that does not say otherwise")
		k.add(x)
	}
}

// tokens looks for tokens of service accounts that are kept as Secrets. Their values come with the answer, since that is
// how the API is, and are dropped as it is read.
func (k *cluster) tokens() {
	for _, s := range list[struct {
		Meta kubeMeta `json:"metadata"`
		Type string   `json:"type"`
	}](k.reader, "service account tokens that are kept as secrets", "/api/v1/secrets", "items", "fieldSelector", "type=kubernetes.io/service-account-token") {
		if s.Type != "kubernetes.io/service-account-token" {
			continue
		}
		of := s.Meta.Annotations["kubernetes.io/service-account.name"]
		x := thing{subject: "kubernetes:secret/" + clip(s.Meta.Namespace) + "/" + clip(s.Meta.Name), kind: "token", where: "namespace " + clip(s.Meta.Namespace),
			text: fmt.Sprintf("secret %s of namespace %s", clip(s.Meta.Name), clip(s.Meta.Namespace)), credential: true, answerable: true, endless: true, power: reads, created: when0(s.Meta.Created)}
		x.account = "system:serviceaccount:" + s.Meta.Namespace + ":" + of
		x.holder = clip(x.account)
		if day, err := time.Parse(time.DateOnly, s.Meta.Labels["kubernetes.io/legacy-token-last-used"]); err == nil {
			x.used, x.usable = &day, true
		}
		x.saw(endlessToken, "is a token of service account %s", clip(of))
		if x.account != "" && k.target.owns(x.account) {
			x.account, x.owner = "", "remit" // Remit's account; a token of it that lies about is a finding all the same
		}
		k.add(x)
	}
	k.inherit()
}

// inherit gives tokens the power of the bindings of their accounts.
func (k *cluster) inherit() {
	most, reach := map[string]power{}, map[string]*thing{}
	for i := range k.found {
		if x := &k.found[i]; x.kind == "binding" {
			if x.power >= most[x.holder] {
				most[x.holder], reach[x.holder] = x.power, x
			}
		}
	}
	for i := range k.found {
		if x := &k.found[i]; x.kind == "token" && reach[x.holder] != nil {
			x.power = max(x.power, most[x.holder])
			x.actions, x.resources = slices.Clone(reach[x.holder].actions), slices.Clone(reach[x.holder].resources)
		}
	}
}

// webhooks looks at checks of the cluster that let pass what they cannot check.
func (k *cluster) webhooks() {
	type hook struct {
		Name    string `json:"name"`
		Failure string `json:"failurePolicy"`
		Client  struct {
			URL *string `json:"url"`
		} `json:"clientConfig"`
		Namespaces map[string]any `json:"namespaceSelector"`
	}
	for _, kind := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
		for _, c := range list[struct {
			Meta  kubeMeta `json:"metadata"`
			Hooks []hook   `json:"webhooks"`
		}](k.reader, kind, "/apis/admissionregistration.k8s.io/v1/"+kind, "items") {
			for _, h := range c.Hooks {
				x := thing{subject: "kubernetes:" + kind + "/" + clip(c.Meta.Name) + "/" + clip(h.Name), kind: "gate", where: everywhere, created: when0(c.Meta.Created),
					text: fmt.Sprintf("webhook %s of %s", clip(h.Name), clip(c.Meta.Name))}
				if h.Failure == "Ignore" {
					x.saw(failsOpen, "lets everything pass while it does not answer")
				}
				if h.Client.URL != nil {
					if host, outside, insecure := k.target.outside(*h.Client.URL); outside || insecure {
						x.saw(outsideHook, "shows everything that it checks to %s", host)
					}
				}
				k.add(x)
			}
		}
	}
}

// requests counts certificate requests, and finds those that were approved: each is an identity.
func (k *cluster) requests() {
	for _, c := range list[struct {
		Meta kubeMeta `json:"metadata"`
		Spec struct {
			User   string   `json:"username"`
			Signer string   `json:"signerName"`
			Groups []string `json:"groups"`
			Until  *int     `json:"expirationSeconds"`
		} `json:"spec"`
		Status struct {
			Conditions []struct {
				Type string `json:"type"`
			} `json:"conditions"`
		} `json:"status"`
	}](k.reader, "certificate signing requests", "/apis/certificates.k8s.io/v1/certificatesigningrequests", "items") {
		approved := slices.ContainsFunc(c.Status.Conditions, func(c struct {
			Type string `json:"type"`
		}) bool {
			return c.Type == "Approved"
		})
		if !approved || c.Spec.Signer != "kubernetes.io/kube-apiserver-client" {
			continue
		}
		x := thing{subject: "kubernetes:csr/" + clip(c.Meta.Name), kind: "certificate", where: everywhere, text: fmt.Sprintf("client certificate of request %s", clip(c.Meta.Name)),
			holder: clip(c.Spec.User), account: c.Spec.User, credential: true, answerable: true, power: reads, created: when0(c.Meta.Created), endless: c.Spec.Until == nil}
		if c.Spec.Until != nil && c.Meta.Created != nil {
			ends := c.Meta.Created.Add(time.Duration(min(max(*c.Spec.Until, 0), 1<<31)) * time.Second)
			x.ends = &ends
		}
		x.saw(escalates, "was approved: whoever asked for it is known to the cluster, and a certificate cannot be taken back")
		k.add(x)
	}
}

// Answering are the accounts of a cluster that declared environments answer for.
func Answering(list []Environment) map[string]string {
	out := map[string]string{}
	for _, e := range list {
		if e.ServiceAccount != "" {
			out["system:serviceaccount:"+e.Namespace+":"+e.ServiceAccount] = "environment:" + e.Name
		}
	}
	return out
}
