package resample

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
)

// TestResizeIsTheReferences compares with PyTorch, Pillow and, for bislerp,
// its formula in double precision.
func TestResizeIsTheReferences(t *testing.T) {
	f := golden.Open(t, "images")
	n := 0
	for _, ref := range f.Refs() {
		part := strings.Split(ref.Name, ".")
		method := Method(part[0])
		source, limit := "planes", 1e-5
		switch method {
		case Nearest, Bilinear, Area, Bicubic:
		case Bislerp:
			limit = 1e-4
		case Lanczos:
			source, limit = "picture", 1e-3 // rounded to bytes in each direction
		default:
			continue
		}
		n++
		var h, w int
		if _, err := fmt.Sscan(part[1]+" "+part[2], &h, &w); err != nil {
			t.Fatal(err)
		}
		shape := f.Shape(source)
		got, err := Resize(t.Context(), f.F32(source), shape[0], shape[1], shape[2], h, w, method)
		if err != nil {
			t.Error(err)
			continue
		}
		golden.Check(t, ref.Name, got, f.F32(ref.Name), limit)
	}
	if n != 21 {
		t.Errorf("%d results were compared", n)
	}
}

func TestLanczosIsPillowsToTheByte(t *testing.T) {
	f := golden.Open(t, "images")
	for _, size := range [][2]int{{41, 77}, {7, 11}, {20, 45}} {
		got, err := Resize(t.Context(), f.F32("picture"), 3, 20, 30, size[0], size[1], Lanczos)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range f.F32(fmt.Sprintf("lanczos.%d.%d", size[0], size[1])) {
			if math.Abs(float64(got[i]-want)) > 1e-6 {
				t.Errorf("%v: value %d is %v, want %v", size, i, got[i]*255, want*255)
				break
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for want, f := range map[string]func() ([]float32, error){
		"cannot resize 5 values":   func() ([]float32, error) { return Resize(t.Context(), make([]float32, 5), 1, 2, 2, 3, 3, Bilinear) },
		"unknown method \"cubic\"": func() ([]float32, error) { return Resize(t.Context(), make([]float32, 4), 1, 2, 2, 3, 3, "cubic") },
		"to 0×3":                   func() ([]float32, error) { return Resize(t.Context(), make([]float32, 4), 1, 2, 2, 3, 0, Bilinear) },
		"to 1000000×1000000":       func() ([]float32, error) { return Resize(t.Context(), make([]float32, 4), 1, 2, 2, 1e6, 1e6, Bilinear) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestCancelled stops every method when its context ends.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, method := range []Method{Nearest, Bilinear, Area, Bicubic, Lanczos, Bislerp} {
		if _, err := Resize(ctx, make([]float32, 12), 3, 2, 2, 5, 5, method); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", method, err)
		}
	}
}

func BenchmarkResize(b *testing.B) {
	data := make([]float32, 3*512*512)
	for i := range data {
		data[i] = float32(i%255) / 255
	}
	for _, method := range []Method{Nearest, Bilinear, Area, Bicubic, Lanczos, Bislerp} {
		b.Run(string(method), func(b *testing.B) {
			for b.Loop() {
				if _, err := Resize(b.Context(), data, 3, 512, 512, 1024, 1024, method); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
