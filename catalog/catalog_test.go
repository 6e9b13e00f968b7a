package catalog

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWidgets(t *testing.T) {
	for class, want := range map[string][]Widget{
		"KSampler": {
			{Name: "seed", Type: "INT", Default: 0.0, Control: true}, {Name: "steps", Type: "INT", Default: 20.0}, {Name: "cfg", Type: "FLOAT", Default: 8.0},
			{Name: "sampler_name", Type: "COMBO", Default: "euler"}, {Name: "scheduler", Type: "COMBO", Default: "simple"}, {Name: "denoise", Type: "FLOAT", Default: 1.0},
		},
		"CLIPTextEncode": {{Name: "text", Type: "STRING", Default: "", Choices: true}},
		"LoadImage":      {{Name: "image", Type: "COMBO"}, {Name: "upload", Type: "BUTTON", Button: true}},
		"VAEDecode":      {},
		"SaveImageAdvanced": {{Name: "filename_prefix", Type: "STRING", Default: "ComfyUI"}, {Name: "format", Type: "COMBO", Default: "png", Cases: []Case{
			{"exr", []Widget{{Name: "format.bit_depth", Type: "COMBO", Default: "32-bit float"}, {Name: "format.input_color_space", Type: "COMBO", Default: "sRGB"}}},
			{"png", []Widget{{Name: "format.bit_depth", Type: "COMBO", Default: "8-bit"}, {Name: "format.input_color_space", Type: "COMBO", Default: "sRGB"}}}}}},
	} {
		got, ok := Widgets(class)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s: %v %s", class, ok, diff)
		}
	}
	for class := range comfy() {
		Widgets(class) // panics for a line that cannot be read
	}
	if got, ok := Widgets("NoSuchNode"); ok {
		t.Errorf("got %v", got)
	}
}

func TestOutput(t *testing.T) {
	for class, want := range map[string][2]bool{"SaveImage": {true, true}, "SaveVideo": {true, true}, "PreviewAny": {true, true}, "KSampler": {false, true}, "BlockSparseAttention": {false, false}, "NoSuchNode": {false, false}} {
		if output, known := Output(class); output != want[0] || known != want[1] {
			t.Errorf("%s: %v, %v, want %v", class, output, known, want)
		}
	}
}

func TestClasses(t *testing.T) {
	for class, want := range map[string]struct {
		comfy bool
		pack  string
	}{
		"KSampler":                    {true, ""},
		"SolidMask":                   {true, ""},
		"FaceDetailer":                {false, "ComfyUI Impact Pack"},
		"IPAdapter":                   {false, "ComfyUI_IPAdapter_plus"},
		"VHS_VideoCombine":            {false, "ComfyUI-VideoHelperSuite"},
		"Power Lora Loader (rgthree)": {false, "rgthree's ComfyUI Nodes"},
		"NoSuchNode":                  {false, ""},
		"":                            {false, ""},
	} {
		if ComfyUI(class) != want.comfy || Pack(class) != want.pack {
			t.Errorf("%s: ComfyUI %v, pack %q, want %v", class, ComfyUI(class), Pack(class), want)
		}
	}
}
