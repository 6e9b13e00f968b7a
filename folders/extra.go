package folders

import (
	"fmt"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
)

// maxExtra is longer than any file that people write by hand.
const maxExtra = 1 << 20

// maxAdditions is how many folders a file may add.
const maxAdditions = 10_000

// addition is one folder that an extra_model_paths.yaml adds.
type addition struct {
	category, folder string
	first            bool
}

// LoadExtra adds the folders that the file at path names, in the format of ComfyUI's extra_model_paths.yaml: sections of
// any name, each with a base_path, with is_default when its folders are to be searched before the others, and for each
// category one path or several, a line each. Relative paths are relative to base_path, and that to the file's own folder.
// In base_path a leading ~ and environment variables are expanded. When there is an error, nothing is added.
func (r *Roots) LoadExtra(path string) error {
	text, err := regular.Read(path, maxExtra)
	if err != nil {
		return fault.Mark(fault.IO, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	additions, err := parseExtra(text, dir)
	if err != nil {
		return fault.New(fault.IO, "%s: %w", path, err)
	}
	for _, a := range additions {
		r.add(a.category, a.folder, a.first)
	}
	return nil
}

// parseExtra reads the text of an extra_model_paths.yaml that lies in dir.
func parseExtra(text []byte, dir string) ([]addition, error) {
	root, err := parseYAML(text)
	if root == nil || err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, wrong(root, "expected sections of model folders")
	}
	m := mappings{left: maxMerged}
	sections, err := m.entries(root)
	if err != nil {
		return nil, err
	}
	var all []addition
	for _, s := range sections {
		value := target(s.value)
		if isNull(value) || isEmpty(value) {
			continue // all of its lines are comments
		}
		if value.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("section %s: %w", quote(s.key), wrong(value, "expected base_path and categories"))
		}
		entries, err := m.entries(value)
		if err == nil {
			all, err = section(all, entries, dir)
		}
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", quote(s.key), err)
		}
	}
	if len(all) > maxAdditions {
		return nil, fmt.Errorf("expected at most %d folders of models, found %d", maxAdditions, len(all))
	}
	return all, nil
}

// section appends the folders of a section.
func section(all []addition, entries []entry, dir string) ([]addition, error) {
	base, first := dir, false
	var categories []entry
	for _, e := range entries {
		value := target(e.value)
		switch e.key {
		case "base_path":
			if !isString(value) {
				return nil, fmt.Errorf("base_path: %w", wrong(value, "expected a path"))
			}
			base = under(dir, expand(value.Value))
		case "is_default":
			first = truth(value)
		default:
			categories = append(categories, e)
		}
	}
	for _, c := range categories {
		value := target(c.value)
		if !isString(value) {
			return nil, fmt.Errorf("%s: %w", quote(c.key), wrong(value, "expected a path, or several on a line each"))
		}
		for line := range strings.SplitSeq(value.Value, "\n") {
			if line != "" {
				all = append(all, addition{c.key, under(base, line), first})
			}
		}
	}
	return all, nil
}

// under returns the path relative to base unless it is absolute.
func under(base, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}
