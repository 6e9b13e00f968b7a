package tokenizer

import (
	"context"
	"strings"

	"github.com/weir-run/weir/fault"
)

// A Token is a token with the weight that the prompt gives it.
type Token struct {
	ID     int32
	Weight float64
	// Vector, if it is not nil, is a vector of a textual inversion embedding,
	// which is read instead of the one that the encoder has for ID.
	Vector []float32
}

// encodeSegments encodes the segments of a prompt, each text between embeddings by
// itself. A run is what becomes of one text or of one embedding. The names of
// embeddings that find does not have are left out of the prompt and returned. If
// find is nil, embeddings are texts.
func encodeSegments(ctx context.Context, t Tokenizer, segments []Segment, find Finder) (runs [][]Token, missing []string, err error) {
	embedded := 0
	for _, s := range segments {
		for _, text := range splitEmbeddings(s.Text) {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if named, ok := strings.CutPrefix(text, embedding); ok && find != nil {
				named = strings.Trim(named, "\n")
				vectors, rest, ok := lookup(named, find)
				if !ok {
					missing = append(missing, named)
				}
				if embedded += len(vectors); embedded > MaxVectors {
					return nil, nil, fault.New(fault.Workflow, "the embeddings of the prompt have more than %d vectors", MaxVectors)
				}
				runs = append(runs, tokensOf(vectors, s.Weight))
				text = rest
			}
			runs = append(runs, weighted(t.Encode(text), s.Weight))
		}
	}
	return runs, missing, nil
}

func weighted(ids []int32, weight float64) []Token {
	tokens := make([]Token, len(ids))
	for i, id := range ids {
		tokens[i] = Token{ID: id, Weight: weight}
	}
	return tokens
}

func tokensOf(vectors [][]float32, weight float64) []Token {
	tokens := make([]Token, len(vectors))
	for i, v := range vectors {
		tokens[i] = Token{Weight: weight, Vector: v}
	}
	return tokens
}
