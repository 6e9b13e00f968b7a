package tokenizer

import "container/heap"

// A rule says whether two neighbouring symbols may be joined: those that begin
// at the places at and mid, the second of which ends at end. Of all that may,
// those with the lowest rank are.
type rule func(s *symbols, at, mid, end int32) (rank int64, token int32, ok bool)

// symbols are what a text consists of. They are known by the places where they
// begin, which are numbers of symbols before any were joined.
type symbols struct {
	tokens []int32 // of each symbol
	next   []int32 // where it ends, or gone for a place where none begins
	before []int32 // where the symbol before it begins, or -1
}

// gone is the end of a symbol that was joined to the one before it.
const gone = -1

// A pair is two neighbouring symbols that a rule joins to one.
type pair struct {
	rank         int64
	at, mid, end int32
	token        int32
}

// pairs are those that may be joined, the lowest rank first, from left to right.
type pairs []pair

func (p pairs) Len() int { return len(p) }
func (p pairs) Less(i, j int) bool {
	return p[i].rank < p[j].rank || p[i].rank == p[j].rank && p[i].at < p[j].at
}
func (p pairs) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pairs) Push(x any)   { *p = append(*p, x.(pair)) }
func (p *pairs) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// merge joins the pair with the lowest rank, wherever it is, until none is left.
// If together is true, all pairs of a rank are joined before those that come of
// it are looked at, as OpenAI's code does for GPT-2 and CLIP; otherwise a pair
// is looked at once it is there. The time is n log n.
func merge(tokens []int32, find rule, together bool) *symbols {
	n := int32(len(tokens))
	s := &symbols{tokens: tokens, next: make([]int32, n), before: make([]int32, n)}
	for i := range n {
		s.next[i], s.before[i] = i+1, i-1
	}
	var queue, fresh pairs
	look := func(to *pairs, at int32) {
		if at < 0 || s.next[at] >= n {
			return
		}
		p := pair{at: at, mid: s.next[at], end: s.next[s.next[at]]}
		var ok bool
		if p.rank, p.token, ok = find(s, p.at, p.mid, p.end); ok {
			*to = append(*to, p)
		}
	}
	for i := range n {
		look(&queue, i)
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		for rank := queue[0].rank; len(queue) > 0 && queue[0].rank == rank; {
			p := heap.Pop(&queue).(pair)
			if s.next[p.at] != p.mid || s.next[p.mid] != p.end {
				continue
			}
			s.join(p)
			look(&fresh, s.before[p.at])
			look(&fresh, p.at)
			if !together {
				break
			}
		}
		for _, p := range fresh {
			heap.Push(&queue, p)
		}
		fresh = fresh[:0]
	}
	return s
}

// join makes one symbol of two.
func (s *symbols) join(p pair) {
	s.tokens[p.at], s.next[p.at], s.next[p.mid] = p.token, p.end, gone
	if int(p.end) < len(s.next) {
		s.before[p.end] = p.at
	}
}

// list returns the tokens of the symbols in the memory of those that were
// merged.
func (s *symbols) list() []int32 {
	out := s.tokens[:0]
	for i := 0; i < len(s.next); i = int(s.next[i]) {
		out = append(out, s.tokens[i])
	}
	return out
}
