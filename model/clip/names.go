package clip

import "fmt"

// names are the tensors of an encoder as its family calls them.
type names struct {
	tokens, positions     string // tables
	finalNorm, projection string
	// transposed says that the projection is stored as text×projected.
	transposed bool
	layers     string // before the numbers of the layers
	layer      func(i int) layerNames
}

// openCLIP reports whether the names are open_clip's, whose encoders all have a
// projection.
func (n names) openCLIP() bool { return n.layers == openCLIPNames.layers }

// projectedAxis is the dimension of the projection that it gives.
func (n names) projectedAxis() int {
	if n.transposed {
		return 1
	}
	return 0
}

// layerNames are the tensors of a layer. OpenCLIP has query, key and value in
// one matrix, inProj; the others have three.
type layerNames struct {
	norm1, q, k, v, inProj, out string
	norm2, up, down             string
}

// transformersNames are those of transformers' CLIPTextModel. Some early
// checkpoints leave out "text_model".
func transformersNames(model string) names {
	return names{
		tokens:     model + "embeddings.token_embedding.weight",
		positions:  model + "embeddings.position_embedding.weight",
		finalNorm:  model + "final_layer_norm",
		projection: "text_projection.weight",
		layers:     model + "encoder.layers.",
		layer:      func(i int) layerNames { return transformersLayer(fmt.Sprintf("%sencoder.layers.%d.", model, i)) },
	}
}

func transformersLayer(l string) layerNames {
	return layerNames{
		norm1: l + "layer_norm1", q: l + "self_attn.q_proj", k: l + "self_attn.k_proj", v: l + "self_attn.v_proj", out: l + "self_attn.out_proj",
		norm2: l + "layer_norm2", up: l + "mlp.fc1", down: l + "mlp.fc2",
	}
}

// openCLIPNames are those of open_clip's text transformer.
var openCLIPNames = names{
	tokens:     "token_embedding.weight",
	positions:  "positional_embedding",
	finalNorm:  "ln_final",
	projection: "text_projection",
	transposed: true,
	layers:     "transformer.resblocks.",
	layer:      func(i int) layerNames { return openCLIPLayer(fmt.Sprintf("transformer.resblocks.%d.", i)) },
}

func openCLIPLayer(l string) layerNames {
	return layerNames{
		norm1: l + "ln_1", inProj: l + "attn.in_proj", out: l + "attn.out_proj",
		norm2: l + "ln_2", up: l + "mlp.c_fc", down: l + "mlp.c_proj",
	}
}

// A Matrix is a weight of a layer, or some of its rows, with the name that
// transformers gives the layer it belongs to.
type Matrix struct {
	Name   string // such as "text_model.encoder.layers.0.self_attn.q_proj"
	Weight string // the tensor, after the encoder's prefix
	// From and Rows, when Rows > 0, are the rows that the layer is.
	From, Rows int
	// Transposed says that the tensor is stored with the layer's inputs as rows.
	Transposed bool
}

// Matrices returns the linear layers of the encoder, whatever names its own
// weights have.
func (c Config) Matrices() []Matrix {
	var out []Matrix
	for i := range c.Layers {
		n := c.names.layer(i)
		add := func(name, weight string, from, rows int) {
			out = append(out, Matrix{Name: fmt.Sprintf("text_model.encoder.layers.%d.%s", i, name), Weight: weight, From: from, Rows: rows})
		}
		for k, attention := range []struct{ name, own string }{{"q_proj", n.q}, {"k_proj", n.k}, {"v_proj", n.v}} {
			if n.inProj == "" {
				add("self_attn."+attention.name, attention.own+".weight", 0, 0)
			} else {
				add("self_attn."+attention.name, n.inProj+"_weight", k*c.Width, c.Width)
			}
		}
		add("self_attn.out_proj", n.out+".weight", 0, 0)
		add("mlp.fc1", n.up+".weight", 0, 0)
		add("mlp.fc2", n.down+".weight", 0, 0)
	}
	return out
}

// Others returns the weights of the encoder that no linear layer has: tables,
// norms and the projection, which is one but runs on the pooled output alone.
func (c Config) Others() []Matrix {
	out := []Matrix{
		{Name: "text_model.embeddings.token_embedding", Weight: c.names.tokens},
		{Name: "text_model.embeddings.position_embedding", Weight: c.names.positions},
		{Name: "text_model.final_layer_norm", Weight: c.names.finalNorm + ".weight"},
		{Name: "text_projection", Weight: c.names.projection, Transposed: c.names.transposed},
	}
	for i := range c.Layers {
		n := c.names.layer(i)
		for k, own := range []string{n.norm1, n.norm2} {
			out = append(out, Matrix{Name: fmt.Sprintf("text_model.encoder.layers.%d.layer_norm%d", i, k+1), Weight: own + ".weight"})
		}
	}
	return out
}
