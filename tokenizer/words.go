package tokenizer

import (
	"sync"
	"sync/atomic"
)

// merges are rules of byte pair encoding by the two tokens that they join.
type merges map[[2]int32]merged

// merged is what a rule makes of two tokens. Of all that apply, those with the
// lowest rank do.
type merged struct{ rank, token int32 }

func (m merges) rule(s *symbols, at, mid, _ int32) (rank int64, token int32, ok bool) {
	r, ok := m[[2]int32{s.tokens[at], s.tokens[mid]}]
	return int64(r.rank), r.token, ok
}

// The words that are remembered: how long in bytes and how many.
const (
	maxCached   = 64
	maxCachedOf = 1 << 14
)

// A wordCache remembers the tokens of words.
type wordCache struct {
	words sync.Map     // of a word to []int32
	n     atomic.Int32 // how many, about
}

// of returns the tokens of a word, which encode makes if they are not known.
func (c *wordCache) of(word string, encode func() []int32) []int32 {
	if ids, ok := c.words.Load(word); ok {
		return ids.([]int32)
	}
	ids := encode()
	if len(word) <= maxCached && c.n.Load() < maxCachedOf {
		c.n.Add(1)
		c.words.Store(word, ids)
	}
	return ids
}
