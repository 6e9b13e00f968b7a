package model

import (
	"fmt"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/tokenizer"
)

// A Text is a way of encoding prompts: with which encoders, and how what they
// give is joined.
type Text struct {
	// Name is for people, such as "Stable Diffusion XL".
	Name string
	// Types are what the nodes that load text encoders call it, such as "sdxl".
	Types []string
	Slots []Slot
	// Join says how the states of several encoders become one text.
	Join Join
}

// A Join says how the states of several encoders become one text.
type Join int

// The joins.
const (
	// Beside puts features side by side, token by token; the pooled text is the
	// last one's.
	Beside Join = iota
	// First takes the states of the first encoder alone, and the pooled text of
	// the last.
	First
	// Sequence puts the states of all but the last side by side, filled up with
	// zeros to the features of the last, and the tokens of the last behind them. The
	// pooled texts of all stand side by side.
	Sequence
)

// A Slot is a text encoder of a Text, with what it is given and asked for.
type Slot struct {
	// Name is for errors, such as "CLIP-L", and Key for names in files, such as
	// "clip_l".
	Name, Key string
	// Names find the encoder in a file.
	Names *Names
	// Prefixes are those of its weights in checkpoints.
	Prefixes []string
	// LoRA are the prefixes of its layers in LoRA files, in the order in which one
	// gives way to the next when a file has several for one weight.
	LoRA []string
	// Match recognises the encoder whose weights are under a prefix, and checks
	// every weight. Its error says why it is not the slot's.
	Match func(src nn.Tensors, prefix string, metadata map[string]string) (Encoder, error)

	Prompt Prompt
	States States
}

// A Prompt says how a prompt becomes the tokens of an encoder.
type Prompt struct {
	// Tokenizer names one of package tokenizer: "clip", "t5", "qwen", or of a
	// vocabulary that the encoder's file has, "tekken" or "sentencepiece".
	Tokenizer string
	// Chunk is the number of tokens that are read at once, with their ends; longer
	// prompts become several chunks. 0 is any number.
	Chunk int
	// Masked says that what follows the first end of a prompt is hidden from its
	// tokens: the first token of End or, where there is none, of Pad.
	Masked bool
	// Format is what becomes of the prompt. With Chunk, only Start, End and Pad
	// count.
	tokenizer.Format
}

// States say which states of an encoder are given on, and how.
type States struct {
	// Layers are those whose states are taken: 0 is what the first layer is given,
	// i what layer i gives, counted from 1, and -1 the last. Several stand side by
	// side.
	Layers []int
	// Norm applies the final norm to them.
	Norm bool
	// Pooled asks for the summary of the text too, Unprojected for that which an
	// encoder with a projection makes it from.
	Pooled, Unprojected bool
	// ZeroPadded sets the states of what is masked to 0.
	ZeroPadded bool
}

// Numbers returns the layers counted from the first, of an encoder with so many.
// No layers are the last one. It is an error if the encoder has fewer.
func (s States) Numbers(depth int) ([]int, error) {
	if len(s.Layers) == 0 {
		return []int{depth}, nil
	}
	numbers := make([]int, len(s.Layers))
	for i, n := range s.Layers {
		if n < 0 {
			n += depth + 1
		}
		if n < 0 || n > depth {
			return nil, fmt.Errorf("the model is conditioned on the state of layer %d (%d of %d), and the text encoder has %d layers: it is another model's, or layers are missing", s.Layers[i], i+1, len(s.Layers), depth)
		}
		numbers[i] = n
	}
	return numbers, nil
}

// Output makes those of an encoder's states[batch, tokens, features] whose numbers
// are wanted the output hidden, side by side and each with the norm if it is asked
// for.
func (s States) Output(g *ir.Graph, states []ir.Value, wanted []int, norm func(ir.Value) ir.Value) {
	parts := make([]ir.Value, len(wanted))
	for i, n := range wanted {
		parts[i] = states[n]
		if s.Norm {
			parts[i] = norm(parts[i])
		}
	}
	g.Output("hidden", g.Concat(2, parts...))
}

// An Encoder is a text encoder that was recognised.
type Encoder interface {
	// Describe returns kind and sizes, for people.
	Describe() string
	// Depth is the number of layers, Features that of each token's state, Summary
	// that of the pooled text (0 without one), Vocabulary that of tokens.
	Depth() int
	Features() int
	Summary(States) int
	Vocabulary() int
	// Build builds the encoder at the scope. Its inputs are tokens[batch, tokens]
	// and, with Embedded, known[batch, tokens, 1] and vectors[batch, tokens,
	// features]: 1 and zeros for a token, 0 and the vector in its place; with
	// Pooled ends[batch], the place of each chunk's end token among all tokens, and
	// with Masked mask[batch, 1, 1, tokens], 0 for tokens and -inf for what is
	// masked. Its outputs are hidden[batch, tokens, features] and pooled[batch,
	// summary].
	Build(s nn.Scope, in TextShape)
	// Tables returns the inputs of the graph that depend on its shape alone, such as
	// positions, as []float32 or []int32.
	Tables(in TextShape) map[string]any
	// Check compares the weights of the encoder with those of a source.
	Check(src nn.Source, prefix string) *nn.Audit
	// Layers yields every layer that may have weights.
	Layers(yield func(Layer) bool)
}

// A TextShape is what the graph of a text encoder depends on.
type TextShape struct {
	Batch, Tokens    int
	Embedded, Masked bool
	States           States
}
