package remit_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// licenceTable lists every module that any build of the binary links, with its licence.
const licenceTable = "doc/decisions/licences.txt"

// accepted are the licences that go with Apache-2.0 without asking more of those who pass the binary on.
var accepted = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0"}

// licenceOf reads a licence text. Texts that are none of these, or only look like one, have no name here.
func licenceOf(text []byte) string {
	plain := strings.Join(strings.Fields(string(text)), " ")
	has := func(s string) bool { return strings.Contains(plain, s) }
	switch {
	case strings.HasPrefix(plain, "/* SPDX-License-Identifier: BSD-3-Clause OR "): // the choice is ours
		return "BSD-3-Clause"
	case has("GNU AFFERO") || has("GNU GENERAL PUBLIC") || has("GNU LESSER") || has("Business Source License") || has("Server Side Public License"):
		return ""
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License Version 2.0"), has("Mozilla Public License, version 2.0"):
		return "MPL-2.0"
	case has("Permission is hereby granted, free of charge, to any person obtaining a copy"), has("PERMISSION is hereby granted, free of charge, to any person obtaining a copy"):
		return "MIT"
	case has("Permission to use, copy, modify, and/or distribute this software"), has("Permission to use, copy, modify, and distribute this software"):
		return "ISC"
	case has("Redistribution and use in source and binary forms") && (has("Neither the name") || has("may not be used to endorse")):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	case has("Licensed under the Apache License, Version 2.0"): // its notice alone
		return "Apache-2.0"
	}
	return ""
}

// checkLicences compares what is linked with the table, and the table with the texts.
func checkLicences(table string, linked map[string]string) (wrong []string) {
	listed := map[string]string{}
	for l := range strings.Lines(table) {
		f := strings.Fields(l)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 2 {
			wrong = append(wrong, fmt.Sprintf("%q is not MODULE LICENCE", l))
			continue
		}
		listed[f[0]] = f[1]
		if !slices.Contains(accepted, f[1]) {
			wrong = append(wrong, f[0]+": licence "+f[1]+" is not one of those that we accept")
		}
		if linked[f[0]] == "" {
			wrong = append(wrong, f[0]+" is listed and no longer linked")
		}
	}
	for m, l := range linked {
		switch {
		case listed[m] == "":
			wrong = append(wrong, m+" is linked and not listed; its licence reads like "+l)
		case listed[m] != l:
			wrong = append(wrong, m+" is listed as "+listed[m]+", and its licence reads like "+l)
		}
	}
	return wrong
}

// TestLicences reads the licence text of each module that is linked into the binary, for each system we build for.
func TestLicences(t *testing.T) {
	table, err := os.ReadFile(licenceTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} { // so that the test cache knows of them
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	linked := map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/remit")
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		var diag bytes.Buffer
		cmd.Stderr = &diag
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("listing what is linked for %s: %v\n%s", system, err, &diag)
		}
		for l := range strings.Lines(string(out)) {
			m, dir, ok := strings.Cut(strings.TrimSpace(l), "\t")
			if !ok || linked[m] != "" {
				continue
			}
			linked[m] = "none"
			found, err := filepath.Glob(filepath.Join(dir, "[LlCc][IiOo][CcPp][EeYy]*"))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(found)
			for _, f := range found {
				text, err := os.ReadFile(f)
				if err != nil {
					continue // a directory
				}
				if l := licenceOf(text); l != "" {
					linked[m] = l
					break
				}
			}
		}
	}
	report(t, checkLicences(string(table), linked))
}

func TestLicenceChecksCanFail(t *testing.T) {
	linked := map[string]string{"example.org/a": "MIT", "example.org/b": "BSD-3-Clause"}
	for _, c := range []struct{ what, table, want string }{
		{"a module nobody looked at", "example.org/a MIT\n", "example.org/b is linked and not listed"},
		{"another licence than the text's", "example.org/a ISC\nexample.org/b BSD-3-Clause\n", "listed as ISC"},
		{"a licence that asks too much", "example.org/a GPL-3.0\nexample.org/b BSD-3-Clause\n", "not one of those that we accept"},
		{"a line left over", "example.org/a MIT\nexample.org/b BSD-3-Clause\nexample.org/c MIT\n", "no longer linked"},
		{"a line of another form", "example.org/a MIT\nexample.org/b\n", "is not MODULE LICENCE"},
	} {
		if wrong := strings.Join(checkLicences(c.table, linked), "\n"); !strings.Contains(wrong, c.want) {
			t.Errorf("%s: found %q, wanted %q", c.what, wrong, c.want)
		}
	}
	if wrong := checkLicences("# modules\n\nexample.org/a MIT\nexample.org/b BSD-3-Clause\n", linked); len(wrong) > 0 {
		t.Error(wrong)
	}
	if l := licenceOf([]byte("GNU AFFERO GENERAL PUBLIC LICENSE, with the Apache License\nVersion 2.0 beside it")); l != "" {
		t.Errorf("the AGPL reads like %s", l)
	}
}
