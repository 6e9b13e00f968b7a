//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-run/weir/internal/hostile"
)

// TestHostileFiles gives what is no file to everything that reads one: nothing
// waits for it, nothing reads it without end.
func TestHostileFiles(t *testing.T) {
	o := &ordeal{t: t, typed: true}
	odd := map[string]func(path string) error{
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"socket": listen,
		"folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"zeros":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"random": func(path string) error { return os.Symlink("/dev/urandom", path) },
		"full":   func(path string) error { return os.Symlink("/dev/full", path) },
		"loop":   func(path string) error { return os.Symlink(path, path) },
		"gone":   func(path string) error { return os.Symlink(path+"-none", path) },
	}
	for name, make := range odd {
		dir := t.TempDir()
		place := func(file string) string {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			return path
		}
		try := func(args ...string) {
			o.face(hostile.Input{Name: fmt.Sprintf("%s: %v", name, args), Fails: true}, []string{dir, "odd", "input"}, o.command(hostile.Input{Name: name}, args...))
		}
		generate := []string{"generate", "-c", "emoji.safetensors", "-p", "x", "--root", repo, "--width", "16", "--height", "16", "--steps", "1", "-o", filepath.Join(dir, "out")}
		for _, file := range []string{"odd.safetensors", "odd.gguf", "odd.sft", "odd.safetensors.index.json", "odd.png", "odd.ckpt"} {
			path := place(file)
			try("inspect", path)
			try("generate", "-c", path, "-p", "x")
			try(append(generate, "--lora", path)...)
			try(append(generate, "--upscale", path)...)
			try(append(generate, "--vae", path)...)
		}
		for _, file := range []string{"odd.json", "flow.png", "flow.webp", "flow.jpg"} {
			path := place(file)
			try("run", path)
			try("plan", path)
		}
		try("run", emojiFlow, "--extra-model-paths", place("odd.yaml"))
		place("models/checkpoints/odd.safetensors")
		try("run", emojiFlow, "--root", dir, "--set", "CheckpointLoaderSimple.ckpt_name=odd.safetensors")
		for _, file := range []string{"odd.png", "odd.jpg", "odd.webp", "odd.gif"} {
			place("input/" + file)
			flow := filepath.Join(dir, "load.json")
			text := fmt.Sprintf(`{"1": {"class_type": "LoadImage", "inputs": {"image": %q}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}}}`, file)
			if err := os.WriteFile(flow, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			try("run", flow, "--root", dir)
		}
	}
	o.done(200)
}

// listen makes a socket in the file system. Its path may be longer than sockets
// allow, so it is made in the folder for temporary files and moved.
func listen(path string) error {
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(short, "s"), path)
}
