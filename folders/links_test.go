package folders

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestLinksThatMultiply lists a folder of thirty folders, each with two links to
// the next: by paths there are a thousand million.
func TestLinksThatMultiply(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links ask for rights on Windows")
	}
	dir := t.TempDir()
	for i := range 30 {
		here := filepath.Join(dir, fmt.Sprint("f", i))
		if err := os.Mkdir(here, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			if err := os.Symlink(filepath.Join(dir, fmt.Sprint("f", i+1)), filepath.Join(here, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, folders := tree(dir, always); len(folders) > maxTree {
		t.Errorf("%d folders were looked into", len(folders))
	}
}
