//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package atomicfile

import (
	"errors"
	"os"
)

func lock(*os.File) error { return errors.ErrUnsupported }

// unsupported reports whether a file has no such call.
func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
