package weights

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/weir-run/weir/fault"
)

// The metadata of a GGUF file that is a part of a model: how many parts there are, and how many tensors they have together.
const (
	splitCountKey   = "split.count"
	splitTensorsKey = "split.tensors.count"
)

// maxParts is how many parts a name can count.
const maxParts = 99999

// partName is how the name of a part ends.
var partName = regexp.MustCompile(`-(\d{5})-of-(\d{5})\.(?i:gguf)$`)

// openParts opens the other parts of a GGUF model of which one was opened, in whose names only the number differs, and
// returns all in order.
func (f *File) openParts(ctx context.Context) (parts []*File, err error) {
	count, err := strconv.Atoi(f.header.metadata[splitCountKey])
	if err != nil || count <= 1 {
		return []*File{f}, nil
	}
	named := partName.FindStringSubmatchIndex(f.path)
	if named == nil || f.path[named[4]:named[5]] != fmt.Sprintf("%05d", count) || count > maxParts {
		return nil, fault.New(fault.Model, "%s: the file is one of %d parts of a model, and its name does not end with -00001-of-%05d.gguf: give all parts the names they had", f.path, count, count)
	}
	defer func() {
		for _, p := range parts {
			if err != nil && p != f {
				err = errors.Join(err, p.Close())
			}
		}
	}()
	tensors := 0
	for i := range count {
		path := f.path[:named[2]] + fmt.Sprintf("%05d", i+1) + f.path[named[3]:]
		part := f
		if path != f.path {
			part, err = Open(ctx, path)
			if errors.Is(err, os.ErrNotExist) {
				return parts, fault.New(fault.Model, "%s: %s is missing, one of the %d parts of the model: %w", f.path, filepath.Base(path), count, err)
			}
			if err != nil {
				return parts, err
			}
		}
		parts = append(parts, part)
		if part.header.metadata[splitCountKey] != strconv.Itoa(count) {
			return parts, fault.New(fault.Model, "%s: the file says %q parts, %s says %d: they belong to different models", part.path, fault.Cut(part.header.metadata[splitCountKey], 20), filepath.Base(f.path), count)
		}
		tensors += len(part.Refs())
	}
	if want := parts[0].header.metadata[splitTensorsKey]; want != "" && want != strconv.Itoa(tensors) {
		return parts, fault.New(fault.Model, "%s: the %d parts of the model have %d tensors together, expected %s: some are of another model", f.path, count, tensors, fault.Cut(want, 20))
	}
	return parts, nil
}
