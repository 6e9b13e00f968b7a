package tokenizer

import (
	"context"
	"slices"
	"strings"
)

// A Format says how the tokens of a prompt are made of what people write.
// Encoders of families name one; CLIP has chunks instead.
type Format struct {
	// Template is the text that is encoded, with {} for the prompt. An empty one is
	// the prompt alone.
	Template string
	// Own are beginnings of prompts that are encoded without the template, since
	// they bring their own.
	Own []string
	// Plain has parentheses without a meaning: no words are weighted.
	Plain bool
	// Embeddings has names of textual inversion embeddings read.
	Embeddings bool
	// Start and End stand before and after the tokens of the prompt.
	Start, End []int32
	// MinLength is the number of tokens up to which shorter prompts are filled up
	// with Pad, before the prompt if Left is set. Longer ones are not cut.
	MinLength int
	Pad       int32
	Left      bool
	// AgainstPads weighs words against Pad alone, without the End of an empty text.
	AgainstPads bool
}

// Tokens encodes a prompt as ComfyUI does. Segments of different weight are
// encoded one by one. The names of embeddings that find does not have are left
// out of the prompt and returned.
func (f Format) Tokens(ctx context.Context, t Tokenizer, prompt string, find Finder) (tokens []Token, missing []string, err error) {
	segments, err := f.segments(prompt)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !f.Embeddings:
		find = nil
	case find == nil:
		find = func(string) ([][]float32, bool) { return nil, false }
	}
	runs, missing, err := encodeSegments(ctx, t, segments, find)
	if err != nil {
		return nil, nil, err
	}
	tokens = append(weighted(f.Start, 1), slices.Concat(runs...)...)
	tokens = append(tokens, weighted(f.End, 1)...)
	pad := make([]Token, max(0, f.MinLength-len(tokens)))
	for i := range pad {
		pad[i] = Token{ID: f.Pad, Weight: 1}
	}
	if f.Left {
		return append(pad, tokens...), missing, nil
	}
	return append(tokens, pad...), missing, nil
}

// Empty returns the tokens of the empty text, filled up to a length at its end.
// ComfyUI weighs words against it.
func (f Format) Empty(length int) []Token {
	tokens := append(weighted(f.Start, 1), weighted(f.End, 1)...)
	if f.AgainstPads && length > 0 {
		tokens = nil
	}
	for len(tokens) < length {
		tokens = append(tokens, Token{ID: f.Pad, Weight: 1})
	}
	return tokens
}

// segments returns the text of a prompt in pieces of one weight.
func (f Format) segments(prompt string) ([]Segment, error) {
	if err := checkLength(prompt); err != nil {
		return nil, err
	}
	own := func(begin string) bool { return strings.HasPrefix(prompt, begin) }
	if f.Template != "" && !slices.ContainsFunc(f.Own, own) {
		prompt = strings.Replace(f.Template, "{}", prompt, 1)
	}
	if f.Plain {
		return []Segment{{unescape(escape(prompt)), 1}}, nil
	}
	return parseWeights(prompt)
}
