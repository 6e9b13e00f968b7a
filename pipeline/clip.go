package pipeline

import (
	"context"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
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

// of returns what a prompt of so many tokens becomes, zeros.
func (c *CLIP) of(tokens int) (all Text) {
	for i, e := range c.encoders {
		all = c.join(all, e.of(tokens), i)
	}
	return all
}

// WithLastLayer returns the encoders stopping at a layer counted from the
// end: -1 is the last, -2 the one before.
func (c *CLIP) WithLastLayer(layer int) *CLIP {
	return &CLIP{text: c.text, base: c.base, encoders: c.encoders, layer: layer}
}

// Memory bounds the bytes of memory that Encode takes for a prompt.
func (c *CLIP) Memory(prompt string) (n int64) {
	for _, e := range c.encoders {
		n += e.memory(prompt)
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
		all = c.join(all, text, i)
	}
	return all, nil
}

// Prefetch tells that Encode will be called next.
func (c *CLIP) Prefetch() { c.encoders[0].prefetch(c.layer) }

// join adds the text of encoder i to those of the encoders before it.
func (c *CLIP) join(all, text Text, i int) Text {
	switch {
	case i == 0:
		return text
	case c.text.Join == model.First:
		all.Pooled = text.Pooled
		return all
	}
	return beside(all, text)
}

// beside joins the features of two encodings token by token, as far as the
// shorter goes.
func beside(a, b Text) Text {
	out := Text{Tokens: min(a.Tokens, b.Tokens), Width: a.Width + b.Width, Pooled: b.Pooled}
	for i := range out.Tokens {
		out.Embed = append(out.Embed, a.Embed[i*a.Width:(i+1)*a.Width]...)
		out.Embed = append(out.Embed, b.Embed[i*b.Width:(i+1)*b.Width]...)
	}
	return out
}
