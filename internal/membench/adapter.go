//go:build linux

package membench

import (
	"context"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/weights"
)

// writeLoRA writes a LoRA with random weights for every layer of attention of
// a denoiser, under the names of kohya's trainer, which count the blocks as
// the checkpoint does.
func writeLoRA(ctx context.Context, model, path string, rank int) error {
	m, err := weights.Open(ctx, model)
	if err != nil {
		return err
	}
	defer m.Close()
	var tensors []synth.Tensor
	for _, r := range m.Refs() {
		name, ok := strings.CutPrefix(r.Name, "model.diffusion_model.")
		name, weight := strings.CutSuffix(name, ".weight")
		if !ok || !weight || !strings.Contains(name, ".attn") || len(r.Shape) != 2 {
			continue
		}
		name = "lora_unet_" + strings.ReplaceAll(name, ".", "_")
		tensors = append(tensors,
			synth.Tensor{Name: name + ".lora_down.weight", Shape: []int{rank, r.Shape[1]}},
			synth.Tensor{Name: name + ".lora_up.weight", Shape: []int{r.Shape[0], rank}})
	}
	return synth.Write(ctx, path, tensors, dtype.F16, 3)
}
