package folders

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/weir-run/weir/regular"
)

// maxExtra is longer than any file that people write by hand.
const maxExtra = 1 << 20

// addition is one folder that an extra_model_paths.yaml adds.
type addition struct {
	category, folder string
	first            bool
}

// LoadExtra adds the folders that the file at path names, in the format of ComfyUI's extra_model_paths.yaml: sections of
// any name, each with a base_path, with is_default when its folders are to be searched before the others, and for each
// category one path or several, a line each. Relative paths are relative to base_path, and that to the file's own folder.
// A leading ~ and environment variables are expanded. When there is an error, nothing is added.
func (r *Roots) LoadExtra(path string) error {
	text, err := regular.Read(path, maxExtra)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	additions, err := parseExtra(text, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, a := range additions {
		r.add(a.category, a.folder, a.first)
	}
	return nil
}

// parseExtra reads the text of such a file that lies in dir.
func parseExtra(text []byte, dir string) ([]addition, error) {
	var sections yaml.MapSlice // keeps the order, which is the order of search
	if err := yaml.UnmarshalWithOptions(text, &sections, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("expected sections of model folders: %s", yaml.FormatError(err, false, false))
	}
	var all []addition
	for _, s := range sections {
		if s.Value == nil {
			continue // all of its lines are comments
		}
		entries, ok := s.Value.(yaml.MapSlice)
		if !ok {
			return nil, fmt.Errorf("section %v: expected base_path and categories, found %v", s.Key, s.Value)
		}
		additions, err := parseSection(entries, dir)
		if err != nil {
			return nil, fmt.Errorf("section %v: %w", s.Key, err)
		}
		all = append(all, additions...)
	}
	return all, nil
}

func parseSection(entries yaml.MapSlice, dir string) ([]addition, error) {
	base, first := dir, false
	var categories yaml.MapSlice
	for _, e := range entries {
		var ok bool
		switch e.Key {
		case "base_path":
			var p string
			if p, ok = e.Value.(string); !ok {
				return nil, fmt.Errorf("base_path: expected a path, found %v", e.Value)
			}
			base = under(dir, p)
		case "is_default":
			if first, ok = e.Value.(bool); !ok {
				return nil, fmt.Errorf("is_default: expected true or false, found %v", e.Value)
			}
		default:
			categories = append(categories, e)
		}
	}
	var all []addition
	for _, c := range categories {
		paths, ok := c.Value.(string)
		if !ok {
			return nil, fmt.Errorf("%v: expected a path, or several on a line each, found %v", c.Key, c.Value)
		}
		for line := range strings.Lines(paths) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, addition{fmt.Sprint(c.Key), under(base, line), first})
			}
		}
	}
	return all, nil
}

// under returns the path, expanded, relative to base unless it is absolute.
func under(base, path string) string {
	path = filepath.FromSlash(expand(path))
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// variable matches an environment variable in a path as the system's shell writes it.
var variable = regexp.MustCompile(map[bool]string{
	false: `\$\{\w+\}|\$\w+`,
	true:  `\$\{\w+\}|\$\w+|%\w+%`,
}[runtime.GOOS == "windows"])

// expand replaces a leading ~ and the environment variables that are set. Others stay as they are.
func expand(path string) string {
	if home, err := os.UserHomeDir(); err == nil && (path == "~" || strings.HasPrefix(path, "~/") || strings.HasPrefix(path, `~\`)) {
		path = home + path[1:]
	}
	return variable.ReplaceAllStringFunc(path, func(v string) string {
		if value, ok := os.LookupEnv(strings.Trim(v, "${}%")); ok {
			return value
		}
		return v
	})
}
