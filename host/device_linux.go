package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// deviceID returns the numbers of the block device that a folder lies on, as
// /sys/dev/block names them.
func deviceID(folder string) (string, bool) {
	var s unix.Stat_t
	if unix.Stat(folder, &s) != nil {
		return "", false
	}
	return fmt.Sprintf("%d:%d", unix.Major(uint64(s.Dev)), unix.Minor(uint64(s.Dev))), true
}
