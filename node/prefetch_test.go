package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// TestSamplersArePrepared has the denoiser's weights come in while the node
// before a sampler still runs, and the node after it prepared during the
// sampler's last step.
func TestSamplersArePrepared(t *testing.T) {
	const simple = `"seed": 42, "denoise": 1.0`
	const advanced = `"noise_seed": 42, "add_noise": "enable", "start_at_step": 0, "end_at_step": 100, "return_with_leftover_noise": "disable"`
	for class, inputs := range map[string]string{"KSampler": simple, "KSamplerAdvanced": advanced} {
		for _, steps := range []int{1, 2} {
			b := newBench(t, pipeline.Options{VRAM: 64 << 20})
			moved := func() int64 { return b.env.Engine.Stats().Top().Moved }
			b.reg.Register(workflow.Schema{Class: "Before", Outputs: workflow.Outputs(workflow.TypeConditioning),
				Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
					before := moved()
					c.Finishing()
					for deadline := time.Now().Add(20 * time.Second); moved() == before; time.Sleep(time.Millisecond) {
						if time.Now().After(deadline) {
							return nil, fmt.Errorf("no weight of the %s's model came in", class)
						}
					}
					return []any{Conditioning{NewCond(make([]float32, 77*96), 77, 96, nil)}}, nil
				}})
			var prepared atomic.Bool
			b.reg.Register(workflow.Schema{Class: "After", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true,
				Prepare: func(context.Context, *workflow.Call) { prepared.Store(true) },
				Run:     func(context.Context, *workflow.Call) ([]any, error) { return nil, nil }})
			graph := fmt.Sprintf(`{"m": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
				"c": {"class_type": "Before", "inputs": {}},
				"l": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 32, "batch_size": 1}},
				"k": {"class_type": %q, "inputs": {"model": ["m", 0], "positive": ["c", 0], "negative": ["c", 0], "latent_image": ["l", 0],
					"steps": %d, "cfg": 2.5, "sampler_name": "euler", "scheduler": "normal", %s}},
				"a": {"class_type": "After", "inputs": {"l": ["k", 0]}}}`, class, steps, inputs)
			if _, _, err := b.try(b.parse(graph)); err != nil {
				t.Fatal(err)
			}
			if !prepared.Load() {
				t.Errorf("the node after %s with %d steps was not prepared", class, steps)
			}
		}
	}
}

// TestPreparedDuringTheLastStep ends the run when the node after a sampler is
// prepared: it is the sampler that is stopped, for a step is left.
func TestPreparedDuringTheLastStep(t *testing.T) {
	b := newBench(t, pipeline.Options{Threads: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.reg.Register(workflow.Schema{Class: "After", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true,
		Prepare: func(context.Context, *workflow.Call) { cancel() },
		Run:     func(context.Context, *workflow.Call) ([]any, error) { return nil, nil }})
	job, err := workflow.Check(b.parse(`{"m": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
		"c": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["m", 1]}},
		"l": {"class_type": "EmptyLatentImage", "inputs": {"width": 256, "height": 256, "batch_size": 1}},
		"k": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["c", 0], "negative": ["c", 0], "latent_image": ["l", 0],
			"seed": 1, "steps": 3, "cfg": 2.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
		"a": {"class_type": "After", "inputs": {"l": ["k", 0]}}}`), b.reg)
	if err != nil {
		t.Fatal(err)
	}
	var stopped *workflow.NodeError
	if _, err := b.executor.Run(ctx, job, nil); !errors.As(err, &stopped) || stopped.Node != "k" {
		t.Errorf("got %v, want the sampler stopped in its last step", err)
	}
}
