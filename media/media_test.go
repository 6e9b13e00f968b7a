package media

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/resample"
)

// TestLoadIsPillows reads files of all formats as Pillow has read them.
func TestLoadIsPillows(t *testing.T) {
	f := golden.Open(t, "images")
	for _, name := range []string{"images_rgba.png", "images_palette.png", "images_grey.png", "images_16.png", "images_exif.jpg", "images.webp", "images.bmp", "images.gif"} {
		m, mask, err := Load(t.Context(), filepath.Join(golden.Dir(), name), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		shape := f.Shape(name)
		if m.Height != shape[0] || m.Width != shape[1] || m.Channels != 3 {
			t.Errorf("%s is %d×%d with %d channels, want %v", name, m.Height, m.Width, m.Channels, shape)
			continue
		}
		limit := 0.0
		if strings.HasSuffix(name, ".jpg") {
			limit = 3.0 / 255 // decoders round differently
		}
		pix := m.Pix()
		for i, want := range f.F32(name) {
			if math.Abs(float64(pix[i]-want)) > limit+1e-6 {
				t.Errorf("%s: value %d is %v, want %v", name, i, pix[i]*255, want*255)
				break
			}
		}
		_, hasMask := f.Lookup(name + ".mask")
		if (mask != nil) != hasMask {
			t.Errorf("%s: there is a mask: %v, want %v", name, mask != nil, hasMask)
			continue
		}
		if mask == nil {
			continue
		}
		pix = mask.Pix()
		for i, want := range f.F32(name + ".mask") {
			if math.Abs(float64(pix[i]-want)) > 1e-6 {
				t.Errorf("%s: value %d of the mask is %v, want %v", name, i, pix[i], want)
				break
			}
		}
	}
}

func TestBytesAreNumPys(t *testing.T) {
	f := golden.Open(t, "images")
	want := f.F32("bytes")
	for i, v := range f.F32("values") {
		if got := resample.ToByte(v); float32(got) != want[i] {
			t.Errorf("%v became %d, want %v", v, got, want[i])
		}
	}
	if resample.ToByte(float32(math.NaN())) != 0 {
		t.Error("what is not a number must be black")
	}
}

// encode returns a picture as a PNG.
func encode(t testing.TB, m *Image, texts []Text) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := EncodePNG(t.Context(), &b, m, texts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode reads a picture from memory.
func decode(t testing.TB, data []byte) (*Image, *Mask, error) {
	return inMemory(t, data).decode(decoding{})
}

func inMemory(t testing.TB, data []byte) *file {
	return newFile(t.Context(), bytes.NewReader(data), int64(len(data)))
}

func TestEncodePNG(t *testing.T) {
	for _, channels := range []int{3, 4} {
		m := NewImage(2, 3, 5, channels, nil)
		for i := range m.Pix() {
			m.values[i] = float32(i*7%256) / 255
		}
		texts := []Text{{"prompt", `{"1": "x"}`}, {"workflow", "{}"}}
		data := encode(t, m, texts)
		got, mask, err := decode(t, data)
		if err != nil || (mask != nil) != (channels == 4) {
			t.Fatal(err, mask)
		}
		for i := range 3 * 5 {
			for c := range channels {
				v := float32(0)
				if c < 3 {
					v = got.Pix()[3*i+c]
				} else {
					v = 1 - mask.Pix()[i]
				}
				if want := float32(resample.ToByte(m.Pix()[channels*i+c])) / 255; math.Abs(float64(v-want)) > 1e-6 {
					t.Fatalf("channel %d of pixel %d is %v, want %v", c, i, v, want)
				}
			}
		}
		read, err := inMemory(t, data).texts()
		if err != nil || !slices.Equal(read, texts) {
			t.Errorf("read the texts %v, %v", read, err)
		}
		// The standard library checks every sum.
		if _, err := png.Decode(bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
	}
}

// TestEncodePNGTakesLittle encodes a picture without its size of memory.
func TestEncodePNGTakesLittle(t *testing.T) {
	m := NewImage(1, 1500, 1000, 3, nil)
	for i := range m.Pix() {
		m.values[i] = float32(i%251) / 255
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := EncodePNG(t.Context(), io.Discard, m, nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 2<<20 {
		t.Errorf("it took %d bytes", took)
	}
}

// full is a disk that has room for n bytes.
type full struct{ n int }

var errFull = errors.New("the disk is full")

func (f *full) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestEncodePNGErrors(t *testing.T) {
	m := NewImage(1, 2, 2, 3, nil)
	for want, f := range map[string]func() error{
		"only ASCII": func() error { return EncodePNG(t.Context(), io.Discard, m, []Text{{"prompt", "é"}}) },
		"1 to 79":    func() error { return EncodePNG(t.Context(), io.Discard, m, []Text{{"", "x"}}) },
		"1 channels": func() error { return EncodePNG(t.Context(), io.Discard, NewImage(1, 2, 2, 1, nil), nil) },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	texts := []Text{{"prompt", "{}"}}
	for n := range len(encode(t, m, texts)) {
		if err := EncodePNG(t.Context(), &full{n}, m, texts); !errors.Is(err, errFull) {
			t.Errorf("a disk of %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := EncodePNG(ctx, io.Discard, m, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReadTextIsPillows reads texts in every form that Pillow writes.
func TestReadTextIsPillows(t *testing.T) {
	texts, err := ReadText(t.Context(), filepath.Join(golden.Dir(), "images_text.png"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Text{
		{"prompt", `{"1": "caf\u00e9"}`}, {"zipped", strings.Repeat("a long text ", 50)},
		{"international", "日本"}, {"both", strings.Repeat("ü", 40)},
	}
	if len(texts) != len(want) {
		t.Fatalf("read %v", texts)
	}
	for i := range want {
		if texts[i] != want[i] {
			t.Errorf("read %v, want %v", texts[i], want[i])
		}
	}
	if texts, err := ReadText(t.Context(), filepath.Join(golden.Dir(), "images_grey.png")); err != nil || len(texts) != 0 {
		t.Errorf("read %v, %v", texts, err)
	}
	if _, err := ReadText(t.Context(), filepath.Join(golden.Dir(), "images.bmp")); err != nil {
		t.Errorf("got %v", err)
	}
}

// bomb is a PNG whose compressed text is far larger than it.
func bomb() []byte {
	out := []byte(pngMagic)
	head := make([]byte, 13)
	binary.BigEndian.PutUint32(head, 1)
	binary.BigEndian.PutUint32(head[4:], 1)
	head[8], head[9] = 8, 2
	out = appendChunk(out, "IHDR", head)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	block := make([]byte, 1<<20)
	for range 65 {
		w.Write(block)
	}
	w.Close()
	return appendChunk(out, "zTXt", append([]byte("prompt\x00\x00"), z.Bytes()...))
}

func TestTextsAreBounded(t *testing.T) {
	if _, err := inMemory(t, bomb()).texts(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
	// A chunk that claims 2 GiB and has nothing.
	claim := append([]byte(pngMagic), 0x7f, 0xff, 0xff, 0xff)
	if texts, err := inMemory(t, append(claim, "tEXt"...)).texts(); err == nil && len(texts) > 0 {
		t.Errorf("read %v", texts)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(filepath.Join(golden.Dir(), "images_rgba.png"))
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(whole)
	binary.BigEndian.PutUint32(huge[16:], 100000)
	binary.BigEndian.PutUint32(huge[20:], 100000)
	copy(huge[8:], appendChunk(nil, "IHDR", huge[16:29]))
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"text.png": {[]byte("hello"), "no picture of a known format"},
		"cut.png":  {whole[:len(whole)/2], "png: "},
		"huge.png": {huge, "claims 100000×100000 pixels"},
		"empty":    {nil, "no picture of a known format"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, test.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Load(t.Context(), path, 0); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want the path and %q", name, err, test.want)
		}
	}
	if _, _, err := Load(t.Context(), filepath.Join(dir, "none"), 0); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

// TestOrientations turns a picture of 2×3 distinct pixels in all ways.
func TestOrientations(t *testing.T) {
	// EXIF 2.32, table of tag 274: where row 0 and column 0 are.
	want := map[int][]uint8{
		1: {0, 1, 2, 3, 4, 5}, 2: {2, 1, 0, 5, 4, 3}, 3: {5, 4, 3, 2, 1, 0}, 4: {3, 4, 5, 0, 1, 2},
		5: {0, 3, 1, 4, 2, 5}, 6: {3, 0, 4, 1, 5, 2}, 7: {5, 2, 4, 1, 3, 0}, 8: {2, 5, 1, 4, 0, 3},
	}
	for o, w := range want {
		info := Info{Width: 3, Height: 2, Frames: 1}
		if o >= 5 {
			info.Width, info.Height = 2, 3
		}
		b := newBatch(info, o, true)
		err := b.add(t.Context(), 3, 2, func(y int, dst []uint8) {
			for x := range 3 {
				v := uint8(3*y + x)
				setPixel(dst[4*x:], v, v, v, v)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.mask.bytes; !slices.Equal(got, w) {
			t.Errorf("orientation %d gives %v, want %v", o, got, w)
		}
		for i, v := range w {
			if b.image.bytes[3*i] != v {
				t.Errorf("orientation %d gives the colours %v", o, b.image.bytes)
				break
			}
		}
	}
}

func TestResizeCrops(t *testing.T) {
	m := NewImage(1, 4, 10, 3, nil)
	for i := range m.Pix() {
		m.values[i] = float32(i / 3 % 10)
	}
	got, err := m.Resize(t.Context(), 4, 4, resample.Nearest, true)
	if err != nil {
		t.Fatal(err)
	}
	for x := range 4 {
		if v := got.Pix()[3*x]; v != float32(3+x) {
			t.Errorf("column %d is that of %v, want %d: the middle is kept", x, v, 3+x)
		}
	}
	if _, err := m.Resize(t.Context(), 0, 4, resample.Nearest, false); err == nil {
		t.Error("a height of 0 must be refused")
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzDecode decodes pictures of all formats, animations among them, in a limit
// of memory.
func FuzzDecode(f *testing.F) {
	for _, path := range goldens(f) {
		f.Add(readFile(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		for _, d := range []decoding{{limit: 1 << 24}, {limit: 1 << 24, first: true, keyed: true}} {
			m, mask, err := inMemory(t, data).decode(d)
			if err != nil {
				continue
			}
			if n := m.Batch * m.Width * m.Height; len(m.Pix()) != 3*n || mask != nil && len(mask.Pix()) != n {
				t.Errorf("%d of %d×%d pixels with %d values", m.Batch, m.Width, m.Height, len(m.Pix()))
			}
		}
	})
}
