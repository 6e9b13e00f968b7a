// Package hostile makes inputs that are broken, or made to do harm, for tests of
// everything that reads what strangers have written.
package hostile

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// An Input is a file that a test gives to the program.
type Input struct {
	Name string // for people
	File string // name of the file, whose extension tells what it claims to be
	Data []byte
	// Fails is set when no program can take the input: it must be refused. Others
	// may be refused or taken for what they are.
	Fails bool
}

// truncated returns the beginnings of an input of n lengths, from nothing on.
func truncated(whole Input, n int) []Input {
	n = min(n, len(whole.Data))
	var all []Input
	for i := range n {
		length := i * len(whole.Data) / n
		all = append(all, Input{fmt.Sprintf("%s, %d of %d bytes", whole.Name, length, len(whole.Data)), whole.File, whole.Data[:length], false})
	}
	return all
}

// flipped returns n copies of an input in each of which up to four bytes within
// the first most have other values.
func flipped(r *rand.Rand, whole Input, n, most int) []Input {
	var all []Input
	for i := range n {
		data := []byte(string(whole.Data))
		for range 1 + r.IntN(4) {
			data[r.IntN(min(len(data), most))] = byte(r.Uint32())
		}
		all = append(all, Input{fmt.Sprintf("%s, changed bytes %d", whole.Name, i), whole.File, data, false})
	}
	return all
}

// nested returns a text that opens a bracket so many times.
func nested(open string, depth int) string { return strings.Repeat(open, depth) }

// Escapes is a name that changes a terminal and the order of what stands on it.
const Escapes = "a\x1b[2J\x1b]0;owned\x07\r\u202eevil\u009b31m\x00\n"

// long is longer than any name that people give.
const long = 5 << 20

// Long returns a name of 5 MB.
func Long() string { return strings.Repeat("long", long/4) }
