// Package policy evaluates the layer of judgement that a team writes and reads: Rego, by Open Policy Agent. It is the
// only room that knows OPA. A policy narrows: it denies or holds what the compiled rules of authority would allow, and
// has no word to allow.
//
// Rego for an action lives in package remit.STAGE.VERB (remit.source.push), for all actions in remit.any. A package
// gives sets, deny and hold, of {rule, text} (hold also votes: [{group, n}]), and observe of {rule, text, verdict}: rules
// on trial, which change nothing and are recorded. input is authority.Facts (doc/policy.md has every member), its steps
// only those of the package's action. There is no clock, no randomness, no network and no data but the bundle: the
// same facts give the same finding, today and when the log is verified.
package policy
