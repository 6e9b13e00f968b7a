package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errLocked is the error of a lock that another open file has.
var errLocked = errors.New("the file is locked")

// Ages from which temporary files are left-overs: where locks are not
// supported, and where an owner gives up its lock before it renames.
const (
	oldWithoutLock = 24 * time.Hour
	oldUnlocked    = time.Minute
)

// sweep removes the temporary files of a folder whose owners are gone.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) && e.Type().IsRegular() {
			removeOrphan(filepath.Join(dir, e.Name()))
		}
	}
}

// removeOrphan removes a temporary file without an owner. Where the system
// removes open files, it does so before it lets go of the lock: no owner can
// come in between.
func removeOrphan(path string) {
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	age := time.Since(info.ModTime())
	if !renamesOpen && age < oldUnlocked { // nor could its owner remove it while it is open here
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	err = lock(f)
	if errors.Is(err, errLocked) || err != nil && age < oldWithoutLock {
		return
	}
	if os.Remove(path) != nil {
		f.Close()
		os.Remove(path)
	}
}
