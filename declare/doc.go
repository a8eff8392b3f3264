// Package declare reads and writes the declarations of an organisation as YAML: who its people and agents are, what an
// agent may ever do, which upstreams, repositories and environments there are, and what each sets off. The names of the
// members are those of remit.Declarations.
//
// Reading is strict, because a declaration that is read otherwise than it was meant is authority given by mistake:
// unknown and missing members, values of another type, duplicates, anchors, aliases, tags and tabs are errors, each with
// its file, its line and what would be right. Credentials are never written in a declaration, and no error repeats what
// stands where one is expected.
package declare
