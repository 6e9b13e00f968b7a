package lora

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-run/weir/fault"
)

// A role is what a tensor is to its layer.
type role string

const (
	down       role = "lora_down (lora_A)"
	up         role = "lora_up (lora_B)"
	mid        role = "lora_mid"
	alpha      role = "alpha"
	reshape    role = "reshape_weight"
	scale      role = "dora_scale"
	magnitude  role = "lora_magnitude_vector"
	hada1A     role = "hada_w1_a"
	hada1B     role = "hada_w1_b"
	hada1Core  role = "hada_t1"
	hada2A     role = "hada_w2_a"
	hada2B     role = "hada_w2_b"
	hada2Core  role = "hada_t2"
	lokr1      role = "lokr_w1"
	lokr1A     role = "lokr_w1_a"
	lokr1B     role = "lokr_w1_b"
	lokr2      role = "lokr_w2"
	lokr2A     role = "lokr_w2_a"
	lokr2B     role = "lokr_w2_b"
	lokr2Core  role = "lokr_t2"
	gloraA1    role = "a1"
	gloraA2    role = "a2"
	gloraB1    role = "b1"
	gloraB2    role = "b2"
	blocks     role = "oft_blocks"
	rescale    role = "rescale"
	diff       role = "diff"
	biasDiff   role = "diff_b"
	normWeight role = "w_norm"
	normBias   role = "b_norm"
	setWeight  role = "set_weight"
)

// suffixes are the ends of tensors' names, which say what each is.
var suffixes = []struct {
	text string
	role role
}{
	{".lora_down.weight", down},
	{".lora_up.weight", up},
	{".lora_A.weight", down},
	{".lora_B.weight", up},
	{".lora_A", down},
	{".lora_B", up},
	{".lora_linear_layer.down.weight", down},
	{".lora_linear_layer.up.weight", up},
	{".lora.down.weight", down},
	{".lora.up.weight", up},
	{"_lora.down.weight", down},
	{"_lora.up.weight", up},
	{".lora_mid.weight", mid},
	{".alpha", alpha},
	{".reshape_weight", reshape},
	{".dora_scale", scale},
	{".lora_magnitude_vector", magnitude},
	{".lora_magnitude_vector.weight", magnitude},
	{".hada_w1_a", hada1A},
	{".hada_w1_b", hada1B},
	{".hada_t1", hada1Core},
	{".hada_w2_a", hada2A},
	{".hada_w2_b", hada2B},
	{".hada_t2", hada2Core},
	{".lokr_w1", lokr1},
	{".lokr_w1_a", lokr1A},
	{".lokr_w1_b", lokr1B},
	{".lokr_w2", lokr2},
	{".lokr_w2_a", lokr2A},
	{".lokr_w2_b", lokr2B},
	{".lokr_t2", lokr2Core},
	{".a1.weight", gloraA1},
	{".a2.weight", gloraA2},
	{".b1.weight", gloraB1},
	{".b2.weight", gloraB2},
	{".oft_blocks", blocks},
	{".rescale", rescale},
	{".diff", diff},
	{".diff_b", biasDiff},
	{".w_norm", normWeight},
	{".b_norm", normBias},
	{".set_weight", setWeight},
}

// peft are the roles whose tensors PEFT names with the adapter's name at the
// end, as in lora_A.default.weight and hada_w1_a.style.
var peft = []string{".lora_A", ".lora_B", ".lora_magnitude_vector",
	".hada_w1_a", ".hada_w1_b", ".hada_t1", ".hada_w2_a", ".hada_w2_b", ".hada_t2",
	".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2"}

// split returns the name of a tensor's layer, what the tensor is to it, and the
// name of PEFT's adapter. The role of others is "".
func split(tensor string) (name string, r role, adapter string) {
	for _, s := range suffixes {
		if name, ok := strings.CutSuffix(tensor, s.text); ok {
			return name, s.role, ""
		}
	}
	stem := strings.TrimSuffix(tensor, ".weight")
	i := strings.LastIndexByte(stem, '.')
	if i < 0 {
		return "", "", ""
	}
	for _, end := range peft {
		if strings.HasSuffix(stem[:i], end) {
			name, r, _ := split(stem[:i])
			return name, r, stem[i+1:]
		}
	}
	return "", "", ""
}

// A layer is the tensors of a LoRA on one layer of the base, by role.
type layer map[role]string

// tensors returns the names of the layer's tensors, sorted.
func (x layer) tensors() []string { return slices.Sorted(maps.Values(x)) }

// collect groups the tensors by layer. Those whose role is unknown are
// returned as unmatched. A tensor whose elements are no numbers with fractions
// is refused, since nothing says what they mean.
func collect(l Source) (layers map[string]layer, unmatched []string, err error) {
	layers = map[string]layer{}
	adapter := ""
	for _, tensor := range l.Names() {
		name, role, of := split(tensor)
		if role == "" {
			unmatched = append(unmatched, tensor)
			continue
		}
		if of != "" && adapter != "" && of != adapter {
			return nil, nil, fault.New(fault.Model, "the file has two adapters of PEFT, %s and %s: save each to a file of its own", show(adapter), show(of))
		}
		adapter = max(adapter, of)
		if dt, _, _ := l.Lookup(tensor); role != alpha && role != reshape && (!dt.IsFloat() || dt.IsQuantized()) {
			return nil, nil, fault.New(fault.Model, "tensor %s of the LoRA has dtype %v, expected a floating-point type", show(tensor), dt)
		}
		if layers[name] == nil {
			layers[name] = layer{}
		}
		if there, ok := layers[name][role]; ok {
			return nil, nil, fault.New(fault.Model, "the LoRA has two tensors of the same kind for one layer: %s and %s", show(there), show(tensor))
		}
		layers[name][role] = tensor
	}
	return layers, unmatched, nil
}

// Names returns the first few of the names, for a message.
func Names(all []string) string {
	if len(all) == 0 {
		return "no tensors"
	}
	var shown []string
	for _, name := range all[:min(len(all), 4)] {
		shown = append(shown, show(name))
	}
	text := strings.Join(shown, ", ")
	if n := len(all) - 4; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// maxShown is how many bytes of a name are shown, of which a file may choose
// any number.
const maxShown = 200

// show returns a name for an error, without its control characters.
func show(name string) string {
	if len(name) > maxShown {
		name = name[:maxShown] + "…"
	}
	if quoted := strconv.Quote(name); quoted[1:len(quoted)-1] != name {
		return quoted
	}
	return name
}
