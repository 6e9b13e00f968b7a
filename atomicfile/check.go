package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/weir-run/weir/fault"
)

// Check reports why a file of that path and size could not be made, and leaves
// nothing behind. Folders that are missing could be made too. A size of 0 asks
// for no free space.
func Check(path string, size int64) error {
	folder, missing, err := deepest(filepath.Dir(path))
	if err != nil {
		return err
	}
	// A name that is too long shows in a folder that is there, a long path at once.
	for _, p := range append(missing, filepath.Base(path), path) {
		if p != path {
			p = filepath.Join(folder, p)
		}
		if _, err := os.Lstat(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return shortened(err)
		}
	}
	f, err := New(folder)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if usage, err := disk.Usage(folder); err == nil && size > 0 && uint64(size) > usage.Free {
		return fault.New(fault.IO, "%s: %.1f MiB are to be written and %.1f MiB are free", folder, mib(uint64(size)), mib(usage.Free))
	}
	return nil
}

// shortened cuts the path of an error to a length that can be read.
func shortened(err error) error {
	const most = 200
	var at *fs.PathError
	if !errors.As(err, &at) || len(at.Path) <= most {
		return err
	}
	return &fs.PathError{Op: at.Op, Path: strings.ToValidUTF8(at.Path[:most], "") + "…", Err: at.Err}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// deepest returns the last folder of a path that is there, and the names of
// those below it that are not.
func deepest(dir string) (folder string, missing []string, err error) {
	for {
		info, err := os.Stat(dir)
		if err == nil {
			if !info.IsDir() {
				return "", nil, fault.New(fault.IO, "%s is a file where a folder is expected", dir)
			}
			slices.Reverse(missing)
			return dir, missing, nil
		}
		_, link := os.Lstat(dir)
		parent := filepath.Dir(dir)
		if link == nil || parent == dir {
			return "", nil, shortened(err)
		}
		missing = append(missing, filepath.Base(dir))
		dir = parent
	}
}
