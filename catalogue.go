package remit

import (
	"fmt"
	"slices"
)

// Action is a verb of the catalogue, such as source.push. What the catalogue does not name is denied.
type Action string

// Impact is how much an action may do.
type Impact uint8

const (
	Privileged Impact = iota // the zero value is the strictest
	Write
	Read
)

var impacts = [...]string{"privileged", "write", "read"}

func (i Impact) String() string { return impacts[min(int(i), len(impacts)-1)] }

// MarshalText writes read, write or privileged.
func (i Impact) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText writes and nothing else.
func (i *Impact) UnmarshalText(b []byte) error {
	n := slices.Index(impacts[:], string(b))
	if n < 0 {
		return fmt.Errorf("an impact is read, write or privileged, not %q", b)
	}
	*i = Impact(n)
	return nil
}

// Stage is where an action lands.
type Stage string

const (
	StagePlan     Stage = "plan"
	StageSource   Stage = "source"
	StageReview   Stage = "review"
	StageBuild    Stage = "build"
	StageArtifact Stage = "artifact"
	StageDeploy   Stage = "deploy"
	StageOperate  Stage = "operate"
	StageSecret   Stage = "secret"
	StageTool     Stage = "tool"
	StageControl  Stage = "control"
	StageProbe    Stage = "probe"
)

// Zone is one of the four parts of a software supply chain that no identity may span.
type Zone string

const (
	ZoneNone       Zone = ""
	ZoneSource     Zone = "S"
	ZoneBuild      Zone = "B"
	ZoneProduction Zone = "P"
	ZoneControl    Zone = "C"
)

// Zone is the zone that s lies in. Steps of stages secret and tool lie in the zone declared on their resource;
// undeclared, and whatever else is unknown, is production, the strictest.
func (s Stage) Zone() Zone {
	switch s {
	case StagePlan, StageProbe:
		return ZoneNone
	case StageSource, StageReview:
		return ZoneSource
	case StageBuild, StageArtifact:
		return ZoneBuild
	case StageControl:
		return ZoneControl
	default:
		return ZoneProduction
	}
}

// Recovery is how a crash between an attempt and its outcome is resolved.
type Recovery string

const (
	RecoverCAS   Recovery = "cas"   // compare-and-swap: ask what is, retry with the same old value
	RecoverProbe Recovery = "probe" // ask the upstream what is
	RecoverOnce  Recovery = "once"  // no retry: ambiguous, a person looks
)

// ActionInfo is one line of the catalogue.
type ActionInfo struct {
	Action   Action   `json:"action"`
	Stage    Stage    `json:"stage"`
	Impact   Impact   `json:"impact"`
	Recovery Recovery `json:"recovery"`
	Resource string   `json:"resource"` // the type of resource that it acts on
}

// CatalogueVersion is raised with every change of the catalogue.
const CatalogueVersion = 4

// catalogue is ordered by stage; a line is never removed or given another meaning.
var catalogue = []ActionInfo{
	{"task.request", StagePlan, Write, RecoverCAS, "task"},
	{"task.delegate", StagePlan, Write, RecoverCAS, "task"},
	{ActionPlan, StagePlan, Write, RecoverCAS, "task"},
	{"issue.read", StagePlan, Read, RecoverProbe, "repo"},
	{"issue.comment", StagePlan, Write, RecoverOnce, "repo"},
	{"issue.write", StagePlan, Write, RecoverOnce, "repo"},
	{"source.read", StageSource, Read, RecoverProbe, "repo"},
	{"source.push", StageSource, Write, RecoverCAS, "repo"},
	{"source.propose", StageSource, Write, RecoverProbe, "repo"},
	{"source.merge", StageSource, Privileged, RecoverCAS, "repo"},
	{"review.read", StageReview, Read, RecoverProbe, "repo"},
	{"review.submit", StageReview, Write, RecoverOnce, "repo"},
	{"build.read", StageBuild, Read, RecoverProbe, "pipeline"},
	{"build.trigger", StageBuild, Write, RecoverOnce, "pipeline"},
	{"artifact.read", StageArtifact, Read, RecoverProbe, "artifact"},
	{"artifact.upload", StageArtifact, Write, RecoverProbe, "artifact"},
	{"artifact.publish", StageArtifact, Privileged, RecoverCAS, "artifact"},
	{"artifact.release", StageArtifact, Privileged, RecoverProbe, "repo"},
	{"deploy.read", StageDeploy, Read, RecoverProbe, "environment"},
	{"deploy.promote", StageDeploy, Privileged, RecoverProbe, "environment"},
	{"deploy.rollback", StageDeploy, Privileged, RecoverProbe, "environment"},
	{"operate.read", StageOperate, Read, RecoverProbe, "environment"},
	{"operate.change", StageOperate, Privileged, RecoverProbe, "environment"},
	{"secret.read", StageSecret, Privileged, RecoverProbe, "secret"},
	{"secret.use", StageSecret, Privileged, RecoverProbe, "secret"},
	{"tool.list", StageTool, Read, RecoverProbe, "tool"},
	{"tool.read", StageTool, Read, RecoverProbe, "tool"},
	{"tool.write", StageTool, Write, RecoverOnce, "tool"},
	{"tool.run", StageTool, Write, RecoverOnce, "tool"},
	{"tool.call", StageTool, Privileged, RecoverOnce, "tool"},
	{"control.apply", StageControl, Privileged, RecoverCAS, "control"},
	{"control.policy", StageControl, Privileged, RecoverCAS, "control"},
	{"control.admin", StageControl, Privileged, RecoverCAS, "control"},
	{"control.key", StageControl, Privileged, RecoverCAS, "control"},
	{"control.erase", StageControl, Privileged, RecoverCAS, "control"},
	{"control.export", StageControl, Privileged, RecoverCAS, "control"},
	{"control.lease", StageControl, Privileged, RecoverCAS, "control"},
	{"control.restore", StageControl, Privileged, RecoverCAS, "control"},
	{"probe.read", StageProbe, Read, RecoverProbe, "probe"},
	{"probe.write", StageProbe, Write, RecoverProbe, "probe"},
	{"probe.privileged", StageProbe, Privileged, RecoverProbe, "probe"},
}

var byAction = func() map[Action]ActionInfo {
	m := make(map[Action]ActionInfo, len(catalogue))
	for _, c := range catalogue {
		m[c.Action] = c
	}
	return m
}()

// Lookup finds a in the catalogue.
func Lookup(a Action) (ActionInfo, bool) {
	c, ok := byAction[a]
	return c, ok
}

// Catalogue is a copy of all lines, in the order in which they are documented.
func Catalogue() []ActionInfo { return slices.Clone(catalogue) }

// FunctionZones is the zones in which an identity of function f may take steps that change something (R4a).
func FunctionZones(f Function) []Zone {
	switch f {
	case FuncCode, FuncReview:
		return []Zone{ZoneSource}
	case FuncBuild, FuncRelease:
		return []Zone{ZoneBuild}
	case FuncDeploy, FuncOperate:
		return []Zone{ZoneProduction}
	}
	return nil
}

// FunctionStages is the stages in which an identity of function f may take steps that change something (R4a); steps of
// stages secret and tool are judged by the zone of their resource instead. The canary's own stage is open to all.
func FunctionStages(f Function) []Stage {
	switch f {
	case FuncPlan:
		return []Stage{StagePlan, StageProbe}
	case FuncCode:
		return []Stage{StagePlan, StageSource, StageProbe}
	case FuncReview:
		return []Stage{StagePlan, StageReview, StageProbe}
	case FuncBuild:
		return []Stage{StagePlan, StageBuild, StageArtifact, StageProbe}
	case FuncRelease:
		return []Stage{StagePlan, StageArtifact, StageProbe}
	case FuncDeploy:
		return []Stage{StagePlan, StageDeploy, StageProbe}
	case FuncOperate:
		return []Stage{StagePlan, StageOperate, StageProbe}
	}
	return nil
}

// Valid tells whether f is one of the seven functions.
func (f Function) Valid() bool { return FunctionStages(f) != nil }
