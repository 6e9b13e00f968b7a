// Package regular opens regular files alone. A pipe, a socket, a device or a
// folder in the place of a file is an error, and nothing waits for it.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNot is wrapped by the errors of what is no regular file.
var ErrNot = errors.New("not a regular file")

// Open opens the regular file at path for reading. The caller closes it.
func Open(path string) (*os.File, fs.FileInfo, error) {
	// To open a device may act on it, so its kind is looked at first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, opening(err)
	}
	if err := Check(path, info); err != nil {
		return nil, nil, err
	}
	// Another file may have taken the path since.
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = Check(path, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Read returns the bytes of the regular file at path. A file of more than limit
// bytes is an error.
func Read(path string, limit int64) ([]byte, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: the file has %d bytes, expected at most %d", path, info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit { // it grows while it is read
		return nil, fmt.Errorf("%s: the file has more than %d bytes", path, limit)
	}
	return data, nil
}

// Check returns an error that wraps [ErrNot], and says what is at path, unless
// info describes a regular file.
func Check(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: notRegular(kind(info.Mode()))}
}

// opening makes the error of a look at a file that of opening it.
func opening(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: "open", Path: p.Path, Err: p.Err}
	}
	return err
}

// notRegular says what a file is.
type notRegular string

func (k notRegular) Error() string { return "this is " + string(k) + ", expected a file" }
func (notRegular) Unwrap() error   { return ErrNot }

// kind names the type of a file that is not regular.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a folder"
}
