package regular_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/regular"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("weir"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := regular.Read(path, 4); err != nil || string(data) != "weir" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := regular.Read(path, 3); err == nil || !strings.Contains(err.Error(), "4 bytes, expected at most 3") {
		t.Errorf("a file that is too long: %v", err)
	}
	if _, _, err := regular.Open(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
