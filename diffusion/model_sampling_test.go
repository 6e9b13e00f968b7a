package diffusion

import (
	"fmt"
	"math"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/process"
)

// TestModelSampling compares what networks of each prediction are sampled by
// with ComfyUI's node ModelSamplingDiscrete.
func TestModelSampling(t *testing.T) {
	f := golden.Open(t, "model_sampling")
	x, y := f.F32("x"), f.F32("y")
	near := func(what string, got, want float64, limit float64) {
		t.Helper()
		if math.Abs(got-want) > limit*math.Abs(want) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	for _, zeroSNR := range []bool{false, true} {
		for name, table := range map[string]*Process{
			"eps": discrete(process.Epsilon, zeroSNR), "v_prediction": discrete(process.Velocity, zeroSNR),
			"x0": discrete(process.Original, zeroSNR), "lcm": NewProcess(process.Process{Prediction: process.Consistency, Levels: process.Distilled, ZeroSNR: zeroSNR}),
		} {
			name += map[bool]string{false: ".plain.", true: ".zsnr."}[zeroSNR]
			want := f.F32(name + "sigmas")
			if len(want) != len(table.sigmas) {
				t.Fatalf("%s: %d levels, want %d", name, len(table.sigmas), len(want))
			}
			for i, v := range want {
				near(fmt.Sprint(name, "level ", i), table.sigmas[i], float64(v), 1e-4)
			}
			for i, level := range f.F32("levels") {
				near(fmt.Sprint(name, "timestep of ", level), table.Timestep(float64(level)), float64(f.F32(name + "timestep")[i]), 0)
			}
			for i, at := range f.F32("timesteps") {
				near(fmt.Sprint(name, "sigma at ", at), table.Sigma(float64(at)), float64(f.F32(name + "sigma")[i]), 1e-4)
			}
			for i, part := range f.F32("parts") {
				near(fmt.Sprint(name, "sigma after ", part), table.At(float64(part)), float64(f.F32(name + "part")[i]), 1e-4)
			}
			for _, level := range f.F32("levels")[2:5] {
				golden.Check(t, fmt.Sprint(name, "denoised at ", level), table.denoised(x, y, float64(level)), f.F32(fmt.Sprintf("%sdenoised.%.2f", name, level)), 1e-5)
			}
			for _, scheduler := range []string{"normal", "karras", "simple", "sgm_uniform", "ddim_uniform", "beta", "exponential"} {
				sigmas, err := table.Sigmas(scheduler, 6)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, len(sigmas))
				for i, v := range sigmas {
					got[i] = float32(v)
				}
				golden.Check(t, name+scheduler, got, f.F32(name+scheduler), 1e-4)
			}
		}
	}
}
