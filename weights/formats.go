package weights

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// scaledFP8 stands for the format that files of 2024 mark by scale_weight
// alone, which ComfyUI has no name for.
const scaledFP8 = "scaled_fp8"

// formats are those that ComfyUI stores layers in. Each sets what a weight's
// stored numbers mean, and takes the tensors that say so out of the names.
var formats = map[string]func(l layer, weight *Ref) error{
	scaledFP8:         readScaledFP8,
	"float8_e4m3fn":   readFP8,
	"float8_e5m2":     readFP8,
	"int8_tensorwise": readInt8,
	"nvfp4":           readNVFP4,
	"mxfp8":           readMXFP8,
	"asym_w4a8_int8":  readW4A8,
	"convrot_w4a4":    readW4A4,
}

// readScaledFP8 is W = q·s, with q of any floating-point type.
func readScaledFP8(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 0, dtype.F8E4M3, dtype.F8E5M2, dtype.F16, dtype.BF16, dtype.F32); err != nil {
		return err
	}
	l.drop(oldInput[1:])
	weight.Quant.Scale, err = l.factors(*weight, oldScale[1:], 1, weight.Shape[0])
	return err
}

// readFP8 is W = q·s.
func readFP8(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 0, dtype.F8E4M3, dtype.F8E5M2); err != nil {
		return err
	}
	weight.Quant.Scale, err = l.factors(*weight, "weight_scale", 1, weight.Shape[0])
	return err
}

// readInt8 is W = q·s, rotated if the layer is marked with convrot.
func readInt8(l layer, weight *Ref) (err error) {
	rotated := l.is("convrot")
	dims := 0
	if rotated {
		dims = 2
	}
	if err := l.stored(*weight, dims, dtype.I8); err != nil {
		return err
	}
	if weight.Quant.Scale, err = l.factors(*weight, "weight_scale", 1, weight.Shape[0]); err != nil || !rotated {
		return err
	}
	return l.rotation(weight)
}

// readW4A4 is W = q·s, rotated, with two integers a byte.
func readW4A4(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 2, dtype.I8, dtype.U8); err != nil {
		return err
	}
	weight.DType, weight.Shape = dtype.I4, []int{weight.Shape[0], 2 * weight.Shape[1]}
	if err := l.rotation(weight); err != nil {
		return err
	}
	if err := l.whole(*weight); err != nil {
		return err
	}
	weight.Quant.Scale, err = l.factors(*weight, "weight_scale", 1, weight.Shape[0])
	return err
}

// readNVFP4 is W = q·s·t, with a scale s for each 16 columns and one t of all,
// and two numbers a byte. A layer's input may be smoothed (AWQ, Lin et al. 2023).
func readNVFP4(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 2, dtype.U8, dtype.I8); err != nil {
		return err
	}
	weight.Shape = []int{weight.Shape[0], 2 * weight.Shape[1]}
	if weight.Quant.Scale, err = l.factors(*weight, "weight_scale_2", 1); err != nil {
		return err
	}
	if _, ok := l.tensor("pre_quant_scale"); ok {
		if weight.Quant.Smooth, err = l.factors(*weight, "pre_quant_scale", weight.Shape[1]); err != nil {
			return err
		}
	}
	return l.blocks(weight, dtype.NVFP4, "weight_scale", 16, true)
}

// readMXFP8 is W = q·2ˢ, with an exponent s for each 32 columns.
func readMXFP8(l layer, weight *Ref) error {
	if err := l.stored(*weight, 2, dtype.F8E4M3); err != nil {
		return err
	}
	return l.blocks(weight, dtype.MXFP8, "weight_scale", 32, true)
}

// blocks makes a weight of blocks from its values and a tensor of scales, each
// of which is that of so many columns.
func (l layer) blocks(weight *Ref, dt dtype.DType, what string, columns int, cublas bool) error {
	values := l.values(*weight)
	weight.DType = dt
	if err := l.whole(*weight); err != nil {
		return err
	}
	scale, err := l.part(*weight, what)
	if err != nil {
		return err
	}
	g := grid{*scale, weight.Shape[1] / columns, cublas}
	if scale.DType.Size() != 1 || scale.Length != g.bytes(weight.Shape[0]) {
		return fmt.Errorf("tensor %s of the weight %s is %v %v, expected %d bytes, for each row one of %d columns",
			quote(scale.Name), quote(weight.Name), scale.DType, scale.Shape, g.bytes(weight.Shape[0]), columns)
	}
	weight.Quant.Padded = cublas
	weight.made(dt, interleaved(values, int(values.Length)/weight.Shape[0], g, dt), values, *scale)
	return nil
}

// values returns the tensor of a layer's values as it lies in the file.
func (l layer) values(weight Ref) Ref {
	weight.Quant = nil
	return weight
}

// whole checks that rows are whole blocks.
func (l layer) whole(weight Ref) error {
	if elems, _ := weight.DType.Block(); weight.Shape[1]%elems != 0 {
		return fmt.Errorf("tensor %s: rows of %d numbers are no whole blocks of %d, as the format %s has", quote(weight.Name), weight.Shape[1], elems, weight.Quant.Format)
	}
	return nil
}

// readW4A8 is W = round(level·s)·t, rotated: a level of a table for each number,
// a scale s of a group of columns and one t of a row. Numbers of 4 bits are two a
// byte; a row of 6 bits has the upper two bits of all numbers behind the others.
// Without a table a number is its own level, less half of their count.
func readW4A8(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 2, dtype.I8, dtype.U8); err != nil {
		return err
	}
	group, err := l.number("group_size", 16)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", quote(weight.Name), err)
	}
	scale, err := l.part(*weight, "weight_s_rel")
	if err != nil {
		return err
	}
	values, rowBytes := l.values(*weight), weight.Shape[1]
	if len(scale.Shape) != 2 || scale.Shape[0] != weight.Shape[0] || scale.DType != dtype.F8E4M3 && scale.DType != dtype.U8 || scale.Shape[1] > 8*rowBytes/group {
		return fmt.Errorf("tensor %s of the weight %s is %v %v, expected one F8_E4M3 a row for each %d columns", quote(scale.Name), quote(weight.Name), scale.DType, scale.Shape, group)
	}
	columns := scale.Shape[1] * group
	weight.Shape = []int{weight.Shape[0], columns}
	bits := 0
	if columns > 0 {
		bits = 8 * rowBytes / columns
	}
	if bits != 4 && bits != 6 || bits*columns != 8*rowBytes || columns%16 != 0 || 16%group != 0 && group%16 != 0 {
		return fmt.Errorf("tensor %s: rows of %d bytes are not %d numbers of 4 or 6 bits in groups of %d", quote(weight.Name), rowBytes, columns, group)
	}
	if err := l.rotation(weight); err != nil {
		return err
	}
	if weight.Quant.Scale, err = l.factors(*weight, "weight_s_channel", weight.Shape[0]); err != nil {
		return err
	}
	if _, ok := l.tensor("weight_correction"); ok {
		return fmt.Errorf("tensor %s has a correction of its groups (%s), which is not supported", quote(weight.Name), quote(l.of("weight_correction")))
	}
	levels, err := l.levels(*weight, bits)
	if err != nil {
		return err
	}
	g := grid{*scale, scale.Shape[1], false}
	if bits == 4 && group%16 == 0 && slices.Equal(levels, dtype.W4A8Levels[:]) {
		weight.made(dtype.W4A8, interleaved(values, rowBytes, g, dtype.W4A8), values, *scale)
	} else {
		weight.made(dtype.I8, leveled(values, rowBytes, g, group, levels), values, *scale)
	}
	return nil
}

// levels returns the table of a layer's levels.
func (l layer) levels(weight Ref, bits int) ([]float32, error) {
	if _, ok := l.tensor("weight_codebook"); ok {
		table, err := l.factors(weight, "weight_codebook", 16)
		if err != nil {
			return nil, err
		}
		if bits != 4 {
			return nil, fmt.Errorf("tensor %s has numbers of %d bits and a table of 16 levels, %s", quote(weight.Name), bits, quote(table.Name))
		}
		return table.ReadF32(l.ctx)
	}
	levels := make([]float32, 1<<bits)
	for i := range levels {
		levels[i] = float32(i - len(levels)/2)
	}
	return levels, nil
}

// leveled returns the function that makes the integers of W4A8 with any table,
// group or number of bits.
func leveled(values Ref, rowBytes int, scales grid, group int, levels []float32) makeRows {
	return func(ctx context.Context, s *rowScratch, dst []byte, from, n int) error {
		raw := grown(&s.values, n*rowBytes)
		if err := values.ReadAt(ctx, raw, int64(from)*int64(rowBytes)); err != nil {
			return err
		}
		stored, err := scales.read(ctx, s, from, n)
		if err != nil {
			return err
		}
		by := grown(&s.numbers, len(stored))
		dtype.ToF32(by, stored, dtype.F8E4M3)
		columns := scales.columns * group
		for i := range n {
			row, out := raw[i*rowBytes:][:rowBytes], dst[i*columns:][:columns]
			for k := range out {
				code := row[k/2] >> (k % 2 * 4) & 15
				if len(levels) > 16 {
					code |= row[columns/2+k/4] >> (k % 4 * 2) & 3 << 4
				}
				out[k] = byte(int8(dtype.RoundW4A8(levels[code], by[i*scales.columns+k/group])))
			}
		}
		return nil
	}
}
