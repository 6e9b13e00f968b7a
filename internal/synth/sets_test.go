package synth

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/weights"
)

// TestSets writes every file of full size without its large matrices, and opens
// it: each is what it is named for, and every tensor is used.
func TestSets(t *testing.T) {
	what := map[string]string{
		"z_image_turbo_int8_convrot": "unet: a UNet alone: Z-Image, flow, transformer of 30 layers of 3840 features",
		"flux-2-klein-4b":            "unet: a UNet alone: FLUX.2 klein, flow, transformer of 5 double and 20 single blocks of 3072 features",
		"flux2_dev_fp8mixed":         "unet: a UNet alone: FLUX.2, flow, transformer of 8 double and 48 single blocks of 6144 features",
		"flux1-dev-fp8":              "unet: a UNet alone: FLUX.1, flow, transformer of 19 double and 38 single blocks of 3072 features",
		"qwen_3_4b":                  "text encoder: Qwen 3 with 36 layers of 2560 features",
		"mistral_3_small_flux2_fp8":  "text encoder: Mistral Small 3 with 40 layers of 5120 features",
		"t5xxl_fp8_e4m3fn_scaled":    "text encoder: T5",
		"clip_l":                     "text encoder: CLIP with 12 layers of 768 features",
		"ae":                         "vae: autoencoder of Stable Diffusion, latents of 16 channels at 1/8",
		"flux2-vae":                  "vae: autoencoder of Stable Diffusion, latents of 128 channels at 1/16",
	}
	for _, set := range Sets {
		folder := t.TempDir()
		for _, f := range set.Files {
			path, n, err := f.Write(t.Context(), folder, 1, true)
			if err != nil {
				t.Fatal(err)
			}
			w, err := weights.OpenSet(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			kind, about := pipeline.Recognise(w)
			name := path[strings.LastIndexAny(path, `/\`)+1:]
			name = strings.TrimSuffix(name, ".safetensors")
			if want := what[name]; want == "" || !strings.HasPrefix(kind+": "+about, want) || strings.Contains(about, "nothing uses") {
				t.Errorf("%s of %d tensors is %s: %s, want %s", f.Path, n, kind, about, want)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFormats compares what quantized layers stand for with the deviation that
// all matrices have.
func TestFormats(t *testing.T) {
	for _, format := range []Format{Scaled, Rotated} {
		f := File{"x.safetensors", format, ""}
		stored := f.stored(Tensor{"layer.weight", []int{512, 1024}}, 3, false)
		if len(stored) != 3 {
			t.Fatalf("stored as %d tensors", len(stored))
		}
		path := t.TempDir() + "/x.safetensors"
		if err := weights.Write(t.Context(), path, nil, stored); err != nil {
			t.Fatal(err)
		}
		set, err := weights.OpenSet(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		q, _ := set.Lookup("layer.weight")
		raw := make([]byte, q.Length)
		if err := q.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		numbers := make([]float32, len(raw))
		if q.DType == dtype.I8 {
			for i, b := range raw {
				numbers[i] = float32(int8(b))
			}
		} else {
			dtype.ToF32(numbers, raw, q.DType)
		}
		mean, std, _ := moments(numbers)
		want := map[Format]float64{Scaled: 20, Rotated: 40}[format]
		if mean < -1 || mean > 1 || std < 0.95*want || std > 1.05*want {
			t.Errorf("format %d: numbers of mean %v and deviation %v, want 0 and %v", format, mean, std, want)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSparse writes large matrices as zeros, and as much as is claimed.
func TestSparse(t *testing.T) {
	path := t.TempDir() + "/x.safetensors"
	f := File{"x.safetensors", Plain, ""}
	tensors := slices.Concat(f.stored(Tensor{"a.weight", []int{7}}, 1, true), f.stored(Tensor{"b.weight", []int{512, 512}}, 1, true))
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	w, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, v := range read(t, w, "a.weight") {
		if v != 1 {
			t.Errorf("a norm is %v", v)
		}
	}
	for _, v := range read(t, w, "b.weight") {
		if v != 0 {
			t.Fatalf("a large matrix has %v", v)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() < 2*512*512 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// TestVocabulary encodes a template with the made vocabulary of Mistral's format.
func TestVocabulary(t *testing.T) {
	v, err := tokenizer.ParseTekken(vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Encode("[INST]a[/INST]"); !slices.Equal(got, []int32{3, 1000 + 'a', 4}) {
		t.Errorf("got %v", got)
	}
}
