package folders

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExtraEqualsComfyUI compares the folders that documents add with those
// that ComfyUI adds. A document on which
// ComfyUI fails may be taken, such as one with a tab behind a value.
func TestExtraEqualsComfyUI(t *testing.T) {
	data, err := os.ReadFile("../testdata/golden/folders.json")
	if err != nil {
		t.Fatal(err)
	}
	var documents []struct {
		Text    string
		Folders [][3]any
	}
	if err := json.Unmarshal(data, &documents); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/weir")
	t.Setenv("USERPROFILE", "/home/weir")
	t.Setenv("WEIR_A", "/variable/a")
	dir := t.TempDir()
	for _, d := range documents {
		if runtime.GOOS == "windows" && (strings.Contains(fmt.Sprint(d.Folders), " /") || strings.Contains(d.Text, `\`)) {
			continue // an absolute path has a volume there, and a backslash separates
		}
		additions, err := parseExtra([]byte(d.Text), dir)
		if d.Folders == nil {
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", d.Text, err)
			continue
		}
		got := [][3]any{}
		for _, a := range additions {
			path := a.folder
			for _, base := range []struct{ path, name string }{{dir, "@"}, {filepath.Dir(dir), "@/.."}} {
				if rest, ok := strings.CutPrefix(path, base.path); ok && (rest == "" || rest[0] == filepath.Separator) {
					path = base.name + rest
					break
				}
			}
			got = append(got, [3]any{a.category, filepath.ToSlash(path), a.first})
		}
		if diff := cmp.Diff(d.Folders, got); diff != "" {
			t.Errorf("%q: %s", d.Text, diff)
		}
	}
}
