package synth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/weights"
)

// A Set is the files of a published model under the names that workflows load.
type Set struct {
	Name  string
	Files []File
}

// A File is a file of a set.
type File struct {
	// Path is its place in a folder of models.
	Path string
	// Format is how large matrices are stored.
	Format Format
	// model names the tensors.
	model string
}

// A Format is how large matrices are stored. All other tensors are BF16.
type Format int

// The formats. Those of whole numbers and of F8 are as ComfyUI stores them.
const (
	Plain   Format = iota // BF16
	Scaled                // F8 with a scale
	Rotated               // integers of 8 bits, of rotated groups, with a scale for each row
)

var (
	qwen  = File{"text_encoders/qwen_3_4b.safetensors", Plain, "qwen3-4b"}
	flux1 = File{"vae/ae.safetensors", Plain, "ae"}
	flux2 = File{"vae/flux2-vae.safetensors", Plain, "flux2-vae"}
)

// clipModel is CLIP ViT-L, which is no section of published.txt.
const clipModel = "clip_l"

// Sets are the models that Write makes whole.
var Sets = []Set{
	{"z-image-turbo", []File{{"diffusion_models/z_image_turbo_int8_convrot.safetensors", Rotated, "z-image"}, qwen, flux1}},
	{"flux2-klein-4b", []File{{"diffusion_models/flux-2-klein-4b.safetensors", Plain, "flux2-klein-4b"}, qwen, flux2}},
	{"flux2-dev", []File{{"diffusion_models/flux2_dev_fp8mixed.safetensors", Scaled, "flux2-dev"},
		{"text_encoders/mistral_3_small_flux2_fp8.safetensors", Scaled, "mistral3-24b"}, flux2}},
	{"flux1-dev", []File{{"diffusion_models/flux1-dev-fp8.safetensors", Scaled, "flux1-dev"},
		{"text_encoders/t5xxl_fp8_e4m3fn_scaled.safetensors", Scaled, "t5xxl"}, {"text_encoders/clip_l.safetensors", Plain, clipModel}, flux1}},
}

// Tensors returns the tensors of the file.
func (f File) Tensors() ([]Tensor, error) {
	if f.model == clipModel {
		var l list
		l.clip("text_model.")
		return l, nil
	}
	return Published(f.model, "")
}

// Write writes the file below a folder of models, with random weights or, when it
// is sparse, with large matrices of zeros that take no place on the disk. It
// returns the path and the number of tensors.
func (f File) Write(ctx context.Context, folder string, seed uint64, sparse bool) (path string, n int, err error) {
	tensors, err := f.Tensors()
	if err != nil {
		return "", 0, err
	}
	var out []weights.Tensor
	for _, t := range tensors {
		out = append(out, f.stored(t, seed, sparse)...)
	}
	if strings.HasPrefix(f.model, "mistral") {
		out = append(out, bytesTensor("tekken_model", vocabulary()))
	}
	path = filepath.Join(folder, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", 0, err
	}
	text := fmt.Sprint("random weights, seed ", seed)
	if sparse {
		text = "large matrices of zeros"
	}
	return path, len(out), weights.Write(ctx, path, map[string]string{"weir.synthetic": text}, out)
}

// large is the number of elements from which a matrix is a large one.
const large = 1 << 16

// stored returns a tensor as the file stores it, which may be several.
func (f File) stored(t Tensor, seed uint64, sparse bool) []weights.Tensor {
	matrix := len(t.Shape) > 1 && t.Elements() >= large
	layer, weight := strings.CutSuffix(t.Name, ".weight")
	quantized := f.Format != Plain && matrix && weight && len(t.Shape) == 2 && t.Shape[1]%256 == 0 && !strings.Contains(layer, "embed") && layer != "shared"
	if !quantized {
		return []weights.Tensor{{Name: t.Name, DType: dtype.BF16, Shape: t.Shape, Zeros: sparse && matrix,
			Write: func(w io.Writer) error { return t.write(w, dtype.BF16, seed) }}}
	}
	// The stored numbers have this standard deviation.
	dt, spread, scales, about := dtype.F8E4M3, 20.0, []int{}, map[string]any{"format": "float8_e4m3fn"}
	if f.Format == Rotated {
		dt, spread, scales = dtype.I8, 40.0, []int{t.Shape[0], 1}
		about = map[string]any{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 256}
	}
	scale := make([]float32, max(1, len(scales)/2*t.Shape[0]))
	for i := range scale {
		scale[i] = float32(0.5 / math.Sqrt(float64(t.Shape[1])) / spread)
	}
	text, _ := json.Marshal(about) // texts, numbers and truths
	return []weights.Tensor{
		{Name: t.Name, DType: dt, Shape: t.Shape, Zeros: sparse, Write: func(w io.Writer) error { return t.writeNumbers(w, dt, spread, seed) }},
		weights.F32(layer+".weight_scale", dtype.F32, scales, scale),
		bytesTensor(layer+".comfy_quant", text),
	}
}

func bytesTensor(name string, data []byte) weights.Tensor {
	return weights.Tensor{Name: name, DType: dtype.U8, Shape: []int{len(data)}, Write: weights.Bytes(data)}
}

// vocabulary returns a vocabulary of Mistral's format that has the bytes and the
// marks of templates alone.
func vocabulary() []byte {
	type token struct {
		Rank  int    `json:"rank"`
		Bytes string `json:"token_bytes,omitempty"`
		Text  string `json:"token_str"`
		Mark  bool   `json:"is_control,omitempty"`
	}
	const marks = 1000
	names := map[int]string{0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]"}
	var words, special []token
	for i := range 256 {
		words = append(words, token{Rank: i, Bytes: base64.StdEncoding.EncodeToString([]byte{byte(i)}), Text: string(rune(i))})
	}
	for i := range marks {
		name, ok := names[i]
		if !ok {
			name = fmt.Sprintf("<SPECIAL_%d>", i)
		}
		special = append(special, token{Rank: i, Text: name, Mark: true})
	}
	text, _ := json.Marshal(map[string]any{ // texts and numbers
		"config": map[string]any{"default_vocab_size": marks + len(words), "default_num_special_tokens": marks},
		"vocab":  words, "special_tokens": special,
	})
	return text
}
