package node

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// draw writes a picture of the given opacity into the folder of inputs.
func (b *bench) draw(name string, w, h int, opacity func(x, y int) uint8) {
	b.t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.NRGBA{uint8(10 * x), uint8(10 * y), 200, opacity(x, y)})
		}
	}
	f, err := os.Create(filepath.Join(b.env.Folders.Input, name))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		b.t.Fatal(err)
	}
}

// saved runs a workflow whose node "x" is followed by one that saves, and
// returns the saved picture.
func (b *bench) saved(node string) *media.Image {
	b.t.Helper()
	return b.run(b.parse(`{"in": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}, "x": ` + node + `,
		"s": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["x", 0]}}}`))
}

func TestImageNodes(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 12, 6, func(int, int) uint8 { return 255 })
	in, _, err := media.Load(t.Context(), filepath.Join(b.env.Folders.Input, "in.png"), 0)
	if err != nil {
		t.Fatal(err)
	}
	inverted := b.saved(`{"class_type": "ImageInvert", "inputs": {"image": ["in", 0]}}`)
	for i, v := range inverted.Pix() {
		if d := v + in.Pix()[i] - 1; d > 0.005 || d < -0.005 {
			t.Fatalf("value %d of the negative is %v, of the picture %v", i, v, in.Pix()[i])
		}
	}
	for node, size := range map[string][2]int{
		`{"class_type": "ImageScale", "inputs": {"image": ["in", 0], "upscale_method": "bicubic", "width": 0, "height": 9, "crop": "disabled"}}`: {18, 9},
		`{"class_type": "ImageScale", "inputs": {"image": ["in", 0], "upscale_method": "area", "width": 4, "height": 0, "crop": "disabled"}}`:    {4, 2},
		`{"class_type": "ImageScale", "inputs": {"image": ["in", 0], "upscale_method": "lanczos", "width": 0, "height": 0, "crop": "disabled"}}`: {12, 6},
		`{"class_type": "ImageScale", "inputs": {"image": ["in", 0], "upscale_method": "bilinear", "width": 5, "height": 5, "crop": "center"}}`:  {5, 5},
		`{"class_type": "ImageScaleBy", "inputs": {"image": ["in", 0], "upscale_method": "nearest-exact", "scale_by": 1.5}}`:                     {18, 9},
	} {
		if got := b.saved(node); got.Width != size[0] || got.Height != size[1] {
			t.Errorf("%s gave %d×%d, want %v", node, got.Width, got.Height, size)
		}
	}
	// In the middle of a picture that is twice as wide as high.
	cropped := b.saved(`{"class_type": "ImageScale", "inputs": {"image": ["in", 0], "upscale_method": "nearest-exact", "width": 6, "height": 6, "crop": "center"}}`)
	if got, want := cropped.Pix()[0], in.Pix()[3*3]; got != want {
		t.Errorf("the crop begins with %v, want %v", got, want)
	}
}

// take returns the Run of a node that keeps its first input.
func take[T any](to *T) func(context.Context, *workflow.Call) ([]any, error) {
	return func(_ context.Context, c *workflow.Call) ([]any, error) {
		v, err := Input[T](c, c.Schema.Inputs[0].Name)
		*to = v
		return nil, err
	}
}

func TestMasks(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 8, 4, func(x, _ int) uint8 { return uint8(255 - 30*x) })
	mask := func(node string) *media.Mask {
		t.Helper()
		var got *media.Mask
		b.reg = Registry(b.env)
		b.reg.Register(workflow.Schema{Class: "Take", Inputs: []workflow.Input{workflow.Link("m", workflow.TypeMask)}, Output: true,
			Run: take(&got)})
		if _, _, err := b.try(b.parse(`{"1": ` + node + `, "2": {"class_type": "Take", "inputs": {"m": ["1", ` + map[bool]string{true: "1", false: "0"}[strings.Contains(node, `"LoadImage"`)] + `]}}}`)); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for node, want := range map[string]func(x, y int) float32{
		`{"class_type": "LoadImage", "inputs": {"image": "in.png"}}`:                         func(x, _ int) float32 { return float32(30*x) / 255 },
		`{"class_type": "LoadImageMask", "inputs": {"image": "in.png", "channel": "alpha"}}`: func(x, _ int) float32 { return float32(30*x) / 255 },
		`{"class_type": "LoadImageMask", "inputs": {"image": "in.png", "channel": "green"}}`: func(_, y int) float32 { return float32(10*y) / 255 },
	} {
		m := mask(node)
		for i, v := range m.Pix() {
			if d := v - want(i%8, i/8); d > 1e-6 || d < -1e-6 {
				t.Errorf("%s: value %d is %v, want %v", node, i, v, want(i%8, i/8))
				break
			}
		}
	}
}

func TestLatentNodes(t *testing.T) {
	l := empty(anyFormat, 1, 1, 64, 128)
	of, err := l.of(latent.Square("", 16, 4, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	filled := of.filled(false)
	if filled.Channels != 16 || filled.Height != 16 || filled.Width != 32 || len(filled.Data) != 16*16*32 || filled.Size() != 4*16*16*32 {
		t.Errorf("filled: %v", filled)
	}
	if planned := of.filled(true); planned.Data != nil || planned.Size() != filled.Size() {
		t.Errorf("planned: %v", planned)
	}
	if again, err := filled.of(anyFormat); err != nil || again.filled(false) != filled {
		t.Errorf("a filled latent becomes another one: %v", err)
	}
	if _, err := empty(anyFormat, 1, 1, 8, 8).of(latent.Flux2); err == nil {
		t.Error("a latent of no size was made")
	}
	b := newBench(t, pipeline.Options{})
	get := func(node string) *Latent {
		t.Helper()
		var got *Latent
		b.reg = Registry(b.env)
		b.reg.Register(workflow.Schema{Class: "Take", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true, Run: take(&got)})
		g := b.parse(`{"e": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 256, "batch_size": 2}}, "1": ` + node + `,
			"2": {"class_type": "Take", "inputs": {"l": ["1", 0]}}}`)
		if _, _, err := b.try(g); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for node, size := range map[string][2]int{
		`{"class_type": "LatentUpscale", "inputs": {"samples": ["e", 0], "upscale_method": "bislerp", "width": 1024, "height": 0, "crop": "disabled"}}`: {128, 64},
		`{"class_type": "LatentUpscale", "inputs": {"samples": ["e", 0], "upscale_method": "area", "width": 0, "height": 512, "crop": "disabled"}}`:     {128, 64},
		`{"class_type": "LatentUpscale", "inputs": {"samples": ["e", 0], "upscale_method": "area", "width": 0, "height": 0, "crop": "center"}}`:         {64, 32},
		`{"class_type": "LatentUpscaleBy", "inputs": {"samples": ["e", 0], "upscale_method": "bilinear", "scale_by": 1.5}}`:                             {96, 48},
	} {
		if got := get(node); got.Batch != 2 || !got.Empty || got.Data != nil || got.Width != size[0] || got.Height != size[1] {
			t.Errorf("%s gave %+v, want %v", node, got, size)
		}
	}
}

func TestConditioningArithmetic(t *testing.T) {
	to := NewCond([]float32{1, 2, 3, 4}, 2, 2, []float32{10})
	from := NewCond([]float32{5, 6}, 1, 2, []float32{20})
	a := average(to, from, 0.75)
	if want := []float32{0.75*1 + 0.25*5, 0.75*2 + 0.25*6, 0.75 * 3, 0.75 * 4}; !slices.Equal(a.Embed, want) || a.Pooled[0] != 12.5 || a.Tokens != 2 {
		t.Errorf("the average is %+v, want %v", a, want)
	}
	c := concat(to, from)
	if !slices.Equal(c.Embed, []float32{1, 2, 3, 4, 5, 6}) || c.Tokens != 3 || len(to.Embed) != 4 {
		t.Errorf("one behind the other is %+v", c)
	}
	if got := average(NewCond([]float32{1}, 1, 1, nil), from, 0.5); got.Pooled[0] != 20 {
		t.Errorf("a missing pooled text is the other's: %+v", got)
	}
	if _, err := each(Conditioning{to}, NewCond([]float32{1, 2, 3}, 1, 3, nil), concat); err == nil || !strings.Contains(err.Error(), "different text encoders") {
		t.Errorf("got %v", err)
	}
}

// TestGrow compares with the convolution that defines it.
func TestGrow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		h, w, by := 1+r.IntN(9), 1+r.IntN(9), r.IntN(8)
		m := make([]float32, 2*h*w)
		for i := range m {
			m[i] = float32(r.IntN(8) / 7)
		}
		got := grow(m, 2, h, w, by)
		for b := range 2 {
			for y := range h {
				for x := range w {
					sum := float32(0)
					if by == 0 {
						sum = m[(b*h+y)*w+x]
					}
					for i := range by {
						for j := range by {
							v, u := y-by/2+i, x-by/2+j // the padding is (by-1)/2 rounded up
							if v >= 0 && v < h && u >= 0 && u < w {
								sum += m[(b*h+v)*w+u]
							}
						}
					}
					if want := min(sum, 1); got[(b*h+y)*w+x] != want {
						t.Fatalf("%d×%d grown by %d at %d,%d: %v, want %v", w, h, by, x, y, got[(b*h+y)*w+x], want)
					}
				}
			}
		}
	}
}

func TestPrefixes(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC)
	for in, want := range map[string]string{
		"plain": "plain", "%width%x%height%": "640x480", "%year%-%month%-%day%_%hour%%minute%%second%": "2026-03-04_150607",
		"%date:yyyy%": "%date:yyyy%", "100%": "100%", "%unknown%": "%unknown%", // for user interfaces
	} {
		if got := fillIn(in, 640, 480, now); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// TestPlaceholders warns of those that stay in the name.
func TestPlaceholders(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "", "%width%x%height%_%year%%month%%day%%hour%%minute%%second%_%batch_num%": "", "100% of 20%": "",
		"%KSampler.seed%": "%KSampler.seed%", "a/%date:yyyy%_%width%": "%date:yyyy%", "%model name%": "%model name%",
	} {
		got := prefix().Warn(in)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestSaveImageNumbers(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 4, 4, func(int, int) uint8 { return 255 })
	save := func(prefix string) ([]string, error) {
		files, _, err := b.try(b.parse(fmt.Sprintf(`{"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
			"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": %q, "images": ["1", 0]}}}`, prefix)))
		b.executor.Clear()
		return files, err
	}
	if err := os.WriteFile(filepath.Join(b.env.Folders.Output, "a_00041_.png"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ prefix, want string }{
		{"a", "a_00042_.png"}, {"a", "a_00043_.png"}, {"ab", "ab_00001_.png"}, {"sub/deep/a", "sub/deep/a_00001_.png"}, {`win\a`, "win/a_00001_.png"},
	} {
		files, err := save(test.prefix)
		if err != nil {
			t.Error(err)
			continue
		}
		if want := filepath.Join(b.env.Folders.Output, filepath.FromSlash(test.want)); !slices.Equal(files, []string{want}) {
			t.Errorf("%s was saved as %v, want %s", test.prefix, files, want)
		}
	}
	for _, prefix := range []string{"../x", "/x", "a/../../x", "sub/", ""} {
		if files, err := save(prefix); err == nil && !strings.HasPrefix(files[0], b.env.Folders.Output) {
			t.Errorf("%s was saved as %v", prefix, files)
		}
	}
	files, result, err := b.try(b.parse(`{"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}`))
	if err != nil || len(files) != 1 || filepath.Dir(files[0]) != b.env.Folders.Temp || result.Files["2"][0].Kind != "temp" {
		t.Errorf("the preview is %v, %v", files, err)
	}
}

func TestLoadImageErrors(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 4, 4, func(int, int) uint8 { return 255 })
	for name, want := range map[string]string{"im.png": `"in.png"`, "../in.png": "stays in that folder", "": "input image"} {
		_, _, err := b.try(b.parse(fmt.Sprintf(`{"1": {"class_type": "LoadImage", "inputs": {"image": %q}}, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}`, name)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
