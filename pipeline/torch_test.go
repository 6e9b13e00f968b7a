package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/torchfile"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/weights"
)

// asTorch writes a file again as torch.save does, under keys, and returns its path.
func asTorch(t *testing.T, path, name string, keys ...string) string {
	t.Helper()
	s, err := weights.OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []torchfile.Tensor
	for _, tensor := range s.Names() {
		ref, _ := s.Lookup(tensor)
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, torchfile.Tensor{Name: tensor, DType: ref.DType, Shape: ref.Shape, Data: raw})
	}
	to := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(to, torchfile.Encode(keys, tensors), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// rewritten writes the tensors of a file again, without its metadata.
func rewritten(t *testing.T, path string) string {
	t.Helper()
	s, err := weights.OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []weights.Tensor
	for _, name := range s.Names() {
		ref, _ := s.Lookup(name)
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Tensor{Name: name, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
	}
	return writeTensors(t, nil, tensors...)
}

// TestTorchFiles opens a checkpoint, an upscaler and an embedding as PyTorch saves
// them: what they do has the same bits as of safetensors, streamed too.
func TestTorchFiles(t *testing.T) {
	const upscaler = "../models/upscale_models/realesr-animevideov3-x4.safetensors"
	// The demo says in its metadata what its shapes do not tell, and a pickle has none.
	bare := rewritten(t, emoji)
	ckpt, pth := asTorch(t, emoji, "emoji.ckpt", "state_dict"), asTorch(t, upscaler, "upscaler.pth", "params_ema")
	vectors := filepath.Join(t.TempDir(), "vectors.safetensors")
	v := make([]float32, 96) // the width of the demo's text encoder
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	if err := weights.Write(t.Context(), vectors, nil, []weights.Tensor{weights.F32("*", dtype.F32, []int{1, len(v)}, v)}); err != nil {
		t.Fatal(err)
	}
	pt := asTorch(t, vectors, "vectors.pt", "string_to_param")
	picture := media.NewImage(1, 8, 8, 3, slices.Repeat([]float32{0.25, 0.5, 0.75}, 64))

	results := func(o Options, checkpoint, upscaler, embedding string) (out [][]float32) {
		e := newEngine(t, o)
		c := open(t, e, checkpoint)
		text, err := c.CLIP.Encode(t.Context(), "red apple embedding:x", func(string) (string, error) { return embedding, nil })
		if err != nil {
			t.Fatal(err)
		}
		u, err := e.Upscaler(t.Context(), upscaler)
		if err != nil {
			t.Fatal(err)
		}
		large, err := u.Upscale(t.Context(), picture, nil)
		if err != nil {
			t.Fatal(err)
		}
		return [][]float32{text.Embed, predict(t, c, small, encode(t, c, "red apple"))[0], large.Pix()}
	}
	want := results(Options{}, bare, upscaler, vectors)
	for _, o := range []Options{{}, {VRAM: 8 << 20}, {RAM: 8 << 20}} {
		for i, got := range results(o, ckpt, pth, pt) {
			if !slices.Equal(got, want[i]) {
				t.Errorf("with %+v result %d has other bits", o, i)
			}
		}
	}
}
