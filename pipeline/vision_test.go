package pipeline

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/media"
)

func openVision(t *testing.T, e *Engine, name string) *Vision {
	t.Helper()
	v, err := e.Vision(t.Context(), filepath.Join(golden.Dir(), name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVisionPixels compares what encoders read of pictures of several sizes with
// ComfyUI's clip_preprocess.
func TestVisionPixels(t *testing.T) {
	f := golden.Open(t, "clip_vision_pictures")
	v := openVision(t, newEngine(t, Options{}), "clip_vision")
	n := 0
	for _, ref := range f.Refs() {
		name, ok := strings.CutPrefix(ref.Name, "picture.")
		if !ok {
			continue
		}
		n++
		var h, w, size int
		var how string
		if _, err := fmt.Sscan(strings.ReplaceAll(name, ".", " "), &h, &w, &size, &how); err != nil {
			t.Fatal(err)
		}
		values := f.F32(ref.Name)
		for i := range values {
			values[i] /= 255
		}
		v.config.Side = size / v.config.Patch
		got, err := v.pixels(t.Context(), media.NewImage(1, h, w, 3, values), 0, how == "crop")
		if err != nil {
			t.Fatal(err)
		}
		want := f.F32("pixels." + name)
		// Values are bytes before they are normalized: of those that lie between two,
		// PyTorch rounds some to the other one.
		_, deviation := v.config.Normal()
		other := 0
		for i := range want {
			switch d := math.Abs(float64(got[i] - want[i])); {
			case d > 1.01/255/float64(min(deviation[0], deviation[1], deviation[2])):
				t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			case d > 1e-5:
				other++
			}
		}
		if other > len(want)/1000 {
			t.Errorf("%s: %d of %d values are rounded otherwise", name, other, len(want))
		}
	}
	if n != 6 {
		t.Errorf("%d pictures were compared", n)
	}
}

// TestVision encodes the pictures whose pixels the goldens have.
func TestVision(t *testing.T) {
	for _, name := range []string{"clip_vision", "siglip"} {
		f := golden.Open(t, name)
		v := openVision(t, newEngine(t, Options{}), name)
		// A picture of the right size is normalized and nothing else, so what is not a
		// byte cannot be given: the first picture is rounded and encoded by hand.
		mean, deviation := v.config.Normal()
		size := v.config.Size()
		pixels := f.F32("pixels")[:3*size*size]
		values := make([]float32, len(pixels))
		for c := range 3 {
			for i := range size * size {
				x := pixels[c*size*size+i]*deviation[c]*0.2 + 0.5
				x = float32(math.RoundToEven(float64(min(max(x, 0), 1)*255))) / 255
				values[i*3+c] = x
				pixels[c*size*size+i] = (x - mean[c]) / deviation[c]
			}
		}
		out, err := v.Encode(t.Context(), media.NewImage(2, size, size, 3, append(values, values...)), true)
		if err != nil {
			t.Fatal(err)
		}
		key, b := v.network()
		want, err := v.run(t.Context(), key, b, map[string]any{"pixels": pixels})
		if err != nil {
			t.Fatal(err)
		}
		if out.Batch != 2 || out.Tokens != v.config.Tokens() || out.Width != 64 {
			t.Errorf("%s: %d pictures of %d states of %d features", name, out.Batch, out.Tokens, out.Width)
		}
		n := out.Tokens * out.Width
		golden.Check(t, name+", last", out.Last[n:], want["last"], 1e-6)
		golden.Check(t, name+", penultimate", out.Penultimate[:n], want["penultimate"], 1e-6)
		golden.Check(t, name+", embeds", out.Embeds[:len(want["embeds"])], want["embeds"], 1e-6)
	}
}

// TestStyle compares FLUX.1 Redux with ComfyUI's class.
func TestStyle(t *testing.T) {
	e := newEngine(t, Options{})
	f := golden.Open(t, "redux")
	s, err := e.Style(t.Context(), f.Path())
	if err != nil {
		t.Fatal(err)
	}
	shape := f.Shape("x")
	sight := &Sight{Batch: shape[0], Tokens: shape[1], Width: shape[2], Last: f.F32("x")}
	text, err := s.Text(t.Context(), sight)
	if err != nil {
		t.Fatal(err)
	}
	if text.Tokens != 18 || text.Width != 24 {
		t.Errorf("%d tokens of %d features", text.Tokens, text.Width)
	}
	golden.Check(t, "redux", text.Embed, f.F32("y"), 1e-5)
	sight.Width = 32
	if _, err := s.Text(t.Context(), sight); err == nil || !strings.Contains(err.Error(), "reads pictures of 64 features, and they were encoded with 32") {
		t.Errorf("got %v", err)
	}
	for want, path := range map[string]string{"not a style model (FLUX.1 Redux)": "siglip", "not an encoder of pictures (CLIP, SigLIP)": "redux"} {
		path = filepath.Join(golden.Dir(), path+".safetensors")
		_, err := e.Style(t.Context(), path)
		if strings.HasPrefix(want, "not an encoder") {
			_, err = e.Vision(t.Context(), path)
		}
		if err == nil || !strings.Contains(err.Error(), filepath.Base(path)+": "+want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
