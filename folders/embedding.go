package folders

import (
	"fmt"
	"path/filepath"
	"sync"
)

// Embeddings returns a function that finds textual inversion embeddings by the names that prompts give them: the path of
// a file within one of the folders or any folder below them, with or without its extension. The folders are listed when
// the first name is looked up. The error of a name that no file has wraps [ErrNotFound].
func (r *Roots) Embeddings() func(name string) (path string, err error) {
	const category = "embeddings"
	all := sync.OnceValue(func() []string {
		var dirs []string
		for _, folder := range r.Folders(category) {
			dirs = append(dirs, folder)
			for _, sub := range subfolders(folder) {
				dirs = append(dirs, filepath.Join(folder, filepath.FromSlash(sub)))
			}
		}
		return dirs
	})
	return func(name string) (string, error) {
		// What can be opened comes before what is refused for its format.
		for _, extension := range []string{"", ".safetensors", ".pt", ".bin"} {
			if name == "" {
				break
			}
			if found, err := find(all(), name+extension); err == nil {
				return found, nil
			}
		}
		return "", fmt.Errorf("%w: %s%s", ErrNotFound, quote(name), meant(near(name, r.List(category))))
	}
}
