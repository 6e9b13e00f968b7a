package tokenizer

import (
	"context"

	"github.com/weir-run/weir/weights"
)

// FromGGUF returns the tokenizer that a GGUF file has among its metadata, and false
// if it has none.
func FromGGUF(ctx context.Context, s *weights.Set) (Tokenizer, bool, error) {
	const of = "tokenizer.ggml."
	metadata := s.Metadata()
	tokens, ok := s.Array(of + "tokens")
	if !ok {
		return nil, false, nil
	}
	g := GGUF{
		Model: metadata[of+"model"], Pre: metadata[of+"pre"],
		Prefix: metadata[of+"add_space_prefix"] != "false", Trim: metadata[of+"remove_extra_whitespaces"] == "true",
	}
	var err error
	if g.Tokens, err = tokens.Strings(ctx); err != nil {
		return nil, true, err
	}
	if types, ok := s.Array(of + "token_type"); ok {
		if g.Types, err = types.Int32s(ctx); err != nil {
			return nil, true, err
		}
	}
	if scores, ok := s.Array(of + "scores"); ok {
		if g.Scores, err = scores.Float32s(ctx); err != nil {
			return nil, true, err
		}
	}
	if charsmap, ok := s.Array(of + "precompiled_charsmap"); ok {
		if g.Charsmap, err = charsmap.Bytes(ctx); err != nil {
			return nil, true, err
		}
	}
	t, err := NewGGUF(g)
	return t, true, err
}
