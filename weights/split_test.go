package weights

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/gguf"
)

// golden is a golden's path.
func golden(name string) string { return filepath.Join("..", "testdata", "golden", name) }

// TestLlamaCPPNames opens text models whose tensors the reference has named, and compares them with the models they were
// made of.
func TestLlamaCPPNames(t *testing.T) {
	pairs := strings.NewReplacer("q_proj", "q_pairs", "k_proj", "k_pairs")
	for file, of := range map[string]string{
		"gguf_llama-00001-of-00002.gguf": "llm_mistral", "gguf_llama-00002-of-00002.gguf": "llm_mistral",
		"gguf_qwen3.gguf": "llm_qwen3", "gguf_qwen2vl.gguf": "llm_qwen25", "gguf_t5.gguf": "t5",
	} {
		s, err := OpenSet(t.Context(), golden(file))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		original, err := OpenSet(t.Context(), golden(of+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer original.Close()
		n := 0
		for _, name := range original.Names() {
			if !strings.Contains(name, ".") {
				continue // a result
			}
			n++
			want, _ := original.Lookup(name)
			if of == "llm_mistral" {
				name = pairs.Replace(name)
			}
			ref, ok := s.Lookup(name)
			if !ok || !slices.Equal(ref.Shape, want.Shape) {
				t.Errorf("%s: there is no %s %v: %v", file, name, want.Shape, ref)
				continue
			}
			if strings.Contains(name, "_pairs") {
				continue // model/llm has the test of those
			}
			a, b := values(t, ref), values(t, want)
			if !slices.Equal(a, b) {
				t.Errorf("%s: %s has other values", file, name)
			}
		}
		if n != s.Len() || n < 20 {
			t.Errorf("%s: %d tensors, want %d", file, s.Len(), n)
		}
	}
}

func values(t *testing.T, r Ref) []float32 {
	t.Helper()
	v, err := r.ReadF32(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestArrays reads lists among the metadata.
func TestArrays(t *testing.T) {
	s, err := OpenSet(t.Context(), golden("gguf_t5.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tokens, _ := s.Array("tokenizer.ggml.tokens")
	texts, err := tokens.Strings(t.Context())
	if diff := cmp.Diff([]string{"<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a"}, texts); diff != "" || err != nil || tokens.Len() != 7 {
		t.Errorf("%v, %s", err, diff)
	}
	a, _ := s.Array("tokenizer.ggml.scores")
	scores, err := a.Float32s(t.Context())
	if diff := cmp.Diff([]float32{0, 0, 0, -2, -3, -3.5, -2.5}, scores); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	a, _ = s.Array("tokenizer.ggml.token_type")
	types, err := a.Int32s(t.Context())
	if diff := cmp.Diff([]int32{3, 3, 2, 1, 1, 1, 1}, types); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	if _, ok := s.Array("nothing"); ok {
		t.Error("there is a list that nobody wrote")
	}
	_, errs := tokens.Float32s(t.Context())
	_, errb := tokens.Bytes(t.Context())
	_, erri := tokens.Int32s(t.Context())
	_, errt := a.Strings(t.Context())
	for _, err := range []error{errs, errb, erri, errt} {
		if fault.Of(err) != fault.Model || !strings.Contains(err.Error(), "are a list of type ") {
			t.Errorf("of another type: %v", err)
		}
	}
}

// TestFiveDimensions opens a tensor of as many dimensions as pictures that move need.
func TestFiveDimensions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	shape := []int{3, 2, 1, 2, 2}
	data := make([]byte, 4*24)
	for i := range 24 {
		data[4*i+3] = byte(i)
	}
	if err := os.WriteFile(path, gguf.Encode(map[string]any{"general.architecture": "wan"}, []gguf.Tensor{{Name: "patch_embedding.weight", DType: dtype.F32, Shape: shape, Data: data}}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if ref, _ := s.Lookup("patch_embedding.weight"); !slices.Equal(ref.Shape, shape) {
		t.Errorf("got %v", ref)
	}
}

// TestBadParts refuses parts of which some are missing, renamed or of another model.
func TestBadParts(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(golden(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, second := read("gguf_llama-00001-of-00002.gguf"), read("gguf_llama-00002-of-00002.gguf")
	whole := gguf.Encode(map[string]any{"split.count": "3"}, nil)
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"missing":  {map[string][]byte{"m-00001-of-00002.gguf": first}, "m-00002-of-00002.gguf is missing, one of the 2 parts of the model"},
		"renamed":  {map[string][]byte{"m.gguf": first}, "its name does not end with -00001-of-00002.gguf"},
		"of three": {map[string][]byte{"m-00001-of-00003.gguf": first, "m-00002-of-00003.gguf": second, "m-00003-of-00003.gguf": whole}, "its name does not end with -00001-of-00002.gguf"},
		"whole":    {map[string][]byte{"m-00001-of-00002.gguf": first, "m-00002-of-00002.gguf": whole}, `the file says "3" parts, m-00001-of-00002.gguf says 2`},
		"twice":    {map[string][]byte{"m-00001-of-00002.gguf": first, "m-00002-of-00002.gguf": first}, "have 40 tensors together, expected 38"},
		"broken":   {map[string][]byte{"m-00001-of-00002.gguf": first, "m-00002-of-00002.gguf": second[:1000]}, "m-00002-of-00002.gguf: the file is truncated"},
	} {
		dir := t.TempDir()
		for file, data := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := OpenSet(t.Context(), filepath.Join(dir, slices.Sorted(maps.Keys(c.files))[0]))
		if err == nil {
			s.Close()
		}
		if fault.Of(err) != fault.Model || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
