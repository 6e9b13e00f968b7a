package folders

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"golang.org/x/text/unicode/norm"
)

// ErrNotFound is wrapped by the errors of names that no file has.
var ErrNotFound = errors.New("file not found")

// Find returns the path of the file of that name in the first of the category's folders that has it. When none has it,
// a name with the same Unicode normalization is taken. The error lists the folders that were searched and names like the
// one given.
func (r *Roots) Find(category, name string) (string, error) {
	folders := r.Folders(category)
	if len(folders) == 0 {
		return "", fmt.Errorf("no category %q of models: there are %s", category, strings.Join(r.Categories(), ", "))
	}
	if r.AbsolutePaths && isAbsolute(name) {
		found, why := look(name)
		if why == "" {
			return found, nil
		}
		return "", fmt.Errorf("%s: %w: %s (%s)%s", canonical(category), ErrNotFound, quote(name), why, r.hint(category, name))
	}
	found, err := find(folders, name)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%s: %w%s", canonical(category), err, r.hint(category, name))
	}
	return found, err
}

// FindInput returns the path of a picture by the name that nodes give it: one in Input, or in the folder that an
// annotation names, as in "x.png [output]".
func (r *Roots) FindInput(name string) (string, error) {
	folder, file := r.Input, name
	for kind, dir := range map[string]string{"input": r.Input, "output": r.Output, "temp": r.Temp} {
		if rest, ok := strings.CutSuffix(name, "["+kind+"]"); ok {
			folder, file = dir, strings.TrimSuffix(rest, " ")
		}
	}
	found, err := find([]string{folder}, file)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w%s", err, meant(near(file, walk(folder, always))))
	}
	return found, err
}

// isAbsolute reports whether a name is an absolute path on this machine. A path that leads to another machine, as
// \\host\share\file does on Windows, is none: to look at it tells that machine who the user is.
func isAbsolute(name string) bool {
	return len(name) <= maxName && filepath.IsAbs(name) && !strings.HasPrefix(slashed(name), "//") && !strings.ContainsRune(name, 0)
}

// find returns the path of the file of that name in the first folder that has it.
func find(folders []string, name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("%w: %s has %d bytes, expected at most %d", ErrNotFound, quote(name), len(name), maxName)
	}
	var searched []string
	for _, folder := range folders {
		candidate, err := Within(folder, name)
		if err != nil {
			return "", err
		}
		found, why := look(candidate)
		if why == "" {
			return found, nil
		}
		if _, err := os.Stat(folder); err != nil {
			why = "no such folder"
		}
		if why != absent {
			folder += " (" + why + ")"
		}
		searched = append(searched, folder)
	}
	for _, folder := range folders {
		if found := normalized(folder, name); found != "" {
			return found, nil
		}
	}
	if more := len(searched) - maxListed; more > 0 {
		searched = append(searched[:maxListed], fmt.Sprintf("and %d more folders", more))
	}
	return "", fmt.Errorf("%w: %s; searched %s", ErrNotFound, quote(name), strings.Join(searched, ", "))
}

// maxListed is how many folders a message lists.
const maxListed = 20

// maxName is the length in bytes of the longest name that systems take for a path.
const maxName = 4096

// absent is why there is no file at a path at which there is nothing.
const absent = "no such file"

// look returns the path if there is a regular file, or else why there is none.
func look(path string) (found, why string) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Mode().IsRegular():
		return path, ""
	case err == nil && info.IsDir():
		return "", "where it is a folder"
	case err == nil:
		return "", "where it is a pipe or a device"
	case !errors.Is(err, fs.ErrNotExist):
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err // the path is named already, and may be long
		}
		return "", err.Error()
	}
	if _, err := os.Lstat(path); err == nil {
		return "", "where it is a link to nothing"
	}
	return "", absent
}

// normalized returns the path of a file in folder whose name has the same normalization (NFC) as name, part by part, or
// "". Some systems decompose the names of the files they write, and workflows carry names from all systems.
func normalized(folder, name string) string {
	path := folder
	for part := range strings.SplitSeq(strings.Trim(slashed(name), "/"), "/") {
		next := filepath.Join(path, part)
		if _, err := os.Lstat(next); err != nil {
			entries, err := os.ReadDir(path)
			if err != nil {
				return ""
			}
			want := norm.NFC.String(part)
			i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return norm.NFC.String(e.Name()) == want })
			if i < 0 {
				return ""
			}
			next = filepath.Join(path, entries[i].Name())
		}
		path = next
	}
	found, _ := look(path)
	return found
}

// hint says what else there is when a category has no file of that name.
func (r *Roots) hint(category, name string) string {
	here := r.List(category)
	if hint := meant(near(name, here)); hint != "" {
		return hint
	}
	base := path.Base(slashed(name))
	for _, other := range r.Categories() {
		for _, file := range r.List(other) {
			if path.Base(file) == base && other != canonical(category) {
				return fmt.Sprintf("; there is %s in %s", quote(file), other)
			}
		}
	}
	if len(here) == 0 {
		return "; no models are there"
	}
	const most = 5
	if len(here) > most {
		return fmt.Sprintf("; there are %d models, such as %s", len(here), quoted(here[:most]))
	}
	return "; there are " + quoted(here)
}

func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.ReplaceAll(quoted(names), ", ", " or ") + "?"
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, name := range names {
		q[i] = quote(name)
	}
	return strings.Join(q, ", ")
}

// near returns up to three of the names that are most like name: with the same last part in another folder, or with few
// letters changed.
func near(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	want := stem(name)
	limit := max(2, len(want)/3)
	for _, n := range names {
		if d := levenshtein.ComputeDistance(want, stem(n)); d <= limit {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var best []string
	for _, c := range found[:min(3, len(found))] {
		best = append(best, c.name)
	}
	return best
}

// stem returns what is compared of a name: its last part, without extension and case, and not more than a file system
// allows.
func stem(name string) string {
	base := path.Base(slashed(name))
	base = strings.ToLower(strings.TrimSuffix(base, path.Ext(base)))
	return base[:min(len(base), 255)]
}

func slashed(name string) string { return strings.ReplaceAll(name, `\`, "/") }
