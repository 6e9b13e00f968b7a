package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

// asGGUF returns the golden's tekken vocabulary and a sentencepiece model as
// llama.cpp's converter writes them.
func asGGUF(t *testing.T) (tekken, pieces GGUF) {
	t.Helper()
	g := goldenTokens(t)
	v, err := parseTekken(g.Tekken)
	if err != nil {
		t.Fatal(err)
	}
	tekken = GGUF{Model: "gpt2", Pre: "tekken"}
	ids := map[int32]string{}
	for text, id := range v.Bytes {
		var runes []rune
		for _, c := range []byte(text) {
			runes = append(runes, byteRunes[c])
		}
		ids[id] = string(runes)
	}
	special := map[int32]string{}
	for text, id := range v.Special {
		special[id] = text
	}
	for id := range int32(len(ids) + 20) {
		text, kind := ids[id], Normal
		if id < 20 {
			text, kind = special[id], Control
		}
		tekken.Tokens, tekken.Types = append(tekken.Tokens, text), append(tekken.Types, int32(kind))
	}
	m, err := parseModel(g.model("umt5"))
	if err != nil {
		t.Fatal(err)
	}
	pieces = GGUF{Model: "t5", Prefix: m.Prefix, Trim: m.Trim, Charsmap: m.Charsmap}
	for _, p := range m.Pieces {
		pieces.Tokens = append(pieces.Tokens, p.Text)
		pieces.Scores = append(pieces.Scores, p.Score)
		pieces.Types = append(pieces.Types, int32(p.Kind))
	}
	return tekken, pieces
}

func TestGGUF(t *testing.T) {
	g := goldenTokens(t)
	tekken, pieces := asGGUF(t)
	for name, c := range map[string]struct {
		GGUF
		want string
	}{"tekken": {tekken, "tekken"}, "t5": {pieces, "umt5"}, "qwen": {GGUF{Model: "gpt2", Pre: "qwen2"}, "qwen"}} {
		tok, err := NewGGUF(c.GGUF)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := 0; i < len(g.Texts); i += 20 {
			if got, want := tok.Encode(g.Texts[i]), g.IDs[c.want][i]; !slices.Equal(got, want) {
				t.Errorf("%s: Encode(%q)\n got %v\nwant %v", name, g.Texts[i], got, want)
			}
		}
	}
}

func TestGGUFIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		GGUF
		want string
	}{
		"model":  {GGUF{Model: "bert"}, "tokenizer.ggml.model is bert: expected t5, llama or gpt2"},
		"pre":    {GGUF{Model: "gpt2", Pre: "llama-bpe"}, "tokenizer.ggml.pre is llama-bpe: expected tekken or qwen2"},
		"types":  {GGUF{Model: "t5", Tokens: []string{"a"}}, "1 tokens and 0 token_type"},
		"scores": {GGUF{Model: "t5", Tokens: []string{"a"}, Types: []int32{1}}, "1 tokens and 0 scores"},
		"bytes":  {GGUF{Model: "gpt2", Pre: "tekken", Tokens: []string{"a b"}, Types: []int32{1}}, "has the character U+0020"},
		"few":    {GGUF{Model: "gpt2", Pre: "tekken", Tokens: []string{"a"}, Types: []int32{1}}, "no token for the byte 0x00"},
	} {
		_, err := NewGGUF(c.GGUF)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Model {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
