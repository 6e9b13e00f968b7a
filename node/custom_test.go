package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/workflow"
)

// A classed is a node of a golden: its class and the values of its inputs.
type classed struct {
	class  string
	inputs map[string]any
}

func (n *classed) UnmarshalJSON(data []byte) error {
	var parts [2]json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[0], &n.class); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &n.inputs)
}

// customCases are the cases of the golden custom_sampling.
type customCases struct {
	Parts     []float64
	At        map[string][]float64
	Processes map[string]*classed
	Sigmas    map[string]struct {
		Node    *classed
		Process string
		Before  *classed
		Number  float64
	}
	Sampling map[string]struct {
		Sampler, Rule, Guider, Noise *classed
		Process                      string
		Given, Masked                bool
		Shape                        []int
		Calls                        int
	}
	Noise map[string]string
}

func openCustom(t *testing.T) (golden.File, customCases) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "custom_sampling.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases customCases
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	cases.Processes["eps"] = &classed{"ModelSamplingDiscrete", map[string]any{"sampling": "eps", "zsnr": false}}
	return golden.Open(t, "custom_sampling"), cases
}

// A wiring is a workflow that is put together node by node, around the demo's
// model.
type wiring struct {
	*bench
	nodes map[string]any
	taken map[string]any
}

func (b *bench) wiring() *wiring {
	w := &wiring{bench: b, nodes: map[string]any{}, taken: map[string]any{}}
	b.reg, b.executor = Registry(b.env), workflow.NewExecutor(b.env.Engine)
	b.reg.Register(workflow.Schema{
		Class: "Number", Inputs: []workflow.Input{workflow.Float("v", 0, -9, 9, 0.1)}, Outputs: workflow.Outputs(workflow.TypeConditioning),
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			return []any{Conditioning{NewCond([]float32{float32(c.Float("v"))}, 1, 1, nil)}}, nil
		},
	})
	b.reg.Register(workflow.Schema{
		Class: "Take", Inputs: []workflow.Input{workflow.String("name", ""), workflow.Link("v", workflow.TypeAny)}, Output: true,
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			w.taken[c.String("name")] = c.Value("v")
			return nil, nil
		},
	})
	w.node("m", &classed{"CheckpointLoaderSimple", map[string]any{"ckpt_name": "emoji.safetensors"}})
	return w
}

// node adds a node with links to others.
func (w *wiring) node(id string, n *classed, links ...string) {
	inputs := map[string]any{}
	for k, v := range n.inputs {
		inputs[k] = v
	}
	for _, l := range links {
		input, from, _ := strings.Cut(l, "=")
		from, output, _ := strings.Cut(from, ".")
		inputs[input] = []any{from, map[string]int{"": 0, "1": 1, "2": 2}[output]}
	}
	w.nodes[id] = map[string]any{"class_type": n.class, "inputs": inputs}
}

// takenOf runs what an output needs and returns it.
func takenOf[T any](w *wiring, from string) T {
	w.t.Helper()
	w.node("take "+from, &classed{"Take", map[string]any{"name": from}}, "v="+from)
	if err := w.execute(); err != nil {
		w.t.Fatal(err)
	}
	v, ok := w.taken[from].(T)
	if !ok {
		w.t.Fatalf("%s is %T", from, w.taken[from])
	}
	return v
}

// execute runs all that is taken.
func (w *wiring) execute() error {
	w.t.Helper()
	text, err := json.Marshal(w.nodes)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _, err = w.try(w.parse(string(text)))
	return err
}

// model adds the model with a process and a rule, and returns its node.
func (w *wiring) model(process, rule *classed) string {
	last := "m"
	if process != nil {
		w.node("process", process, "model="+last)
		last = "process"
	}
	if rule != nil {
		w.node("rule", rule, "model="+last)
		last = "rule"
	}
	return last
}

// linked returns the links that a class needs among those given.
func (w *wiring) linked(n *classed, links map[string]string) (out []string) {
	schema := w.reg.Lookup(n.class)
	if schema == nil {
		w.t.Fatalf("there is no class %s", n.class)
	}
	for input, from := range links {
		if schema.Input(input) != nil {
			out = append(out, input+"="+from)
		}
	}
	return out
}

// TestProcesses compares the processes that nodes give a model with ComfyUI's.
func TestProcesses(t *testing.T) {
	f, cases := openCustom(t)
	b := newBench(t, pipeline.Options{})
	for name, node := range cases.Processes {
		if name == "eps" { // which has a golden of its own
			continue
		}
		w := b.wiring()
		p := diffusion.NewProcess(takenOf[*pipeline.Model](w, w.model(node, nil)).Process())
		near := func(what string, got, want, limit float64) {
			t.Helper()
			if !(math.Abs(got-want) <= limit*max(math.Abs(want), 1e-6)) {
				t.Errorf("%s: %s is %v, want %v", name, what, got, want)
			}
		}
		sigmas := f.F32(name + ".sigmas")
		near("the lowest level", p.Min(), float64(sigmas[0]), 1e-6)
		near("the highest level", p.Max(), float64(sigmas[len(sigmas)-1]), 1e-6)
		simple, err := p.Sigmas("simple", len(sigmas))
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range sigmas {
			near(fmt.Sprint("level ", i), simple[len(sigmas)-1-i], float64(v), 3e-7)
		}
		for i, level := range f.F32(name + ".levels") {
			timestep := f.F32(name + ".timestep")[i]
			near(fmt.Sprint("what is told of ", level), p.Timestep(float64(level)), float64(timestep), 3e-7)
			near(fmt.Sprint("the level of ", timestep), p.Sigma(float64(timestep)), float64(f.F32(name + ".sigma")[i]), 1e-6)
		}
		for i, part := range cases.Parts {
			near(fmt.Sprint("the level after ", part), p.At(part), cases.At[name][i], 1e-6)
		}
		for _, scheduler := range diffusion.Schedulers() {
			for _, steps := range []int{1, 4, 20} {
				if scheduler == "kl_optimal" && steps == 1 {
					continue
				}
				got, err := p.Sigmas(scheduler, steps)
				if err != nil {
					t.Fatal(err)
				}
				sameLevels(t, fmt.Sprint(name, ", ", scheduler, ", ", steps, " steps"), got, f.F32(fmt.Sprintf("%s.%s.%d", name, scheduler, steps)))
			}
		}
	}
}

// sameLevels compares noise levels to a few units in the last place.
func sameLevels(t *testing.T, what string, got diffusion.Sigmas, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d levels, want %d: %v, want %v", what, len(got), len(want), got, want)
		return
	}
	for i, v := range want {
		if !(math.Abs(got[i]-float64(v)) <= 1e-6*math.Abs(float64(v))) {
			t.Errorf("%s: level %d is %v, want %v", what, i, got[i], v)
		}
	}
}

// TestSigmasNodes compares the noise levels that nodes make with ComfyUI's.
func TestSigmasNodes(t *testing.T) {
	f, cases := openCustom(t)
	b := newBench(t, pipeline.Options{})
	for name, c := range cases.Sigmas {
		w := b.wiring()
		links := map[string]string{"model": w.model(cases.Processes[c.Process], nil)}
		if c.Before != nil {
			w.node("before", c.Before)
			links["sigmas"] = "before"
		}
		if c.Node.class == "ManualSigmas" {
			delete(links, "sigmas")
		}
		w.node("n", c.Node, w.linked(c.Node, links)...)
		outputs := len(w.reg.Lookup(c.Node.class).Outputs)
		for i := range outputs {
			from := map[int]string{0: "n", 1: "n.1"}[i]
			key := fmt.Sprintf("sigmas.%s.%d", name, i)
			if c.Node.class == "SamplingPercentToSigma" {
				if got, want := takenOf[float64](w, from), c.Number; !(math.Abs(got-want) <= 1e-6*want) {
					t.Errorf("%s: %v, want %v", name, got, want)
				}
				continue
			}
			var want []float32
			if _, ok := f.Lookup(key); ok {
				want = f.F32(key)
			}
			sameLevels(t, name, takenOf[diffusion.Sigmas](w, from), want)
		}
	}
}

// formula is the network of the golden.
type formula struct{ calls int }

func (n *formula) Predict(_ context.Context, x latent.Tensor, t float32, payloads []any) ([][]float32, error) {
	n.calls++
	var all [][]float32
	for _, p := range payloads {
		out := make([]float32, len(x.Data))
		for i, v := range x.Data {
			out[i] = float32(math.Tanh(0.8*float64(v) + float64(p.(float32)) + 0.2*math.Sin(float64(t)/100)))
		}
		all = append(all, out)
	}
	return all, nil
}

// loose are the cases that single precision leaves less of. ComfyUI's uni_pc takes
// the deviation of a level from 1 - alpha², of which at 0.0007 one digit is left.
var loose = map[string]float64{
	"flux.uni_pc": 2e-2, "flux.uni_pc_bh2": 2e-2, "eps.uni_pc": 3e-4, "eps.uni_pc_bh2": 3e-4,
	"flux.res_multistep_ancestral": 1e-3, "flux.res_multistep_ancestral_cfg_pp": 1e-3, "flux.dpm_2_ancestral": 3e-4,
	"eps.back": 1e-3, "sd3.back": 1e-3, // from a level of 0.0001
}

// TestCustomSampling compares what samplers, guiders and rules of nodes make with
// ComfyUI's SamplerCustomAdvanced: every sampler on every kind of flow among them.
func TestCustomSampling(t *testing.T) {
	f, cases := openCustom(t)
	b := newBench(t, pipeline.Options{})
	for name, c := range cases.Sampling {
		w := b.wiring()
		links := map[string]string{"model": w.model(cases.Processes[c.Process], c.Rule)}
		for input, v := range map[string]float64{"positive": 0.4, "conditioning": 0.4, "cond1": 0.4, "cond2": 0.9, "negative": -0.3} {
			w.node(input, &classed{"Number", map[string]any{"v": v}})
			links[input] = input
		}
		w.node("sampler", c.Sampler, w.linked(c.Sampler, links)...)
		w.node("guider", c.Guider, w.linked(c.Guider, links)...)
		w.node("noise", c.Noise)
		g := takenOf[*Guider](w, "guider")
		var prompts [][]diffusion.Cond
		for _, p := range g.Prompts {
			prompts = append(prompts, []diffusion.Cond{{Payload: p.Conditioning[0].Embed[0], Strength: 1, End: 1}})
		}
		n := &formula{}
		shape := latent.Picture(2, 4, 3, 5)
		if len(c.Shape) == 5 {
			shape = latent.Shape{Batch: c.Shape[0], Channels: c.Shape[1], Time: c.Shape[2], Height: c.Shape[3], Width: c.Shape[4]}
		}
		latents := latent.New(shape)
		if c.Given {
			latents.Data = f.F32("latents")
		}
		if len(c.Shape) == 5 { // [1, 4, 2, 3, 5] of [2, 4, 3, 5], whose batch becomes the time
			latents.Data = make([]float32, shape.Elems())
			for i, v := range f.F32("latents") {
				frame, channel, at := i/60, i/15%4, i%15
				latents.Data[(channel*2+frame)*15+at] = v
			}
		}
		job := diffusion.Job{
			Noise: takenOf[diffusion.Noise](w, "noise"), Sampler: takenOf[diffusion.Sampler](w, "sampler"), Latents: latents,
			Guider: g.By(diffusion.Model{Network: n, Process: diffusion.NewProcess(g.Model.Process()), Rules: g.Model.Rules()}, prompts),
		}
		if c.Masked {
			job.Mask = f.F32("mask")
		}
		if _, ok := f.Lookup("sampling." + name + ".sigmas"); ok {
			for _, v := range f.F32("sampling." + name + ".sigmas") {
				job.Sigmas = append(job.Sigmas, float64(v))
			}
		}
		var last []float32
		job.Progress = func(_, _ int, denoised []float32) { last = denoised }
		got, err := diffusion.Sample(t.Context(), job)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		limit := loose[name]
		if limit == 0 {
			limit = 1e-4
		}
		golden.Check(t, name, got, f.F32("sampling."+name+".output"), limit)
		if last == nil {
			last = got
		}
		golden.Check(t, name+", denoised", last, f.F32("sampling."+name+".denoised"), limit)
		if n.calls != c.Calls {
			t.Errorf("%s: the network was called %d times, want %d", name, n.calls, c.Calls)
		}
	}
}

// TestCustomIsKSampler has the parts of a KSampler as nodes of their own: the
// latents are the same bits.
func TestCustomIsKSampler(t *testing.T) {
	for _, o := range []pipeline.Options{{}, {Planned: func(*run.Model, int) {}}} {
		b := newBench(t, o)
		w := b.wiring()
		for input, text := range map[string]string{"positive": "red apple", "negative": "blue"} {
			w.node(input, &classed{"CLIPTextEncode", map[string]any{"text": text}}, "clip=m.1")
		}
		w.node("latent", &classed{"EmptyLatentImage", map[string]any{"width": 64, "height": 32, "batch_size": 2}})
		w.node("k", &classed{"KSampler", map[string]any{"seed": 5, "steps": 3, "cfg": 2.5, "sampler_name": "euler_ancestral", "scheduler": "karras", "denoise": 0.9}},
			"model=m", "positive=positive", "negative=negative", "latent_image=latent")
		w.node("noise", &classed{"RandomNoise", map[string]any{"noise_seed": 5}})
		w.node("guider", &classed{"CFGGuider", map[string]any{"cfg": 2.5}}, "model=m", "positive=positive", "negative=negative")
		w.node("sampler", &classed{"KSamplerSelect", map[string]any{"sampler_name": "euler_ancestral"}})
		w.node("sigmas", &classed{"BasicScheduler", map[string]any{"scheduler": "karras", "steps": 3, "denoise": 0.9}}, "model=m")
		w.node("advanced", &classed{"SamplerCustomAdvanced", nil}, "noise=noise", "guider=guider", "sampler=sampler", "sigmas=sigmas", "latent_image=latent")
		w.node("custom", &classed{"SamplerCustom", map[string]any{"add_noise": true, "noise_seed": 5, "cfg": 2.5}},
			"model=m", "positive=positive", "negative=negative", "sampler=sampler", "sigmas=sigmas", "latent_image=latent")
		want := takenOf[*Latent](w, "k")
		if planned := o.Planned != nil; want.planned() != planned {
			t.Fatalf("planned: %v", want.planned())
		}
		for _, from := range []string{"advanced", "custom", "advanced.1"} {
			got := takenOf[*Latent](w, from)
			// The last step goes to 0: what was denoised in it is the result, but for
			// rounding.
			if e, err := golden.RelativeError(got.Data, want.Data); got.Shape != want.Shape || !want.planned() && (err != nil || e > 1e-6 || from != "advanced.1" && e != 0) {
				t.Errorf("%s: %v differs from KSampler's %v by %v, %v", from, got.Shape, want.Shape, e, err)
			}
		}
	}
}

// TestAddNoise compares noise on latents with ComfyUI's node, and the node with
// the formula in the model's scale.
func TestAddNoise(t *testing.T) {
	f, cases := openCustom(t)
	b := newBench(t, pipeline.Options{})
	x := latent.Tensor{Shape: latent.Picture(2, 4, 3, 5), Data: f.F32("latents")}
	for name, process := range cases.Noise {
		w := b.wiring()
		m := w.model(cases.Processes[process], nil)
		p := diffusion.NewProcess(takenOf[*pipeline.Model](w, m).Process())
		var sigmas []float32
		if key := "noise." + name + ".sigmas"; !strings.HasSuffix(name, ".") {
			sigmas = f.F32(key)
		}
		text, level := fmt.Sprint(sigmas), 0.0
		if n := len(sigmas); n > 0 {
			if level = float64(sigmas[0]); n > 1 {
				level = math.Abs(float64(sigmas[0] - sigmas[n-1]))
			}
			got, err := diffusion.Noise{Seed: 77}.On(t.Context(), p, x, level)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, got.Data, f.F32("noise."+name+".output"), 1e-6)
		}
		w.reg.Register(workflow.Schema{
			Class: "Given", Outputs: workflow.Outputs(workflow.TypeLatent),
			Run: func(context.Context, *workflow.Call) ([]any, error) { return []any{&Latent{Tensor: x}}, nil },
		})
		w.node("given", &classed{"Given", nil})
		w.node("noise", &classed{"RandomNoise", map[string]any{"noise_seed": 77}})
		w.node("sigmas", &classed{"ManualSigmas", map[string]any{"sigmas": text}})
		w.node("add", &classed{"AddNoise", nil}, "model="+m, "noise=noise", "sigmas=sigmas", "latent_image=given")
		got, want := takenOf[*Latent](w, "add"), x
		if len(sigmas) > 0 {
			format := takenOf[*pipeline.Model](w, m).Format()
			in := format.In(x)
			for i, v := range diffusion.Randn(77, len(in.Data)) {
				c := float32(1)
				if p.Flow() {
					c = float32(1 - level)
				}
				in.Data[i] = c*in.Data[i] + float32(level)*v
			}
			want = format.Out(in)
		}
		if e, err := golden.RelativeError(got.Data, want.Data); err != nil || e > 1e-5 {
			t.Errorf("%s by the node: error %v, %v", name, e, err)
		}
	}
}

// TestCustomErrors has inputs that make no sense.
func TestCustomErrors(t *testing.T) {
	for want, n := range map[string]struct {
		node  *classed
		links []string
	}{
		"noise level 1 is -0.5":           {&classed{"ManualSigmas", map[string]any{"sigmas": "1 -0.5"}}, nil},
		"there is no noise level":         {&classed{"SetFirstSigma", map[string]any{"sigma": 3}}, []string{"sigmas=empty"}},
		"1000100 noise levels: expected":  {&classed{"ManualSigmas", map[string]any{"sigmas": strings.Repeat("1 ", 1000100)}}, nil},
		"expected at most 1000000 in all": {&classed{"ExtendIntermediateSigmas", map[string]any{"steps": 100, "start_at_sigma": -1, "end_at_sigma": 0, "spacing": "sine"}}, []string{"sigmas=long"}},
		"a shift of 0":                    {&classed{"ModelSamplingSD3", map[string]any{"shift": 0}}, []string{"model=m"}},
		"sigma_min 3 to sigma_max 2":      {&classed{"ModelSamplingContinuousV", map[string]any{"sampling": "v_prediction", "sigma_max": 2, "sigma_min": 3}}, []string{"model=m"}},
		"Beta(0, 1): expected numbers":    {&classed{"BetaSamplingScheduler", map[string]any{"steps": 3, "alpha": 0, "beta": 1}}, []string{"model=m"}},
		"noise level 0 is NaN":            {&classed{"PolyexponentialScheduler", map[string]any{"steps": 3, "sigma_max": 2, "sigma_min": 0, "rho": 1}}, nil},
	} {
		w := newBench(t, pipeline.Options{}).wiring()
		w.node("empty", &classed{"ManualSigmas", map[string]any{"sigmas": "none"}})
		w.node("long", &classed{"KarrasScheduler", map[string]any{"steps": 10000, "sigma_max": 2, "sigma_min": 1, "rho": 7}})
		w.node("n", n.node, n.links...)
		w.node("take", &classed{"Take", map[string]any{"name": ""}}, "v=n")
		if err := w.execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
