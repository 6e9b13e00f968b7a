package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/tokenizer"
)

// An encoder is one text encoder with its conventions.
type encoder struct {
	part
	model.Encoder
	slot   *model.Slot
	prefix string // of its weights
	// vocabulary is shared by all that are made of the encoder.
	vocabulary *vocabulary
}

// newEncoder returns the text encoder of a slot, without its part.
func newEncoder(slot *model.Slot, e model.Encoder, prefix string) *encoder {
	return &encoder{Encoder: e, slot: slot, prefix: prefix, vocabulary: &vocabulary{}}
}

// layers is the encoder as LoRAs find its layers.
func (e *encoder) layers() lora.Encoder {
	return lora.Encoder{Layered: e.Encoder, Prefix: e.prefix, Names: e.slot.LoRA}
}

// width is the number of features of each token of the encoded text.
func (e *encoder) width() int { return e.slot.States.Width(e.Features()) }

// of returns what a prompt of so many tokens becomes, zeros.
func (e *encoder) of(tokens int) Text {
	return Text{Tokens: tokens, Width: e.width(), Embed: make([]float32, tokens*e.width()), Pooled: make([]float32, e.Summary(e.slot.States))}
}

// memory bounds the bytes of memory that encoding a prompt takes: each byte is
// one token at most, and embeddings have at most as many vectors as are read.
func (e *encoder) memory(prompt string) int64 {
	p := e.slot.Prompt
	tokens := int64(len(prompt) + len(p.Template))
	if len(tokenizer.Embeddings(prompt)) > 0 {
		tokens += tokenizer.MaxVectors
	}
	if p.Chunk > 0 {
		tokens = (tokens/int64(p.Chunk-2) + 2) * int64(p.Chunk)
	} else {
		tokens = 2 * max(tokens+int64(len(p.Start)+len(p.End)), int64(p.MinLength))
	}
	return 4 * 3 * tokens * int64(e.width())
}

// tokens returns the chunks of a prompt for the encoder, and the names of
// embeddings that are missing.
func (e *encoder) tokens(ctx context.Context, prompt string, m *embeddings) (chunks [][]tokenizer.Token, missing []string, err error) {
	chunks, missing, err = e.chunks(ctx, prompt, m.finder(ctx, e.slot.Key))
	if err = errors.Join(err, m.err); err != nil {
		return nil, nil, err
	}
	ignored := 0
	for _, chunk := range chunks {
		for _, t := range chunk {
			if math.IsNaN(t.Weight) || math.Abs(t.Weight) > math.MaxFloat32 {
				return nil, nil, fault.New(fault.Workflow, "the prompt gives a word the weight %v: expected a number that pictures can be made with", t.Weight)
			}
			if t.Vector != nil && len(t.Vector) != e.Features() {
				ignored = len(t.Vector)
			}
		}
	}
	if ignored > 0 && !e.engine.Planning() {
		slog.Warn(fmt.Sprintf("%s: an embedding of the prompt has %d features, expected %d: it is ignored there", e.name, ignored, e.Features()))
	}
	return chunks, missing, nil
}

// chunks cuts a prompt into tokens, all of them in one chunk if the encoder reads
// any number.
func (e *encoder) chunks(ctx context.Context, prompt string, find tokenizer.Finder) ([][]tokenizer.Token, []string, error) {
	p := e.slot.Prompt
	if p.Chunk > 0 {
		return tokenizer.NewCLIP().Chunks(ctx, prompt, p.Pad, find)
	}
	t, err := e.tokenizer(ctx)
	if err != nil {
		return nil, nil, err
	}
	tokens, missing, err := p.Tokens(ctx, t, prompt, find)
	return [][]tokenizer.Token{tokens}, missing, err
}

// empty is a chunk of a prompt without words, as long as those that are weighted.
func (e *encoder) empty(length int) (chunk []tokenizer.Token) {
	p := e.slot.Prompt
	start, end := p.Start, p.End
	if p.Chunk > 0 {
		start, end = []int32{tokenizer.CLIPStart}, []int32{tokenizer.CLIPEnd}
	}
	for _, id := range slices.Concat(start, end) {
		chunk = append(chunk, tokenizer.Token{ID: id, Weight: 1})
	}
	for len(chunk) < length {
		chunk = append(chunk, tokenizer.Token{ID: p.Pad, Weight: 1})
	}
	return chunk[:length]
}

// encode runs the encoder on all chunks of a prompt at once.
func (e *encoder) encode(ctx context.Context, chunks [][]tokenizer.Token, layer int) (Text, error) {
	weighted := slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool {
		return slices.ContainsFunc(chunk, func(t tokenizer.Token) bool { return t.Weight != 1 })
	})
	length, count := len(chunks[0]), len(chunks)
	if weighted {
		chunks = append(slices.Clip(chunks), e.empty(length))
	}
	hidden, pooled, err := e.run(ctx, chunks, layer)
	if err != nil {
		return Text{}, err
	}
	width := e.width()
	if weighted {
		empty := hidden[count*length*width:]
		for i, chunk := range chunks[:count] {
			weigh(hidden[i*length*width:], empty, chunk, width)
		}
	}
	n := count * length
	return Text{Tokens: n, Width: width, Embed: hidden[:n*width], Pooled: pooled[:e.Summary(e.slot.States)]}, nil
}

// weigh moves each token away from, or towards, what the empty prompt has in
// its place, by the token's weight.
func weigh(hidden, empty []float32, chunk []tokenizer.Token, width int) {
	for j, t := range chunk {
		if t.Weight == 1 {
			continue
		}
		for k := range width {
			i := j*width + k
			hidden[i] = (hidden[i]-empty[i])*float32(t.Weight) + empty[i]
		}
	}
}

// run evaluates the encoder; hidden is [chunks, tokens, width].
func (e *encoder) run(ctx context.Context, chunks [][]tokenizer.Token, layer int) (hidden, pooled []float32, err error) {
	length := len(chunks[0])
	in := words{embedded: slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool { return slices.ContainsFunc(chunk, e.fits) })}
	for _, chunk := range chunks {
		if err := e.read(&in, chunk); err != nil {
			return nil, nil, err
		}
	}
	read := length
	if e.slot.States.ZeroMasked {
		read = in.cut(length, e.Features())
	}
	shape := e.shape(len(chunks), read, layer)
	shape.Embedded, shape.Masked = in.embedded, in.masked()
	key, b := e.network(shape)
	if e.engine.Planning() {
		n := len(chunks)
		return make([]float32, n*length*e.width()), make([]float32, n*e.Summary(shape.States)), e.planned(ctx, key, b, 1)
	}
	out, err := e.part.run(ctx, key, b, e.inputs(&in, shape))
	if err != nil {
		return nil, nil, err
	}
	hidden = out["hidden"]
	if e.slot.States.ZeroMasked {
		hidden = in.zeroed(hidden, read, length, e.width())
	}
	return hidden, out["pooled"], nil
}

// shape is that of the graph for so many chunks, up to a layer counted from the
// end, or to the encoder's own if that is 0. Of several states none is another's.
func (e *encoder) shape(chunks, tokens, layer int) model.TextShape {
	in := model.TextShape{Batch: chunks, Tokens: tokens, States: e.slot.States}
	if layer != 0 && len(in.States.Layers) < 2 {
		in.States.Layers = []int{layer}
		if -layer > e.Depth() {
			in.States.Layers, in.States.Norm = []int{-1}, true
		}
	}
	return in
}

// network is the encoder of a shape.
func (e *encoder) network(in model.TextShape) (string, build) {
	return fmt.Sprint("text ", in), func(s nn.Scope) { e.Build(s.Sub(e.prefix), in) }
}

// inputs are what the graph of a shape reads.
func (e *encoder) inputs(in *words, shape model.TextShape) run.Inputs {
	inputs := run.Inputs{"tokens": in.tokens}
	maps.Copy(inputs, e.Tables(shape))
	if shape.States.Pooled {
		inputs["ends"] = in.ends
	}
	if shape.Embedded {
		inputs["known"], inputs["vectors"] = in.known, in.vectors
	}
	if shape.Masked {
		mask := make([]float32, len(in.seen))
		for i, seen := range in.seen {
			if !seen {
				mask[i] = float32(math.Inf(-1))
			}
		}
		inputs["mask"] = mask
	}
	return inputs
}

// prefetch tells that the encoder runs next. The length of the prompt changes
// nothing about the weights.
func (e *encoder) prefetch(layer int) {
	p := e.slot.Prompt
	e.part.prefetch(e.network(e.shape(1, max(p.Chunk, p.MinLength), layer)))
}
