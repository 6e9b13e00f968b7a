package tokenizer

import (
	"bytes"
	"compress/gzip"
	"io"
)

// unzip returns what an embedded file holds.
func unzip(data []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		panic(err) // the embedded file is part of the program
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return text
}

// byteRunes gives each byte a printable rune: itself where it is printable in
// Latin-1, otherwise one from 256 on. It is GPT-2's table.
var byteRunes = func() (table [256]rune) {
	next := rune(256)
	for b := range 256 {
		if printable(b) {
			table[b] = rune(b)
		} else {
			table[b] = next
			next++
		}
	}
	return table
}()

func printable(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF
}

// byteOrder returns the bytes in the order of the vocabulary: the printable
// ones first.
func byteOrder() []byte {
	var first, rest []byte
	for b := range 256 {
		if printable(b) {
			first = append(first, byte(b))
		} else {
			rest = append(rest, byte(b))
		}
	}
	return append(first, rest...)
}
