//go:build !linux

package host

// deviceID returns nothing: the system does not tell disks that rotate.
func deviceID(string) (string, bool) { return "", false }
