package pipeline

import (
	"context"
	"slices"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/tokenizer"
)

// A Text is an encoded prompt.
type Text struct {
	Tokens, Width int
	Embed         []float32 // [Tokens, Width]
	Pooled        []float32 // of the first chunk of tokens; nil if the model has none
}

// A CLIP is the text encoders of a model: one, or several whose results are
// joined. It is immutable and safe for concurrent use.
type CLIP struct {
	text     *model.Text
	base     lora.Base // the checkpoint that the encoders came with
	encoders []*encoder
	// layer is the one that CLIPSetLastLayer asked for, counted from the end,
	// or 0 for each encoder's own.
	layer int
}

// of returns what a prompt of so many tokens becomes, zeros.
func (c *CLIP) of(tokens int) Text {
	texts := make([]Text, len(c.encoders))
	for i, e := range c.encoders {
		width := e.features()
		texts[i] = Text{Tokens: tokens, Width: width, Embed: make([]float32, tokens*width), Pooled: make([]float32, e.Summary(e.slot.States))}
	}
	return join(texts, c.text.Join)
}

// WithLastLayer returns the encoders stopping at a layer counted from the
// end: -1 is the last, -2 the one before.
func (c *CLIP) WithLastLayer(layer int) *CLIP {
	return &CLIP{text: c.text, base: c.base, encoders: c.encoders, layer: layer}
}

// Memory bounds the bytes of memory that Encode takes for a prompt. Embeddings
// have at most as many vectors as are read.
func (c *CLIP) Memory(ctx context.Context, prompt string) (n int64, err error) {
	vectors := 0
	if len(tokenizer.Embeddings(prompt)) > 0 {
		vectors = tokenizer.MaxVectors
	}
	for _, e := range c.encoders {
		length, err := e.length(ctx, prompt)
		if err != nil {
			return 0, err
		}
		n += 4 * 3 * int64(length+vectors) * int64(e.features())
	}
	return n, nil
}

// Encode encodes a prompt with its weights and textual inversion embeddings. An
// embedding that is not there is left out with a warning.
func (c *CLIP) Encode(ctx context.Context, prompt string, find Embeddings) (Text, error) {
	return c.EncodeEach(ctx, func(string) string { return prompt }, find)
}

// EncodeEach is Encode with a prompt for each encoder, by the key of its slot.
func (c *CLIP) EncodeEach(ctx context.Context, prompt func(key string) string, find Embeddings) (Text, error) {
	// All encoders have their tokens before the first one runs.
	embeddings := c.encoders[0].engine.newEmbeddings(find)
	prompts := make([][][]tokenizer.Token, len(c.encoders))
	told := map[string]bool{}
	for i, e := range c.encoders {
		chunks, missing, err := e.tokens(ctx, prompt(e.key), embeddings)
		if err != nil {
			return Text{}, err
		}
		prompts[i] = chunks
		if missing = slices.DeleteFunc(missing, func(name string) bool { return told[name] }); !e.engine.Planning() {
			embeddings.warn(missing)
		}
		for _, name := range missing {
			told[name] = true
		}
	}
	texts := make([]Text, len(c.encoders))
	for i, e := range c.encoders {
		if i+1 < len(c.encoders) {
			c.encoders[i+1].prefetch(len(prompts[i+1]), len(prompts[i+1][0]), c.layer)
		}
		text, err := e.encode(ctx, prompts[i], c.layer)
		if err != nil {
			return Text{}, err
		}
		texts[i] = text
	}
	return join(texts, c.text.Join), nil
}

// Prefetch tells that Encode will be called next.
func (c *CLIP) Prefetch() {
	e := c.encoders[0]
	e.prefetch(1, max(e.slot.Prompt.Chunk, e.slot.Prompt.MinLength), c.layer)
}

// join makes one text of those that several encoders give.
func join(texts []Text, how model.Join) Text {
	if how == model.First {
		first := texts[0]
		first.Pooled = texts[len(texts)-1].Pooled
		return first
	}
	var all Text
	for _, t := range texts {
		all = beside(all, t)
	}
	return all
}

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
