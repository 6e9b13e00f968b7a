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
	key    string // of its vectors in files of embeddings
	// vocabulary is shared by all that are made of the encoder.
	vocabulary *vocabulary
}

// newEncoder returns the text encoder of a slot, without its part.
func newEncoder(slot *model.Slot, e model.Encoder, prefix string) *encoder {
	return &encoder{Encoder: e, slot: slot, prefix: prefix, key: slot.Key, vocabulary: &vocabulary{}}
}

// layers is the encoder as LoRAs find its layers.
func (e *encoder) layers() lora.Encoder {
	return lora.Encoder{Layered: e.Encoder, Prefix: e.prefix, Names: e.slot.LoRA}
}

// tokens returns the chunks of a prompt for the encoder, and the names of
// embeddings that are missing.
func (e *encoder) tokens(ctx context.Context, prompt string, m *embeddings) (chunks [][]tokenizer.Token, missing []string, err error) {
	t, err := e.tokenizer(ctx)
	if err != nil {
		return nil, nil, err
	}
	if clip, ok := t.(*tokenizer.CLIP); ok {
		chunks, missing, err = clip.Chunks(ctx, prompt, e.slot.Prompt.Pad, m.finder(ctx, e.key))
	} else {
		var all []tokenizer.Token
		all, missing, err = e.slot.Prompt.Tokens(ctx, t, prompt, m.finder(ctx, e.key))
		chunks = [][]tokenizer.Token{all}
	}
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

// length returns how many tokens a prompt becomes without its embeddings.
func (e *encoder) length(ctx context.Context, prompt string) (n int, err error) {
	chunks, _, err := e.tokens(ctx, prompt, e.engine.newEmbeddings(nil))
	for _, chunk := range chunks {
		n += len(chunk)
	}
	return n, err
}

// features returns the number of features of a token in the encoded text.
func (e *encoder) features() int { return e.Features() * max(1, len(e.slot.States.Layers)) }

// of returns what a prompt of so many tokens becomes, zeros.
func (e *encoder) of(tokens int) Text {
	width := e.features()
	return Text{Tokens: tokens, Width: width, Embed: make([]float32, tokens*width), Pooled: make([]float32, e.Summary(e.slot.States))}
}

// encode runs the encoder on all chunks of a prompt at once, which have one
// length.
func (e *encoder) encode(ctx context.Context, chunks [][]tokenizer.Token, layer int) (Text, error) {
	n, length, width := len(chunks), len(chunks[0]), e.features()
	weighted := slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool {
		return slices.ContainsFunc(chunk, func(t tokenizer.Token) bool { return t.Weight != 1 })
	})
	if weighted {
		chunks = append(slices.Clip(chunks), e.slot.Prompt.Empty(length))
	}
	hidden, pooled, err := e.run(ctx, chunks, layer)
	if err != nil {
		return Text{}, err
	}
	if weighted {
		empty := hidden[n*length*width:]
		for i, chunk := range chunks[:n] {
			weigh(hidden[i*length*width:], empty, chunk, width)
		}
	}
	text := Text{Tokens: n * length, Width: width, Embed: hidden[:n*length*width]}
	if len(pooled) > 0 {
		text.Pooled = pooled[:e.Summary(e.slot.States)]
	}
	return text, nil
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

// run evaluates the encoder; hidden is [chunks, tokens, features].
func (e *encoder) run(ctx context.Context, chunks [][]tokenizer.Token, layer int) (hidden, pooled []float32, err error) {
	in := words{embedded: slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool { return slices.ContainsFunc(chunk, e.fits) })}
	for _, chunk := range chunks {
		if err := e.read(&in, chunk); err != nil {
			return nil, nil, err
		}
	}
	length := len(chunks[0])
	read := length
	if e.slot.States.ZeroPadded {
		read = in.cut(length, e.Features())
	}
	shape := e.shape(len(chunks), read, layer)
	shape.Embedded, shape.Masked = in.embedded, e.slot.Prompt.Masked && slices.Contains(in.hidden, true)
	key, b := e.network(shape)
	if e.engine.Planning() {
		n := len(chunks)
		return make([]float32, n*length*e.features()), make([]float32, n*e.Summary(shape.States)), e.planned(ctx, key, b, 1)
	}
	out, err := e.part.run(ctx, key, b, in.inputs(shape, e.Tables(shape)))
	if err != nil {
		return nil, nil, err
	}
	hidden = out["hidden"]
	if e.slot.States.ZeroPadded {
		hidden = in.zeroed(hidden, read, length, e.features())
	}
	return hidden, out["pooled"], nil
}

// words are what the network reads of a prompt.
type words struct {
	tokens, ends []int32
	hidden       []bool    // what follows the end
	embedded     bool      // the prompt has vectors of embeddings, and
	known        []float32 // 1 for each token, 0 for each vector
	vectors      []float32 // [tokens, Width], 0 for each token
}

// inputs returns the inputs of the network, those of its shape among them.
func (w *words) inputs(shape model.TextShape, tables map[string]any) run.Inputs {
	in := run.Inputs{"tokens": w.tokens}
	maps.Copy(in, tables)
	if shape.States.Pooled {
		in["ends"] = w.ends
	}
	if shape.Embedded {
		in["known"], in["vectors"] = w.known, w.vectors
	}
	if shape.Masked {
		mask := make([]float32, len(w.hidden))
		for i, hidden := range w.hidden {
			if hidden {
				mask[i] = float32(math.Inf(-1))
			}
		}
		in["mask"] = mask
	}
	return in
}

// cut leaves out what is hidden at the end of all chunks, of so many tokens, and
// returns the new length.
func (w *words) cut(length, features int) int {
	end := 1
	for i, hidden := range w.hidden {
		if !hidden {
			end = max(end, i%length+1)
		}
	}
	w.tokens, w.hidden = shortened(w.tokens, length, end), shortened(w.hidden, length, end)
	if w.embedded {
		w.known, w.vectors = shortened(w.known, length, end), shortened(w.vectors, length*features, end*features)
	}
	return end
}

// shortened returns the first n values of each run.
func shortened[T any](values []T, run, n int) (out []T) {
	for run := range slices.Chunk(values, run) {
		out = append(out, run[:n]...)
	}
	return out
}

// zeroed returns the states of chunks that were cut, with zeros for what is hidden.
func (w *words) zeroed(states []float32, from, to, width int) []float32 {
	out := make([]float32, len(states)/from*to)
	for i, hidden := range w.hidden {
		if !hidden {
			copy(out[(i/from*to+i%from)*width:][:width], states[i*width:])
		}
	}
	return out
}

// fits reports whether a token is a vector that the encoder reads.
func (e *encoder) fits(t tokenizer.Token) bool { return len(t.Vector) == e.Features() }

// read appends a chunk. A vector that does not fit is left out: what follows
// moves to the front and a pad comes at the end, as in ComfyUI. The chunk's end
// is at as many tokens as there are up to the first end token, and vectors. Tokens
// behind an end are hidden, of a format without one those from the first pad on.
func (e *encoder) read(in *words, chunk []tokenizer.Token) error {
	f := e.slot.Prompt.Format
	stop := append(slices.Clip(f.End), f.Pad)[0]
	begin := len(in.tokens)
	end, ended := begin-1, false
	for _, t := range chunk {
		hidden := false
		switch {
		case e.fits(t):
			end++
		case t.Vector != nil:
			continue
		case int(t.ID) >= e.Vocabulary():
			return fmt.Errorf("%s: the text encoder's vocabulary has %d tokens, the prompt has token %d", e.name, e.Vocabulary(), t.ID)
		case ended:
			hidden = true
		default:
			end++
			ended = t.ID == stop
			hidden = ended && len(f.End) == 0
		}
		e.add(in, t, hidden)
	}
	for len(in.tokens) < begin+len(chunk) {
		e.add(in, tokenizer.Token{ID: f.Pad}, true)
	}
	in.ends = append(in.ends, int32(end))
	return nil
}

// add appends a token or a vector.
func (e *encoder) add(in *words, t tokenizer.Token, hidden bool) {
	in.tokens, in.hidden = append(in.tokens, t.ID), append(in.hidden, hidden)
	switch {
	case !in.embedded:
	case t.Vector != nil:
		in.known, in.vectors = append(in.known, 0), append(in.vectors, t.Vector...)
	default:
		in.known, in.vectors = append(in.known, 1), append(in.vectors, make([]float32, e.Features())...)
	}
}

// shape is that of the encoder's graph for so many chunks of a length, up to a
// layer counted from the end, or to its own if that is 0. An encoder of several
// states has its own in any case.
func (e *encoder) shape(chunks, length, layer int) model.TextShape {
	in := model.TextShape{Batch: chunks, Tokens: length, States: e.slot.States}
	if layer != 0 && len(in.States.Layers) <= 1 {
		in.States.Layers = []int{layer}
		if -layer > e.Depth() {
			in.States.Layers, in.States.Norm = []int{-1}, true
		}
	}
	return in
}

// network is the encoder as a graph.
func (e *encoder) network(in model.TextShape) (string, build) {
	return fmt.Sprint("text ", in), func(s nn.Scope) { e.Build(s.Sub(e.prefix), in) }
}

// prefetch tells that a prompt of so many chunks of a length will be encoded next.
func (e *encoder) prefetch(chunks, length, layer int) {
	e.part.prefetch(e.network(e.shape(chunks, max(1, length), layer)))
}
