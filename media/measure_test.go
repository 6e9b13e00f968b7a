package media

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/golden"
)

// goldens are the pictures among the goldens.
func goldens(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"images*.*", "loading*.*"} {
		all, err := filepath.Glob(filepath.Join(golden.Dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range all {
			if !strings.HasSuffix(path, ".py") && !strings.HasSuffix(path, ".safetensors") {
				out = append(out, path)
			}
		}
	}
	if len(out) < 8 {
		t.Fatalf("there are the pictures %q", out)
	}
	return out
}

// TestMeasureIsWhatIsLoaded compares what headers say with what is decoded, and
// with the memory that decoding took.
func TestMeasureIsWhatIsLoaded(t *testing.T) {
	for _, path := range goldens(t) {
		info, err := Measure(t.Context(), path)
		if err != nil {
			t.Error(err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, mask, err := Load(t.Context(), path, info.Memory())
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Width != info.Width || m.Height != info.Height || m.Batch != info.Frames {
			t.Errorf("%s: measured %+v, loaded %d pictures of %d×%d", path, info, m.Batch, m.Width, m.Height)
		}
		size := m.Size()
		if mask != nil {
			size += mask.Size()
		}
		if size > info.Size() {
			t.Errorf("%s: the size is %d, measured was %d", path, size, info.Size())
		}
		if took := int64(after.TotalAlloc - before.TotalAlloc); took > info.Memory() {
			t.Errorf("%s: %d bytes were allocated, measured were %d", path, took, info.Memory())
		}
		if _, _, err := Load(t.Context(), path, info.Memory()-1); fault.Of(err) != fault.Memory || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: less memory gives %v", path, err)
		}
	}
}

func TestMeasureErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Measure(t.Context(), filepath.Join(dir, "none")); fault.Of(err) != fault.IO {
		t.Errorf("no file: %v", err)
	}
	if _, err := Measure(t.Context(), dir); fault.Of(err) != fault.IO || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Measure(t.Context(), os.DevNull); fault.Of(err) != fault.IO {
		t.Errorf("a device: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, goldens(t)[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzMeasure measures what is no picture any more.
func FuzzMeasure(f *testing.F) {
	for _, path := range goldens(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := newFile(t.Context(), bytes.NewReader(data), int64(len(data))).measure()
		if err == nil && (info.Width < 1 || info.Height < 1 || info.Frames < 1 || info.Memory() < info.Size()) {
			t.Errorf("measured %+v", info)
		}
	})
}
