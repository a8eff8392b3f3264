// Package openapi describes an HTTP API by reflection over the Go types that it takes and gives.
package openapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// object is a JSON object; encoding/json writes its members in order.
type object map[string]any

// Route is one operation.
type Route struct {
	Method, Path, Summary string
	Query                 []Param
	In, Out               reflect.Type // nil: none
	Content               string       // of an answer that is not JSON
	Limit                 int64        // of the body, in bytes
	Callers               []string     // schemes of which one is shown: person, instance; none: anyone calls
	Notes                 []string
	Keyed                 bool // takes an Idempotency-Key
}

// Param is a parameter in the query.
type Param struct{ Name, Meaning string }

// Document is the OpenAPI 3.1 document of routes; base is the beginning of paths that says nothing about an operation.
func Document(base string, routes []Route) []byte {
	d := &describer{schemas: object{}}
	paths := object{}
	for _, r := range routes {
		methods, _ := paths[r.Path].(object)
		if methods == nil {
			methods = object{}
			paths[r.Path] = methods
		}
		methods[strings.ToLower(r.Method)] = d.operation(base, r)
	}
	d.schema(reflect.TypeFor[remit.Problem]())
	codes := []string{}
	for _, c := range remit.Codes() {
		codes = append(codes, string(c.Code))
	}
	d.schemas["Code"] = object{"type": "string", "description": "A stable reason; later versions add more.", "examples": codes}
	doc := object{
		"openapi": "3.1.0",
		"info": object{"title": "Remit", "version": "1", "description": "The authority that developer agents work under. " +
			"Unknown members of requests are refused; clients ignore unknown members of answers.", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths": paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{
				"person":   object{"type": "http", "scheme": "bearer", "description": "the session of a person who signed in"},
				"browser":  object{"type": "apiKey", "in": "cookie", "name": "__Host-remit", "description": "the same of a person's browser; what changes something also shows the session's token in X-Remit-CSRF, and comes from a page of this origin"},
				"instance": object{"type": "apiKey", "in": "header", "name": "Authorization", "description": "Remit-Instance ID:SECRET, the secret in base64url without padding"},
			},
		},
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("server: the document holds only what JSON can say: " + err.Error())
	}
	return append(b, '\n')
}

type describer struct{ schemas object }

var inPath = regexp.MustCompile(`\{([a-z]+)\}`)

func (d *describer) operation(base string, r Route) object {
	op := object{"summary": r.Summary, "operationId": operationID(base, r)}
	var params []object
	for _, m := range inPath.FindAllStringSubmatch(r.Path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Meaning, "schema": object{"type": "string"}})
	}
	if r.Keyed {
		params = append(params, object{"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string", "minLength": 1, "maxLength": 255},
			"description": "who asks again with it, with the same body and within a day, has the answer of the first time, and nothing is done twice"})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.In != nil {
		op["requestBody"] = object{"required": true, "description": fmt.Sprintf("at most %d bytes", r.Limit),
			"content": object{"application/json": object{"schema": d.schema(r.In)}}}
	}
	ok := object{"description": "done"}
	switch {
	case r.Out != nil:
		ok["content"] = object{"application/json": object{"schema": d.schema(r.Out)}}
	case r.Content != "":
		ok["content"] = object{r.Content: object{}}
	}
	op["responses"] = object{"200": ok, "default": object{"description": "refused: RFC 9457, with a stable code",
		"content": object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}}}}
	security := []object{}
	for _, scheme := range r.Callers {
		security = append(security, object{scheme: []string{}})
	}
	op["security"] = security
	if len(r.Notes) > 0 {
		op["description"] = strings.Join(r.Notes, " ")
	}
	return op
}

func operationID(base string, r Route) string {
	name := strings.ToLower(r.Method)
	for seg := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(r.Path, base), "/v1"), "/") {
		seg = strings.Trim(seg, "{}")
		for part := range strings.FieldsFuncSeq(seg, func(r rune) bool { return r == '-' || r == '.' }) {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	if r.Path == base {
		name += "Org"
	}
	return name
}

var (
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	digest   = reflect.TypeFor[remit.Digest]()
)

// schema describes a type as encoding/json writes it.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "nanoseconds"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"description": "any JSON value"}
	case t == digest:
		return object{"type": "string", "pattern": "^([0-9a-f]{64})?$", "description": "SHA-256 in hex"}
	case t == reflect.TypeFor[remit.Code]():
		return object{"$ref": "#/components/schemas/Code"}
	case t == reflect.TypeFor[remit.Verdict]():
		return object{"type": "string", "enum": []string{"allow", "hold", "deny"}}
	case t.Implements(textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	}
	if n := strconv.Itoa(t.Bits()); t.Kind() <= reflect.Int64 {
		return object{"type": "integer", "format": "int" + n}
	}
	return object{"type": "integer", "minimum": 0}
}

func (d *describer) object(t reflect.Type) object {
	if t.NumField() == 0 {
		return object{"type": "object", "additionalProperties": false}
	}
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if _, known := d.schemas[t.Name()]; known {
		return ref
	}
	schema := object{"type": "object"}
	d.schemas[t.Name()] = schema
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		properties[name] = d.schema(t.Field(i).Type)
		if !strings.Contains(opts, "omit") {
			required = append(required, name)
		}
	}
	schema["properties"] = properties
	if slices.Sort(required); len(required) > 0 {
		schema["required"] = required
	}
	return ref
}
