package pipeline

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
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
		texts[i] = e.of(tokens)
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
	prompts := make([]string, len(c.encoders))
	for i := range prompts {
		prompts[i] = prompt
	}
	chunks, err := c.tokens(ctx, prompts, find)
	if err != nil {
		return Text{}, err
	}
	return c.encode(ctx, chunks)
}

// EncodeEach is Encode with a prompt for each encoder, by the key of its slot.
// Where encoders read chunks, all of them read as many: shorter prompts are
// followed by empty ones. If none of those has a prompt, which is nil, their states
// are left out and what they pool is zeros; another encoder then reads what ends a
// prompt.
func (c *CLIP) EncodeEach(ctx context.Context, each map[string]*string, find Embeddings) (Text, error) {
	prompts := make([]string, len(c.encoders))
	for i, e := range c.encoders {
		prompt, ok := each[e.slot.Key]
		if !ok || len(each) != len(c.encoders) {
			return Text{}, fault.New(fault.Workflow, "there are prompts for %s, and the text encoders of %s read %s: use CLIPTextEncode, or load the text encoders that the node is for",
				fault.List(slices.Sorted(maps.Keys(each)), 5), c.text.Name, strings.Join(c.keys(), ", "))
		}
		if prompt != nil {
			prompts[i] = *prompt
		}
	}
	chunks, err := c.tokens(ctx, prompts, find)
	if err != nil {
		return Text{}, err
	}
	longest := 0
	for i, e := range c.encoders {
		if each[e.slot.Key] == nil {
			chunks[i] = nil
		}
		if e.slot.Prompt.Chunk > 0 {
			longest = max(longest, len(chunks[i]))
		}
	}
	for i, e := range c.encoders {
		p := e.slot.Prompt
		if p.Chunk == 0 && chunks[i] == nil {
			chunks[i] = append(chunks[i], p.Empty(0))
		}
		for p.Chunk > 0 && len(chunks[i]) < longest {
			chunks[i] = append(chunks[i], p.Empty(p.Chunk))
		}
	}
	return c.encode(ctx, chunks)
}

// keys returns those of the encoders' slots.
func (c *CLIP) keys() (keys []string) {
	for _, e := range c.encoders {
		keys = append(keys, e.slot.Key)
	}
	return keys
}

// tokens returns the chunks of the prompt of each encoder. Embeddings that are
// missing are warned of once.
func (c *CLIP) tokens(ctx context.Context, prompts []string, find Embeddings) ([][][]tokenizer.Token, error) {
	embeddings := c.encoders[0].engine.newEmbeddings(find)
	all := make([][][]tokenizer.Token, len(c.encoders))
	told := map[string]bool{}
	for i, e := range c.encoders {
		chunks, missing, err := e.tokens(ctx, prompts[i], embeddings)
		if err != nil {
			return nil, err
		}
		all[i] = chunks
		if missing = slices.DeleteFunc(missing, func(name string) bool { return told[name] }); !e.engine.Planning() {
			embeddings.warn(missing)
		}
		for _, name := range missing {
			told[name] = true
		}
	}
	return all, nil
}

// encode runs the encoders that have chunks. All have their tokens before the first
// one runs.
func (c *CLIP) encode(ctx context.Context, prompts [][][]tokenizer.Token) (Text, error) {
	texts := make([]Text, len(c.encoders))
	for i, e := range c.encoders {
		if i+1 < len(c.encoders) && len(prompts[i+1]) > 0 {
			c.encoders[i+1].prefetch(len(prompts[i+1]), len(prompts[i+1][0]), c.layer)
		}
		if len(prompts[i]) == 0 {
			texts[i] = e.of(0)
			continue
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
	last := texts[len(texts)-1]
	switch how {
	case model.First:
		first := texts[0]
		first.Pooled = last.Pooled
		return first
	case model.Sequence:
		return behind(join(texts[:len(texts)-1], model.Beside), last, texts)
	}
	var all Text
	for _, t := range texts {
		all = beside(all, t)
	}
	return all
}

// behind puts the tokens of b behind those of a, which are filled up with zeros
// to as many features. The pooled texts of all stand side by side.
func behind(a, b Text, all []Text) Text {
	out := Text{Tokens: a.Tokens + b.Tokens, Width: max(a.Width, b.Width)}
	out.Embed = make([]float32, out.Tokens*out.Width)
	for i := range a.Tokens {
		copy(out.Embed[i*out.Width:], a.Embed[i*a.Width:(i+1)*a.Width])
	}
	for i := range b.Tokens {
		copy(out.Embed[(a.Tokens+i)*out.Width:], b.Embed[i*b.Width:(i+1)*b.Width])
	}
	for _, t := range all {
		out.Pooled = append(out.Pooled, t.Pooled...)
	}
	return out
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
