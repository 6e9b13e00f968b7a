//go:build unix

package main

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-run/weir/fault"
)

// TestPipes gives every command a pipe, which nobody writes to, for a file.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	pipe := func(name string) string {
		path := filepath.Join(dir, name)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, line := range []string{
		"run " + pipe("w.json"),
		"run " + pipe("w.png"),
		"run /dev/zero",
		"plan " + pipe("p.json"),
		"inspect " + pipe("i.json"),
		"inspect " + pipe("i.png"),
		"inspect " + pipe("i.safetensors.index.json"),
		"inspect " + pipe("i.gguf"),
		"generate --prompt x --checkpoint " + pipe("c.safetensors"),
		"generate --prompt x --checkpoint " + emojiModel + " --lora " + pipe("l.gguf"),
		"generate --prompt x --checkpoint " + emojiModel + " --vae " + pipe("v"),
		"generate --prompt x --checkpoint " + emojiModel + " --upscale " + pipe("u"),
		"run --extra-model-paths " + pipe("e.yaml") + " " + emojiFlow,
		"doctor --extra-model-paths " + pipe("d.yaml"),
		"bench step --checkpoint " + pipe("b.safetensors") + " --steps 1",
		"generate --prompt x --width 64 --height 64 --seed 1 --steps 1 --checkpoint /dev/zero",
	} {
		done := make(chan error, 1)
		go func() {
			_, _, err := weir(context.Background(), strings.Fields(line)...)
			done <- err
		}()
		select {
		case err := <-done:
			if kind := fault.Of(err); kind != fault.IO && kind != fault.Model || !strings.Contains(err.Error(), "this is a ") {
				t.Errorf("weir %s: %v (%v), want an error of the file", line, err, kind)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("weir %s waits", line)
		}
	}
}
