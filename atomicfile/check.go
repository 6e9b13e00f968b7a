package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/weir-run/weir/fault"
)

// maxPath is more bytes than any system takes for a path.
const maxPath = 32767

// Check reports why a file of that path and size could not be made, and leaves
// nothing behind. Folders that are missing could be made too. A size of 0 asks
// for no free space.
func Check(path string, size int64) error {
	// A path that is too long shows at once, before its folders are looked at.
	if len(path) > maxPath {
		return shortened(&fs.PathError{Op: "make", Path: path, Err: syscall.ENAMETOOLONG})
	}
	if _, err := os.Lstat(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return shortened(err)
	}
	folder, missing, err := deepest(filepath.Dir(path))
	if err != nil {
		return err
	}
	// A name that is too long shows in a folder that is there.
	for _, name := range append(missing, filepath.Base(path)) {
		if _, err := os.Lstat(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return shortened(err)
		}
	}
	f, err := New(folder)
	if err != nil {
		if at := (*fs.PathError)(nil); errors.As(err, &at) {
			err = &fs.PathError{Op: "make a file in", Path: folder, Err: at.Err}
		}
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
