package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/tokenizer"
)

// A Text is an encoded prompt.
type Text struct {
	Tokens, Width int
	Embed         []float32 // [Tokens, Width]
	Pooled        []float32 // of the first 77 tokens; nil if the model has none
}

// A CLIP is the text encoders of a checkpoint: one, or two whose results stand
// side by side. It is immutable and safe for concurrent use.
type CLIP struct {
	text     *model.Text
	base     lora.Base // the checkpoint that the encoders came with
	encoders []*encoder
	// layer is the one that CLIPSetLastLayer asked for, counted from the end,
	// or 0 for each encoder's own.
	layer int
}

// An encoder is one text encoder with its conventions.
type encoder struct {
	part
	model.Encoder
	slot   *model.Slot
	prefix string // of its weights
	pad    int32
	key    string // of its vectors in files of embeddings
}

// newEncoder returns the text encoder of a slot, without its part.
func newEncoder(slot *model.Slot, e model.Encoder, prefix string) *encoder {
	return &encoder{Encoder: e, slot: slot, prefix: prefix, pad: slot.Prompt.Pad, key: slot.Key}
}

// layers is the encoder as LoRAs find its layers.
func (e *encoder) layers() lora.Encoder {
	return lora.Encoder{Layered: e.Encoder, Prefix: e.prefix, Names: e.slot.LoRA}
}

// of returns what a prompt of so many tokens becomes, zeros.
func (c *CLIP) of(tokens int) (all Text) {
	for _, e := range c.encoders {
		all = beside(all, Text{Tokens: tokens, Width: e.Features(), Embed: make([]float32, tokens*e.Features()), Pooled: make([]float32, e.Summary())})
	}
	return all
}

// WithLastLayer returns the encoders stopping at a layer counted from the
// end: -1 is the last, -2 the one before.
func (c *CLIP) WithLastLayer(layer int) *CLIP {
	return &CLIP{text: c.text, base: c.base, encoders: c.encoders, layer: layer}
}

// Memory bounds the bytes of memory that Encode takes for a prompt: each byte is
// one token at most, and embeddings have at most as many vectors as are read.
func (c *CLIP) Memory(prompt string) (n int64) {
	chunks := int64(len(prompt)/(tokenizer.ChunkLength-2) + 2)
	if len(tokenizer.Embeddings(prompt)) > 0 {
		chunks += tokenizer.MaxVectors / (tokenizer.ChunkLength - 2)
	}
	for _, e := range c.encoders {
		n += 4 * 3 * chunks * tokenizer.ChunkLength * int64(e.Features())
	}
	return n
}

// Encode encodes a prompt with its weights and textual inversion embeddings.
// The features of several encoders stand side by side; the pooled output is the
// last one's. An embedding that is not there is left out with a warning.
func (c *CLIP) Encode(ctx context.Context, prompt string, find Embeddings) (Text, error) {
	// All encoders have their tokens before the first one runs.
	embeddings := c.encoders[0].engine.newEmbeddings(find)
	prompts := make([][][]tokenizer.Token, len(c.encoders))
	for i, e := range c.encoders {
		chunks, missing, err := e.tokens(ctx, prompt, embeddings)
		if err != nil {
			return Text{}, err
		}
		prompts[i] = chunks
		if i == 0 && !e.engine.Planning() {
			embeddings.warn(missing)
		}
	}
	var all Text
	for i, e := range c.encoders {
		if i+1 < len(c.encoders) {
			c.encoders[i+1].prefetch(c.layer)
		}
		text, err := e.encode(ctx, prompts[i], c.layer)
		if err != nil {
			return Text{}, err
		}
		all = beside(all, text)
	}
	return all, nil
}

// Prefetch tells that Encode will be called next.
func (c *CLIP) Prefetch() { c.encoders[0].prefetch(c.layer) }

// beside joins the features of two encodings token by token, as far as the
// shorter goes.
func beside(a, b Text) Text {
	if a.Embed == nil {
		return b
	}
	out := Text{Tokens: min(a.Tokens, b.Tokens), Width: a.Width + b.Width, Pooled: b.Pooled}
	for i := range out.Tokens {
		out.Embed = append(out.Embed, a.Embed[i*a.Width:(i+1)*a.Width]...)
		out.Embed = append(out.Embed, b.Embed[i*b.Width:(i+1)*b.Width]...)
	}
	return out
}

// tokens returns the chunks of a prompt for the encoder, and the names of
// embeddings that are missing.
func (e *encoder) tokens(ctx context.Context, prompt string, m *embeddings) (chunks [][]tokenizer.Token, missing []string, err error) {
	chunks, missing, err = tokenizer.NewCLIP().Chunks(ctx, prompt, e.pad, m.finder(ctx, e.key))
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

// encode runs the encoder on all chunks of a prompt at once.
func (e *encoder) encode(ctx context.Context, chunks [][]tokenizer.Token, layer int) (Text, error) {
	weighted := slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool {
		return slices.ContainsFunc(chunk, func(t tokenizer.Token) bool { return t.Weight != 1 })
	})
	if weighted {
		empty, _, err := tokenizer.NewCLIP().Chunks(ctx, "", e.pad, nil)
		if err != nil {
			return Text{}, err
		}
		chunks = append(slices.Clip(chunks), empty...)
	}
	hidden, pooled, err := e.run(ctx, chunks, layer)
	if err != nil {
		return Text{}, err
	}
	width := e.Features()
	if weighted {
		last := len(chunks) - 1
		empty := hidden[last*tokenizer.ChunkLength*width:]
		for i, chunk := range chunks[:last] {
			weigh(hidden[i*tokenizer.ChunkLength*width:], empty, chunk, width)
		}
		chunks = chunks[:last]
	}
	n := len(chunks) * tokenizer.ChunkLength
	return Text{Tokens: n, Width: width, Embed: hidden[:n*width], Pooled: pooled[:len(pooled)/max(1, len(pooled)/e.Summary())]}, nil
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

// run evaluates the encoder; hidden is [chunks, 77, Width].
func (e *encoder) run(ctx context.Context, chunks [][]tokenizer.Token, layer int) (hidden, pooled []float32, err error) {
	in := words{embedded: slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool { return slices.ContainsFunc(chunk, e.fits) })}
	key, b := e.network(len(chunks), layer, in.embedded)
	if e.engine.Planning() {
		n := len(chunks)
		return make([]float32, n*tokenizer.ChunkLength*e.Features()), make([]float32, n*e.Summary()), e.planned(ctx, key, b, 1)
	}
	for _, chunk := range chunks {
		if err := e.read(&in, chunk); err != nil {
			return nil, nil, err
		}
	}
	inputs := run.Inputs{"tokens": in.tokens, "ends": in.ends}
	if in.embedded {
		inputs["known"], inputs["vectors"] = in.known, in.vectors
	}
	out, err := e.part.run(ctx, key, b, inputs)
	if err != nil {
		return nil, nil, err
	}
	return out["hidden"], out["pooled"], nil
}

// words are what the network reads of a prompt.
type words struct {
	tokens, ends []int32
	embedded     bool      // the prompt has vectors of embeddings, and
	known        []float32 // 1 for each token, 0 for each vector
	vectors      []float32 // [tokens, Width], 0 for each token
}

// fits reports whether a token is a vector that the encoder reads.
func (e *encoder) fits(t tokenizer.Token) bool { return len(t.Vector) == e.Features() }

// read appends a chunk. A vector that does not fit is left out: what follows
// moves to the front and a pad comes at the end, as in ComfyUI. The chunk's end
// is at as many tokens as there are up to the first end token, and vectors.
func (e *encoder) read(in *words, chunk []tokenizer.Token) error {
	begin := len(in.tokens)
	end, ended := begin-1, false
	for _, t := range chunk {
		switch {
		case e.fits(t):
			end++
		case t.Vector != nil:
			continue
		case int(t.ID) >= e.Vocabulary():
			return fmt.Errorf("%s: the text encoder's vocabulary has %d tokens, the prompt has token %d", e.name, e.Vocabulary(), t.ID)
		case !ended:
			end++
			ended = t.ID == tokenizer.CLIPEnd
		}
		e.add(in, t)
	}
	for len(in.tokens) < begin+len(chunk) {
		e.add(in, tokenizer.Token{ID: e.pad})
	}
	in.ends = append(in.ends, int32(end))
	return nil
}

// add appends a token or a vector.
func (e *encoder) add(in *words, t tokenizer.Token) {
	in.tokens = append(in.tokens, t.ID)
	switch {
	case !in.embedded:
	case t.Vector != nil:
		in.known, in.vectors = append(in.known, 0), append(in.vectors, t.Vector...)
	default:
		in.known, in.vectors = append(in.known, 1), append(in.vectors, make([]float32, e.Features())...)
	}
}

// network is the encoder of so many chunks, with embeddings among them or not,
// up to a layer counted from the end, or to its own if that is 0.
func (e *encoder) network(chunks, layer int, embedded bool) (string, build) {
	in := model.TextShape{Batch: chunks, Tokens: tokenizer.ChunkLength, Embedded: embedded, States: e.slot.States}
	if layer != 0 {
		in.States.Layers = []int{layer}
		if -layer > e.Depth() {
			in.States.Layers, in.States.Norm = []int{-1}, true
		}
	}
	return fmt.Sprint("text ", in), func(s nn.Scope) { e.Build(s.Sub(e.prefix), in) }
}

func (e *encoder) prefetch(layer int) { e.part.prefetch(e.network(1, layer, false)) }
