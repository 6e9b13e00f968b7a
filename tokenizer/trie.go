package tokenizer

import (
	"iter"
	"maps"
	"slices"
)

// A trie finds the keys that a text begins with. Its nodes are in the order of
// their depth, so that the children of a node are neighbours.
type trie struct {
	labels []byte  // the last byte of a node's key
	first  []int32 // a node's first child; its last is before the next node's first
	values []int32 // of a node's key, or none
}

// none is the value of a trie's node that ends no key.
const none = -1

// newTrie returns the trie of keys with values that are not negative. The empty
// key is never found.
func newTrie(values map[string]int32) *trie {
	keys := slices.Sorted(maps.Keys(values))
	if len(keys) > 0 && keys[0] == "" {
		keys = keys[1:]
	}
	t := &trie{labels: []byte{0}, values: []int32{none}}
	type node struct{ lo, hi, depth int } // the keys that begin with the node's
	for queue := []node{{0, len(keys), 0}}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		t.first = append(t.first, int32(len(t.labels)))
		for lo := n.lo; lo < n.hi; {
			if len(keys[lo]) == n.depth {
				lo++ // the node's own key, which is the first
				continue
			}
			label, value := keys[lo][n.depth], int32(none)
			hi := lo + 1
			for hi < n.hi && keys[hi][n.depth] == label {
				hi++
			}
			if len(keys[lo]) == n.depth+1 {
				value = values[keys[lo]]
			}
			t.labels, t.values = append(t.labels, label), append(t.values, value)
			queue = append(queue, node{lo, hi, n.depth + 1})
			lo = hi
		}
	}
	t.first = append(t.first, int32(len(t.labels)))
	return t
}

// prefixes yields the length and the value of each key that a text begins with,
// the shortest first.
func (t *trie) prefixes(text string) iter.Seq2[int, int32] {
	return func(yield func(int, int32) bool) {
		node := int32(0)
		for i := range len(text) {
			begin, end := t.first[node], t.first[node+1]
			at, ok := slices.BinarySearch(t.labels[begin:end], text[i])
			if !ok {
				return
			}
			node = begin + int32(at)
			if v := t.values[node]; v != none && !yield(i+1, v) {
				return
			}
		}
	}
}

// longest returns the length and the value of the longest key that a text
// begins with, or 0.
func (t *trie) longest(text string) (length int, value int32) {
	for length, value = range t.prefixes(text) {
	}
	return length, value
}

// cut yields the parts of a text between keys, and for each key its value. A part
// without a key has the value none and is not empty.
func (t *trie) cut(text string) iter.Seq2[string, int32] {
	return func(yield func(string, int32) bool) {
		begin := 0
		for i := 0; i < len(text); {
			n, value := t.longest(text[i:])
			if n == 0 {
				i++
				continue
			}
			if begin < i && !yield(text[begin:i], none) || !yield(text[i:i+n], value) {
				return
			}
			i += n
			begin = i
		}
		if begin < len(text) {
			yield(text[begin:], none)
		}
	}
}
