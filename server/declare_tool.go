package server

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/remit-dev/remit"
)

func (d *declaring) tools(in remit.Declarations) error {
	for i, x := range in.Tools {
		declared, err := x.Declared()
		if err != nil {
			return wrong(fmt.Sprintf("tools[%d].impact", i), "%v", err)
		}
		declared.Taints, declared.Approvers = some(x.Taints), some(x.Approvers)
		if x.Probe != nil {
			spec, err := json.Marshal(x.Probe)
			if err != nil {
				return err
			}
			if declared.Spec, err = d.commit(d.texts["tool "+x.Name], spec); err != nil {
				return err
			}
		}
		d.set.Tools = append(d.set.Tools, declared)
	}
	return nil
}

// probes puts into tools what is kept of their probes.
func (s *Server) probes(ctx context.Context, tools []remit.Tool, specs map[string]remit.Digest) error {
	for i := range tools {
		if spec := specs[tools[i].Name]; !spec.IsZero() {
			tools[i].Probe = &remit.ToolProbe{}
			if err := s.spec(ctx, spec, tools[i].Probe); err != nil {
				return err
			}
		}
	}
	return nil
}
