//go:build unix

package real

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

// Images is a running OCI registry (distribution).
type Images struct {
	URL  string // http://127.0.0.1:PORT
	Host string // 127.0.0.1:PORT, as in references of images
}

const registryConfig = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: "127.0.0.1:%d"}
`

// Registry starts a registry that lets in everybody, unless env says otherwise: settings of distribution's own, such as
// REGISTRY_AUTH_TOKEN_REALM=….
func Registry(t testing.TB, env ...string) *Images {
	t.Helper()
	path, dir, port := program(t, "registry"), directory(t), ports(t, 1)[0]
	i := &Images{Host: fmt.Sprintf("127.0.0.1:%d", port)}
	i.URL = "http://" + i.Host
	config := write(t, dir, "config.yml", fmt.Sprintf(registryConfig, filepath.Join(dir, "data"), port))
	p := start(t, false, dir, append([]string{"OTEL_TRACES_EXPORTER=none"}, env...), path, "serve", config)
	p.ready(t, func(ctx context.Context) error {
		status, err := call(ctx, http.DefaultClient, http.MethodGet, i.URL+"/v2/", "", nil, nil)
		if status == http.StatusUnauthorized { // it asks for a token, so it is there
			return nil
		}
		return err
	})
	return i
}
