package tokenizer

import "context"

// ChunkLength is the number of tokens that CLIP reads at once, start and end
// included.
const ChunkLength = 77

// keepTogether is the number of tokens from which on a segment is cut at the
// end of a chunk rather than moved to the next one as a whole.
const keepTogether = 8

// Chunks encodes a prompt with its weights and embeddings as ComfyUI does:
// chunks of 77 tokens, each with a start and an end token, the last one (and
// those that a short segment did not fit in) filled up with pad. There is at
// least one. The names of embeddings that find does not have are left out of
// the prompt and returned.
func (c *CLIP) Chunks(ctx context.Context, prompt string, pad int32, find Finder) (chunks [][]Token, missing []string, err error) {
	segments, err := ParseWeights(prompt)
	if err != nil {
		return nil, nil, err
	}
	runs, missing, err := encodeSegments(ctx, c, segments, find)
	if err != nil {
		return nil, nil, err
	}
	b := chunker{pad: pad}
	b.open()
	for _, run := range runs {
		b.add(run)
	}
	b.close()
	return b.chunks, missing, nil
}

type chunker struct {
	pad    int32
	chunks [][]Token
	chunk  []Token
}

func (b *chunker) open() {
	b.chunk = append(make([]Token, 0, ChunkLength), Token{ID: CLIPStart, Weight: 1})
}

func (b *chunker) close() {
	b.chunk = append(b.chunk, Token{ID: CLIPEnd, Weight: 1})
	for len(b.chunk) < ChunkLength {
		b.chunk = append(b.chunk, Token{ID: b.pad, Weight: 1})
	}
	b.chunks = append(b.chunks, b.chunk)
}

// add appends the tokens of a segment or of an embedding, opening chunks as
// they are needed.
func (b *chunker) add(tokens []Token) {
	large := len(tokens) >= keepTogether
	for len(tokens) > 0 {
		n := len(tokens)
		if room := ChunkLength - 1 - len(b.chunk); n > room {
			n = 0
			if large {
				n = room
			}
		}
		b.chunk = append(b.chunk, tokens[:n]...)
		if tokens = tokens[n:]; len(tokens) > 0 {
			b.close()
			b.open()
		}
	}
}
