// Package folders knows where models, inputs and outputs lie: ComfyUI's layout of folders, several roots of it, and the
// further folders that an extra_model_paths.yaml names.
//
// Models are named by their category, such as "loras", and their path within one of the category's folders, such as
// "styles/ink.safetensors". Such a name never leads out of the folder. Where [Roots.AbsolutePaths] is set, an absolute
// path is a name too.
package folders

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// layout gives each category's folders within a root's folder of models, in the order they are searched.
var layout = map[string][]string{
	"checkpoints":      {"checkpoints"},
	"clip_vision":      {"clip_vision"},
	"configs":          {"configs"},
	"controlnet":       {"controlnet", "t2i_adapter"},
	"diffusion_models": {"unet", "diffusion_models"},
	"embeddings":       {"embeddings"},
	"hypernetworks":    {"hypernetworks"},
	"loras":            {"loras"},
	"style_models":     {"style_models"},
	"text_encoders":    {"text_encoders", "clip"},
	"upscale_models":   {"upscale_models"},
	"vae":              {"vae"},
	"vae_approx":       {"vae_approx"},
}

// aliases are earlier names of categories, which workflows and configuration files still use.
var aliases = map[string]string{"unet": "diffusion_models", "clip": "text_encoders"}

// Roots is where everything lies. It may be used by several goroutines once nothing is changed any more.
type Roots struct {
	Input  string // the folder of pictures to be loaded
	Output string // the folder of pictures that are saved
	Temp   string // the folder of previews

	// AbsolutePaths lets a model be named by its absolute path too, so that a file that lies in no folder of its category
	// has a name. It is for the user of this machine: whoever may name a path can find out which files there are.
	AbsolutePaths bool

	categories map[string][]string // folders in the order they are searched
}

// New returns the layout under some roots, each a folder that has models, input, output and temp as ComfyUI's has. The
// models of all roots are found, those of earlier roots first; the other folders are the first root's. Without roots it
// is the working folder. None of the folders need exist.
func New(roots ...string) *Roots {
	if len(roots) == 0 {
		roots = []string{"."}
	}
	r := &Roots{
		Input:      filepath.Join(roots[0], "input"),
		Output:     filepath.Join(roots[0], "output"),
		Temp:       filepath.Join(roots[0], "temp"),
		categories: map[string][]string{},
	}
	for _, root := range roots {
		for category, names := range layout {
			for _, name := range names {
				r.add(category, filepath.Join(root, "models", name), false)
			}
		}
	}
	return r
}

// In returns a layout of one folder for one category and nothing else.
func In(category, folder string) *Roots {
	r := &Roots{categories: map[string][]string{}}
	r.Add(category, folder)
	return r
}

// Add adds a folder to those of a category, behind the others.
func (r *Roots) Add(category, folder string) { r.add(category, folder, false) }

// add adds a folder to those of a category, before or behind the others.
func (r *Roots) add(category, folder string, first bool) {
	category = canonical(category)
	there := r.categories[category]
	if i := slices.Index(there, folder); i >= 0 {
		if !first {
			return
		}
		there = slices.Delete(there, i, i+1)
	}
	at := len(there)
	if first {
		at = 0
	}
	r.categories[category] = slices.Insert(there, at, folder)
}

func canonical(category string) string {
	if name, ok := aliases[category]; ok {
		return name
	}
	return category
}

// Categories returns the names of the categories, sorted.
func (r *Roots) Categories() []string { return slices.Sorted(maps.Keys(r.categories)) }

// Folders returns the folders of a category in the order they are searched. It is empty for a category that there is
// not.
func (r *Roots) Folders(category string) []string {
	return slices.Clone(r.categories[canonical(category)])
}

// Within returns the path of the file called name in folder. Slashes and backslashes both separate the parts of a name,
// as workflows come from all systems. A name that is absolute or leads out of the folder is an error.
func Within(folder, name string) (string, error) {
	local := filepath.FromSlash(strings.ReplaceAll(name, `\`, "/"))
	if name == "" || !filepath.IsLocal(local) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%s is no name of a file in %s: it must be a relative path that stays in that folder", quote(name), folder)
	}
	return filepath.Join(folder, local), nil
}
