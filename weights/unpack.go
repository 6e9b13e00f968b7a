package weights

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/hadamard"
)

// ComfyUI says of each quantized layer how its weight is stored, in one of three
// ways: by a JSON object in a tensor LAYER.comfy_quant, by such objects for all
// layers in the metadata, or, of FP8 alone, by a tensor LAYER.scale_weight.
const (
	quantMetadata = "_quantization_metadata"
	quantMark     = ".comfy_quant"
	oldScale      = ".scale_weight"
	oldInput      = ".scale_input"
	oldMark       = ".scaled_fp8"
)

const (
	maxQuantMark     = 64 << 10 // bytes of one layer's JSON
	maxQuantMetadata = 16 << 20 // bytes of that of all layers
)

// Unpacked returns a view in which each quantized weight is one tensor, with a
// [Quant]: what belongs to it has no name of its own any more. It reads the
// marks of the layers and their scales. A layer that is incomplete, or that is
// stored in a way that is not known, is an error that names a tensor.
func (s *Set) Unpacked(ctx context.Context) (*Set, error) {
	u := &unpacking{set: s, ctx: ctx, view: &Set{refs: maps.Clone(s.refs), metadata: s.metadata, files: s.files}}
	if err := u.configure(); err != nil {
		return nil, err
	}
	if len(u.layers) == 0 && len(u.view.refs) == s.Len() {
		return s, nil
	}
	for _, name := range slices.Sorted(maps.Keys(u.layers)) {
		if err := u.unpack(layer{u, name, u.layers[name]}); err != nil {
			return nil, err
		}
	}
	u.view.metadata = maps.Clone(s.metadata)
	delete(u.view.metadata, quantMetadata)
	u.view.sort()
	return u.view, nil
}

// An unpacking is a set whose layers are being unpacked.
type unpacking struct {
	set, view *Set
	ctx       context.Context
	layers    map[string]config // by the name before ".weight"
}

// configure finds the layers that are quantized.
func (u *unpacking) configure() error {
	u.layers = map[string]config{}
	for _, name := range u.set.names {
		if layer, ok := cutLayer(name, oldScale); ok {
			u.layers[layer] = config{"format": scaledFP8}
		}
		if _, ok := cutLayer(name, oldMark); ok {
			delete(u.view.refs, name)
		}
	}
	for _, name := range u.set.names {
		layer, ok := cutLayer(name, quantMark)
		if !ok {
			continue
		}
		c, err := u.mark(u.set.refs[name])
		if err != nil {
			return fmt.Errorf("tensor %s: %w", quote(name), err)
		}
		u.layers[layer] = c
		delete(u.view.refs, name)
	}
	// The metadata go before marks, as in ComfyUI.
	return u.described()
}

// cutLayer returns the name of the layer that a tensor belongs to, if the
// tensor's name ends so.
func cutLayer(name, suffix string) (string, bool) {
	if name == suffix[1:] {
		return "", true
	}
	return strings.CutSuffix(name, suffix)
}

// mark reads the mark of a layer.
func (u *unpacking) mark(r Ref) (config, error) {
	if r.DType.Size() != 1 || r.Length > maxQuantMark {
		return nil, fmt.Errorf("it should be the JSON of a layer's format as at most %d bytes, found %v %v", maxQuantMark, r.DType, r.Shape)
	}
	text := make([]byte, r.Length)
	if err := r.ReadAt(u.ctx, text, 0); err != nil {
		return nil, err
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("it should be the JSON of a layer's format: %w", jsonError(err))
	}
	return c, nil
}

// described reads the metadata's description of all layers.
func (u *unpacking) described() error {
	text, ok := u.set.metadata[quantMetadata]
	if !ok {
		return nil
	}
	if len(text) > maxQuantMetadata {
		return fmt.Errorf("%s in the metadata has %d bytes, at most %d are expected", quantMetadata, len(text), maxQuantMetadata)
	}
	var all struct {
		Layers map[string]config `json:"layers"`
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return fmt.Errorf("%s in the metadata should describe layers as JSON: %w", quantMetadata, jsonError(err))
	}
	for name, c := range all.Layers {
		u.layers[name] = c
	}
	return nil
}

// A config is how a layer is stored.
type config map[string]any

// get returns a value of the layer, or of its "params".
func (c config) get(key string) any {
	if v, ok := c[key]; ok {
		return v
	}
	params, _ := c["params"].(map[string]any)
	return params[key]
}

// is reports whether a value is there and neither false nor 0.
func (c config) is(key string) bool {
	switch v := c.get(key).(type) {
	case bool:
		return v
	case float64:
		return v != 0
	}
	return false
}

// number returns a whole number, or the usual one if the file has none.
func (c config) number(key string, usual int) (int, error) {
	switch v := c.get(key).(type) {
	case nil:
		return usual, nil
	case float64:
		if v == math.Trunc(v) && v >= 1 && v <= math.MaxInt32 {
			return int(v), nil
		}
	}
	return 0, fmt.Errorf("%s is %.40q, expected a whole number", key, fmt.Sprint(c.get(key)))
}

// A layer is one that is being unpacked.
type layer struct {
	*unpacking
	name string
	config
}

// unpack makes one tensor of those of a layer.
func (u *unpacking) unpack(l layer) error {
	weight, ok := l.tensor("weight")
	if !ok {
		return nil // the layer was left out of the file
	}
	text, _ := l.config["format"].(string)
	read, ok := formats[text]
	if !ok {
		return fmt.Errorf("tensor %s is quantized in a format that is not known: %s; known are %v", quote(weight.Name), quote(text), slices.Sorted(maps.Keys(formats)))
	}
	if n := l.config.get("num_experts"); n != nil {
		return fmt.Errorf("tensor %s has the weights of several experts (%.20v), which are not supported", quote(weight.Name), n)
	}
	weight.Quant = &Quant{Format: text}
	if err := read(l, &weight); err != nil {
		return err
	}
	l.drop("input_scale") // of activations, which stay as they are
	u.view.refs[l.of("weight")] = weight
	return nil
}

// of returns the name of a tensor of the layer.
func (l layer) of(what string) string {
	if l.name == "" {
		return what
	}
	return l.name + "." + what
}

// tensor returns a tensor of the layer.
func (l layer) tensor(what string) (Ref, bool) {
	r, ok := l.set.refs[l.of(what)]
	return r, ok
}

// drop takes a tensor out of the view's names.
func (l layer) drop(what string) { delete(l.view.refs, l.of(what)) }

// part takes a tensor out of the names that the weight needs.
func (l layer) part(weight Ref, what string) (*Ref, error) {
	r, ok := l.tensor(what)
	if !ok {
		return nil, fmt.Errorf("tensor %s is quantized (%s) and its %s is missing: there is no tensor %s", quote(weight.Name), weight.Quant.Format, what, quote(l.of(what)))
	}
	l.drop(what)
	return &r, nil
}

// factors takes out floating-point numbers, as many as one of the counts says,
// along the first dimension.
func (l layer) factors(weight Ref, what string, counts ...int) (*Ref, error) {
	r, err := l.part(weight, what)
	if err != nil {
		return nil, err
	}
	n := r.Elements()
	if !slices.Contains(counts, int(n)) || n > 1 && int64(r.Shape[0]) != n || r.DType.Size() < 2 || !r.DType.IsFloat() {
		return nil, fmt.Errorf("tensor %s of the weight %s is %v %v, expected %v floating-point numbers", quote(r.Name), quote(weight.Name), r.DType, r.Shape, counts)
	}
	return r, l.finite(*r)
}

// finite returns an error if one of the numbers is none.
func (l layer) finite(r Ref) error {
	values, err := r.ReadF32(l.ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }); i >= 0 {
		return fmt.Errorf("tensor %s: number %d is %v: the file is damaged", quote(r.Name), i, values[i])
	}
	return nil
}

// stored checks the type and the number of dimensions of a weight.
func (l layer) stored(weight Ref, dims int, types ...dtype.DType) error {
	if !slices.Contains(types, weight.DType) || len(weight.Shape) < 2 || dims > 0 && len(weight.Shape) != dims || slices.Contains(weight.Shape, 0) {
		return fmt.Errorf("tensor %s is %v %v, which is not what the format %s stores: expected a matrix of %v", quote(weight.Name), weight.DType, weight.Shape, weight.Quant.Format, types)
	}
	return nil
}

// rotation sets in what groups the columns of a weight were rotated.
func (l layer) rotation(weight *Ref) error {
	n, err := l.number("convrot_groupsize", 256)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", quote(weight.Name), err)
	}
	if columns := weight.Shape[1]; !hadamard.Fits(n) || columns%n != 0 {
		return fmt.Errorf("tensor %s: its %d columns cannot have been rotated in groups of %d", quote(weight.Name), columns, n)
	}
	weight.Quant.Rotation = n
	return nil
}
