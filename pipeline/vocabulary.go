package pipeline

import (
	"context"
	"fmt"
	"sync"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/tokenizer"
)

// The tensors of bytes that hold the vocabulary of a text encoder.
const (
	tekkenModel = "tekken_model"
	spieceModel = "spiece_model"
)

// maxVocabularyFile bounds the bytes of a vocabulary, several times those of
// Mistral's.
const maxVocabularyFile = 64 << 20

// A vocabulary is the tokenizer of a text encoder, which is read once.
type vocabulary struct {
	mu     sync.Mutex
	chosen tokenizer.Tokenizer
}

// tokenizer returns the tokenizer of the encoder's slot.
func (e *encoder) tokenizer(ctx context.Context) (tokenizer.Tokenizer, error) {
	switch name := e.slot.Prompt.Tokenizer; name {
	case "clip":
		return tokenizer.NewCLIP(), nil
	case "t5":
		return tokenizer.NewT5(), nil
	case "qwen":
		return tokenizer.NewQwen(), nil
	case "tekken":
		return e.vocabulary.read(ctx, e, tekkenModel, func(data []byte) (tokenizer.Tokenizer, error) { return tokenizer.ParseTekken(data) })
	case "sentencepiece":
		return e.vocabulary.read(ctx, e, spieceModel, func(data []byte) (tokenizer.Tokenizer, error) { return tokenizer.ParseSentencePiece(data) })
	default:
		return nil, fmt.Errorf("%s: there is no tokenizer %q", e.name, name)
	}
}

// read returns the tokenizer of the vocabulary that a tensor of the encoder holds.
func (v *vocabulary) read(ctx context.Context, e *encoder, tensor string, parse func([]byte) (tokenizer.Tokenizer, error)) (tokenizer.Tokenizer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.chosen != nil {
		return v.chosen, nil
	}
	ref, ok := e.set.Lookup(e.prefix + tensor)
	if !ok {
		return nil, fault.New(fault.Model, "%s has no vocabulary, the tensor %s: use a file of the text encoder that was made for ComfyUI", e.name, tensor)
	}
	if ref.DType != dtype.U8 || len(ref.Shape) != 1 || ref.Elements() > maxVocabularyFile {
		return nil, fault.New(fault.Model, "%v: expected a vocabulary of at most %d MiB as a list of bytes (U8)", ref, maxVocabularyFile>>20)
	}
	data := make([]byte, ref.Elements())
	if err := ref.ReadAt(ctx, data, 0); err != nil {
		return nil, err
	}
	chosen, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", ref, err)
	}
	v.chosen = chosen
	return chosen, nil
}
