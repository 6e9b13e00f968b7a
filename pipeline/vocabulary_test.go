package pipeline

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/weights"
)

// vocabularies is what testdata/golden/tokens.py writes of vocabularies.
type vocabularies struct {
	Texts  []string
	IDs    map[string][][]int32
	Tekken []byte
	Models map[string]struct {
		Rule  string
		Model []byte
	}
	Charsmaps map[string][]byte
}

func readVocabularies(t *testing.T) (v vocabularies) {
	t.Helper()
	f, err := os.Open(filepath.Join(golden.Dir(), "tokens.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(r).Decode(&v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// spiece returns the sentencepiece model of a name.
func (v vocabularies) spiece(name string) []byte {
	field := func(number int, data []byte) []byte {
		out := binary.AppendUvarint(nil, uint64(number)<<3|2)
		return append(binary.AppendUvarint(out, uint64(len(data))), data...)
	}
	m := v.Models[name]
	return append(slices.Clip(m.Model), field(3, field(2, v.Charsmaps[m.Rule]))...)
}

// reading returns a text encoder that reads its vocabulary from a file.
func reading(t *testing.T, kind, path string) *encoder {
	t.Helper()
	engine := newEngine(t, Options{})
	set, err := engine.open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	slot := &model.Slot{Name: "text encoder", Prompt: model.Prompt{Tokenizer: kind}}
	e := newEncoder(slot, nil, "te.")
	all := &weights.Set{}
	if err := all.Add("te.", set); err != nil {
		t.Fatal(err)
	}
	e.part = part{engine: engine, name: "text encoder " + filepath.Base(path), set: all}
	return e
}

// byteTensor writes a safetensors file with one tensor of bytes.
func byteTensor(t *testing.T, name string, d dtype.DType, shape []int, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "text.safetensors")
	if err := weights.Write(t.Context(), path, nil, []weights.Tensor{{Name: name, DType: d, Shape: shape, Write: weights.Bytes(data)}}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVocabulary(t *testing.T) {
	v := readVocabularies(t)
	ggufPath := filepath.Join(t.TempDir(), "umt5.gguf")
	pieces := []string{"<pad>", "</s>", "<unk>", "▁", "a", "▁a"}
	file := gguf.Encode(map[string]any{
		"tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.scores": []float32{0, 0, 0, -3, -2, -1},
		"tokenizer.ggml.token_type": []int32{3, 3, 2, 1, 1, 1}, "tokenizer.ggml.add_space_prefix": true, "tokenizer.ggml.remove_extra_whitespaces": false,
	}, []gguf.Tensor{{Name: "x", DType: dtype.F32, Shape: []int{1}, Data: make([]byte, 4)}})
	if err := os.WriteFile(ggufPath, file, 0o666); err != nil {
		t.Fatal(err)
	}
	const text = 29 // of the golden
	for name, c := range map[string]struct {
		kind, path, text string
		want             []int32
	}{
		"tekken":  {"tekken", byteTensor(t, tekkenModel, dtype.U8, []int{len(v.Tekken)}, v.Tekken), v.Texts[text], v.IDs["tekken"][text]},
		"spiece":  {"sentencepiece", byteTensor(t, spieceModel, dtype.U8, []int{len(v.spiece("umt5"))}, v.spiece("umt5")), v.Texts[text], v.IDs["umt5"][text]},
		"GGUF":    {"sentencepiece", ggufPath, "a  a", []int32{5, 3, 5}},
		"the own": {"t5", ggufPath, "a", []int32{3, 9}},
	} {
		e := reading(t, c.kind, c.path)
		tok, err := e.tokenizer(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := tok.Encode(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q: got %v, want %v", name, c.text, got, c.want)
		}
		if again, err := e.tokenizer(t.Context()); err != nil || again != tok {
			t.Errorf("%s: the vocabulary is read again, %v", name, err)
		}
	}
}

func TestVocabulariesAreRefused(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	file := gguf.Encode(map[string]any{"tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": []int32{1}},
		[]gguf.Tensor{{Name: "x", DType: dtype.F32, Shape: []int{1}, Data: make([]byte, 4)}})
	if err := os.WriteFile(broken, file, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ kind, path, want string }{
		"none":   {"tekken", byteTensor(t, "x", dtype.U8, []int{1}, []byte{1}), "has no vocabulary: neither the tensor tekken_model nor metadata tokenizer.ggml.model"},
		"dtype":  {"tekken", byteTensor(t, tekkenModel, dtype.F32, []int{1}, make([]byte, 4)), "as a list of bytes (U8)"},
		"shape":  {"sentencepiece", byteTensor(t, spieceModel, dtype.U8, []int{1, 4}, make([]byte, 4)), "as a list of bytes (U8)"},
		"json":   {"tekken", byteTensor(t, tekkenModel, dtype.U8, []int{4}, []byte("tekk")), "text.safetensors"},
		"proto":  {"sentencepiece", byteTensor(t, spieceModel, dtype.U8, []int{4}, []byte("tekk")), "the sentencepiece model cannot be read"},
		"a list": {"sentencepiece", broken, "tokenizer.ggml.tokens"},
	} {
		_, err := reading(t, c.kind, c.path).tokenizer(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Model {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
