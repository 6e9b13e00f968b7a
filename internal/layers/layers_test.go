// Package layers tests that imports point the way docs/architecture.md says.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/weir-run/weir/"
)

// order reads the packages from the list in the architecture, the highest
// first.
func order(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```\ncmd/weir")
	block, _, closed := strings.Cut("cmd/weir"+block, "```")
	if !ok || !closed {
		t.Fatal("docs/architecture.md has no list of packages that begins with cmd/weir")
	}
	var names []string
	for line := range strings.Lines(block) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// layer returns the place in the order of a package or of the one it is part
// of.
func layer(names []string, pkg string) int {
	return slices.IndexFunc(names, func(n string) bool { return pkg == n || strings.HasPrefix(pkg, n+"/") })
}

// never are imports that point downwards and are wrong all the same.
var never = map[string][]string{
	"pager":     {"ir", "weights"},
	"ir":        {"weights"},
	"model":     {"run", "plan", "pager", "device", "weights"},
	"diffusion": {"tokenizer", "model", "run", "plan", "pager", "device", "ir", "weights"},
	"plan":      {"pager", "device", "weights"},
}

func TestImportsPointDownwards(t *testing.T) {
	names := order(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if strings.HasPrefix(pkg, "internal/") || strings.HasPrefix(pkg, ".") {
			return nil
		}
		from := layer(names, pkg)
		if from < 0 {
			t.Errorf("package %s is not in the list of docs/architecture.md", pkg)
			return nil
		}
		seen[names[from]] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imported, ours := strings.CutPrefix(name, module)
			if !ours || strings.HasPrefix(imported, "internal/") {
				continue
			}
			to := layer(names, imported)
			if to < from {
				t.Errorf("%s imports %s, which is above it", path, imported)
			} else if slices.Contains(never[names[from]], names[to]) {
				t.Errorf("%s imports %s, which %s must not know", path, imported, names[from])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !seen[n] {
			t.Errorf("docs/architecture.md lists the package %s, which does not exist", n)
		}
	}
}
