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
	for line, want := range map[string]fault.Kind{
		"run " + pipe("w.json"):                                     fault.IO,
		"run " + pipe("w.png"):                                      fault.IO,
		"run /dev/zero":                                             fault.IO,
		"plan " + pipe("p.json"):                                    fault.IO,
		"inspect " + pipe("i.json"):                                 fault.IO,
		"inspect " + pipe("i.png"):                                  fault.IO,
		"inspect " + pipe("i.safetensors.index.json"):               fault.IO,
		"inspect " + pipe("i.gguf"):                                 fault.Model,
		"generate --prompt x --checkpoint " + pipe("c.safetensors"): fault.IO,
		"generate --prompt x --checkpoint " + emojiModel + " --lora " + pipe("l.gguf"):         fault.IO,
		"generate --prompt x --checkpoint " + emojiModel + " --vae " + pipe("v"):               fault.IO,
		"generate --prompt x --checkpoint " + emojiModel + " --upscale " + pipe("u"):           fault.IO,
		"run --extra-model-paths " + pipe("e.yaml") + " " + emojiFlow:                          fault.IO,
		"doctor --extra-model-paths " + pipe("d.yaml"):                                         fault.IO,
		"bench step --checkpoint " + pipe("b.safetensors") + " --steps 1":                      fault.Model,
		"generate --prompt x --width 64 --height 64 --seed 1 --steps 1 --checkpoint /dev/zero": fault.IO,
	} {
		done := make(chan error, 1)
		go func() {
			_, _, err := weir(context.Background(), strings.Fields(line)...)
			done <- err
		}()
		select {
		case err := <-done:
			if fault.Of(err) != want || !strings.Contains(err.Error(), "this is a ") {
				t.Errorf("weir %s: %v (%v), want %v", line, err, fault.Of(err), want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("weir %s waits", line)
		}
	}
}
