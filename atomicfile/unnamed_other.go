//go:build !linux

package atomicfile

import (
	"errors"
	"os"
)

func openUnnamed(string) *os.File { return nil }

func linkOpen(*os.File, string) error { return errors.ErrUnsupported }
