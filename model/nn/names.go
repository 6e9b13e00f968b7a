package nn

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Tensors are the weights of a file, of which all names are known.
type Tensors interface {
	Source
	// Names returns the names in lexical order.
	Names() []string
}

// Names are names of tensors in lexical order.
type Names []string

// Has reports whether a name begins with prefix.
func (n Names) Has(prefix string) bool {
	i := sort.SearchStrings(n, prefix)
	return i < len(n) && strings.HasPrefix(n[i], prefix)
}

// Under returns the names that begin with prefix.
func (n Names) Under(prefix string) Names {
	from := sort.SearchStrings(n, prefix)
	to := from + sort.Search(len(n)-from, func(i int) bool { return !strings.HasPrefix(n[from+i], prefix) })
	return n[from:to]
}

// Count returns how many numbers 0, 1, 2, ... follow prefix in the names. It is
// an error if one is left out: something of a network is missing.
func (n Names) Count(prefix string) (int, error) {
	numbers := n.Numbers(prefix)
	for i, number := range numbers {
		if i != number {
			return 0, fmt.Errorf("there are tensors %s and none %s: the file is incomplete or of another kind",
				fault.Name(prefix+strconv.Itoa(number)+"..."), fault.Name(prefix+strconv.Itoa(i)+"..."))
		}
	}
	return len(numbers), nil
}

// Numbers returns the numbers that follow prefix in the names, in order.
func (n Names) Numbers(prefix string) []int {
	var numbers []int
	for _, name := range n.Under(prefix) {
		text, _, _ := strings.Cut(name[len(prefix):], ".")
		i, err := strconv.Atoi(text)
		if err != nil || i < 0 || len(numbers) > 0 && numbers[len(numbers)-1] == i {
			continue
		}
		numbers = append(numbers, i)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// Beginnings tells in what the names begin, up to their first dot, for errors.
func (n Names) Beginnings(limit int) string {
	var all []string
	for i := 0; i < len(n); {
		first, _, ok := strings.Cut(n[i], ".")
		if ok {
			first += "."
		}
		all = append(all, fault.Name(first))
		if !ok {
			i++
			continue
		}
		i += len(n[i:].Under(first))
	}
	return fault.List(all, limit)
}

// An Axis is a dimension of a tensor.
type Axis struct {
	Name string
	I    int
}

// Agreed returns the length that most of the dimensions have, the first of
// several that as many have, and 0 if there is none. That one tensor is wrong
// does not make all others look wrong.
func Agreed(src Source, prefix string, axes ...Axis) int {
	var lengths []int
	for _, a := range axes {
		lengths = append(lengths, Length(src, prefix, a))
	}
	return Most(lengths...)
}

// Length returns the length of a dimension, 0 if there is none.
func Length(src Source, prefix string, a Axis) int {
	if _, shape, ok := src.Lookup(prefix + a.Name); ok && a.I < len(shape) {
		return shape[a.I]
	}
	return 0
}

// Most returns the length above 0 that occurs most often, the first of several
// that occur as often, and 0 if there is none.
func Most(lengths ...int) int {
	votes := map[int]int{}
	for _, n := range lengths {
		votes[n]++
	}
	best := 0
	votes[0] = 0
	for _, n := range lengths {
		if n > 0 && votes[n] > votes[best] {
			best = n
		}
	}
	return best
}

// Agree reports whether the dimensions have one length, as far as the tensors
// are there. It is for two, of which no majority tells which one is wrong.
func Agree(src Source, prefix string, axes ...Axis) bool {
	agreed := Agreed(src, prefix, axes...)
	for _, a := range axes {
		if _, shape, ok := src.Lookup(prefix + a.Name); ok && a.I < len(shape) && shape[a.I] != agreed {
			return false
		}
	}
	return true
}
