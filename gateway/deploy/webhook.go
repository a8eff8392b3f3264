package deploy

import (
	"sigs.k8s.io/yaml"

	"github.com/remit-dev/remit"
)

// nameLabel is set on every namespace by the API server itself, and cannot be taken away.
const nameLabel = "kubernetes.io/metadata.name"

// Webhook is the ValidatingWebhookConfiguration that makes a cluster ask about an environment, as YAML.
func Webhook(v remit.AdmissionView) ([]byte, error) {
	rule := func(operations []string, groups string, resources ...string) map[string]any {
		return map[string]any{"operations": operations, "apiGroups": []string{groups}, "apiVersions": []string{"*"}, "resources": resources, "scope": "*"}
	}
	change := []string{"CREATE", "UPDATE"}
	hook := func(name string, selector map[string]any, rules ...map[string]any) map[string]any {
		return map[string]any{
			"name": name, "admissionReviewVersions": []string{"v1"}, "failurePolicy": "Fail", "matchPolicy": "Equivalent",
			"sideEffects": "None", "timeoutSeconds": 5, "namespaceSelector": selector, "rules": rules,
			"clientConfig": map[string]any{"url": v.URL, "caBundle": v.CA},
		}
	}
	// By name and not by a label that people set: whoever may label a namespace could otherwise take it out.
	selector := map[string]any{"matchLabels": map[string]string{nameLabel: v.Namespace}}
	return yaml.Marshal(map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": map[string]any{"name": "remit-" + v.Namespace, "annotations": map[string]string{"remit.dev/environment": v.Environment}},
		"webhooks": []any{hook("admission.remit.dev", selector,
			rule(change, "", "pods", "replicationcontrollers", "podtemplates"),
			rule([]string{"UPDATE"}, "", "pods/ephemeralcontainers"),
			rule([]string{"CONNECT"}, "", "pods/exec", "pods/attach"),
			rule(change, "apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
			rule(change, "batch", "jobs", "cronjobs"),
			rule([]string{"UPDATE", "DELETE"}, "", "namespaces"),
		)},
	})
}
