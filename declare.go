package remit

import "slices"

// Declarations are what an organisation declares, as a set: what is not in it is removed when it is applied. They are
// written as YAML (room declare) and sent as JSON; the names of the members are the same in both.
type Declarations struct {
	People       []Person      `json:"people,omitempty"`
	Groups       []Group       `json:"groups,omitempty"`
	Agents       []Agent       `json:"agents,omitempty"`
	Upstreams    []Upstream    `json:"upstreams,omitempty"`
	Repositories []Repository  `json:"repositories,omitempty"`
	Environments []Environment `json:"environments,omitempty"`
	Secrets      []Secret      `json:"secrets,omitempty"`
	Tools        []Tool        `json:"tools,omitempty"`
	Boundaries   []Boundary    `json:"boundaries,omitempty"`
	Detections   []Detection   `json:"detections,omitempty"`
	BreakGlass   []BreakGlass  `json:"break_glass,omitempty"`
	Activation   []Activation  `json:"activation,omitempty"`
	Notify       []Channel     `json:"notify,omitempty"`
	Escalations  []Escalation  `json:"escalations,omitempty"`
	Campaigns    []Campaign    `json:"campaigns,omitempty"`
	Reviews      *Reviews      `json:"reviews,omitempty"`
	Policy       []PolicyFile  `json:"policy,omitempty"` // empty: the policy stays as it is
}

// Administrators is the group whose members may take control steps; genesis creates it.
const Administrators = "administrators"

// Person is a human. One person is one record: a key in two records is refused.
type Person struct {
	Name string   `json:"name"`
	Keys []string `json:"keys,omitempty"` // authorized_keys lines: ssh-ed25519, ecdsa, rsa ≥ 3072, sk-*; without one, an invitation brings the first
	// Identities are who they are at OpenID providers: whoever proves one signs in as them. A vote takes a key all the same.
	Identities []Identity `json:"identities,omitempty"`
}

// Group names people for quorums.
type Group struct {
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"` // names of people
	// From makes those members besides whom a sign-in at a provider showed in a group there, for a day.
	From []GroupSource `json:"from,omitempty"`
	// Asks bounds how often tasks may ask the group for votes; none is no bound.
	Asks Asks `json:"asks,omitzero"`
}

// Asks is so many access requests in so many hours. Beyond that agents are denied: whoever is asked too often looks at
// nothing any more.
type Asks struct {
	Most  int `json:"most" cbor:"1,keyasint"`  // 1 to 1,000
	Hours int `json:"hours" cbor:"2,keyasint"` // 1 to 168
}

// Agent is a registered non-human identity.
type Agent struct {
	Name         string     `json:"name"` // segment of its SPIFFE ID: a-z 0-9 -
	Function     Function   `json:"function"`
	Owner        string     `json:"owner"` // a person
	Purpose      string     `json:"purpose"`
	Requesters   []string   `json:"requesters,omitempty"` // groups whose members may request its tasks, besides its owner
	Expires      string     `json:"expires,omitempty"`    // date, 2027-01-31
	Review       string     `json:"review,omitempty"`     // date by which its entitlements are reviewed
	Entitlements []Scope    `json:"entitlements,omitempty"`
	MayRequest   []Function `json:"may_request,omitempty"`
	Jobs         []Job      `json:"jobs,omitempty"` // CI jobs that are this agent
}

// Job says which CI jobs become instances of an agent: all members that are set must equal the claims of the job's
// token. Names that can be taken over by others (a repository's path, sub) are not among them.
type Job struct {
	Issuer      string `json:"issuer" cbor:"1,keyasint"`                          // an upstream of kind oidc
	Repository  string `json:"repository" cbor:"2,keyasint"`                      // immutable id: repository_id, project_id
	Workflow    string `json:"workflow" cbor:"3,keyasint"`                        // path of the file: .github/workflows/build.yml
	Environment string `json:"environment,omitempty" cbor:"4,keyasint,omitempty"` // claim environment
	Source      string `json:"source" cbor:"5,keyasint"`                          // the declared repository that it builds, UPSTREAM/PATH
}

// Source says where an upstream credential comes from; it is never written in a declaration.
type Source struct {
	From string   `json:"from"`           // file | env | exec
	Name string   `json:"name,omitempty"` // path of the file, or name of the variable
	Argv []string `json:"argv,omitempty"` // exec: prints the secret
	User string   `json:"user,omitempty"` // basic authentication; empty: bearer
}

// Kinds of upstreams.
const (
	KindLocal      = "local"      // a directory of bare repositories; zone S
	KindHTTP       = "http"       // git smart HTTP; zone S
	KindGitea      = "gitea"      // a Gitea or Forgejo: git and API; zone S
	KindRegistry   = "registry"   // an OCI registry; zone B
	KindKubernetes = "kubernetes" // a cluster; zone P
	KindCommand    = "command"    // a command on the executor's host; zone P
	KindOIDC       = "oidc"       // an issuer of CI jobs' tokens; no zone: it gives identity, not access
	KindMCP        = "mcp"        // a server of tools; in the one zone that its tools declare
)

// Upstream is what Remit stands before: where repositories, artifacts and targets really are.
type Upstream struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Location string `json:"location,omitempty"` // directory, or https URL
	CA       string `json:"ca,omitempty"`       // file of PEM certificates to trust for it
	Write    Source `json:"write,omitzero"`     // injected when a step was allowed
	Observer Source `json:"observer,omitzero"`  // read-only; what Remit reads in its own name
	Insecure bool   `json:"insecure,omitempty"` // http:// to a loopback address is meant
	// Claims is what an oidc issuer's tokens say: github | gitlab. Audience is what they must be meant for; the address of
	// this server by default.
	Claims   string `json:"claims,omitempty"`
	Forge    string `json:"forge,omitempty"` // of kind http: github, so that it can be scanned for authority outside
	Audience string `json:"audience,omitempty"`
	// Command starts an mcp server that speaks over its standard input and output, one process for each instance; then
	// there is no Location. Env is what its environment has, besides PATH, HOME and LANG.
	Command []string          `json:"command,omitempty"`
	Env     map[string]Source `json:"env,omitempty"`
}

// Zone is the zone that credentials of u serve (R4d); an issuer of identities serves none. For a server of tools, it is the
// strictest: UpstreamZones knows what its tools say.
func (u Upstream) Zone() Zone {
	switch u.Kind {
	case KindLocal, KindHTTP, KindGitea:
		return ZoneSource
	case KindRegistry:
		return ZoneBuild
	case KindOIDC:
		return ZoneNone
	}
	return ZoneProduction
}

// UpstreamZones gives the zone that credentials of each declared upstream serve: of a server of tools, the one that its
// tools declare.
func UpstreamZones(d Declarations) map[string]Zone {
	zones := map[string]Zone{}
	for _, u := range d.Upstreams {
		zones[u.Name] = u.Zone()
	}
	for _, t := range d.Tools {
		server := ToolServer(t.Name)
		if t.Zone != "" && slices.ContainsFunc(d.Upstreams, func(u Upstream) bool { return u.Name == server && u.Kind == KindMCP }) {
			zones[server] = Zone(t.Zone)
		}
	}
	return zones
}

// Effect says what a push or merge to matching refs sets off by itself.
type Effect struct {
	Refs    Pattern  `json:"refs" cbor:"1,keyasint"`
	Causes  Action   `json:"causes" cbor:"2,keyasint"`
	On      Resource `json:"on" cbor:"3,keyasint"`
	Secrets string   `json:"secrets,omitempty" cbor:"4,keyasint,omitempty"` // none | exposed, for build.trigger
	// Runs are the paths that decide what the pipeline runs, besides the workflow files of the known forges; a push that
	// changes them against the trusted ref holds where secrets are exposed.
	Runs []Pattern `json:"runs,omitempty" cbor:"5,keyasint,omitempty"`
}

// Repository is a repository that agents may be entitled to.
type Repository struct {
	Name          string    `json:"name"`           // UPSTREAM/PATH; the resource is repo:UPSTREAM/PATH
	Path          string    `json:"path,omitempty"` // at the upstream; PATH.git by default
	DefaultBranch string    `json:"default_branch"`
	Approvers     []Need    `json:"approvers,omitempty"`
	Protected     []Pattern `json:"protected,omitempty"` // paths that hold, besides the built-in control surface
	Effects       *[]Effect `json:"effects"`             // required; [] (written `none`) says that there are none
	Artifacts     []Pattern `json:"artifacts,omitempty"` // that its builds publish without a person's vote
	Reviews       int       `json:"reviews,omitempty"`   // approving verdicts of agents that a merge needs, at most 8
}

// Environment is where deployments land, always in zone P.
type Environment struct {
	Name      string `json:"name"` // the resource is environment:NAME
	Tier      string `json:"tier"` // staging | production
	Approvers []Need `json:"approvers,omitempty"`
	// Artifacts may be deployed to it; Evidence is what each of them must have: built, merged, deployed:ENVIRONMENT.
	Artifacts []Pattern `json:"artifacts,omitempty"`
	Evidence  []string  `json:"evidence,omitempty"`
	// Rollback is who decides on going back to a release that was good here; one of the first group of Approvers by default.
	Rollback []Need  `json:"rollback,omitempty"`
	Target   *Target `json:"target,omitempty"` // required for deploy.promote and deploy.rollback
}

// Target is where and how an environment is deployed.
type Target struct {
	Upstream string `json:"upstream"` // of kind kubernetes or command
	// Kubernetes: Manifest has the objects, in which the image of each container is ${artifact:NAME}; they are applied to
	// Namespace as ServiceAccount.
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"`
	Manifest       string `json:"manifest,omitempty"` // YAML, at most 32 KiB
	// Command: Apply deploys, Observe prints the digests that are there now, one a line. Both get REMIT_ENVIRONMENT and
	// REMIT_ARTIFACTS, the references by digest, one a line, and Secrets, and nothing else of the executor's environment.
	Apply   []string            `json:"apply,omitempty"`
	Observe []string            `json:"observe,omitempty"`
	Secrets map[string]Resource `json:"secrets,omitempty"` // variable: secret:NAME
	Timeout string              `json:"timeout,omitempty"` // 10m by default, 1h at most
}

// Secret is a named secret in one zone. Its value is put into the sealed store, never into a declaration.
type Secret struct {
	Name      string  `json:"name"` // the resource is secret:NAME
	Zone      string  `json:"zone"` // S | B | P
	Approvers []Need  `json:"approvers,omitempty"`
	Send      *Sender `json:"send,omitempty"` // missing: it can be used by targets, and by no request
}

// Sender says into which requests a secret may be put, and how. Only Remit makes these requests.
type Sender struct {
	Location string `json:"location"` // https URL: requests go below it and nowhere else
	CA       string `json:"ca,omitempty"`
	Insecure bool   `json:"insecure,omitempty"` // http:// to a loopback address is meant
	Header   string `json:"header,omitempty"`   // Authorization by default
	Prefix   string `json:"prefix,omitempty"`   // before the value: "Bearer " by default for Authorization, else nothing
}

// Tool says what a tool of an mcp upstream does, so that it can be judged. A call is a step on tool:NAME, by Impact
// tool.read, tool.write or tool.call, and besides that every one of Steps. The same way are declared, below SERVER/-/,
// what else such a server offers: resources/URI, prompts/NAME, methods/METHOD, and requests/METHOD, which the server makes
// of its client; every URI and method is one segment, other bytes as %XX. Of several records that cover a name, the longest
// says what holds. The names below local/ are the tools within the agent's own process: they lie in no zone, because
// they have no credential of Remit's.
type Tool struct {
	Name      string     `json:"name"`             // SERVER/TOOL, or a pattern that ends in /* or /**
	Zone      string     `json:"zone,omitempty"`   // S | B | P; P by default. All tools of a server have the same
	Impact    string     `json:"impact,omitempty"` // read | write | privileged; privileged by default
	Steps     []ToolStep `json:"steps,omitempty"`  // what a call does besides, at most 4
	Pin       Digest     `json:"pin,omitzero"`     // of the definition that was admitted; required of tools with a full name, save local ones
	Recovery  Recovery   `json:"recovery,omitempty"`
	Probe     *ToolProbe `json:"probe,omitempty"`  // with recovery probe
	Taints    []string   `json:"taints,omitempty"` // what an answer brings in: labels such as issue-text, at most 4
	Approvers []Need     `json:"approvers,omitempty"`
}

// ToolStep is an action on a resource that is made of a call's arguments: in Resource, {NAME} stands for the argument of
// that name, {A.B} for a member of an object; it must be there, a string or an integer within ±2^53, and is written as one
// segment, or with {NAME...} as one or more. When, if set, are arguments that must have these very values.
type ToolStep struct {
	Action   Action            `json:"action"`
	Resource string            `json:"resource"`
	When     map[string]string `json:"when,omitempty"`
}

// ToolProbe is the call by which Remit finds out whether another one was carried out: it was, if the answer contains
// Contains. Templates are as in ToolStep, without the quoting of segments.
type ToolProbe struct {
	Tool      string            `json:"tool"` // of the same server, of impact read
	Arguments map[string]string `json:"arguments,omitempty"`
	Contains  string            `json:"contains"`
}

// Boundary narrows what agents may be given at all.
type Boundary struct {
	Name      string     `json:"name"`
	Seal      []Pattern  `json:"seal"`                // resources that no grant may name
	Functions []Function `json:"functions,omitempty"` // to which it applies; empty: all
}

// Names of the shipped detections, as declarations and the log have them.
const (
	DenialBurst   = "denial-burst"
	Probing       = "probing"
	InstanceTwice = "instance-twice"
	OutsideHours  = "outside-hours"
	RefMoved      = "ref-moved-outside"
	UnusedGrant   = "unused-broad-grant"
)

// DetectionNames lists them. A declaration of another name would let nothing suspend, and look as if it did.
func DetectionNames() []string {
	return []string{DenialBurst, Probing, InstanceTwice, OutsideHours, RefMoved, UnusedGrant}
}

// Detection says what a detection over the log may do by itself.
type Detection struct {
	Name    string `json:"name"`              // one of DetectionNames
	Suspend bool   `json:"suspend,omitempty"` // the agent that it finds
}

// Activation says what must have been tried on the past before a change comes into force: exactly that change.
type Activation struct {
	Name             string `json:"name"`                         // policy | declarations: of what
	TriedWithinHours int    `json:"tried_within_hours,omitempty"` // how old the trial may be: 1 to 720; 24 by default
	OverHours        int    `json:"over_hours,omitempty"`         // how far back it went, at least: 1 to 8,784; 168 by default
	MaxMoreQuestions *int   `json:"max_more_questions,omitempty"` // to people, in that time; none is no bound
}

// PolicyFile is one Rego module of a policy bundle.
type PolicyFile struct {
	Name string `json:"name"` // relative path, ends in .rego
	Text string `json:"text"`
}

// Change is one line of the difference between what is declared and what is in force.
type Change struct {
	Kind    string `json:"kind"` // person, group, agent, …
	Name    string `json:"name"`
	Op      string `json:"op"`               // add | change | remove
	Widens  string `json:"widens,omitempty"` // why it widens authority; empty: it does not
	Details string `json:"details,omitempty"`
}

// DeclarationError names the member of a set that is wrong, as a path such as agents[2].owner.
type DeclarationError struct {
	Path     string `json:"path"`
	Sentence string `json:"sentence"`
}

func (e *DeclarationError) Error() string { return e.Path + ": " + e.Sentence }
