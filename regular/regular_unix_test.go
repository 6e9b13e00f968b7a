//go:build unix

package regular_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
)

// TestOddFiles opens what a path may be besides a file. Nothing may wait.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		pipe: "a pipe", link: "a pipe", socket: "a socket", "/dev/zero": "a device", "/dev/tty": "a device", dir: "a folder",
	} {
		done := make(chan error, 1)
		go func() { _, err := regular.Read(path, 10); done <- err }()
		select {
		case err := <-done:
			if !errors.Is(err, regular.ErrNot) || !strings.Contains(err.Error(), want) || fault.Of(err) != fault.IO {
				t.Errorf("%s: %v (%v), want %q", path, err, fault.Of(err), want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: opening waits", path)
		}
	}
}
