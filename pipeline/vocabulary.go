package pipeline

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/tokenizer"
)

// maxVocabulary bounds the bytes of a vocabulary in a file.
const maxVocabulary = 64 << 20

// readVocabulary returns the tokenizer of the encoder: one of the program's, or
// the one that its file carries.
func (e *encoder) readVocabulary(ctx context.Context) (tokenizer.Tokenizer, error) {
	kind := e.slot.Prompt.Tokenizer
	switch kind {
	case model.TokenizerT5:
		return tokenizer.NewT5(), nil
	case model.TokenizerQwen:
		return tokenizer.NewQwen(), nil
	}
	data, err := e.carried(ctx, string(kind))
	if err != nil {
		return nil, err
	}
	var t tokenizer.Tokenizer
	switch kind {
	case model.TokenizerTekken:
		t, err = tokenizer.ParseTekken(data)
	case model.TokenizerSentencePiece:
		t, err = tokenizer.ParseSentencePiece(data)
	default:
		return nil, fmt.Errorf("%s: there is no tokenizer %q", e.name, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w", e.name, kind, err)
	}
	return t, nil
}

// carried returns the bytes of a vocabulary that the encoder's file has as a
// tensor.
func (e *encoder) carried(ctx context.Context, name string) ([]byte, error) {
	ref, ok := e.set.Lookup(e.prefix + name)
	switch {
	case !ok:
		return nil, fault.New(fault.Model, "%s: the file has no vocabulary (tensor %s): use a file of ComfyUI's, which has it", e.name, name)
	case len(ref.Shape) != 1 || ref.DType.Size() != 1 || ref.Length > maxVocabulary:
		return nil, fault.New(fault.Model, "%s: %v: expected a vocabulary: at most %d MiB of bytes", e.name, ref, maxVocabulary>>20)
	}
	data := make([]byte, ref.Length)
	return data, ref.ReadAt(ctx, data, 0)
}
