package media

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/weir-run/weir/internal/golden"
)

// rounding is how far apart decoders may be, in 255ths: the standard leaves
// JPEG's arithmetic to them.
func rounding(name string) float64 {
	if filepath.Ext(name) == ".jpg" {
		return 3
	}
	return 0
}

// TestLoadIsComfyUIs compares with what the nodes LoadImage and LoadImageMask
// have loaded.
func TestLoadIsComfyUIs(t *testing.T) {
	f := golden.Open(t, "loading")
	pictures := 0
	for _, name := range f.Names() {
		if strings.Count(name, ".") != 1 {
			continue
		}
		pictures++
		path := filepath.Join(golden.Dir(), name)
		m, mask, err := Load(t.Context(), path, 0)
		if err != nil {
			t.Error(err)
			continue
		}
		shape := f.Shape(name)
		if m.Batch != shape[0] || m.Height != shape[1] || m.Width != shape[2] {
			t.Errorf("%s: %d pictures of %d×%d, want %v", name, m.Batch, m.Width, m.Height, shape)
			continue
		}
		same(t, name, m.Pix(), f.F32(name), rounding(name))
		if shape := f.Shape(name + ".mask"); mask == nil {
			if shape[1] != 64 || shape[2] != 64 {
				t.Errorf("%s: there is no mask, want %v", name, shape)
			}
		} else if mask.Batch != shape[0] || mask.Height != shape[1] || mask.Width != shape[2] {
			t.Errorf("%s: the mask is %d of %d×%d, want %v", name, mask.Batch, mask.Width, mask.Height, shape)
		} else {
			same(t, name+".mask", mask.Pix(), f.F32(name+".mask"), 0)
		}
		for channel, suffix := range map[int]string{0: ".red", 3: ".alpha"} {
			if _, ok := f.Lookup(name + suffix); !ok {
				continue
			}
			mask, err := LoadChannel(t.Context(), path, channel, 0)
			if err != nil {
				t.Error(err)
				continue
			}
			same(t, name+suffix, mask.Pix(), f.F32(name+suffix), rounding(name))
		}
	}
	if pictures < 35 {
		t.Errorf("%d pictures were compared", pictures)
	}
}

// same compares values of 0 to 1 with bytes.
func same(t *testing.T, what string, got, want []float32, limit float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	wrong, first := 0, -1
	for i := range got {
		if math.Abs(float64(got[i]*255-want[i])) > limit+1e-3 {
			if wrong++; first < 0 {
				first = i
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d values differ, value %d is %v, want %v", what, wrong, len(got), first, got[first]*255, want[first])
	}
}

// TestCutPictures cuts files off: each is an error or a picture, as far as it
// is there.
func TestCutPictures(t *testing.T) {
	for _, path := range goldens(t) {
		data := readFile(t, path)
		for at := 0; at < len(data); at += 1 + len(data)/20 {
			m, _, err := decode(t, data[:at])
			if err == nil && (m.Batch < 1 || len(m.Pix()) != 3*m.Batch*m.Height*m.Width) {
				t.Errorf("%s cut at %d is %d of %d×%d", path, at, m.Batch, m.Width, m.Height)
			}
		}
	}
}

// TestPlainPictures reads large pictures of one colour, which take few bytes.
func TestPlainPictures(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, 8000, 2000), color.Palette{color.White, color.Black})); err != nil {
		t.Fatal(err)
	}
	m, _, err := decode(t, b.Bytes())
	if err != nil || m.Width != 8000 || m.Height != 2000 {
		t.Errorf("%d bytes: %v", b.Len(), err)
	}
}

// TestOverlappingHeaders gives a TIFF whose directory lies within its header.
func TestOverlappingHeaders(t *testing.T) {
	var b bytes.Buffer
	if err := tiff.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4)), nil); err != nil {
		t.Fatal(err)
	}
	for at := range 16 {
		data := bytes.Clone(b.Bytes())
		data[4], data[5], data[6], data[7] = uint8(at), 0, 0, 0
		if _, _, err := decode(t, data); err == nil {
			t.Errorf("a directory at %d was read", at)
		}
	}
}
