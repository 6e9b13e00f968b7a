package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/process"
)

// TestPhilox compares with the known answers of Random123.
func TestPhilox(t *testing.T) {
	const ones = math.MaxUint32
	for _, v := range []struct {
		counter [4]uint32
		key     uint64
		want    [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, math.MaxUint64, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox4x32(v.counter, v.key); got != v.want {
			t.Errorf("counter %x, key %x: %x, want %x", v.counter, v.key, got, v.want)
		}
	}
}

// TestCUDANoise compares with the numbers that stable-diffusion-webui publishes
// as those of torch.randn on a CUDA device, and with a model of the kernel.
func TestCUDANoise(t *testing.T) {
	out := make([]float32, 12)
	CUDA.generator(0).Normal(t.Context(), out)
	for i, want := range []float64{-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
		-0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497} {
		if math.Abs(float64(out[i])-want) > 2e-6 {
			t.Errorf("number %d is %v, want %v", i, out[i], want)
		}
	}
	f := golden.Open(t, "cuda_noise")
	n := 0
	for _, first := range f.Refs() {
		name, ok := strings.CutSuffix(first.Name, ".0")
		if !ok {
			continue
		}
		var seed uint64
		var threads int
		if _, err := fmt.Sscanf(name, "%d.%d", &seed, &threads); err != nil {
			t.Fatal(err)
		}
		g := Source(threads).generator(seed)
		for i := 0; ; i++ {
			name := fmt.Sprintf("%s.%d", name, i)
			if _, ok := f.Lookup(name); !ok {
				break
			}
			n++
			want := f.F32(name)
			got := make([]float32, len(want))
			g.Normal(t.Context(), got)
			for k := range want {
				if math.Abs(float64(got[k]-want[k])) > 3e-6 {
					t.Errorf("%s: number %d is %v, want %v", name, k, got[k], want[k])
					break
				}
			}
		}
	}
	if n != 14 {
		t.Errorf("%d draws were compared", n)
	}
}

func TestParseSource(t *testing.T) {
	for text, want := range map[string]Source{"cpu": CPU, "cuda": CUDA, "cuda:43008": 43008, "cuda:256": 256} {
		got, err := ParseSource(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "gpu", "CUDA", "cpu:256", "cuda:", "cuda:0", "cuda:-256", "cuda:100", "cuda:1e6", "cuda:99999999999999999999"} {
		if _, err := ParseSource(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestStepNoise looks where each sampler's noise comes from.
func TestStepNoise(t *testing.T) {
	fromSource := map[string]bool{
		"euler_ancestral": true, "euler_ancestral_cfg_pp": true, "exp_heun_2_x0_sde": true, "dpm_2_ancestral": true,
		"dpmpp_2s_ancestral": true, "dpmpp_2s_ancestral_cfg_pp": true, "dpmpp_sde_gpu": true, "dpmpp_2m_sde_gpu": true,
		"dpmpp_2m_sde_heun_gpu": true, "dpmpp_3m_sde_gpu": true, "ddpm": true, "lcm": true, "res_multistep_ancestral": true,
		"res_multistep_ancestral_cfg_pp": true, "er_sde": true, "seeds_2": true, "seeds_3": true, "sa_solver": true, "sa_solver_pece": true,
	}
	table := discrete(process.Epsilon, false)
	for _, s := range Samplers() {
		j := job(table)
		j.Sampler, j.CFG = s, 2
		j.Negative = j.Positive
		cpu := mustSample(t, &known{process: table}, j)
		j.Noise.Source = CUDA
		e, _ := golden.RelativeError(mustSample(t, &known{process: table}, j), cpu)
		if differs := e != 0; differs != fromSource[s] {
			t.Errorf("%s: the source of the noise changes the latents: %v", s, differs)
		}
	}
	for _, s := range samplers {
		if paths := strings.HasPrefix(s.Name, "dpmpp_") && strings.Contains(s.Name, "sde"); paths != (s.states() > samplers[0].states()) {
			t.Errorf("%s holds %d states", s.Name, s.states())
		}
	}
	// On a CUDA device the generator has the seed itself, and each call follows
	// the one before.
	shape := latent.Picture(1, 4, 8, 8)
	draw := Noise{Seed: 5, Source: CUDA}.steps(t.Context(), shape)
	g := CUDA.generator(5)
	for range 3 {
		want := make([]float32, shape.Elems())
		g.Normal(t.Context(), want)
		same(t, "a step", draw(), want)
	}
	same(t, "the first noise", Noise{Seed: 5, Source: CUDA}.First(t.Context(), shape), Randn(5, shape.Elems()))
	// A path is drawn by the processor, unless the sampler asks for the source. As
	// a whole it is one draw.
	for _, bySource := range []bool{false, true} {
		source := CPU
		if bySource {
			source = CUDA
		}
		want := make([]float32, shape.Elems())
		source.generator(uint64(seedSequence(5, nil, brownianPool))).Normal(t.Context(), want)
		got := Noise{Seed: 5, Source: CUDA}.path(t.Context(), []float64{9, 3, 1, 0}, shape, bySource)(1, 9)
		golden.Check(t, fmt.Sprint("a path by the source: ", bySource), got, want, 1e-6)
	}
	same(t, "a step on the processor", Noise{Seed: 5}.steps(t.Context(), shape)(), Randn(6, shape.Elems()))
}
