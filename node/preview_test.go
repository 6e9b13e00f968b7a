package node

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// shows runs a workflow and returns the texts that its nodes show and the names of
// the files they wrote.
func (b *bench) shows(text string) (texts, files []string, err error) {
	b.t.Helper()
	job, err := workflow.Check(b.parse(text), b.reg)
	if err != nil {
		return nil, nil, err
	}
	_, err = b.executor.Run(b.t.Context(), job, workflow.ObserverFunc(func(e workflow.Event) {
		if e.Text != "" {
			texts = append(texts, e.Text)
		}
		for _, f := range e.Files {
			files = append(files, f.Kind+"/"+f.Name)
		}
	}))
	return texts, files, err
}

func TestPreviewAny(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 12, 6, func(int, int) uint8 { return 100 })
	for source, want := range map[string]string{
		`"1": {"class_type": "PrimitiveInt", "inputs": {"value": 7}}`:                       "7",
		`"1": {"class_type": "PrimitiveFloat", "inputs": {"value": 1}}`:                     "1.0",
		`"1": {"class_type": "PrimitiveFloat", "inputs": {"value": 1e17}}`:                  "1e+17",
		`"1": {"class_type": "PrimitiveBoolean", "inputs": {"value": true}}`:                "True",
		`"1": {"class_type": "PrimitiveString", "inputs": {"value": "a\nb"}}`:               "a\nb",
		`"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}`:                   "1 pictures of 12×6 pixels, 3 channels",
		`"1": {"class_type": "SolidMask", "inputs": {"value": 1, "width": 3, "height": 2}}`: "1 masks of 3×2 pixels",
	} {
		texts, _, err := b.shows(`{` + source + `, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}, "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}}}`)
		if err != nil || !slices.Equal(texts, []string{want, want}) {
			t.Errorf("%s shows %q, %v, want %q twice", source, texts, err, want)
		}
	}
}

func TestPreviews(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 12, 6, func(int, int) uint8 { return 100 })
	_, files, err := b.shows(`{"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
		"2": {"class_type": "ImageCompare", "inputs": {"image_a": ["1", 0], "image_b": ["4", 0], "compare_view": ""}}, "4": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
		"3": {"class_type": "MaskPreview", "inputs": {"mask": ["1", 1]}}, "5": {"class_type": "ImageCompare", "inputs": {}}}`)
	if err != nil || len(files) != 3 {
		t.Fatalf("wrote %q, %v", files, err)
	}
	for i, want := range []string{"temp/comfy.compare.a_temp_", "temp/comfy.compare.b_temp_", "temp/ComfyUI_temp_"} {
		if !strings.HasPrefix(files[i], want) {
			t.Errorf("file %d is %s, want %s...", i, files[i], want)
		}
	}
}

// TestSaveAdvanced saves with 8 and 16 bits, under the next number, and refuses
// what it cannot write before anything runs.
func TestSaveAdvanced(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 5, 3, func(x, _ int) uint8 { return uint8(255 - x) })
	save := func(format string) string {
		return `{"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}, "3": {"class_type": "ImageScaleBy", "inputs": {"image": ["j", 0], "upscale_method": "bilinear", "scale_by": 2}},
			"j": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["1", 1]}},
			"2": {"class_type": "SaveImageAdvanced", "inputs": {"images": ["3", 0], "filename_prefix": "a", ` + format + `}}}`
	}
	for i, format := range []string{`"format": "png", "format.bit_depth": "8-bit", "format.input_color_space": "sRGB"`, `"format": "png", "format.bit_depth": "16-bit", "format.input_color_space": "sRGB"`} {
		want := []string{"a_00001.png", "a_00002.png"}[i]
		if _, files, err := b.shows(save(format)); err != nil || !slices.Equal(files, []string{"output/" + want}) {
			t.Fatalf("%s wrote %q, %v", format, files, err)
		}
		f, err := os.Open(filepath.Join(b.env.Folders.Output, want))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, ok := m.(*image.NRGBA); !ok {
				t.Errorf("the picture is a %T", m)
			}
			continue
		}
		// Interpolated a quarter of the way from 10 to 20 of 255, of 65535.
		deep, ok := m.(*image.NRGBA64)
		if !ok {
			t.Fatalf("the picture is a %T", m)
		}
		v := float32(10)/255*0.75 + float32(20)/255*0.25
		if got := deep.NRGBA64At(3, 0); got.R-uint16(v*65535) > 1 || got.B != uint16(float32(200)/255*65535) {
			t.Errorf("a pixel is %v, want %d red", got, uint16(v*65535))
		}
		if got := deep.NRGBA64At(0, 0); got != (color.NRGBA64{0, 0, uint16(float32(200) / 255 * 65535), 65535}) {
			t.Errorf("the first pixel is %v", got)
		}
	}
	if _, _, err := b.shows(save(`"format": "exr", "format.bit_depth": "32-bit float", "format.input_color_space": "linear"`)); err == nil || !strings.Contains(err.Error(), "files of the format exr are not written; choose png") {
		t.Errorf("got %v", err)
	}
	if _, _, err := b.shows(save(`"format": "jpg"`)); err == nil || !strings.Contains(err.Error(), `"jpg" is not available`) {
		t.Errorf("got %v", err)
	}
}
