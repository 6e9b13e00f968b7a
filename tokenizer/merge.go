package tokenizer

import "container/heap"

// A mergeRule is a merge of byte pair encoding: of all pairs that could be
// joined, those with the lowest rank are.
type mergeRule struct{ rank, token int32 }

// A pair is two neighbouring tokens that a rule joins: the one at a place and
// the next that is left.
type pair struct {
	mergeRule
	at          int32
	left, right int32 // the tokens, which are others when one was joined since
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

// gone is the token of a place that was joined to the one before it.
const gone = -1

// merge joins the pair with the lowest rank, wherever it is, until none is
// left. It returns the tokens in the memory of those it was given.
func (c *CLIP) merge(tokens []int32) []int32 {
	n := int32(len(tokens))
	next, previous := make([]int32, n), make([]int32, n)
	for i := range n {
		next[i], previous[i] = i+1, i-1
	}
	var queue, fresh pairs
	find := func(to *pairs, at int32) {
		if at < 0 || next[at] >= n {
			return
		}
		left, right := tokens[at], tokens[next[at]]
		if rule, ok := c.merges[[2]int32{left, right}]; ok {
			*to = append(*to, pair{rule, at, left, right})
		}
	}
	for i := range n {
		find(&queue, i)
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		// All pairs of one rank are joined before those that come of it are
		// looked at.
		for rank := queue[0].rank; len(queue) > 0 && queue[0].rank == rank; {
			p := heap.Pop(&queue).(pair)
			second := next[p.at]
			if tokens[p.at] != p.left || second >= n || tokens[second] != p.right {
				continue
			}
			tokens[p.at], tokens[second] = p.token, gone
			next[p.at] = next[second]
			if next[p.at] < n {
				previous[next[p.at]] = p.at
			}
			find(&fresh, previous[p.at])
			find(&fresh, p.at)
		}
		for _, p := range fresh {
			heap.Push(&queue, p)
		}
		fresh = fresh[:0]
	}
	out := tokens[:0]
	for _, t := range tokens {
		if t != gone {
			out = append(out, t)
		}
	}
	return out
}
