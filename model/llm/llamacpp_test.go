package llm_test

import (
	"path/filepath"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/llm"
	"github.com/weir-run/weir/weights"
)

// TestLlamaCPP has models as llama.cpp writes them: that of the architecture llama
// has other rows of queries and keys, and the same states.
func TestLlamaCPP(t *testing.T) {
	for file, of := range map[string]string{
		"gguf_llama-00001-of-00002.gguf": "llm_mistral", "gguf_qwen3.gguf": "llm_qwen3", "gguf_qwen2vl.gguf": "llm_qwen25",
	} {
		s, err := weights.OpenSet(t.Context(), filepath.Join(golden.Dir(), file))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := eval.ReadSet(t, s)
		if of == "llm_mistral" {
			w["tekken_model"] = eval.Weight{}
		}
		c, err := llm.Detect(w, "")
		if err != nil {
			t.Fatal(err)
		}
		if c.Name != kinds[of].name || c.Pairs != (of == "llm_mistral") {
			t.Errorf("%s is %s with pairs %v", file, c.Name, c.Pairs)
		}
		f := golden.Open(t, of)
		golden.Check(t, file, encode(t, f, w, c, shape, model.States{Layers: []int{c.Layers}, Norm: true}, nil), f.F32("last"), 1e-4)
	}
}
