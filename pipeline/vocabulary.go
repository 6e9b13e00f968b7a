package pipeline

import (
	"context"
	"fmt"
	"sync"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/weights"
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

// read returns the tokenizer of the vocabulary that a tensor of the encoder holds, or
// the metadata of its GGUF file.
func (v *vocabulary) read(ctx context.Context, e *encoder, tensor string, parse func([]byte) (tokenizer.Tokenizer, error)) (t tokenizer.Tokenizer, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.chosen != nil {
		return v.chosen, nil
	}
	own := e.set.Sub(e.prefix)
	if ref, ok := own.Lookup(tensor); ok {
		t, err = fromTensor(ctx, ref, parse)
	} else {
		t, err = e.fromGGUF(ctx, own, tensor)
	}
	if err != nil {
		return nil, err
	}
	v.chosen = t
	return t, nil
}

func fromTensor(ctx context.Context, ref weights.Ref, parse func([]byte) (tokenizer.Tokenizer, error)) (tokenizer.Tokenizer, error) {
	if ref.DType != dtype.U8 || len(ref.Shape) != 1 || ref.Elements() > maxVocabularyFile {
		return nil, fault.New(fault.Model, "%v: expected a vocabulary of at most %d MiB as a list of bytes (U8)", ref, maxVocabularyFile>>20)
	}
	data := make([]byte, ref.Elements())
	if err := ref.ReadAt(ctx, data, 0); err != nil {
		return nil, err
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", ref, err)
	}
	return t, nil
}

// ggml is what keys of tokenizers in GGUF files begin with.
const ggml = "tokenizer.ggml."

// fromGGUF reads the vocabulary of the GGUF file among those of the encoder.
func (e *encoder) fromGGUF(ctx context.Context, own *weights.Set, tensor string) (tokenizer.Tokenizer, error) {
	for _, f := range own.Files() {
		metadata := f.Metadata()
		if metadata[ggml+"model"] == "" {
			continue
		}
		g := tokenizer.GGUF{
			Model: metadata[ggml+"model"], Pre: metadata[ggml+"pre"],
			Prefix: metadata[ggml+"add_space_prefix"] != "false", Trim: metadata[ggml+"remove_extra_whitespaces"] != "false",
		}
		read := reader{ctx: ctx, file: f}
		g.Tokens = list(&read, "tokens", weights.Array.Strings)
		g.Types = list(&read, "token_type", weights.Array.Int32s)
		g.Scores = list(&read, "scores", weights.Array.Float32s)
		g.Charsmap = list(&read, "precompiled_charsmap", weights.Array.Bytes)
		if read.err != nil {
			return nil, read.err
		}
		t, err := tokenizer.NewGGUF(g)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path(), err)
		}
		return t, nil
	}
	return nil, fault.New(fault.Model, "%s has no vocabulary: neither the tensor %s nor metadata %smodel: use a file of the text encoder that was made for ComfyUI", e.name, tensor, ggml)
}

// A reader reads lists of a file's metadata until one cannot be read.
type reader struct {
	ctx  context.Context
	file *weights.File
	err  error
}

// list returns a list of the tokenizer's, or nil if there is none.
func list[T any](r *reader, key string, read func(weights.Array, context.Context) ([]T, error)) (out []T) {
	a, ok := r.file.Array(ggml + key)
	if !ok || r.err != nil {
		return nil
	}
	if a.Len() > maxVocabularyFile {
		r.err = fault.New(fault.Model, "%s: metadata %s%s have %d elements, expected at most %d", r.file.Path(), ggml, key, a.Len(), maxVocabularyFile)
		return nil
	}
	out, r.err = read(a, r.ctx)
	return out
}
