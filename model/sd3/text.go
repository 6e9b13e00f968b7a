package sd3

import (
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/model/t5"
)

// name is the family's, and that of its first version.
const name = "Stable Diffusion 3"

// Family is Stable Diffusion 3 and 3.5.
var Family = model.Family{
	Name: name,
	Names: model.Names{
		What: "denoiser", Marks: []string{"joint_blocks."}, Not: []string{"control_model."},
		Modules: []string{"joint_blocks", "pos_embed", "x_embedder", "t_embedder", "y_embedder", "context_embedder", "context_processor", "register", "final_layer"},
	},
	Match: model.Matches(Detect),
}

// Text is CLIP-L and CLIP-G side by side and the tokens of T5 behind them.
var Text = text()

func text() model.Text {
	l, g := sd.SlotsLater()
	return model.Text{Name: name, Types: []string{"sd3"}, Join: model.Sequence, Slots: []model.Slot{l, g, t5.Slot(77)}}
}

// Text returns the family's text encoders.
func (c *Config) Text() []*model.Text { return []*model.Text{&Text} }
