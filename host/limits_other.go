//go:build !unix

package host

// Limits returns nothing: the system has no limits that a shell sets.
func Limits() []Limit { return nil }
