// Package atomicfile makes files that appear under their names whole or not at
// all, and leaves nothing behind when it is interrupted.
//
// A file is written without a name where the system has such files, and under a
// temporary one elsewhere. A temporary file is locked by its owner. The next
// owner of one in the same folder removes those whose locks are free.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A File is a file that is written before it has its name. One goroutine uses
// it at a time.
type File struct {
	file      *os.File
	dir       string
	temporary string      // the path of the file while it has a temporary name
	target    string      // the path that Commit gives it
	mode      fs.FileMode // the permissions of what it replaces, or 0
	direct    bool        // it is the target itself
}

// New begins a file in a folder. Claim gives it a name there.
func New(dir string) (*File, error) {
	if f := unnamed(dir); f != nil {
		return &File{file: f, dir: dir}, nil
	}
	return newTemporary(dir)
}

// Replacing begins a file that takes the place of path, and of what is there,
// by Commit. A device or a pipe is written at once.
func Replacing(path string) (*File, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		info = nil
	case info.IsDir():
		return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New("is a folder")}
	case !info.Mode().IsRegular() || stream(path):
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return nil, err
		}
		return &File{file: f, direct: true}, nil
	}
	dir := filepath.Dir(target)
	sweep(dir)
	f, err := New(dir)
	if err != nil {
		return nil, err
	}
	f.target = target
	if info != nil {
		f.mode = info.Mode().Perm()
	}
	return f, nil
}

// stream reports whether a path stands for an open file of a process, such as
// /dev/stdout.
func stream(path string) bool {
	path = filepath.ToSlash(filepath.Clean(path))
	return strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/")
}

// Write adds bytes to the file.
func (f *File) Write(p []byte) (int, error) { return f.file.Write(p) }

// Skip leaves out n bytes, which are zeros that take no place on file systems with
// holes.
func (f *File) Skip(n int64) error {
	if n <= 0 {
		return nil
	}
	if _, err := f.file.Seek(n-1, io.SeekCurrent); err != nil {
		return err
	}
	_, err := f.file.Write([]byte{0}) // so that the file ends behind it
	return err
}

// Claim gives the file a name in its folder. When the name is taken, the error
// is [fs.ErrExist], what is there stays as it is, and another name can be
// tried.
func (f *File) Claim(name string) error {
	if err := flush(f.file); err != nil {
		return err
	}
	path := filepath.Join(f.dir, name)
	err := f.claim(path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Lstat(path); there == nil { // Windows refuses the name of a folder otherwise
			err = &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		}
	}
	return err
}

// claim tries the ways of taking a name that only one program can take. File
// systems lack some of them: FAT has no links, network file systems no
// exclusive renames.
func (f *File) claim(path string) error {
	err := f.link(path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if f.temporary != "" {
		err := f.rename(path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := errors.Join(f.copy(to), to.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// renamesOpen says that the system renames files that are open. Windows does not.
var renamesOpen = runtime.GOOS != "windows"

// rename gives the file a name that is free in place of its temporary one. When
// that fails, the file is open as before.
func (f *File) rename(path string) error {
	if !renamesOpen {
		f.file.Close()
	}
	err := renameNew(f.temporary, path)
	if err == nil {
		f.temporary = ""
	}
	if err == nil || renamesOpen {
		return err
	}
	again, failed := os.OpenFile(f.temporary, os.O_RDWR, 0)
	if failed != nil {
		return errors.Join(err, failed)
	}
	f.file = again
	_ = lock(again) // a sweep of another program may have it for a moment, and leaves young files alone
	return err
}

// link gives the file a further name.
func (f *File) link(path string) error {
	if f.temporary == "" {
		return linkUnnamed(f.file, path)
	}
	return linkNamed(f.temporary, path)
}

// copy writes what the file holds to another one.
func (f *File) copy(to *os.File) error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(to, f.file); err != nil {
		return err
	}
	return flush(to)
}

// Commit puts the file in the place of the path that Replacing was given.
func (f *File) Commit() error {
	if f.direct {
		return f.file.Close()
	}
	if f.mode != 0 && runtime.GOOS != "windows" {
		if err := f.file.Chmod(f.mode); err != nil {
			return err
		}
	}
	if err := flush(f.file); err != nil {
		return err
	}
	if f.temporary == "" {
		if err := f.link(f.target); err == nil {
			return f.file.Close()
		}
		// The name is taken. Links replace nothing, renames do.
		if err := f.makeTemporary(); err != nil {
			return err
		}
	}
	if !renamesOpen {
		if err := f.file.Close(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.temporary, f.target); err != nil {
		return err
	}
	f.temporary = ""
	return f.Close()
}

// Finish commits the file unless making it failed, and closes it.
func (f *File) Finish(err error) error {
	if err == nil {
		err = f.Commit()
	}
	return errors.Join(err, f.Close())
}

// makeTemporary gives an unnamed file a temporary name.
func (f *File) makeTemporary() error {
	path := temporaryPath(f.dir)
	if err := f.link(path); err == nil {
		f.temporary = path
		return nil
	}
	t, err := newTemporary(f.dir)
	if err != nil {
		return err
	}
	if err := f.copy(t.file); err != nil {
		return errors.Join(err, t.Close())
	}
	f.file.Close()
	f.file, f.temporary = t.file, t.temporary
	return nil
}

// Close ends the file. Without a name it is gone.
func (f *File) Close() error {
	err := f.file.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	if f.temporary != "" {
		if removed := os.Remove(f.temporary); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		f.temporary = ""
	}
	return err
}

// flush brings a file to the disk. Errors such as a full one may show only then.
var flush = func(f *os.File) error {
	if err := f.Sync(); err != nil && !unsupported(err) {
		return err
	}
	return nil
}

// Temporary names.
const (
	prefix = ".weir-"
	suffix = ".tmp"
)

func temporaryPath(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", prefix, rand.Uint64(), suffix))
}

// newTemporary begins a file under a temporary name, and removes those of
// owners that are gone.
func newTemporary(dir string) (*File, error) {
	sweep(dir)
	const tries = 100
	for range tries {
		path := temporaryPath(dir)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := lock(f); !errors.Is(err, errLocked) && has(path, f) {
			return &File{file: f, dir: dir, temporary: path}, nil
		}
		f.Close() // a sweep of another program came before the lock
	}
	return nil, &fs.PathError{Op: "create", Path: filepath.Join(dir, prefix+"*"+suffix), Err: fs.ErrExist}
}

// has reports whether a path is that of an open file.
func has(path string, f *os.File) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, there)
}
