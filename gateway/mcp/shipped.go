package mcp

import (
	"embed"
	"io/fs"
)

//go:embed shipped/*.yaml
var shipped embed.FS

// Shipped are declarations of the tools of well-known servers, a file for each, in which SERVER stands for the name of the
// upstream, and FORGE for that of the one that has the repositories. They have no pins: those are of the server that is
// looked at.
func Shipped() fs.FS {
	sub, err := fs.Sub(shipped, "shipped")
	if err != nil { // only for a name that is none
		return shipped
	}
	return sub
}
