package reply

import (
	"fmt"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// Task is the life of a held call as the tasks extension tells it.
type Task struct {
	Type    string         `json:"resultType"`
	ID      string         `json:"taskId"`
	Status  string         `json:"status"` // working | completed | failed | cancelled
	Message string         `json:"statusMessage,omitempty"`
	Created time.Time      `json:"createdAt"`
	Updated time.Time      `json:"lastUpdatedAt"`
	Life    int64          `json:"ttlMs"`
	Poll    int64          `json:"pollIntervalMs"`
	Result  any            `json:"result,omitempty"`
	Error   any            `json:"error,omitempty"`
	Meta    map[string]any `json:"_meta,omitempty"`
}

// NewTask is a held call as a task of that id, made at a time, whose access request people look at by its URL.
func NewTask(id string, access remit.ID, at time.Time, url string) Task {
	return Task{Type: "complete", ID: id, Status: "working", Created: at.UTC(), Updated: at.UTC(),
		Life: ticket.Life.Milliseconds(), Poll: sse.Beat.Milliseconds(),
		Message: fmt.Sprintf("held by Remit as %s: people decide at %s", access, url)}
}

// With is a task that has ended in an answer.
func (j Task) With(m envelope.Reply) Task {
	j.Status, j.Message, j.Result = "completed", "", m.Result
	if m.Error != nil {
		j.Status, j.Message, j.Result, j.Error = "failed", "the call was answered with an error", nil, m.Error
	}
	return j
}
