package tokenizer

import "github.com/weir-run/weir/fault"

// A GGUF is what a GGUF file says of its tokenizer, under tokenizer.ggml.
type GGUF struct {
	Model  string    // "t5", "llama" or "gpt2"
	Pre    string    // how words are split, for "gpt2"
	Tokens []string  // pieces, or bytes as GPT-2 writes them
	Scores []float32 // of pieces
	Types  []int32   // kinds
	// Prefix, Trim and Charsmap are as in Model: add_space_prefix,
	// remove_extra_whitespaces and precompiled_charsmap.
	Prefix, Trim bool
	Charsmap     []byte
}

// NewGGUF returns the tokenizer of a GGUF file: a sentencepiece model, or the byte
// pairs of Mistral or Qwen.
func NewGGUF(g GGUF) (Tokenizer, error) {
	if len(g.Types) != len(g.Tokens) {
		return nil, fault.New(fault.Model, "tokenizer.ggml has %d tokens and %d token_type, expected as many", len(g.Tokens), len(g.Types))
	}
	switch {
	case g.Model == "t5" || g.Model == "llama":
		return g.sentencePiece()
	case g.Model == "gpt2" && g.Pre == "tekken":
		return g.tekken()
	case g.Model == "gpt2" && g.Pre == "qwen2":
		return NewQwen(), nil // all of its models have the same vocabulary
	case g.Model == "gpt2":
		return nil, fault.New(fault.Model, "tokenizer.ggml.pre is %v: expected tekken or qwen2", fault.Name(g.Pre))
	}
	return nil, fault.New(fault.Model, "tokenizer.ggml.model is %v: expected t5, llama or gpt2", fault.Name(g.Model))
}

func (g GGUF) sentencePiece() (Tokenizer, error) {
	if len(g.Scores) != len(g.Tokens) {
		return nil, fault.New(fault.Model, "tokenizer.ggml has %d tokens and %d scores, expected as many", len(g.Tokens), len(g.Scores))
	}
	m := Model{Pairs: g.Model == "llama", Charsmap: g.Charsmap, Prefix: g.Prefix, Trim: g.Trim, Escape: true}
	for i, text := range g.Tokens {
		p := Piece{text, g.Scores[i], Kind(g.Types[i])}
		m.Bytes = m.Bytes || p.Kind == Byte
		m.Pieces = append(m.Pieces, p)
	}
	return NewSentencePiece(m)
}

func (g GGUF) tekken() (Tokenizer, error) {
	bytes := make(map[rune]byte, 256)
	for b, r := range byteRunes {
		bytes[r] = byte(b)
	}
	v := Tokens{Bytes: map[string]int32{}, Special: map[string]int32{}}
	for i, text := range g.Tokens {
		if Kind(g.Types[i]) == Control {
			v.Special[text] = int32(i)
			continue
		}
		var token []byte
		for _, r := range text {
			b, ok := bytes[r]
			if !ok {
				return nil, fault.New(fault.Model, "token %d of tokenizer.ggml.tokens, %v, has the character %U: expected one that GPT-2 writes a byte as", i, fault.Name(text), r)
			}
			token = append(token, b)
		}
		v.Bytes[string(token)] = int32(i)
	}
	return NewTekken(v)
}
