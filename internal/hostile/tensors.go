package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// safetensors returns a file with a header, whatever it says, and so many bytes
// of data.
func safetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

// quote returns a text as a string in JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings cannot fail
	}
	return string(b)
}

// Safetensors returns hostile safetensors files and indexes of parts.
func Safetensors(seed uint64) []Input {
	r := rand.New(rand.NewPCG(seed, 1))
	var all []Input
	add := func(name string, fails bool, data []byte) {
		all = append(all, Input{"safetensors: " + name, "model.safetensors", data, fails})
	}
	for name, length := range map[string]uint64{"0": 0, "1": 1, "larger than the file": 1000, "100 MB": 100_000_001, "sign bit": 1 << 63, "all bits": math.MaxUint64, "overflow": math.MaxUint64 - 7, "text": 0x22_3a_7b_22_3a_7b_22_7b} {
		add("header length "+name, true, append(binary.LittleEndian.AppendUint64(nil, length), "{}      "...))
	}
	const good = `{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`
	for name, header := range map[string]string{
		"an array":               `[]`,
		"a number":               `7`,
		"null":                   `null`,
		"no JSON":                `model`,
		"half":                   `{"a":{"dtype":"F32"`,
		"two":                    `{}{}`,
		"UTF-16":                 "{\x00}\x00",
		"brackets":               nested("[", 100_000),
		"objects":                nested(`{"a":`, 100_000),
		"nested tensor":          `{"a":` + nested("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		"nested metadata":        `{"__metadata__":` + nested(`{"a":`, 100_000) + `1` + strings.Repeat("}", 100_000) + `}`,
		"metadata is an array":   `{"__metadata__":[1,2],"a":` + good + `}`,
		"metadata is an object":  `{"__metadata__":{"a":{"b":1}},"a":` + good + `}`,
		"tensor is a number":     `{"a":5}`,
		"tensor is null":         `{"a":null}`,
		"no dtype":               `{"a":{"shape":[2,2],"data_offsets":[0,16]}}`,
		"dtype is a number":      `{"a":{"dtype":3,"shape":[2,2],"data_offsets":[0,16]}}`,
		"dtype unknown":          `{"a":{"dtype":"F31","shape":[2,2],"data_offsets":[0,16]}}`,
		"dtype of 5 MB":          `{"a":{"dtype":"` + Long() + `","shape":[2,2],"data_offsets":[0,16]}}`,
		"dtype with escapes":     `{"a":{"dtype":` + quote(Escapes) + `,"shape":[2,2],"data_offsets":[0,16]}}`,
		"no shape":               `{"a":{"dtype":"F32","data_offsets":[0,16]}}`,
		"shape is a text":        `{"a":{"dtype":"F32","shape":"2x2","data_offsets":[0,16]}}`,
		"shape negative":         `{"a":{"dtype":"F32","shape":[-2,-2],"data_offsets":[0,16]}}`,
		"shape with a fraction":  `{"a":{"dtype":"F32","shape":[2.5,2],"data_offsets":[0,16]}}`,
		"shape 1e30":             `{"a":{"dtype":"F32","shape":[1e30],"data_offsets":[0,16]}}`,
		"shape overflows to 0":   `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}`,
		"shape overflows to 4":   `{"a":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}}`,
		"bytes overflow":         `{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,16]}}`,
		"shape of large numbers": `{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,16]}}`,
		"shape and length":       `{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}`,
		"no offsets":             `{"a":{"dtype":"F32","shape":[2,2]}}`,
		"one offset":             `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0]}}`,
		"three offsets":          `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16,32]}}`,
		"offsets reversed":       `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[16,0]}}`,
		"offsets negative":       `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[-16,0]}}`,
		"offsets beyond":         `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[64,80]}}`,
		"offsets huge":           `{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[9223372036854775792,9223372036854775808]}}`,
		"offsets overlap":        `{"a":` + good + `,"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`,
		"name of 5 MB, broken":   `{"` + Long() + `":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}`,
		"name with escapes":      `{` + quote(Escapes) + `:{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}`,
	} {
		add(name, true, safetensors(header, 16))
	}
	many := func(format string) string {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for name, header := range map[string]string{
		"nothing":               `{}`,
		"shape of 100,000 ones": `{"a":{"dtype":"F32","shape":[1` + strings.Repeat(",1", 99_999) + `],"data_offsets":[0,4]}}`,
		"a name twice":          `{"a":` + good + `,"a":` + good + `}`,
		"an empty name":         `{"":` + good + `}`,
		"metadata twice":        `{"__metadata__":{"a":"b"},"__metadata__":{"a":"c"},"a":` + good + `}`,
		"metadata of numbers":   `{"__metadata__":{"a":1},"a":` + good + `}`,
		"dimension 0":           `{"a":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},"b":` + good + `}`,
		"dimension 0, huge":     `{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]},"b":` + good + `}`,
		"name of 5 MB":          `{"` + Long() + `":` + good + `}`,
		"metadata of 5 MB":      `{"__metadata__":{` + quote(Escapes) + `:"` + Long() + `"},"a":` + good + `}`,
		"invalid UTF-8":         "{\"\xff\xfe\xc0\":" + good + "}",
		"spaces":                strings.Repeat(" ", 1<<20) + `{"a":` + good + `}`,
		"100,000 tensors":       "{" + many(`"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`) + "}",
		"100,000 unknown":       "{" + many(`"model.diffusion_model.x%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`) + "}",
	} {
		add(name, false, safetensors(header, 16))
	}
	for name, layers := range map[string]string{
		"no JSON":              `layers`,
		"brackets":             nested("[", 100_000),
		"nested layers":        `{"layers":{"a":` + nested(`{"params":`, 5_000) + `1` + strings.Repeat("}", 5_000) + `}}`,
		"layers of numbers":    `{"layers":{"a":5}}`,
		"100,000 layers":       `{"layers":{` + many(`"l%d":{"format":"nvfp4"},`) + `}}`,
		"20 MB":                `{"layers":{"a":{"format":"` + strings.Repeat(Long(), 4) + `"}}}`,
		"unknown":              `{"layers":{"a":{"format":` + quote(Escapes) + `}}}`,
		"no scale":             `{"layers":{"a":{"format":"int8_tensorwise"}}}`,
		"blocks":               `{"layers":{"a":{"format":"nvfp4"}}}`,
		"groups of 1e300":      `{"layers":{"a":{"format":"asym_w4a8_int8","group_size":1e300}}}`,
		"groups of 2147483647": `{"layers":{"a":{"format":"asym_w4a8_int8","group_size":2147483647,"convrot_groupsize":2147483647}}}`,
		"rotated by -4":        `{"layers":{"a":{"format":"convrot_w4a4","convrot_groupsize":-4}}}`,
	} {
		add("quantized: "+name, false, safetensors(`{"__metadata__":{"_quantization_metadata":`+quote(layers)+`},"a.weight":{"dtype":"I8","shape":[4,4],"data_offsets":[0,16]},"a.weight_s_rel":{"dtype":"F8_E4M3","shape":[4,1],"data_offsets":[16,20]}}`, 20))
	}
	whole := Input{"safetensors", "model.safetensors", safetensors(`{"__metadata__":{"format":"pt"},"a.weight":`+good+`,"a.bias":{"dtype":"F16","shape":[2],"data_offsets":[16,20]}}`, 20), false}
	all = append(all, truncated(whole, 40)...)
	all = append(all, flipped(r, whole, 40, len(whole.Data))...)
	for name, text := range map[string]string{
		"no JSON":            `weights`,
		"no map":             `{"metadata":{}}`,
		"a map of numbers":   `{"weight_map":{"a":1}}`,
		"map is an array":    `{"weight_map":["a"]}`,
		"missing part":       `{"weight_map":{"a":"none.safetensors"}}`,
		"itself":             `{"weight_map":{"a":"model.safetensors.index.json"}}`,
		"a folder":           `{"weight_map":{"a":"."}}`,
		"out of the folder":  `{"weight_map":{"a":"../../../../../../etc/passwd"}}`,
		"absolute":           `{"weight_map":{"a":"/etc/passwd"}}`,
		"a device":           `{"weight_map":{"a":"/dev/zero"}}`,
		"names with escapes": `{"weight_map":{` + quote(Escapes) + `:` + quote(Escapes) + `}}`,
		"names of 5 MB":      `{"weight_map":{"` + Long() + `":"` + Long() + `"}}`,
		"brackets":           `{"weight_map":` + nested("[", 100_000),
		"100,000 parts":      `{"weight_map":{` + many(`"t%d":"part%[1]d.safetensors",`) + `}}`,
	} {
		all = append(all, Input{"index: " + name, "model.safetensors.index.json", []byte(text), true})
	}
	return all
}

// A ggufFile is written field by field, so that each may lie.
type ggufFile struct{ b []byte }

func (g *ggufFile) u32(v uint32) *ggufFile {
	g.b = binary.LittleEndian.AppendUint32(g.b, v)
	return g
}

func (g *ggufFile) u64(v uint64) *ggufFile {
	g.b = binary.LittleEndian.AppendUint64(g.b, v)
	return g
}

func (g *ggufFile) text(s string) *ggufFile {
	g.u64(uint64(len(s)))
	g.b = append(g.b, s...)
	return g
}

// ggufHeader begins a file with counts of tensors and of metadata.
func ggufHeader(version uint32, tensors, metadata uint64) *ggufFile {
	g := &ggufFile{b: []byte("GGUF")}
	return g.u32(version).u64(tensors).u64(metadata)
}

// The types of values in metadata.
const (
	ggufU32    = 4
	ggufF32    = 6
	ggufString = 8
	ggufArray  = 9
	ggufU64    = 10
)

// tensor adds one of two dimensions.
func (g *ggufFile) tensor(name string, dims []uint64, kind uint32, offset uint64) *ggufFile {
	g.text(name).u32(uint32(len(dims)))
	for _, d := range dims {
		g.u64(d)
	}
	return g.u32(kind).u64(offset)
}

// data pads the header and adds n bytes.
func (g *ggufFile) data(n int) []byte {
	return append(g.b, make([]byte, (32-len(g.b)%32)%32+n)...)
}

// GGUF returns hostile GGUF files.
func GGUF(seed uint64) []Input {
	r := rand.New(rand.NewPCG(seed, 2))
	var all []Input
	add := func(name string, fails bool, data []byte) {
		all = append(all, Input{"GGUF: " + name, "model.gguf", data, fails})
	}
	for _, v := range []uint32{0, 1, 4, 1 << 31, 3 << 24} {
		add(fmt.Sprint("version ", v), true, ggufHeader(v, 0, 0).data(0))
	}
	add("magic of another byte order", true, []byte("FUGG\x00\x00\x00\x03"+strings.Repeat("\x00", 32)))
	for _, n := range []uint64{1, 1 << 20, 1 << 31, 1 << 62, math.MaxUint64} {
		add(fmt.Sprint(n, " tensors that are not there"), true, ggufHeader(3, n, 0).data(0))
		add(fmt.Sprint(n, " values that are not there"), true, ggufHeader(3, 0, n).data(0))
		add(fmt.Sprint("a key of length ", n), true, ggufHeader(3, 0, 1).u64(n).data(0))
		add(fmt.Sprint("a text of length ", n), true, ggufHeader(3, 0, 1).text("a").u32(ggufString).u64(n).b)
		add(fmt.Sprint("an array of length ", n), true, ggufHeader(3, 0, 1).text("a").u32(ggufArray).u32(ggufU64).u64(n).b)
		add(fmt.Sprint("an array of texts of length ", n), true, ggufHeader(3, 0, 1).text("a").u32(ggufArray).u32(ggufString).u64(n).b)
	}
	deep := ggufHeader(3, 0, 1).text("a").u32(ggufArray)
	for range 100_000 {
		deep.u32(ggufArray).u64(1)
	}
	add("arrays in arrays", true, deep.data(0))
	add("value of an unknown type", true, ggufHeader(3, 0, 1).text("a").u32(99).u64(1).data(64))
	alignment := func(write func(*ggufFile)) []byte {
		g := ggufHeader(3, 1, 1).text("general.alignment")
		write(g)
		return g.tensor("a", []uint64{4, 1}, 0, 0).data(64)
	}
	for _, v := range []uint32{0, 3, 1<<31 - 1, 1 << 31} {
		add(fmt.Sprint("alignment ", v), true, alignment(func(g *ggufFile) { g.u32(ggufU32).u32(v) }))
	}
	add("alignment is a float", true, alignment(func(g *ggufFile) { g.u32(ggufF32).u32(math.Float32bits(32)) }))
	add("alignment is a text", true, alignment(func(g *ggufFile) { g.u32(ggufString).text("32") }))
	add("alignment is an array", true, alignment(func(g *ggufFile) { g.u32(ggufArray).u32(ggufU32).u64(1).u32(32) }))
	for name, dims := range map[string][]uint64{
		"negative": {math.MaxUint64, 1}, "overflow": {1 << 32, 1 << 32}, "overflow to 4": {1<<62 + 1, 4}, "large": {1 << 40, 1}, "1,000": make([]uint64, 1000),
	} {
		add("dimensions: "+name, true, ggufHeader(3, 1, 0).tensor("a", dims, 0, 0).data(64))
	}
	add("2³² dimensions", true, ggufHeader(3, 1, 0).text("a").u32(math.MaxUint32).data(64))
	add("dimension 0", false, ggufHeader(3, 1, 0).tensor("a", []uint64{0, 4}, 0, 0).data(64))
	for _, kind := range []uint32{4, 5, 31, 99, math.MaxUint32} {
		add(fmt.Sprint("type ", kind), true, ggufHeader(3, 1, 0).tensor("a", []uint64{32, 1}, kind, 0).data(256))
	}
	add("half a block", true, ggufHeader(3, 1, 0).tensor("a", []uint64{7, 1}, 2, 0).data(256))
	for _, offset := range []uint64{1, 4096, 1 << 62, math.MaxUint64 - 31} {
		add(fmt.Sprint("offset ", offset), true, ggufHeader(3, 1, 0).tensor("a", []uint64{4, 1}, 0, offset).data(64))
	}
	add("a name twice", true, ggufHeader(3, 2, 0).tensor("a", []uint64{4, 1}, 0, 0).tensor("a", []uint64{4, 1}, 0, 32).data(64))
	add("a name of 5 MB", false, ggufHeader(3, 1, 0).tensor(Long(), []uint64{4, 1}, 0, 0).data(64))
	add("a name with escapes", true, ggufHeader(3, 1, 0).tensor(Escapes, []uint64{4, 1}, 99, 0).data(64))
	add("a key with escapes", true, ggufHeader(3, 0, 1).text(Escapes).u32(99).data(64))
	whole := Input{"GGUF", "model.gguf", ggufHeader(3, 2, 2).text("general.architecture").u32(ggufString).text("sd1").text("general.alignment").u32(ggufU32).u32(32).
		tensor("a.weight", []uint64{32, 2}, 2, 0).tensor("a.bias", []uint64{4, 1}, 0, 64).data(80), false}
	all = append(all, truncated(whole, 40)...)
	return append(all, flipped(r, whole, 40, len(whole.Data))...)
}

// Changed returns copies of a safetensors file in each of which one tensor is
// dropped, has another shape of the same size or another dtype.
func Changed(seed uint64, file string, data []byte, n int) ([]Input, error) {
	r := rand.New(rand.NewPCG(seed, 3))
	end := 8 + binary.LittleEndian.Uint64(data)
	header := map[string]json.RawMessage{}
	if err := json.Unmarshal(data[8:end], &header); err != nil {
		return nil, err
	}
	metadata := header["__metadata__"]
	delete(header, "__metadata__")
	names := slices.Sorted(maps.Keys(header))
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	var all []Input
	for i := range n {
		name := names[r.IntN(len(names))]
		var e entry
		if err := json.Unmarshal(header[name], &e); err != nil {
			return nil, err
		}
		as, what := name, ""
		switch i % 4 {
		case 0:
			as, what = name+".gone", "dropped"
		case 1:
			e.Shape, what = append(e.Shape, 1, 1), "has two dimensions more"
		case 2:
			e.Shape, what = []int{1, product(e.Shape)}, "is flat"
		case 3:
			e.DType, what = map[string]string{"F32": "I32", "F16": "I16", "BF16": "U16", "F8_E4M3": "U8"}[e.DType], "has integers"
		}
		rest := map[string]any{as: e}
		if metadata != nil {
			rest["__metadata__"] = metadata
		}
		for other, value := range header {
			if other != name {
				rest[other] = value
			}
		}
		text, err := json.Marshal(rest)
		if err != nil {
			return nil, err
		}
		changed := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
		all = append(all, Input{fmt.Sprintf("%s: %s %s", file, name, what), file, append(changed, data[end:]...), false})
	}
	return all, nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
