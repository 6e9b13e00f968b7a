//go:build unix

package folders

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-run/weir/regular"
)

// TestPipes are neither found nor listed, and no one waits for them.
func TestPipes(t *testing.T) {
	root := t.TempDir()
	for _, path := range []string{"models/vae/p.safetensors", "input/p.png", "extra.yaml", "models/embeddings/p.safetensors"} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := New(root)
	if names := r.List("vae"); len(names) > 0 {
		t.Errorf("listed: %v", names)
	}
	_, model := r.Find("vae", "p.safetensors")
	_, picture := r.FindInput("p.png")
	for _, err := range []error{model, picture} {
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "a pipe or a device") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := r.Embeddings()("p"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if err := r.LoadExtra(filepath.Join(root, "extra.yaml")); !errors.Is(err, regular.ErrNot) {
		t.Errorf("error %v", err)
	}
}
