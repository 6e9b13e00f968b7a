// Package torchfile writes checkpoints as torch.save does, for tests.
package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/weir-run/weir/dtype"
)

// A Tensor is one of a file, with the bytes that it has there.
type Tensor struct {
	Name  string
	DType dtype.DType
	Shape []int
	Data  []byte
}

// classes are the classes of PyTorch's storages.
var classes = map[dtype.DType]string{
	dtype.F32: "FloatStorage", dtype.F16: "HalfStorage", dtype.BF16: "BFloat16Storage", dtype.F64: "DoubleStorage",
	dtype.I8: "CharStorage", dtype.I16: "ShortStorage", dtype.I32: "IntStorage", dtype.I64: "LongStorage",
	dtype.U8: "ByteStorage", dtype.BOOL: "BoolStorage",
}

// Encode returns a checkpoint with a dictionary of tensors, which is in one dictionary under each of the keys.
func Encode(keys []string, tensors []Tensor) []byte {
	p := []byte{0x80, 2}
	for _, key := range keys {
		p = appendText(append(p, '}'), key)
	}
	p = append(p, '}', '(')
	for i, t := range tensors {
		p = appendTensor(appendText(p, t.Name), i, t)
	}
	p = append(p, 'u')
	for range keys {
		p = append(p, 's')
	}
	entries := map[string][]byte{"archive/data.pkl": append(p, '.'), "archive/byteorder": []byte("little"), "archive/version": []byte("3\n")}
	order := []string{"archive/data.pkl", "archive/byteorder"}
	for i, t := range tensors {
		name := fmt.Sprint("archive/data/", i)
		entries[name], order = t.Data, append(order, name)
	}
	return Archive(append(order, "archive/version"), entries)
}

// Archive returns a zip archive of entries that are not compressed, in an order.
func Archive(order []string, entries map[string][]byte) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range order {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(entries[name])
		}
		if err != nil {
			panic(err) // a buffer cannot fail
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func appendText(p []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(append(p, 'X'), uint32(len(s))), s...)
}

func appendInt(p []byte, n int) []byte {
	return binary.LittleEndian.AppendUint64(append(p, 0x8a, 8), uint64(n))
}

// appendTensor appends the call that makes a tensor of storage i.
func appendTensor(p []byte, i int, t Tensor) []byte {
	class, ok := classes[t.DType]
	if !ok {
		panic(fmt.Sprintf("PyTorch has no storage of %v", t.DType))
	}
	elements, strides := 1, make([]int, len(t.Shape))
	for k := len(t.Shape) - 1; k >= 0; k-- {
		strides[k] = elements
		elements *= t.Shape[k]
	}
	p = append(p, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
	p = append(appendText(p, "storage"), "ctorch\n"+class+"\n"...)
	p = appendInt(appendText(appendText(p, fmt.Sprint(i)), "cpu"), elements)
	p = append(p, 't', 'Q', 'K', 0)
	for _, numbers := range [][]int{t.Shape, strides} {
		p = append(p, '(')
		for _, n := range numbers {
			p = appendInt(p, n)
		}
		p = append(p, 't')
	}
	return append(append(p, 0x89), "ccollections\nOrderedDict\n)RtR"...)
}
