//go:build !linux

package isolate

// Strength says what lies on top of namespaces, where there are none.
func Strength() string { return "nothing" }
