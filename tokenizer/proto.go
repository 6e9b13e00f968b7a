package tokenizer

import (
	"encoding/binary"
	"errors"
	"math"
)

// A field is one of a protocol buffer: bytes, or a number as it is stored.
type field struct {
	number int
	bytes  []byte // of a string, bytes or message
	value  uint64
}

var errProto = errors.New("it is cut short, or no protocol buffer")

// eachField calls f with the fields of a message in their order. Groups are
// refused.
func eachField(data []byte, f func(field) error) error {
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		if n <= 0 || key>>3 == 0 || key>>3 > math.MaxInt32 {
			return errProto
		}
		data = data[n:]
		one := field{number: int(key >> 3)}
		switch key & 7 {
		case 0:
			if one.value, n = binary.Uvarint(data); n <= 0 {
				return errProto
			}
		case 1:
			if n = 8; len(data) < n {
				return errProto
			}
			one.value = binary.LittleEndian.Uint64(data)
		case 2:
			size, m := binary.Uvarint(data)
			if m <= 0 || size > uint64(len(data)-m) {
				return errProto
			}
			n = m + int(size)
			one.bytes = data[m:n]
		case 5:
			if n = 4; len(data) < n {
				return errProto
			}
			one.value = uint64(binary.LittleEndian.Uint32(data))
		default:
			return errProto
		}
		data = data[n:]
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}
