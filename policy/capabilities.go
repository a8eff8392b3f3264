package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/version"
)

// Version is the version of OPA that judges; it is named in the log by rules.activated.
func Version() string { return version.Version }

// functions are all that a policy may call: functions of their arguments alone. What OPA adds later is refused until it
// is read and added here. Left out on purpose: whatever reads a clock, the time zone database, randomness, the network,
// the process or a remote reference (http.send, net.*, time.now_ns and everything of time.* that takes a zone, io.jwt.*
// and crypto.x509.* (both compare with the clock), rand.*, uuid.*, json.*_schema, graphql.*, opa.runtime), what writes
// elsewhere (print, trace), and what OPA calls deprecated.
var functions = strings.Fields(`
	eq assign gt gte lt lte neq equal internal.member_2 internal.member_3 internal.template_string
	plus minus mul div rem round ceil floor abs
	bits.or bits.and bits.negate bits.xor bits.lsh bits.rsh
	and or intersection union count sum product max min sort
	array.concat array.flatten array.slice array.reverse
	object.subset object.union object.union_n object.remove object.filter object.get object.keys
	json.filter json.remove json.patch json.marshal json.unmarshal json.is_valid
	to_number numbers.range numbers.range_step units.parse units.parse_bytes
	regex.match regex.is_valid regex.find_all_string_submatch_n regex.split regex.find_n regex.replace regex.template_match
	glob.match glob.quote_meta semver.is_valid semver.compare
	concat contains startswith endswith indexof indexof_n substring lower upper split replace sprintf format_int
	strings.any_prefix_match strings.any_suffix_match strings.count strings.reverse strings.replace_n strings.split_n
	trim trim_left trim_prefix trim_right trim_suffix trim_space
	base64.encode base64.decode base64.is_valid base64url.encode base64url.encode_no_pad base64url.decode hex.encode hex.decode
	urlquery.encode urlquery.decode uri.parse uri.is_valid crypto.sha256
	time.parse_rfc3339_ns time.parse_duration_ns
	walk graph.reachable graph.reachable_paths
	is_number is_string is_boolean is_array is_set is_object is_null type_name`)

// capabilities of the compiler: the functions above, no network. The runner of Rego tests needs one more, which no
// policy can write.
func capabilities(extra ...string) *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		return b.Nondeterministic || !slices.Contains(functions, b.Name) && !slices.Contains(extra, b.Name)
	})
	c.AllowNet = []string{} // nil would be any host
	return c
}

// refused tells whether OPA knows name and a policy may not call it.
func refused(name string) bool {
	if slices.Contains(functions, name) {
		return false
	}
	return slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
}
