//go:build !(linux || darwin || windows)

package atomicfile

import "errors"

func renameExclusive(string, string) error { return errors.ErrUnsupported }
