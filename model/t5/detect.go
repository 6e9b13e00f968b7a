package t5

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// The names of tensors, as transformers and ComfyUI have them.
const (
	finalNorm      = "encoder.final_layer_norm"
	attentionTable = "layer.0.SelfAttention.relative_attention_bias"
)

// tables are the names of the table of tokens: that which the decoder shares,
// and the encoder's own.
var tables = []string{"shared", "encoder.embed_tokens"}

func blockName(i int) string { return fmt.Sprintf("encoder.block.%d.", i) }

// Detect reads the configuration of the encoder whose weights the source has
// under prefix, and checks every weight against it.
func Detect(src nn.Tensors, prefix string) (Config, error) {
	all := nn.Names(src.Names())
	var c Config
	if !all.Has(prefix + "encoder.block.") {
		return c, fmt.Errorf("not an encoder of T5: there are no tensors %sencoder.block.0...; its tensors begin with %s", prefix, all.Under(prefix).Beginnings(8))
	}
	var err error
	if c.Layers, err = all.Count(prefix + "encoder.block."); err != nil {
		return c, err
	}
	c.table = tables[0]
	if !all.Has(prefix+c.table+".") && all.Has(prefix+tables[1]+".") {
		c.table = tables[1]
	}
	withTable, gated := 0, 0
	for i := range c.Layers {
		if all.Has(prefix + blockName(i) + attentionTable + ".") {
			withTable++
		}
		if all.Has(prefix + blockName(i) + "layer.1.DenseReluDense.wi_0.") {
			gated++
		}
	}
	c.Each, c.Gated = withTable > 1, gated > 0
	c.measure(src, prefix)
	if c.Heads == 0 || c.Inner%c.Heads != 0 {
		return c, fmt.Errorf("%d features of queries (%sencoder.block.0.layer.0.SelfAttention.q.weight) are not %d heads (%s%s%s.weight)", c.Inner, prefix, c.Heads, prefix, blockName(0), attentionTable)
	}
	return c, c.Check(src, prefix).Err()
}

// measure reads each dimension from several tensors.
func (c *Config) measure(src nn.Source, prefix string) {
	axes := func(parts ...nn.Axis) (all []nn.Axis) {
		for i := range min(c.Layers, 3) {
			for _, p := range parts {
				all = append(all, nn.Axis{Name: blockName(i) + p.Name, I: p.I})
			}
		}
		return all
	}
	attention, ff := "layer.0.SelfAttention.", "layer.1.DenseReluDense."
	c.Width = nn.Agreed(src, prefix, append(axes(nn.Axis{Name: "layer.0.layer_norm.weight"}, nn.Axis{Name: "layer.1.layer_norm.weight"}), nn.Axis{Name: c.table + ".weight", I: 1})...)
	c.Inner = nn.Agreed(src, prefix, axes(nn.Axis{Name: attention + "q.weight"}, nn.Axis{Name: attention + "k.weight"}, nn.Axis{Name: attention + "v.weight"}, nn.Axis{Name: attention + "o.weight", I: 1})...)
	c.FF = nn.Agreed(src, prefix, axes(nn.Axis{Name: ff + "wi.weight"}, nn.Axis{Name: ff + "wi_0.weight"}, nn.Axis{Name: ff + "wi_1.weight"}, nn.Axis{Name: ff + "wo.weight", I: 1})...)
	c.Heads = nn.Agreed(src, prefix, axes(nn.Axis{Name: attentionTable + ".weight", I: 1})...)
	c.Vocab = nn.Agreed(src, prefix, nn.Axis{Name: c.table + ".weight"})
}

// Check compares the weights of the encoder with those of a source.
func (c Config) Check(src nn.Source, prefix string) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) {
		Text(s.Sub(prefix), c, model.TextShape{Batch: 1, Tokens: 1, States: model.States{Norm: true}})
	})
}
