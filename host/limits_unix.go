//go:build unix

package host

import "golang.org/x/sys/unix"

// resources are the limits of a process that models and pictures meet, with the
// flag by which the shell's ulimit sets each.
var resources = []struct {
	name, flag string
	bytes      bool
	id         int
}{
	{"address space", "-v", true, unix.RLIMIT_AS},
	{"data", "-d", true, unix.RLIMIT_DATA},
	{"file size", "-f", true, unix.RLIMIT_FSIZE},
	{"open files", "-n", false, unix.RLIMIT_NOFILE},
}

// Limits returns the limits that the shell's ulimit has set, without those that
// are unlimited.
func Limits() []Limit {
	var all []Limit
	for _, r := range resources {
		var l unix.Rlimit
		if unix.Getrlimit(r.id, &l) == nil && int64(l.Cur) >= 0 && int64(l.Cur) < 1<<62 {
			all = append(all, Limit{Name: r.name, Flag: r.flag, Bytes: r.bytes, Value: int64(l.Cur)})
		}
	}
	return all
}
