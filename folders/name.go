package folders

import (
	"os"
	"path"
	"path/filepath"

	"github.com/weir-run/weir/regular"
)

// Name returns the name by which Find finds the very file at path, as a model of a category. It is the path within one of
// the category's folders, or else the absolute path, which is a name only where [Roots.AbsolutePaths] is set.
func (r *Roots) Name(category, file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if err := regular.Check(file, info); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	names := append(r.within(category, abs), filepath.Base(abs)) // in a folder there may be a link to the file
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		names = append(names, r.within(category, resolved)...)
	}
	for _, name := range names {
		// An earlier folder may have another file of that name.
		if found, err := r.Find(category, name); err == nil && same(found, info) {
			return name, nil
		}
	}
	return abs, nil
}

// within returns the path of a file relative to each of the category's folders that it lies in, with slashes.
func (r *Roots) within(category, file string) []string {
	var names []string
	dir, name := filepath.Dir(file), filepath.Base(file)
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return names
		}
		for _, folder := range r.Folders(category) {
			if same(folder, info) { // whatever its letters' case and the links on the way to it
				names = append(names, name)
			}
		}
		if filepath.Dir(dir) == dir {
			return names
		}
		dir, name = filepath.Dir(dir), path.Join(filepath.Base(dir), name)
	}
}

// same reports whether what is at path is the file or folder that info describes.
func same(path string, info os.FileInfo) bool {
	there, err := os.Stat(path)
	return err == nil && os.SameFile(there, info)
}
