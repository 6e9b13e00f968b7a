package golden

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SumsFile is the name of the file of checksums beside the goldens.
const SumsFile = "SUMS"

// Sums returns a line for each golden: the checksums of the golden and of the
// script that made it, and both names. A golden belongs to the script that
// names it: "made: NAME ..." in a comment or docstring. A name with slashes is
// that of a file elsewhere in the repository, seen from the goldens.
func Sums() (string, error) {
	scripts, err := filepath.Glob(filepath.Join(Dir(), "*.py"))
	if err != nil {
		return "", err
	}
	maker := map[string]string{}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(string(text)) {
			if _, made, ok := strings.Cut(line, "made:"); ok {
				for _, name := range strings.Fields(made) {
					maker[name] = script
				}
			}
		}
	}
	files, err := os.ReadDir(Dir())
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range files {
		if name := f.Name(); !f.IsDir() && name != SumsFile && filepath.Ext(name) != ".py" {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(maker)) {
		if strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	var out strings.Builder
	for _, name := range names {
		script, ok := maker[name]
		if !ok {
			return "", fmt.Errorf("%s: no script in %s says that it made it, with a line \"made: %s\"", name, Dir(), name)
		}
		made, err := sum(filepath.Join(Dir(), name))
		if err != nil {
			return "", err
		}
		by, err := sum(script)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s %s %s %s\n", made, by, name, filepath.Base(script))
		delete(maker, name)
	}
	for name, script := range maker {
		return "", fmt.Errorf("%s says that it made %s, which does not exist", script, name)
	}
	return out.String(), nil
}

// sum returns the first half of the SHA-256 of a file, without the carriage
// returns that some systems check text out with.
func sum(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if ext := filepath.Ext(path); ext == ".py" || ext == ".txt" {
		data = []byte(strings.ReplaceAll(string(data), "\r\n", "\n"))
	}
	s := sha256.Sum256(data)
	return fmt.Sprintf("%x", s[:16]), nil
}
