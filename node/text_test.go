package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// TestEmbedding makes pictures with an embedding of the folder embeddings, and
// anew when its file changes.
func TestEmbedding(t *testing.T) {
	more := t.TempDir()
	write := func(value float32) {
		path := filepath.Join(more, "models", "embeddings", "styles", "ink.safetensors")
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		values := make([]float32, 2*96)
		for i := range values {
			values[i] = value * float32(i%7-3)
		}
		if err := weights.Write(t.Context(), path, nil, []weights.Tensor{weights.F32("emb_params", dtype.F32, []int{2, 96}, values)}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, pipeline.Options{})
	b.addRoot(more)
	picture := func(prompt string) []float32 {
		return b.run(b.emoji("Prompt.text="+prompt, "KSampler.steps=1")).Pix()
	}
	write(0.1)
	plain, first := picture("red apple"), picture("red apple, (embedding:ink:1.2)")
	if slices.Equal(plain, first) {
		t.Error("the embedding changes nothing")
	}
	if again := picture("red apple, (embedding:styles/ink.safetensors:1.2)"); !slices.Equal(again, first) {
		t.Error("the name in full gives another picture")
	}
	write(0.5)
	if slices.Equal(picture("red apple, (embedding:ink:1.2)"), first) {
		t.Error("the file has changed and the picture has not")
	}
	if missing := picture("red apple embedding:none"); !slices.Equal(missing, plain) {
		t.Error("an embedding that is missing changes the picture")
	}
}
