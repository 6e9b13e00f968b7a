package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/workflow"
)

// TestLargeFiles names a model that is given for a workflow, however large.
func TestLargeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, []byte("\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{14, maxWorkflow + 1} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		_, err := readWorkflow(t.Context(), path, workflow.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), "this is a safetensors model") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
