package pipeline

import (
	"context"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/process"
)

// sampling is what nodes say of how a model is sampled.
type sampling struct {
	process *process.Process // in place of what the file says, or nil
	rules   diffusion.Rules
}

// Sampling returns the model as package diffusion samples it.
func (m *Model) Sampling() diffusion.Model {
	return diffusion.Model{Network: network{m}, Process: diffusion.NewProcess(m.Process()), Rules: m.sampling.rules}
}

// A network is a model whose payloads are conditions.
type network struct{ *Model }

func (n network) Predict(ctx context.Context, x latent.Tensor, t float32, payloads []any) ([][]float32, error) {
	conds := make([]*model.Cond, len(payloads))
	for i, p := range payloads {
		conds[i] = p.(*model.Cond)
	}
	return n.Model.Predict(ctx, x, t, conds)
}

// WithProcess returns the model as one that was trained with another process than
// its file says.
func (m *Model) WithProcess(p process.Process) *Model {
	with := *m
	with.sampling.process = &p
	return &with
}

// Process returns the noise that the model was trained with.
func (m *Model) Process() process.Process {
	if m.sampling.process != nil {
		return *m.sampling.process
	}
	return m.config.Process()
}

// Rules returns how the guidance of the model is changed.
func (m *Model) Rules() diffusion.Rules { return m.sampling.rules }

// WithRules returns the model with its guidance changed.
func (m *Model) WithRules(r diffusion.Rules) *Model {
	with := *m
	with.sampling.rules = r
	return &with
}
