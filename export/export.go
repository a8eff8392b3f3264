// Package export says what an entry of the log means in the words of others: as an OCSF 1.8 event for those who collect
// security events, and as a CloudEvents 1.0 event for everybody else. Only leaves are exported, and nothing personal or
// secret stands in a leaf (rule R10): people are ids, texts are commitments.
package export

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/remit-dev/remit"
)

// Source is the log that entries are of.
type Source struct {
	Org     remit.Org
	Origin  string // of the log
	Version string // of the server
}

// Entry is an entry to export.
type Entry struct {
	Index remit.EntryIndex
	At    time.Time
	Event remit.Event
	View  []byte // the leaf's JSON view: nothing of the leaf is lost in a mapping
}

// Formats are the names of what an entry can be exported as.
func Formats() []string { return []string{"cloudevents", "ocsf"} }

// Line is e in a format, as one line of JSON without its end.
func (s Source) Line(format string, e Entry) ([]byte, error) {
	switch format {
	case "ocsf":
		return s.OCSF(e)
	case "cloudevents":
		return s.CloudEvent(e)
	}
	return nil, remit.Errorf(remit.BadRequest, "there is no format %.32q; there are cloudevents and ocsf", format)
}

// CloudEvent is e as a CloudEvents 1.0 event in structured mode. The log's origin and the entry's index are its identity:
// an event that comes twice is told by them.
func (s Source) CloudEvent(e Entry) ([]byte, error) {
	c := cloudevents.New(cloudevents.CloudEventsVersionV1)
	c.SetID(strconv.FormatUint(uint64(e.Index), 10))
	c.SetSource(s.Origin)
	c.SetType("dev.remit." + e.Event.Kind())
	c.SetTime(e.At.UTC())
	if about := subject(e.Event); about != "" {
		c.SetSubject(about)
	}
	c.SetExtension("sequence", fmt.Sprintf("%020d", uint64(e.Index))) // the Sequence extension: ordered as text
	if err := c.SetData(cloudevents.ApplicationJSON, json.RawMessage(e.View)); err != nil {
		return nil, fmt.Errorf("entry %d as a CloudEvent: %w", e.Index, err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("entry %d as a CloudEvent: %w", e.Index, err)
	}
	return json.Marshal(c)
}

// subject is what an event is about, by the name or id that people would look for.
func subject(e remit.Event) string {
	switch e := e.(type) {
	case *remit.PersonDeclared:
		return string(e.ID)
	case *remit.KeyConfirmed:
		return string(e.Person)
	case *remit.PersonKilled:
		return string(e.Person)
	case *remit.PersonInvited:
		return string(e.Person)
	case *remit.InvitationWithdrawn:
		return string(e.Person)
	case *remit.KeyEnrolled:
		return string(e.Person)
	case *remit.KeyAdmitted:
		return string(e.Person)
	case *remit.KeyRemoved:
		return string(e.Person)
	case *remit.GroupsShown:
		return string(e.Person)
	case *remit.AgentDeclared:
		return e.Name
	case *remit.AgentChanged:
		return e.Agent
	case *remit.TaskCreated:
		return string(e.ID)
	case *remit.TaskEnded:
		return string(e.Task)
	case *remit.InstanceStarted:
		return string(e.ID)
	case *remit.InstanceEnded:
		return string(e.Instance)
	case *remit.Decided:
		return string(e.Task)
	case *remit.AccessOpened:
		return string(e.ID)
	case *remit.VoteCast:
		return string(e.Access)
	case *remit.AccessSeen:
		return string(e.Access)
	case *remit.PlanWithdrawn:
		return string(e.Access)
	case *remit.AnswerKept:
		return "answer"
	case *remit.PolicyTried:
		return e.Bundle.String()
	case *remit.ActivationDeclared:
		return e.Of
	case *remit.BreakGlassDeclared:
		return e.Name
	case *remit.BreakGlassOpened:
		return string(e.ID)
	case *remit.BreakGlassReviewed:
		return string(e.ID)
	case *remit.CampaignDeclared:
		return e.Name
	case *remit.CampaignOpened:
		return string(e.ID)
	case *remit.CampaignClosed:
		return string(e.ID)
	case *remit.ReviewOpened:
		return string(e.ID)
	case *remit.ReviewAnswered:
		return string(e.Item)
	case *remit.ReviewRemoved:
		return string(e.Item)
	case *remit.ReviewVoid:
		return string(e.Item)
	case *remit.ReviewRegranted:
		return string(e.Item)
	case *remit.AccessMoved:
		return string(e.Access)
	case *remit.Redeemed:
		return string(e.ID)
	case *remit.Recorded:
		return string(e.Attempt)
	case *remit.LeaseOpened:
		return string(e.ID)
	case *remit.LeaseMoved:
		return string(e.Lease)
	case *remit.Found:
		return e.Agent
	}
	return ""
}

// InToto is the format of signed statements: DSSE envelopes, of the entries that are votes or outcomes. Who has the key
// makes them.
const InToto = "intoto"

// Last is the index of the entry that a line is of, to go on after it.
func Last(format string, line []byte) (remit.EntryIndex, error) {
	if format == InToto {
		return recorded(line)
	}
	var at struct {
		ID          string `json:"id"`
		Specversion string `json:"specversion"`
		Metadata    struct {
			Sequence *uint64 `json:"sequence"`
		} `json:"metadata"`
	}
	err := json.Unmarshal(line, &at)
	switch {
	case err != nil:
	case format == "ocsf" && at.Metadata.Sequence != nil:
		return remit.EntryIndex(*at.Metadata.Sequence), nil
	case format == "cloudevents" && at.Specversion != "":
		n, err := strconv.ParseUint(at.ID, 10, 63)
		if err == nil {
			return remit.EntryIndex(n), nil
		}
	}
	return 0, remit.Errorf(remit.Conflict, "its last line is not an entry in the format %s; name another file, or say --from", format)
}

// recorded is the entry that a statement names.
func recorded(line []byte) (remit.EntryIndex, error) {
	var e struct {
		Payload []byte `json:"payload"` // base64
	}
	var s struct {
		Predicate struct {
			Properties []string `json:"properties"`
		} `json:"predicate"`
	}
	if json.Unmarshal(line, &e) == nil && json.Unmarshal(e.Payload, &s) == nil {
		for _, p := range s.Predicate.Properties {
			if where, ok := strings.CutPrefix(p, "REMIT_RECORD "); ok {
				if n, err := strconv.ParseUint(where[strings.LastIndexByte(where, '#')+1:], 10, 63); err == nil {
					return remit.EntryIndex(n), nil
				}
			}
		}
	}
	return 0, remit.Errorf(remit.Conflict, "its last line is no statement on an entry in the format %s; name another file, or say --from", InToto)
}
