package folders

import (
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// List returns the names of the models of a category, sorted: safetensors and GGUF files and the indexes of sharded
// ones, in all of its folders and their subfolders, with slashes between the parts. Links are followed. What cannot be
// read is left out.
func (r *Roots) List(category string) []string {
	var names []string
	for _, folder := range r.Folders(category) {
		names = append(names, walk(folder, isModel)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isModel reports whether a file of that name can be opened as a model.
func isModel(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".safetensors.index.json"},
		func(end string) bool { return strings.HasSuffix(name, end) })
}

func always(string) bool { return true }

// walk returns the files in folder and below that match accepts, by their names within folder. Hidden files and folders
// are left out, and what is no regular file.
func walk(folder string, match func(name string) bool) []string {
	names, _ := tree(folder, match)
	return names
}

// subfolders returns the folders below folder, by their names within it.
func subfolders(folder string) []string {
	_, folders := tree(folder, func(string) bool { return false })
	return folders
}

// maxTree is how many folders below one are looked into: links that lead to
// each other make endlessly many of a few.
const maxTree = 4_000

// tree returns the files in folder and below that match accepts, and the folders below it.
func tree(folder string, match func(name string) bool) (names, folders []string) {
	seen := 0
	var visit func(dir, prefix string, above []string)
	visit = func(dir, prefix string, above []string) {
		// A link may lead back to where it came from.
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || slices.Contains(above, real) {
			return
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		if seen++; seen > maxTree {
			if seen == maxTree+1 {
				slog.Warn("there are too many folders below this one: the others are not looked into", "folder", folder, "most", maxTree)
			}
			return
		}
		above = append(slices.Clip(above), real)
		if prefix != "" {
			folders = append(folders, prefix)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			switch {
			case err != nil:
			case info.IsDir():
				visit(filepath.Join(dir, e.Name()), path.Join(prefix, e.Name()), above)
			case info.Mode().IsRegular() && match(e.Name()):
				names = append(names, path.Join(prefix, e.Name()))
			}
		}
	}
	visit(folder, "", nil)
	return names, folders
}
