package node

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// TestPartialCheckpoint draws with a checkpoint without autoencoder when the
// workflow loads that itself. Using what the file lacks is an error of the node
// that does, which names the file and the part.
func TestPartialCheckpoint(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	withModels(t, b)
	set, err := weights.OpenSet(t.Context(), filepath.Join(root, "models", "checkpoints", "emoji.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	dir := t.TempDir()
	for name, prefix := range map[string]string{"novae": "first_stage_model.", "noclip": "cond_stage_model."} {
		var tensors []weights.Tensor
		for _, tensor := range set.Names() {
			if strings.HasPrefix(tensor, prefix) {
				continue
			}
			ref, _ := set.Lookup(tensor)
			raw := make([]byte, ref.Length)
			if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, weights.Tensor{Name: tensor, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
		}
		metadata := set.Metadata()
		metadata["weir.latent.factor"] = "4"
		if err := weights.Write(t.Context(), filepath.Join(dir, name+".safetensors"), metadata, tensors); err != nil {
			t.Fatal(err)
		}
	}
	b.env.Folders.Add("checkpoints", dir)
	const own = `, "77": {"class_type": "VAELoader", "inputs": {"vae_name": "own.safetensors"}}`
	text := strings.Replace(b.emoji("KSampler.steps=2", "CheckpointLoaderSimple.ckpt_name=novae.safetensors").String(), `"vae": ["1", 2]`, `"vae": ["77", 0]`, 1)
	if !strings.Contains(text, `["77", 0]`) {
		t.Fatal(text)
	}
	got := b.run(b.parse(strings.TrimSuffix(text, "}") + own + "}")).Pix()
	if want := b.run(b.emoji("KSampler.steps=2")).Pix(); !slices.Equal(got, want) {
		t.Error("the same autoencoder as a file of its own gives another picture")
	}
	for ckpt, want := range map[string][]string{
		"novae.safetensors":  {"node 6 (VAEDecode)", "novae.safetensors has no VAE", "VAELoader"},
		"noclip.safetensors": {"(CLIPTextEncode)", "noclip.safetensors has no text encoder", "CLIPLoader"},
	} {
		_, _, err := b.try(b.emoji("CheckpointLoaderSimple.ckpt_name=" + ckpt))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %s", ckpt, err, w)
			}
		}
	}
}

// TestModelSampling says by hand what the demo's model predicts: as its file says
// the picture is the same, otherwise it is another.
func TestModelSampling(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	draw := func(sampling, zsnr string) []float32 {
		text := strings.Replace(b.emoji("KSampler.steps=2").String(), `"model": ["1", 0]`, `"model": ["77", 0]`, 1)
		return b.run(b.parse(strings.TrimSuffix(text, "}") + `, "77": {"class_type": "ModelSamplingDiscrete", "inputs": {"model": ["1", 0], "sampling": "` + sampling + `", "zsnr": ` + zsnr + `}}}`)).Pix()
	}
	want := b.run(b.emoji("KSampler.steps=2")).Pix()
	if !slices.Equal(draw("v_prediction", "false"), want) {
		t.Error("v_prediction is not what the file says")
	}
	seen := [][]float32{want}
	for _, sampling := range []string{"eps", "x0", "lcm"} {
		got := draw(sampling, "false")
		if slices.ContainsFunc(seen, func(other []float32) bool { return slices.Equal(got, other) }) {
			t.Errorf("%s draws the picture of another prediction", sampling)
		}
		seen = append(seen, got)
	}
	if slices.Equal(draw("v_prediction", "true"), want) {
		t.Error("zsnr changes nothing")
	}
}
