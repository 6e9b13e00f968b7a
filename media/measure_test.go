package media

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

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

// TestMemoryIsEnough decodes large pictures within the memory that is measured.
func TestMemoryIsEnough(t *testing.T) {
	const w, h = 500, 400
	bounds := image.Rect(0, 0, w, h)
	pictures := map[string]image.Image{
		"RGBA": image.NewRGBA(bounds), "NRGBA": image.NewNRGBA(bounds), "NRGBA64": image.NewNRGBA64(bounds), "Gray": image.NewGray(bounds),
		"Gray16": image.NewGray16(bounds), "Paletted": image.NewPaletted(bounds, palette.Plan9),
	}
	encoders := map[string]func(io.Writer, image.Image) error{
		"png": png.Encode, "bmp": bmp.Encode,
		"jpeg": func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) },
		"gif":  func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) },
		"tiff": func(w io.Writer, m image.Image) error {
			return tiff.Encode(w, m, &tiff.Options{Compression: tiff.Deflate})
		},
	}
	for format, encode := range encoders {
		for name, m := range pictures {
			var b bytes.Buffer
			if err := encode(&b, m); err != nil {
				continue // not a format for it
			}
			f := inMemory(t, append(b.Bytes(), make([]byte, 1<<10)...))
			info, err := f.measure()
			if err != nil {
				t.Errorf("%s of %s: %v", format, name, err)
				continue
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err = f.decode(decoding{limit: info.Memory()})
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Errorf("%s of %s: %v", format, name, err)
			}
			took := int64(after.TotalAlloc - before.TotalAlloc)
			if format == "tiff" {
				took /= 2 // buffers that grow leave garbage
			}
			if took > info.Memory() {
				t.Errorf("%s of %s: %d bytes were allocated, measured were %d", format, name, took, info.Memory())
			}
		}
	}
}

// TestBombsAreRefused gives a small file with a large picture.
func TestBombsAreRefused(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, 20000, 4000), color.Palette{color.Black, color.White})); err != nil {
		t.Fatal(err)
	}
	f := inMemory(t, b.Bytes())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := f.decode(decoding{limit: 64 << 20})
	runtime.ReadMemStats(&after)
	if fault.Of(err) != fault.Memory {
		t.Errorf("%d bytes: %v", b.Len(), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("refusing took %d bytes", took)
	}
}

// slow is a file whose reader cancels after some bytes.
type slow struct {
	*bytes.Reader
	left   int
	cancel func()
}

func (s *slow) ReadAt(p []byte, at int64) (int, error) {
	if s.left -= len(p); s.left < 0 {
		s.cancel()
	}
	return s.Reader.ReadAt(p, at)
}

// TestDecodingStops cancels while pictures of all formats are decoded.
func TestDecodingStops(t *testing.T) {
	for _, path := range goldens(t) {
		data := readFile(t, path)
		stopped := false
		for left := 0; left < 3*len(data) && !stopped; left += 500 {
			ctx, cancel := context.WithCancel(t.Context())
			f := newFile(ctx, &slow{bytes.NewReader(data), left, cancel}, int64(len(data)))
			if _, _, err := f.decode(decoding{}); err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s after %d bytes: %v", path, left, err)
				}
				stopped = true
			}
			cancel()
		}
		if !stopped {
			t.Errorf("%s was never stopped", path)
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
