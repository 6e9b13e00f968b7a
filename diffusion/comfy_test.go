package diffusion

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/process"
)

// hyperbolic is the network of the golden, which needs no timestep. Payloads
// are added to its input.
type hyperbolic struct{ calls int }

func (h *hyperbolic) Predict(_ context.Context, x latent.Tensor, _ float32, payloads []any) ([][]float32, error) {
	h.calls++
	var all [][]float32
	for _, p := range payloads {
		out := make([]float32, len(x.Data))
		for i, v := range x.Data {
			out[i] = float32(math.Tanh(0.8*float64(v) + p.(float64)))
		}
		all = append(all, out)
	}
	return all, nil
}

// TestComfyUI compares latents of every sampler with those of ComfyUI's
// KSampler, and how often the network was called.
func TestComfyUI(t *testing.T) {
	f := golden.Open(t, "comfy_samplers")
	latents, mask := latent.Tensor{Shape: latent.Picture(2, 4, 3, 5), Data: f.F32("latents")}, f.F32("mask")
	empty := latent.New(latents.Shape)
	eps, v := discrete(process.Epsilon, false), discrete(process.Velocity, false)
	zero, flow := discrete(process.Velocity, true), NewProcess(process.Rectified(3, 1000))
	for name, j := range map[string]trial{
		"eps":       {Process: eps, Scheduler: "normal", Steps: 9, CFG: 3.5, Denoise: 1, Latents: empty},
		"v":         {Process: v, Scheduler: "karras", Steps: 7, CFG: 3.5, Denoise: 1, Latents: empty},
		"zsnr":      {Process: zero, Scheduler: "sgm_uniform", Steps: 6, CFG: 3.5, Denoise: 1, Latents: empty},
		"one":       {Process: eps, Scheduler: "karras", Steps: 1, CFG: 3.5, Denoise: 1, Latents: empty},
		"two":       {Process: eps, Scheduler: "exponential", Steps: 2, CFG: 3.5, Denoise: 1, Latents: empty},
		"denoise":   {Process: eps, Scheduler: "karras", Steps: 6, CFG: 3.5, Denoise: 0.4, Latents: latents},
		"cfg1":      {Process: eps, Scheduler: "simple", Steps: 5, CFG: 1, Denoise: 1, Latents: empty},
		"part":      {Process: eps, Scheduler: "karras", Steps: 10, CFG: 3.5, Denoise: 1, Start: 2, End: 8, Latents: latents},
		"end":       {Process: eps, Scheduler: "beta", Steps: 9, CFG: 3.5, Denoise: 1, Start: 1, End: 5, FullDenoise: true, Latents: latents},
		"mask":      {Process: eps, Scheduler: "normal", Steps: 6, CFG: 3.5, Denoise: 1, Latents: latents, Mask: mask},
		"flow":      {Process: flow, Scheduler: "simple", Steps: 8, CFG: 3.5, Denoise: 1, Latents: empty},
		"flow_part": {Process: flow, Scheduler: "sgm_uniform", Steps: 9, CFG: 3.5, Denoise: 1, Start: 3, End: 7, Latents: latents},
	} {
		t.Run(name, func(t *testing.T) {
			j.Noise = Noise{Seed: 77}
			j.Positive = []Cond{{Payload: 0.4, Strength: 1, End: 1}}
			j.Negative = []Cond{{Payload: -0.3, Strength: 1, End: 1}}
			for _, s := range samplers {
				want := "sigmas." + name
				if s.discard {
					want = "sigmas.discard." + name
				}
				sigmas := levels(t, &j, s, f.F32(want))
				n, done := &hyperbolic{}, 0
				j.Progress = func(step, steps int, _ []float32) {
					if step < done || steps != len(sigmas)-1 {
						t.Errorf("%s: step %d of %d is reported after %d of %d", s.Name, step, steps, done, len(sigmas)-1)
					}
					done = step
				}
				s.Options = defaults()
				got, err := Sample(t.Context(), j.job(n, s, sigmas))
				if err != nil {
					t.Errorf("%s: %v", s.Name, err)
					continue
				}
				limit := 1e-4
				if name == "zsnr" {
					limit = 5e-3 // single precision leaves that of a first level of 4518
				}
				golden.Check(t, s.Name, got, f.F32(name+"."+s.Name), limit)
				if want := f.I32("calls." + name + "." + s.Name)[0]; n.calls != int(want) {
					t.Errorf("%s called the network %d times, want %d", s.Name, n.calls, want)
				}
				if done != len(sigmas)-1 && n.calls > 0 {
					t.Errorf("%s: %d of %d steps were reported", s.Name, done, len(sigmas)-1)
				}
			}
		})
	}
}

// TestComfySchedules compares noise levels to the last digit but one unit.
func TestComfySchedules(t *testing.T) {
	f := golden.Open(t, "comfy_samplers")
	tables := map[string]*Process{"eps": discrete(process.Epsilon, false), "zsnr": discrete(process.Velocity, true), "flow": NewProcess(process.Rectified(3, 1000))}
	n := 0
	for _, ref := range f.Refs() {
		part := strings.Split(ref.Name, ".")
		if part[0] != "schedule" {
			continue
		}
		n++
		steps, err := strconv.Atoi(part[3])
		if err != nil {
			t.Fatal(err)
		}
		sigmas, err := tables[part[1]].Sigmas(part[2], steps)
		if err != nil {
			t.Error(err)
			continue
		}
		want, wrong, most := f.F32(ref.Name), 0, int32(0)
		if len(sigmas) != len(want) {
			t.Errorf("%s: %d levels, want %d", ref.Name, len(sigmas), len(want))
			continue
		}
		for i, v := range sigmas {
			if d := int32(math.Float32bits(float32(v)) - math.Float32bits(want[i])); d != 0 {
				wrong++
				most = max(most, d, -d)
			}
		}
		if most > 1 { // PyTorch's exponential and power are off by one at times
			t.Errorf("%s: %d of %d levels differ, by up to %d in the last place", ref.Name, wrong, len(want), most)
		}
	}
	if n != 97 {
		t.Errorf("%d schedules were compared", n)
	}
}
