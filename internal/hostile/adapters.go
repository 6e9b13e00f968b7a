package hostile

import (
	"fmt"
	"strings"
)

// A part is a tensor of a file that is described by its header.
type part struct {
	name, dtype string
	shape       []int
}

// parts returns a safetensors file of tensors of zeros.
func parts(all ...part) []byte {
	sizes := map[string]int{"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F64": 8}
	var header []string
	offset := 0
	for _, p := range all {
		size := sizes[p.dtype]
		var shape []string
		for _, n := range p.shape {
			size *= n
			shape = append(shape, fmt.Sprint(n))
		}
		header = append(header, fmt.Sprintf(`%s:{"dtype":%q,"shape":[%s],"data_offsets":[%d,%d]}`, quote(p.name), p.dtype, strings.Join(shape, ","), offset, offset+size))
		offset += size
	}
	return safetensors("{"+strings.Join(header, ",")+"}", offset)
}

// Adapters returns hostile LoRAs for a weight with so many rows and columns that
// has a name in kohya's spelling.
func Adapters(weight string, rows, columns int) []Input {
	var all []Input
	add := func(name string, fails bool, tensors ...part) {
		for i := range tensors {
			tensors[i].name = weight + tensors[i].name
		}
		all = append(all, Input{"LoRA: " + name, "adapter.safetensors", parts(tensors...), fails})
	}
	const down, up = ".lora_down.weight", ".lora_up.weight"
	pair := func(dtype string, a, b []int) []part { return []part{{down, dtype, a}, {up, dtype, b}} }
	add("nothing", true)
	add("half of a pair", false, part{down, "F16", []int{2, columns}})
	add("the other half", false, part{up, "F16", []int{rows, 2}})
	add("rank 0", false, pair("F16", []int{0, columns}, []int{rows, 0})...)
	add("ranks that differ", true, pair("F16", []int{2, columns}, []int{rows, 3})...)
	add("too few columns", true, pair("F16", []int{2, columns - 1}, []int{rows, 2})...)
	add("too many rows", true, pair("F16", []int{2, columns}, []int{rows + 1, 2})...)
	add("exchanged", true, pair("F16", []int{rows, 2}, []int{2, columns})...)
	add("no dimensions", true, pair("F16", nil, nil)...)
	add("one dimension", true, pair("F16", []int{columns}, []int{rows})...)
	add("five dimensions", false, pair("F16", []int{2, columns, 1, 1, 1}, []int{rows, 2, 1, 1, 1})...)
	add("a kernel on a matrix", true, pair("F16", []int{2, columns, 3, 3}, []int{rows, 2, 1, 1})...)
	add("a large rank", false, pair("F8_E4M3", []int{20_000, columns}, []int{rows, 20_000})...)
	add("integers", false, pair("I32", []int{2, columns}, []int{rows, 2})...)
	add("truth values", false, pair("BOOL", []int{2, columns}, []int{rows, 2})...)
	for name, alpha := range map[string]part{"a vector": {".alpha", "F32", []int{7}}, "empty": {".alpha", "F32", []int{0}}, "an integer": {".alpha", "I64", nil}, "a truth value": {".alpha", "BOOL", nil}} {
		add("alpha is "+name, false, append(pair("F16", []int{2, columns}, []int{rows, 2}), alpha)...)
	}
	add("a middle of another rank", true, append(pair("F16", []int{2, columns}, []int{rows, 2}), part{".lora_mid.weight", "F16", []int{3, 5, 3, 3}})...)
	add("DoRA of another size", true, append(pair("F16", []int{2, columns}, []int{rows, 2}), part{".dora_scale", "F16", []int{rows + columns, 1}})...)
	add("LoHa, a part missing", false, part{".hada_w1_a", "F16", []int{rows, 2}}, part{".hada_w1_b", "F16", []int{2, columns}}, part{".hada_w2_a", "F16", []int{rows, 2}})
	add("LoHa of other sizes", true, part{".hada_w1_a", "F16", []int{rows, 2}}, part{".hada_w1_b", "F16", []int{3, columns}}, part{".hada_w2_a", "F16", []int{rows, 2}}, part{".hada_w2_b", "F16", []int{2, columns}})
	add("LoKr that does not divide", true, part{".lokr_w1", "F16", []int{7, 7}}, part{".lokr_w2", "F16", []int{5, 5}})
	add("LoKr of dimension 0", true, part{".lokr_w1", "F16", []int{0, 4}}, part{".lokr_w2", "F16", []int{rows, columns}})
	add("a difference of another size", true, part{".diff", "F16", []int{rows, columns + 1}})
	add("a difference of a bias of another size", true, part{".diff_b", "F16", []int{rows + 1}})
	add("OFT of dimension 0", true, part{".oft_blocks", "F16", []int{0, 4, 4}})
	add("OFT that does not divide", true, part{".oft_blocks", "F16", []int{3, 7, 7}})
	add("GLoRA, a part missing", false, part{".a1.weight", "F16", []int{2, columns}}, part{".b1.weight", "F16", []int{2, columns}})
	var many []part
	for i := range 100_000 {
		many = append(many, part{fmt.Sprintf("%d%s", i, down), "F16", []int{0, columns}})
	}
	add("100,000 unknown", true, many...)
	add("names with escapes", true, part{Escapes + down, "F16", []int{2, columns}}, part{Escapes + up, "F16", []int{rows, 2}})
	add("names of 5 MB", true, part{Long() + down, "F16", []int{2, columns}}, part{Long() + up, "F16", []int{rows, 2}})
	return all
}

// Upscalers returns hostile models that enlarge pictures.
func Upscalers() []Input {
	var all []Input
	add := func(name string, tensors ...part) {
		all = append(all, Input{"upscaler: " + name, "upscaler.safetensors", parts(tensors...), !strings.HasPrefix(name, "beside")})
	}
	conv := func(name string, shape ...int) []part {
		return []part{{name + ".weight", "F16", shape}, {name + ".bias", "F16", shape[:1]}}
	}
	// The compact architecture: a convolution, pairs of an activation and a
	// convolution, and one to the pixels of the result.
	compact := func(first, last []int) []part {
		tensors := append(conv("body.0", first...), part{"body.1.weight", "F16", first[:1]})
		tensors = append(tensors, append(conv("body.2", first[0], first[0], 3, 3), part{"body.3.weight", "F16", first[:1]})...)
		return append(tensors, conv("body.4", last...)...)
	}
	add("compact, no outputs", compact([]int{8, 3, 3, 3}, []int{0, 8, 3, 3})...)
	add("compact, no features", compact([]int{0, 3, 3, 3}, []int{12, 0, 3, 3})...)
	add("compact, no inputs", compact([]int{8, 0, 3, 3}, []int{12, 8, 3, 3})...)
	add("compact, 13 outputs", compact([]int{8, 3, 3, 3}, []int{13, 8, 3, 3})...)
	add("compact, a kernel of 3×6", compact([]int{8, 3, 3, 6}, []int{12, 8, 3, 6})...)
	add("compact, a kernel of 0", compact([]int{8, 3, 0, 0}, []int{12, 8, 0, 0})...)
	add("compact, a kernel of 2", compact([]int{8, 3, 2, 2}, []int{12, 8, 2, 2})...)
	add("compact, four inputs", compact([]int{8, 4, 3, 3}, []int{12, 8, 3, 3})...)
	add("compact, other features", compact([]int{8, 3, 3, 3}, []int{12, 9, 3, 3})...)
	add("compact, ×1000", compact([]int{1, 3, 3, 3}, []int{3_000_000, 1, 3, 3})...)
	add("compact, the last layer alone", conv("body.4", 12, 8, 3, 3)...)
	add("compact, no convolution", part{"body.1.weight", "F16", []int{8}})
	add("beside the others, a layer far away", append(compact([]int{8, 3, 3, 3}, []int{12, 8, 3, 3}), conv("body.1000000000", 12, 8, 3, 3)...)...)
	add("beside the others, a layer of no number", append(compact([]int{8, 3, 3, 3}, []int{12, 8, 3, 3}), conv("body.99999999999999999999999", 12, 8, 3, 3)...)...)
	add("ESRGAN, the first layer alone", conv("model.0", 64, 3, 3, 3)...)
	add("ESRGAN, a block alone", conv("model.1.sub.0.RDB1.conv1.0", 32, 64, 3, 3)...)
	add("Real-ESRGAN, the first layer alone", conv("conv_first", 64, 3, 3, 3)...)
	add("Real-ESRGAN, a block far away", append(conv("conv_first", 64, 3, 3, 3), conv("body.999999999.rdb1.conv1", 32, 64, 3, 3)...)...)
	add("nothing")
	add("one vector", part{"x", "F32", []int{3}})
	return all
}
