package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestList has a name and packages for each mutant. Whether the texts are still
// there is not a test: the program says so.
func TestList(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants {
		if seen[m.name] || m.name == "" || m.packages == "" || m.before == m.after {
			t.Errorf("%+v has no name or package of its own, or changes nothing", m)
		}
		seen[m.name] = true
	}
	if len(mutants) < 40 {
		t.Errorf("%d mutants", len(mutants))
	}
}

// TestTry changes a package of one function, whose test sees some changes.
func TestTry(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module tiny\n\ngo 1.26\n",
		"a/a.go":        "package a\n\nfunc Add(x, y int) int { return x + y }\n\nfunc Unseen() int { return 1 }\n",
		"a/a_test.go":   "package a\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Fail()\n\t}\n}\n",
		"a/other.go":    "package a\n\n// twice twice\n",
		"a/ignored.txt": "",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		m    mutant
		want verdict
		by   string
	}{
		{mutant{"wrong", "a/a.go", "x + y", "x - y", "a"}, killed, "TestAdd"},
		{mutant{"unseen", "a/a.go", "return 1", "return 2", "a"}, survived, ""},
		{mutant{"not there", "a/a.go", "x * y", "x - y", "a"}, stale, ""},
		{mutant{"there twice", "a/other.go", "twice", "once", "a"}, stale, ""},
		{mutant{"no file", "b/b.go", "x", "y", "a"}, stale, ""},
		{mutant{"no Go", "a/a.go", "x + y", "x +", "a"}, incomplete, ""},
	} {
		before, _ := os.ReadFile(filepath.Join(root, test.m.file))
		got, by, err := test.m.try(t.Context(), root)
		if err != nil || got != test.want || by != test.by {
			t.Errorf("%s: %s by %q, %v; want %s by %q", test.m.name, got, by, err, test.want, test.by)
		}
		if after, _ := os.ReadFile(filepath.Join(root, test.m.file)); string(after) != string(before) {
			t.Errorf("%s: the change was not taken back", test.m.name)
		}
	}
}
