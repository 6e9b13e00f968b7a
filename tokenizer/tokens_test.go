package tokenizer

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"
	"unicode"
)

// tokens is what testdata/golden/tokens.py writes.
type tokens struct {
	Texts  []string
	IDs    map[string][][]int32 // of the texts by tokenizer
	Tekken []byte
	Models map[string]struct {
		Rule  string
		Model []byte
	}
	Charsmaps map[string][]byte // by rule
	Marks     [][2]rune         // runs of marks that the reference's NFC moves
	Ties      []struct {        // small vocabularies
		Kind       string
		Vocabulary []byte
		Texts      []string
		IDs        [][]int32
	}
	Prompts  []string
	Weighted map[string][][][3]float64 // runs of a token, a weight and how many in a row
}

var readTokens = sync.OnceValues(func() (g tokens, err error) {
	f, err := os.Open("../testdata/golden/tokens.json.gz")
	if err != nil {
		return g, err
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return g, err
	}
	return g, json.NewDecoder(r).Decode(&g)
})

func goldenTokens(t testing.TB) tokens {
	t.Helper()
	g, err := readTokens()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// tokenizers returns those of the golden.
func (g tokens) tokenizers(t testing.TB) map[string]Tokenizer {
	t.Helper()
	out := map[string]Tokenizer{"t5": NewT5(), "qwen": NewQwen()}
	var err error
	if out["tekken"], err = ParseTekken(g.Tekken); err != nil {
		t.Fatal(err)
	}
	for name := range g.Models {
		if out[name], err = ParseSentencePiece(g.model(name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return out
}

// model returns a sentencepiece model with its table of replacements.
func (g tokens) model(name string) []byte {
	m := g.Models[name]
	return append(slices.Clip(m.Model), message(3, message(2, g.Charsmaps[m.Rule]))...)
}

// message returns a field of a protocol buffer with bytes.
func message(number int, data []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(number)<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(data))), data...)
}

// TestNewMarks compares the marks that composed leaves where they are with those
// that the reference does.
func TestNewMarks(t *testing.T) {
	old := map[rune]bool{}
	for _, run := range goldenTokens(t).Marks {
		for r := run[0]; r <= run[1]; r++ {
			old[r] = true
		}
	}
	if len(old) < 600 {
		t.Fatalf("the golden has %d marks", len(old))
	}
	for r := range rune(unicode.MaxRune + 1) {
		if !unicode.Is(unicode.M, r) {
			continue
		}
		text := "q\u0345" + string(r)
		if moved := composed(text) != text; moved != old[r] {
			t.Errorf("%U is moved: %v, want %v", r, moved, old[r])
		}
	}
}

func TestTokensEqualTheReferences(t *testing.T) {
	g := goldenTokens(t)
	for name, tok := range g.tokenizers(t) {
		t.Run(name, func(t *testing.T) {
			want := g.IDs[name]
			step := len(g.Texts) / len(want)
			differ := 0
			for i, ids := range want {
				text := g.Texts[i*step]
				if got := tok.Encode(text); !slices.Equal(got, ids) {
					if differ++; differ <= 5 {
						t.Errorf("Encode(%q)\n got %v\nwant %v", text, got, ids)
					}
				}
			}
			t.Logf("%d of %d texts differ", differ, len(want))
		})
	}
}

func TestTies(t *testing.T) {
	for i, c := range goldenTokens(t).Ties {
		var tok Tokenizer
		var err error
		if c.Kind == "tekken" {
			tok, err = ParseTekken(c.Vocabulary)
		} else {
			tok, err = ParseSentencePiece(c.Vocabulary)
		}
		if err != nil {
			t.Fatal(err)
		}
		for j, text := range c.Texts {
			if got := tok.Encode(text); !slices.Equal(got, c.IDs[j]) {
				t.Errorf("%s %d: Encode(%q)\n got %v\nwant %v", c.Kind, i, text, got, c.IDs[j])
			}
		}
	}
}

// formats are those of the golden, as families have them.
var formats = map[string]struct {
	tokenizer string
	Format
}{
	"flux":   {"t5", Format{Embeddings: true, End: []int32{1}, MinLength: 256}},
	"sd3":    {"t5", Format{Embeddings: true, End: []int32{1}, MinLength: 77}},
	"chroma": {"t5", Format{Embeddings: true, End: []int32{1}}},
	"wan":    {"umt5", Format{End: []int32{1}, MinLength: 512}},
	"z_image": {"qwen", Format{Template: "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", Plain: true, Embeddings: true,
		MinLength: 1, Pad: QwenPad}},
	"klein": {"qwen", Format{Template: "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", Plain: true,
		Embeddings: true, MinLength: 512, Pad: QwenPad}},
	"flux2": {"tekken", Format{Template: "[SYSTEM_PROMPT]You are an AI that reasons about image descriptions. You give structured responses focusing on object relationships, object\nattribution and actions without speculation.[/SYSTEM_PROMPT][INST]{}[/INST]",
		Plain: true, Embeddings: true, Start: []int32{1}}},
	"qwen_image": {"qwen", Format{Template: "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
		Own: []string{"<|im_start|>", "<|start_header_id|>"}, Plain: true, MinLength: 1, Pad: QwenPad}},
	"ltx2": {"gemma", Format{Plain: true, Start: []int32{2}, MinLength: 1024, Left: true}},
}

func TestPromptsEqualComfyUI(t *testing.T) {
	g := goldenTokens(t)
	all := g.tokenizers(t)
	all["gemma"] = all["gemma"].(*SentencePiece).WithSpecial(map[string]int32{"<image_soft_token>": 262144, "<end_of_turn>": 106})
	rows := map[string]int{"one": 1, "three": 3}
	find := func(name string) (vectors [][]float32, ok bool) {
		for row := range rows[name] {
			vectors = append(vectors, []float32{float32(10*slices.Index([]string{"one", "three"}, name) + row)})
		}
		return vectors, len(vectors) > 0
	}
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			differ := 0
			for i, want := range g.Weighted[name] {
				if want == nil {
					continue // ComfyUI fails
				}
				got, _, err := f.Tokens(t.Context(), all[f.tokenizer], g.Prompts[i], find)
				if runs := runsOf(got); err != nil || !slices.Equal(runs, want) {
					if differ++; differ <= 5 {
						t.Errorf("%q: %v\n got %v\nwant %v", g.Prompts[i], err, runs, want)
					}
				}
			}
			t.Logf("%d of %d prompts differ", differ, len(g.Weighted[name]))
		})
	}
}

// runsOf returns tokens as the golden has them.
func runsOf(tokens []Token) (out [][3]float64) {
	for _, tok := range tokens {
		id := float64(tok.ID)
		if tok.Vector != nil {
			id = -1 - float64(tok.Vector[0])
		}
		if n := len(out); n > 0 && out[n-1][0] == id && out[n-1][1] == tok.Weight {
			out[n-1][2]++
		} else {
			out = append(out, [3]float64{id, tok.Weight, 1})
		}
	}
	return out
}
