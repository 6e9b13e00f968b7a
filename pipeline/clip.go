package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/model/clip"
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
	base     lora.Base // the checkpoint that the encoders came with
	encoders []*encoder
	// layer is the one that CLIPSetLastLayer asked for, counted from the end,
	// or 0 for each encoder's own.
	layer int
}

// An encoder is one text encoder with its conventions.
type encoder struct {
	part
	config clip.Config
	prefix string // of its weights
	// output is the state that models of this family are conditioned on.
	output clip.Output
	pad    int32
}

// WithLastLayer returns the encoders stopping at a layer counted from the
// end: -1 is the last, -2 the one before.
func (c *CLIP) WithLastLayer(layer int) *CLIP {
	return &CLIP{base: c.base, encoders: c.encoders, layer: layer}
}

// Memory bounds the bytes of memory that Encode takes for a prompt: each byte is
// one token at most.
func (c *CLIP) Memory(prompt string) (n int64) {
	chunks := int64(len(prompt)/(tokenizer.ChunkLength-2) + 2)
	for _, e := range c.encoders {
		n += 4 * 3 * chunks * tokenizer.ChunkLength * int64(e.config.Width)
	}
	return n
}

// Encode encodes a prompt with its weights. The embeddings of several
// encoders stand side by side; the pooled output is the last one's.
func (c *CLIP) Encode(ctx context.Context, prompt string) (Text, error) {
	if names := tokenizer.Embeddings(prompt); len(names) > 0 {
		return Text{}, fmt.Errorf("the prompt asks for the embedding %s: textual inversion embeddings are not supported yet; take it out of the prompt",
			strings.Join(names, ", "))
	}
	var all Text
	for i, e := range c.encoders {
		if i+1 < len(c.encoders) {
			c.encoders[i+1].prefetch(c.layer)
		}
		text, err := e.encode(ctx, prompt, c.layer)
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

// encode runs the encoder on all chunks of a prompt at once.
func (e *encoder) encode(ctx context.Context, prompt string, layer int) (Text, error) {
	chunks := tokenizer.NewCLIP().Chunks(prompt, e.pad)
	weighted := slices.ContainsFunc(chunks, func(chunk []tokenizer.Token) bool {
		return slices.ContainsFunc(chunk, func(t tokenizer.Token) bool { return t.Weight != 1 })
	})
	if weighted {
		chunks = append(chunks, tokenizer.NewCLIP().Chunks("", e.pad)...)
	}
	hidden, pooled, err := e.run(ctx, chunks, layer)
	if err != nil {
		return Text{}, err
	}
	width := e.config.Width
	if weighted {
		last := len(chunks) - 1
		empty := hidden[last*tokenizer.ChunkLength*width:]
		for i, chunk := range chunks[:last] {
			weigh(hidden[i*tokenizer.ChunkLength*width:], empty, chunk, width)
		}
		chunks = chunks[:last]
	}
	n := len(chunks) * tokenizer.ChunkLength
	return Text{Tokens: n, Width: width, Embed: hidden[:n*width], Pooled: pooled[:len(pooled)/max(1, len(pooled)/e.pooledWidth())]}, nil
}

func (e *encoder) pooledWidth() int {
	if e.config.Projected > 0 {
		return e.config.Projected
	}
	return e.config.Width
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
			hidden[i] = (hidden[i]-empty[i])*t.Weight + empty[i]
		}
	}
}

// run evaluates the encoder; hidden is [chunks, 77, Width].
func (e *encoder) run(ctx context.Context, chunks [][]tokenizer.Token, layer int) (hidden, pooled []float32, err error) {
	if e.config.Length != tokenizer.ChunkLength {
		return nil, nil, fmt.Errorf("%s: the text encoder reads %d tokens, expected %d", e.name, e.config.Length, tokenizer.ChunkLength)
	}
	var tokens, ends []int32
	for i, chunk := range chunks {
		end := -1
		for j, t := range chunk {
			if int(t.ID) >= e.config.Vocab {
				return nil, nil, fmt.Errorf("%s: the text encoder's vocabulary has %d tokens, the prompt has token %d", e.name, e.config.Vocab, t.ID)
			}
			tokens = append(tokens, t.ID)
			if t.ID == tokenizer.CLIPEnd && end < 0 {
				end = i*tokenizer.ChunkLength + j
			}
		}
		ends = append(ends, int32(end))
	}
	key, b := e.network(len(chunks), layer)
	if e.engine.Planning() {
		n := len(chunks)
		return make([]float32, n*tokenizer.ChunkLength*e.config.Width), make([]float32, n*e.pooledWidth()), e.planned(ctx, key, b, 1)
	}
	out, err := e.part.run(ctx, key, b, run.Inputs{"tokens": tokens, "ends": ends})
	if err != nil {
		return nil, nil, err
	}
	return out["hidden"], out["pooled"], nil
}

// network is the encoder of so many chunks, up to a layer counted from the end,
// or to its own if that is 0.
func (e *encoder) network(chunks, layer int) (string, build) {
	output := e.output
	if layer != 0 {
		output.Layer = layer
		if -layer > e.config.Layers {
			output = clip.Output{Layer: -1, Norm: true}
		}
	}
	return fmt.Sprint("clip ", chunks, output), func(s nn.Scope) {
		clip.Text(s.Sub(e.prefix), e.config, chunks, output)
	}
}

func (e *encoder) prefetch(layer int) { e.part.prefetch(e.network(1, layer)) }
