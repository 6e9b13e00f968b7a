package tokenizer

import (
	"encoding/binary"
	"strings"

	"github.com/weir-run/weir/fault"
)

// A charsmap is the table of replacements of characters that sentencepiece
// compiles from normalization rules: a double array (Aoe, 1989) in the form of
// Darts-clone, whose values are places in a list of texts that end with 0.
type charsmap struct {
	units []uint32
	texts string
}

// maxReplacement is the length in bytes of the longest replacement and of the
// longest key that are read, several times those of NFKC.
const maxReplacement = 64

// parseCharsmap reads the table: the size of the array in bytes, the array, the
// texts. No bytes are a table without replacements.
func parseCharsmap(data []byte) (c charsmap, err error) {
	if len(data) == 0 {
		return c, nil
	}
	if len(data) < 4 {
		return c, fault.New(fault.Model, "the precompiled charsmap has %d bytes, expected at least 4", len(data))
	}
	size := binary.LittleEndian.Uint32(data)
	data = data[4:]
	if int64(size) > int64(len(data)) || size%4 != 0 {
		return c, fault.New(fault.Model, "the precompiled charsmap has an array of %d bytes in %d: expected a multiple of 4 that fits", size, len(data))
	}
	c.texts = string(data[size:])
	for rest := c.texts; rest != ""; {
		text, more, _ := strings.Cut(rest, "\x00")
		if len(text) > maxReplacement {
			return c, fault.New(fault.Model, "the precompiled charsmap has a replacement of %d bytes, expected at most %d", len(text), maxReplacement)
		}
		rest = more
	}
	c.units = make([]uint32, size/4)
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return c, nil
}

// prefix returns the replacement of the longest key that a text begins with, or
// of the shortest. The length is 0 if there is none.
func (c charsmap) prefix(text string, longest bool) (length int, replacement string) {
	if len(c.units) == 0 {
		return 0, ""
	}
	at := offset(c.units[0])
	for i := range min(len(text), maxReplacement) {
		at ^= uint32(text[i])
		if text[i] == 0 || at >= uint32(len(c.units)) {
			break
		}
		unit := c.units[at]
		if unit&(1<<31|0xFF) != uint32(text[i]) {
			break
		}
		at ^= offset(unit)
		if at >= uint32(len(c.units)) {
			break
		}
		if unit&(1<<8) != 0 {
			if begin := c.units[at] & (1<<31 - 1); begin <= uint32(len(c.texts)) {
				length = i + 1
				replacement, _, _ = strings.Cut(c.texts[begin:], "\x00")
				if !longest {
					break
				}
			}
		}
	}
	return length, replacement
}

// offset returns what leads from a unit of a double array to its children.
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }
