package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/process"
)

func TestTable(t *testing.T) {
	f := golden.Open(t, "samplers")
	table := discrete(process.Epsilon, false)
	got := make([]float32, len(table.sigmas))
	for i, s := range table.sigmas {
		got[i] = float32(s)
	}
	golden.Check(t, "noise levels", got, f.F32("table"), 1e-7)
	for _, ts := range []float64{0, 1, 500, 999} {
		if got := table.Timestep(table.Sigma(ts)); got != ts {
			t.Errorf("timestep %v has the level %v, whose timestep is %v", ts, table.Sigma(ts), got)
		}
	}
	if z := discrete(process.Velocity, true); z.Max() < 4000 || z.Min() != table.Min() {
		t.Errorf("with zero signal at the end, levels go from %v to %v", z.Min(), z.Max())
	}
}

func TestSchedules(t *testing.T) {
	f := golden.Open(t, "samplers")
	table := discrete(process.Epsilon, false)
	n := 0
	for _, ref := range f.Refs() {
		part := strings.Split(ref.Name, ".")
		if part[0] != "schedule" {
			continue
		}
		n++
		var steps int
		fmt.Sscan(part[2], &steps)
		sigmas, err := table.Sigmas(part[1], steps)
		if err != nil {
			t.Error(err)
			continue
		}
		got := make([]float32, len(sigmas))
		for i, s := range sigmas {
			got[i] = float32(s)
		}
		golden.Check(t, ref.Name, got, f.F32(ref.Name), 1e-5)
		if !slices.IsSortedFunc(sigmas, func(a, b float64) int { return -int(math.Copysign(1, a-b)) }) || sigmas[len(sigmas)-1] != 0 {
			t.Errorf("%s is not descending to 0: %v", ref.Name, sigmas)
		}
	}
	if n != 6*len(schedulers) {
		t.Errorf("%d schedules were compared", n)
	}
	if _, err := table.Sigmas("karas", 5); err == nil || !strings.Contains(err.Error(), "karras") {
		t.Errorf("an unknown scheduler: %v", err)
	}
	if _, err := table.Sigmas("karras", 0); err == nil {
		t.Error("no steps must be refused")
	}
}

func TestBrownianIsTorchsdes(t *testing.T) {
	f := golden.Open(t, "samplers")
	b := newBrownian(t.Context(), CPU, 1<<40+5, float64(float32(0.03)), float64(float32(14.6)), 20)
	n := 0
	for _, ref := range f.Refs() {
		var from, to float64
		rest, ok := strings.CutPrefix(ref.Name, "brownian.")
		if !ok {
			continue
		}
		n++
		// The two numbers have a point each: "14.6.7.0".
		part := strings.Split(rest, ".")
		fmt.Sscan(part[0]+"."+part[1], &from)
		fmt.Sscan(part[2]+"."+part[3], &to)
		golden.Check(t, ref.Name, b.noise(float64(float32(from)), float64(float32(to))), f.F32(ref.Name), 1e-4)
	}
	if n != 6 {
		t.Errorf("%d differences were compared", n)
	}
}

// known is the network whose denoised states are those of the golden: the
// posterior mean of values that are +a or -a with a deviation of s.
type known struct {
	process *Process
	calls   int
	fail    error
	stop    func(call int)
}

func (k *known) Predict(_ context.Context, x latent.Tensor, ts float32, payloads []any) ([][]float32, error) {
	const a, s = 0.8, 0.3
	k.calls++
	if k.stop != nil {
		k.stop(k.calls)
	}
	if k.fail != nil {
		return nil, k.fail
	}
	sigma := k.process.Sigma(float64(ts))
	var all [][]float32
	for _, p := range payloads {
		shift, _ := p.(float64)
		out := make([]float32, len(x.Data))
		for i, v := range x.Data {
			full := float64(v) * math.Sqrt(sigma*sigma+1)
			d := s*s + sigma*sigma
			x0 := (s*s*full+sigma*sigma*a*math.Tanh(a*full/d))/d + shift
			if k.process.Prediction == process.Velocity {
				out[i] = float32((full/(sigma*sigma+1) - x0) * math.Sqrt(sigma*sigma+1) / sigma)
			} else {
				out[i] = float32((full - x0) / sigma)
			}
		}
		all = append(all, out)
	}
	return all, nil
}

// TestSamplers runs samplers with the exact denoiser, for which no level is
// rounded to a timestep, beside implementations that share nothing with
// ComfyUI's.
func TestSamplers(t *testing.T) {
	f := golden.Open(t, "samplers")
	table := discrete(process.Epsilon, false)
	n := 0
	for _, s := range samplers {
		for _, scheduler := range []string{"normal", "karras"} {
			if _, ok := f.Lookup("sampler." + s.Name + "." + scheduler); !ok {
				continue
			}
			job := trial{Process: table, Scheduler: scheduler, Steps: 9, Denoise: 1}
			sigmas := levels(t, &job, s, f.F32("sigmas."+s.Name+"."+scheduler))
			steps := 0
			noise, shape := Noise{Seed: 77}, latent.Picture(2, 4, 6, 5)
			st := &state{
				ctx: t.Context(), process: table, sigmas: sigmas, Options: defaults(),
				noise: noise.steps(t.Context(), shape), path: noise.path(t.Context(), sigmas, shape, false),
				x: sum(term{math.Sqrt(1 + sigmas[0]*sigmas[0]), noise.First(t.Context(), shape)}),
				denoise: func(_ context.Context, x []float32, sigma float64) (guided, uncond []float32, err error) {
					const a, s = 0.8, 0.3
					out := make([]float32, len(x))
					v := s*s + sigma*sigma
					for i, x := range x {
						out[i] = float32((s*s*float64(x) + sigma*sigma*a*math.Tanh(a*float64(x)/v)) / v)
					}
					return out, nil, nil
				},
				progress: func(step int, _ []float32) {
					if step != steps {
						t.Errorf("%s: step %d was reported as %d", s.Name, steps, step)
					}
					steps++
				},
			}
			got, err := s.run(st)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, s.Name+" "+scheduler, got, f.F32("sampler."+s.Name+"."+scheduler), 1e-4)
			if steps != len(sigmas)-1 {
				t.Errorf("%s: %d of %d steps were reported", s.Name, steps, len(sigmas)-1)
			}
			n++
		}
	}
	if n != 34 {
		t.Errorf("%d trajectories were compared", n)
	}
}

// levels returns the levels of a golden, after a look that the job has the same.
// They differ in the last bit, and paths of noise differ by the root of that.
func levels(t *testing.T, j *trial, s Sampler, want []float32) []float64 {
	t.Helper()
	own, err := j.schedule().Sigmas(j.Process, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(own) != len(want) {
		t.Fatalf("%s, %s: %d levels, want %d", s.Name, j.Scheduler, len(own), len(want))
	}
	var sigmas []float64
	for i, v := range want {
		sigmas = append(sigmas, float64(v))
		if math.Abs(own[i]-sigmas[i]) > 1e-5*sigmas[i] {
			t.Fatalf("%s, %s: the levels are %v, want %v", s.Name, j.Scheduler, own, want)
		}
	}
	return sigmas
}

func job(table *Process) trial {
	shape := latent.Picture(2, 4, 6, 5)
	return trial{
		Process: table, Sampler: "euler", Scheduler: "normal", Steps: 12, Denoise: 1, CFG: 1, Noise: Noise{Seed: 3},
		Latents: latent.New(shape), Positive: []Cond{{Payload: 0.0, Strength: 1, End: 1}},
	}
}

func mustSample(t *testing.T, n Network, j trial) []float32 {
	t.Helper()
	out, err := j.sample(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPredictions samples the same pictures with networks that predict noise
// and velocity. They differ where a level is not quite that of a timestep.
func TestPredictions(t *testing.T) {
	e, v := discrete(process.Epsilon, false), discrete(process.Velocity, false)
	for _, s := range Samplers() {
		a, b := job(e), job(v)
		a.Sampler, b.Sampler = s, s
		golden.Check(t, s, mustSample(t, &known{process: e}, a), mustSample(t, &known{process: v}, b), 2e-3)
	}
}

// TestSplit runs the first and the last steps apart: together they are the
// whole.
func TestSplit(t *testing.T) {
	table := discrete(process.Epsilon, false)
	for _, s := range []string{"euler", "heun", "dpm_2", "ddim"} {
		whole := job(table)
		whole.Sampler = s
		first, last := whole, whole
		first.End = 5
		last.Start, last.Noise.None = 5, true
		want := mustSample(t, &known{process: table}, whole)
		last.Latents.Data = mustSample(t, &known{process: table}, first)
		golden.Check(t, s, mustSample(t, &known{process: table}, last), want, 1e-6)
		first.FullDenoise = true
		if clean := mustSample(t, &known{process: table}, first); slices.Equal(clean, last.Latents.Data) {
			t.Errorf("%s: with full denoise the noise is left on", s)
		}
	}
}

// TestDenoise starts from a picture: with little noise it stays as it is.
func TestDenoise(t *testing.T) {
	table := discrete(process.Epsilon, false)
	j := job(table)
	for i := range j.Latents.Data {
		j.Latents.Data[i] = 0.8 - 1.6*float32(i%2)
	}
	j.Denoise = 0.05
	k := &known{process: table}
	out := mustSample(t, k, j)
	if k.calls != 12 {
		t.Errorf("12 steps at denoise 0.05 called the network %d times", k.calls)
	}
	for i := range out {
		if (out[i] > 0) != (j.Latents.Data[i] > 0) {
			t.Fatalf("value %d went from %v to %v", i, j.Latents.Data[i], out[i])
		}
	}
	j.Denoise = 0
	if got := mustSample(t, k, j); !slices.Equal(got, j.Latents.Data) {
		t.Error("denoise 0 must change nothing")
	}
}

func TestMask(t *testing.T) {
	table := discrete(process.Epsilon, false)
	for _, s := range Samplers() {
		j := job(table)
		j.Sampler = s
		for i := range j.Latents.Data {
			j.Latents.Data[i] = 5 // what the network would never leave
		}
		j.Mask = make([]float32, 2*30)
		for i := range j.Mask {
			j.Mask[i] = float32(i % 2)
		}
		out := mustSample(t, &known{process: table}, j)
		changed := 0
		for i, v := range out {
			off := math.Abs(float64(v) - 5)
			if j.Mask[i/(4*30)*30+i%30] == 1 && off > 1 {
				changed++
			}
			if j.Mask[i/(4*30)*30+i%30] == 0 && off > 0.15 { // some end at the last level above 0
				t.Errorf("%s: value %d should be kept and is %v", s, i, v)
				break
			}
		}
		if changed < 90 {
			t.Errorf("%s: only %d of 120 values under the mask were changed", s, changed)
		}
	}
}

func TestGuidance(t *testing.T) {
	table := discrete(process.Epsilon, false)
	k := &known{process: table}
	g := func(j trial) []float32 {
		guider := j.guider(k)
		e := &evaluation{Model: guider.model(), x: latent.New(j.Latents.Shape), shape: j.Latents.Shape, sigma: table.Sigma(500)}
		d, _, err := guider.denoise(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// Denoised, x = 0 is 0 plus the payload.
	cond := func(v float64) Cond { return Cond{Payload: v, Strength: 1, End: 1} }
	near := func(what string, got float32, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	j := job(table)
	j.CFG, j.Positive, j.Negative = 3, []Cond{cond(1)}, []Cond{cond(0.5)}
	near("guidance", g(j)[0], 0.5+3*(1-0.5))
	j.CFG = 1
	near("without guidance", g(j)[0], 1)
	a, b := cond(1), cond(4)
	b.Strength = 0.5
	j.Positive = []Cond{a, b}
	near("strengths", g(j)[0], (1+0.5*4)/1.5)
	b.Mask = make([]float32, 30)
	b.Mask[7] = 1
	j.Positive = []Cond{a, b}
	out := g(j)
	near("outside of the mask", out[0], 1)
	near("inside of the mask", out[7], (1+0.5*4)/1.5)
	near("inside, of the second latent", out[4*30+2*30+7], (1+0.5*4)/1.5)
	late := cond(9)
	late.Start = 0.9
	j.Positive = []Cond{a, late}
	near("out of its range", g(j)[0], 1)
	// A range includes both of its ends.
	part := 1 - 500./(timesteps-1)
	late.Start, late.End = part, part
	j.Positive = []Cond{a, late}
	near("at the ends of its range", g(j)[0], (1+9)/2.)
}

// TestManyLevels asks for as many levels as ComfyUI's widgets can.
func TestManyLevels(t *testing.T) {
	for _, scheduler := range Schedulers() {
		j := job(discrete(process.Epsilon, false))
		j.Scheduler, j.Steps, j.Denoise = scheduler, 10000, 0.01
		if sigmas, err := j.schedule().Sigmas(j.Process, Sampler{}); err != nil || len(sigmas) < 2 || len(sigmas) > 10001 {
			t.Errorf("%s: %d levels, %v", scheduler, len(sigmas), err)
		}
	}
}

func TestBatchIndex(t *testing.T) {
	shape := latent.Picture(3, 4, 4, 4)
	all := Noise{Seed: 9, BatchIndex: []int{0, 1, 2}}.First(t.Context(), shape)
	picked := Noise{Seed: 9, BatchIndex: []int{2, 0}}.First(t.Context(), latent.Picture(2, 4, 4, 4))
	if !slices.Equal(picked[:64], all[128:]) || !slices.Equal(picked[64:], all[:64]) {
		t.Error("latents do not get the noise of their places in the batch")
	}
	if !slices.Equal(Noise{Seed: 9}.First(t.Context(), shape), Randn(9, 3*64)) {
		t.Error("without indices the whole batch is one draw")
	}
}

func TestErrors(t *testing.T) {
	table := discrete(process.Epsilon, false)
	for want, change := range map[string]func(*trial){
		"there is no sampler \"eular\", only euler": func(j *trial) { j.Sampler = "eular" },
		"there is no scheduler \"x\"":               func(j *trial) { j.Scheduler = "x" },
		"0 steps":                                   func(j *trial) { j.Steps = 0 },
		"latents of the shape":                      func(j *trial) { j.Latents.Data = j.Latents.Data[1:] },
		"the noise mask has 1 values":               func(j *trial) { j.Mask = []float32{1} },
		"there is no positive condition":            func(j *trial) { j.Positive = nil },
		"the mask of a condition has 2 values":      func(j *trial) { j.Positive[0].Mask = make([]float32, 2) },
		"a guidance (cfg) of NaN":                   func(j *trial) { j.CFG = math.NaN() },
		"a guidance (cfg) of -Inf":                  func(j *trial) { j.CFG = math.Inf(-1) },
		"a guidance (cfg) of 1e+300":                func(j *trial) { j.CFG = 1e300 },
		"are the last of 1.2e+10":                   func(j *trial) { j.Denoise = 1e-9 },
		"a batch index of -1":                       func(j *trial) { j.Noise.BatchIndex = []int{0, -1} },
		"there are 1 batch indices for 2 latents":   func(j *trial) { j.Noise.BatchIndex = []int{0} },
	} {
		j := job(table)
		change(&j)
		if _, err := j.sample(t.Context(), &known{process: table}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// nan is a network that overflows.
type nan struct{}

func (nan) Predict(_ context.Context, x latent.Tensor, _ float32, payloads []any) ([][]float32, error) {
	all := make([][]float32, len(payloads))
	for i := range all {
		all[i] = slices.Repeat([]float32{float32(math.NaN())}, len(x.Data))
	}
	return all, nil
}

func TestCancelAndFailure(t *testing.T) {
	table := discrete(process.Epsilon, false)
	broken := errors.New("broken")
	for _, s := range Samplers() {
		j := job(table)
		j.Sampler = s
		ctx, cancel := context.WithCancel(t.Context())
		k := &known{process: table, stop: func(call int) {
			if call == 3 {
				cancel()
			}
		}}
		if _, err := j.sample(ctx, k); !errors.Is(err, context.Canceled) || k.calls != 3 {
			t.Errorf("%s: cancelled in call 3 of %d: %v", s, k.calls, err)
		}
		named := "sampler " + s + ": "
		if _, err := j.sample(t.Context(), &known{process: table, fail: broken}); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), named) {
			t.Errorf("%s: %v", s, err)
		}
		// A network that overflows ends in an error: of the sampler that would step
		// forever, and of all others at the end.
		if _, err := j.sample(t.Context(), nan{}); err == nil || !strings.HasPrefix(err.Error(), named) || !strings.Contains(err.Error(), "not finite") {
			t.Errorf("%s, results that are not finite: %v", s, err)
		}
	}
}

// TestFewSteps runs every sampler with every scheduler at 1 to 4 steps: the
// result is finite.
func TestFewSteps(t *testing.T) {
	table := discrete(process.Epsilon, false)
	for _, sampler := range Samplers() {
		for _, scheduler := range Schedulers() {
			for steps := 1; steps <= 4; steps++ {
				j := job(table)
				j.Sampler, j.Scheduler, j.Steps = sampler, scheduler, steps
				for i, v := range mustSample(t, &known{process: table}, j) {
					if !(math.Abs(float64(v)) < 50) {
						t.Errorf("%s, %s, %d steps: value %d is %v", sampler, scheduler, steps, i, v)
						break
					}
				}
			}
		}
	}
}
