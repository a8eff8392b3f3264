package deploy

import (
	"fmt"
	"iter"
	"maps"
	"strings"
)

// Objects of Kubernetes are read as they came, and not through types of one release of it: a member that such types do
// not know would be dropped unseen.

func mapKeys(m map[string]any) iter.Seq[string] { return maps.Keys(m) }

// dig follows members down to an object.
func dig(body map[string]any, path []string) (map[string]any, error) {
	for i, p := range path {
		next, ok := body[p].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is missing", strings.Join(path[:i+1], "."))
		}
		body = next
	}
	return body, nil
}

// containerLists are the members of a pod's spec that name images to run.
var containerLists = []string{"initContainers", "containers", "ephemeralContainers"}

// eachImage goes through every image of a pod's spec: of containers of every sort, and of volumes that are images
// (KEP-4639). A list that is not one, or a container without a name, is an error: what cannot be read is not let through.
func eachImage(pod map[string]any, f func(at string, image any, set func(string)) error) error {
	for _, list := range containerLists {
		items, err := objects(pod, list)
		if err != nil {
			return err
		}
		for i, c := range items {
			name, ok := c["name"].(string)
			if !ok || name == "" {
				return fmt.Errorf("%s[%d] has no name", list, i)
			}
			if err := f(list+"["+name+"].image", c["image"], func(s string) { c["image"] = s }); err != nil {
				return err
			}
		}
	}
	volumes, err := objects(pod, "volumes")
	if err != nil {
		return err
	}
	for i, v := range volumes {
		if v["image"] == nil {
			continue
		}
		image, ok := v["image"].(map[string]any)
		if !ok {
			return fmt.Errorf("volumes[%d].image is no object", i)
		}
		if err := f(fmt.Sprintf("volumes[%v].image.reference", v["name"]), image["reference"], func(s string) { image["reference"] = s }); err != nil {
			return err
		}
	}
	return nil
}

// objects reads a list of objects; absent and null are the empty list.
func objects(m map[string]any, name string) ([]map[string]any, error) {
	if m[name] == nil {
		return nil, nil
	}
	list, ok := m[name].([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no list", name)
	}
	out := make([]map[string]any, len(list))
	for i, e := range list {
		if out[i], ok = e.(map[string]any); !ok {
			return nil, fmt.Errorf("%s[%d] is no object", name, i)
		}
	}
	return out, nil
}
