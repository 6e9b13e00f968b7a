package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/weights"
	"github.com/weir-run/weir/workflow"
)

const (
	repo       = "../.."
	emojiFlow  = repo + "/workflows/emoji.json"
	emojiModel = repo + "/models/checkpoints/emoji.safetensors"
	upscaler   = repo + "/models/upscale_models/realesr-animevideov3-x4.safetensors"
	goldens    = repo + "/testdata/golden/"
)

// weir runs the command and returns what it printed.
func weir(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := weir(t.Context(), args...)
	if err != nil {
		t.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

func pixels(t *testing.T, path string) []float32 {
	t.Helper()
	m, _, err := media.Load(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m.Pix()
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	quick := []string{"--root", repo, "--output", dir, "--set", "KSampler.steps=2"}
	out := must(t, append([]string{"run", emojiFlow}, quick...)...)
	first := filepath.Join(dir, "emoji_00001_.png")
	if out != first+"\n" {
		t.Errorf("printed %q, want the saved file", out)
	}
	// The picture carries its workflow, and less memory gives the same.
	must(t, "run", first, "--root", repo, "--output", dir, "--vram", "8MB", "--threads", "1")
	if !slices.Equal(pixels(t, first), pixels(t, filepath.Join(dir, "emoji_00002_.png"))) {
		t.Error("the picture run again with 8 MB is another one")
	}
	must(t, append([]string{"run", emojiFlow, "--set", "Prompt.text=green apple"}, quick...)...)
	if slices.Equal(pixels(t, first), pixels(t, filepath.Join(dir, "emoji_00003_.png"))) {
		t.Error("another prompt gives the same picture")
	}
}

// TestNoise runs a sampler whose steps add noise and one whose do not.
func TestNoise(t *testing.T) {
	dir := t.TempDir()
	picture := func(sampler, noise string) []float32 {
		out := must(t, "run", emojiFlow, "--root", repo, "--output", dir, "--set", "KSampler.steps=3", "--set", "KSampler.sampler_name="+sampler, "--noise", noise)
		return pixels(t, strings.TrimSpace(out))
	}
	if slices.Equal(picture("euler_ancestral", "cpu"), picture("euler_ancestral", "cuda")) {
		t.Error("euler_ancestral: the noise of a CUDA device changes nothing")
	}
	if !slices.Equal(picture("dpmpp_2m", "cpu"), picture("dpmpp_2m", "cuda")) {
		t.Error("dpmpp_2m: the noise of a CUDA device changes the picture")
	}
	if !slices.Equal(picture("lcm", "cuda"), picture("lcm", "cuda:43008")) {
		t.Error("lcm: two cards that run more threads than the picture has latent values differ")
	}
}

func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, args := range map[string][]string{
		"none.json":                  {"run", filepath.Join(dir, "none.json")},
		"a PNG without a workflow":   {"run", goldens + "images_grey.png"},
		"line 1 column 2":            {"run", write("broken.json", "{")},
		"expected NODE.INPUT=VALUE":  {"run", emojiFlow, "--set", "steps"},
		"KSampler has no input step": {"run", emojiFlow, "--set", "KSampler.step=3", "--root", repo},
		"\"8 apples\" is no size":    {"run", emojiFlow, "--vram", "8 apples"},
		"unknown flag":               {"run", emojiFlow, "--stepps", "3"},
		"accepts 1 arg(s)":           {"run"},
		"none.yaml":                  {"run", emojiFlow, "--extra-model-paths", filepath.Join(dir, "none.yaml")},
		"emoji.safetensors":          {"run", emojiFlow, "--root", dir},
	} {
		_, _, err := weir(t.Context(), args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("weir %s: %v, want %q", strings.Join(args, " "), err, want)
		}
	}
	if _, _, err := weir(t.Context(), "run"); fault.Of(err) != fault.Usage {
		t.Errorf("a missing argument is a mistake in the usage: %v", err)
	}
}

// TestExitStatus tells mistakes in the command line from work that failed.
func TestExitStatus(t *testing.T) {
	for line, want := range map[string]struct {
		status int
		says   string
	}{
		"rum":                                   {2, "did you mean run?"},
		"bench stp":                             {2, "did you mean step?"},
		"bench step":                            {2, "needs --checkpoint"},
		"bench step -c x --steps 0":             {2, "--steps must be at least 1"},
		"inspect":                               {2, "accepts 1 arg(s)"},
		"doctor --jsn":                          {2, "unknown flag"},
		"inspect " + goldens + "ldm.py":         {4, "not a safetensors file"},
		"bench step -c none.safetensors":        {6, "none.safetensors"},
		"run --vram much " + emojiFlow:          {2, "is no size"},
		"inspect " + goldens + "no.safetensors": {6, "no.safetensors"},
		"run " + goldens + "ldm.py":             {3, "ldm.py"},
		"run " + goldens + "no.json":            {6, "no.json"},
		"run --noise gpu " + emojiFlow:          {2, "expected cpu, cuda or cuda:THREADS"},
		"generate -c x -p y --noise cuda:7":     {2, "threads that the card runs at once"},
		"run --set x " + emojiFlow:              {2, "NODE.INPUT=VALUE"},
		"generate":                              {2, "--checkpoint"},
	} {
		_, _, err := weir(t.Context(), strings.Fields(line)...)
		if err == nil {
			t.Errorf("weir %s: no error, want %q", line, want.says)
		} else if exitStatus(err) != want.status || !strings.Contains(err.Error(), want.says) {
			t.Errorf("weir %s: %v with status %d, want %q with status %d", line, err, exitStatus(err), want.says, want.status)
		}
	}
	for _, args := range [][]string{{}, {"bench"}} {
		if out := must(t, args...); !strings.Contains(out, "Usage:") {
			t.Errorf("weir %v prints no help: %s", args, out)
		}
	}
}

// TestCancel interrupts a run: it ends at once and leaves no file.
func TestCancel(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var stopped time.Time
	timer := time.AfterFunc(700*time.Millisecond, func() { stopped = time.Now(); cancel() })
	defer timer.Stop()
	_, _, err := weir(ctx, "run", emojiFlow, "--root", repo, "--output", dir, "--set", "KSampler.steps=10000")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// Ten times what is promised, for machines that are busy; all steps take far longer.
	if late := time.Since(stopped); late > 10*time.Second {
		t.Errorf("the run ended after %v", late)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("there are %v, %v", files, err)
	}
}

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	args := func(more ...string) []string {
		return append([]string{"generate", "--checkpoint", emojiModel, "--prompt", "red apple", "--seed", "5", "--width", "64", "--height", "64",
			"--steps", "2", "--output", dir, "--root", dir}, more...)
	}
	must(t, args()...)
	must(t, args()...)
	plain := pixels(t, filepath.Join(dir, "weir_00001_.png"))
	if !slices.Equal(plain, pixels(t, filepath.Join(dir, "weir_00002_.png"))) {
		t.Error("the same seed gives another picture")
	}
	lora := filepath.Join(dir, "l.safetensors")
	const name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
	down, up := make([]float32, 2*96), make([]float32, 128*2)
	for i := range down {
		down[i] = float32(i%5) - 2
	}
	for i := range up {
		up[i] = float32(i%3) - 1
	}
	if err := weights.Write(t.Context(), lora, nil, []weights.Tensor{
		weights.F32(name+".lora_down.weight", dtype.F16, []int{2, 96}, down), weights.F32(name+".lora_up.weight", dtype.F16, []int{128, 2}, up),
	}); err != nil {
		t.Fatal(err)
	}
	must(t, args("--lora", lora+":0.5", "--name", "lora")...)
	if slices.Equal(plain, pixels(t, filepath.Join(dir, "lora_00001_.png"))) {
		t.Error("the LoRA changes nothing")
	}
	must(t, args("--upscale", upscaler, "--name", "large", "--clip-skip", "2", "--batch", "2", "--negative", "pear")...)
	if n := len(pixels(t, filepath.Join(dir, "large_00002_.png"))); n != 3*256*256 {
		t.Errorf("the second large picture has %d values", n)
	}
	for want, args := range map[string][]string{
		"needs --checkpoint, or --model, and --prompt": {"generate"},
		"nothing.safetensors":                          {"generate", "-c", "nothing.safetensors", "-p", "x", "--root", dir},
		"--sampler: \"eular\"":                         args("--sampler", "eular"),
	} {
		if _, _, err := weir(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("weir %s: %v, want %q", strings.Join(args, " "), err, want)
		}
	}
}

func TestSplitStrength(t *testing.T) {
	for in, want := range map[string]struct {
		name     string
		strength float64
	}{
		"a": {"a", 1}, "a:0.5": {"a", 0.5}, `C:\x.safetensors`: {`C:\x.safetensors`, 1}, `C:\x:-1`: {`C:\x`, -1}, "a:b": {"a:b", 1},
	} {
		if name, s := splitStrength(in); name != want.name || s != want.strength {
			t.Errorf("%s is %s at %v", in, name, s)
		}
	}
}

func TestInspect(t *testing.T) {
	for file, want := range map[string]struct{ kind, what string }{
		emojiModel:                             {"checkpoint", "Stable Diffusion 1.x, v prediction"},
		upscaler:                               {"upscaler", "4"},
		goldens + "lora.safetensors":           {"lora", "LoRA of rank"},
		goldens + "comfy_lora.safetensors":     {"lora", "GLoRA for 10 weights, OFT for 10 weights, BOFT for 7 weights, differences of 11 weights, replacements of 5 weights, for Stable Diffusion"},
		goldens + "merge.safetensors":          {"lora", "LoRA of ranks 3 to 5 for 8 weights, DoRA for 12 weights, LoHa for 14 weights, LoKr for 20 weights, differences of 8 weights, for Stable Diffusion"},
		goldens + "vae.safetensors":            {"vae", "latents of 4 channels at 1/4"},
		goldens + "clip_l.safetensors":         {"text encoder", "CLIP with 3 layers"},
		goldens + "open_clip.safetensors":      {"text encoder", "OpenCLIP with 3 layers"},
		goldens + "clip_vision.safetensors":    {"clip vision", "CLIP of pictures with 3 layers of 64 features"},
		goldens + "siglip.safetensors":         {"clip vision", "SigLIP of pictures"},
		goldens + "redux.safetensors":          {"style model", "FLUX.1 Redux, makes text of 24 features"},
		goldens + "t5.safetensors":             {"text encoder", "T5 with 3 layers of 48 features"},
		goldens + "umt5.safetensors":           {"unknown", "this is UMT5, which models of Wan read"},
		goldens + "llm_qwen3.safetensors":      {"text encoder", "Qwen 3 with 4 layers of 32 features"},
		goldens + "unet_sd15.safetensors":      {"unet", "a UNet alone: Stable Diffusion 1.x, epsilon prediction"},
		goldens + "gguf_file.gguf":             {"unknown", "not a checkpoint that is known"},
		quantized(t, ""):                       {"checkpoint", "Stable Diffusion 1.x, v prediction"},
		quantized(t, "model.diffusion_model."): {"unet", "a UNet alone: Stable Diffusion 1.x, v prediction"},
		goldens + "realesrgan_x4.safetensors":  {"upscaler", "ESRGAN with 1 blocks ×4"},
		goldens + "weights.safetensors":        {"unknown", "not a checkpoint that is known"},
	} {
		var r report
		if err := json.Unmarshal([]byte(must(t, "inspect", "--json", file)), &r); err != nil {
			t.Fatal(err)
		}
		if r.Kind != want.kind || !strings.Contains(r.What, want.what) || r.Count != len(r.Tensors) || r.Bytes == 0 {
			t.Errorf("%s: %s, %s, %d tensors of %d, %d bytes; want %s, %s", file, r.Kind, r.What, r.Count, len(r.Tensors), r.Bytes, want.kind, want.what)
		}
		table := must(t, "inspect", file, "--tensors")
		if !strings.Contains(table, want.kind) || strings.Count(table, "\ntensor ") != r.Count {
			t.Errorf("%s: the table is\n%s", file, table)
		}
	}
	if _, _, err := weir(t.Context(), "inspect", emojiFlow); err == nil || !strings.Contains(err.Error(), "emoji.json") {
		t.Errorf("a workflow is no file of weights: %v", err)
	}
}

// quantized writes the part of the demo's checkpoint that has a prefix as a
// GGUF file without it.
func quantized(t *testing.T, prefix string) string {
	t.Helper()
	set, err := weights.OpenSet(t.Context(), emojiModel)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	file, _, err := synth.Quantized(t.Context(), set.Sub(prefix), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "emoji.gguf")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInspectPNG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	flow, err := os.ReadFile(emojiFlow)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ prompt, kind, what string }{
		{string(flow), "workflow", "CLIPTextEncode ×2"},
		{`{"3": 5}`, "picture", "a.png"},
		{"", "picture", "a PNG without a workflow"},
	} {
		texts := []media.Text{{Key: "Author", Value: strings.Repeat("e", 200)}}
		if tt.prompt != "" {
			texts = append(texts, media.Text{Key: "prompt", Value: tt.prompt})
		}
		var data bytes.Buffer
		if err := media.EncodePNG(t.Context(), &data, media.NewImage(1, 2, 2, 3, nil), texts); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		var r report
		if err := json.Unmarshal([]byte(must(t, "inspect", "--json", path)), &r); err != nil {
			t.Fatal(err)
		}
		if r.Kind != tt.kind || !strings.Contains(r.What, tt.what) || r.Metadata["prompt"] != tt.prompt {
			t.Errorf("%q: %s, %s; want %s, %s", tt.prompt, r.Kind, r.What, tt.kind, tt.what)
		}
		table := must(t, "inspect", path)
		if !strings.Contains(table, `Author = "`+strings.Repeat("e", 100)+`…"`) || strings.Contains(table, "\ntensors") {
			t.Errorf("the table is\n%s", table)
		}
	}
	if err := os.WriteFile(path, []byte("GIF89a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "inspect", path); !strings.Contains(out, "this is a GIF without a workflow") {
		t.Errorf("a GIF called PNG: %s", out)
	}
}

func TestPlan(t *testing.T) {
	args := []string{"plan", emojiFlow, "--root", repo, "--vram", "8MB", "--link", "1GB/s"}
	verdict := must(t, args...)
	if !strings.HasPrefix(verdict, "streams: ") || strings.Count(verdict, "\n") != 10 || !strings.Contains(verdict, "UNet of emoji.safetensors") || !strings.Contains(verdict, "over the link") {
		t.Errorf("the verdict is\n%s", verdict)
	}
	if verdict := must(t, "plan", emojiFlow, "--root", repo); !strings.HasPrefix(verdict, "fits: ") || strings.Contains(verdict, "over the link") {
		t.Errorf("the verdict is\n%s", verdict)
	}
	if out, _, err := weir(t.Context(), "plan", emojiFlow, "--root", repo, "--vram", "1MB"); out != "does not fit\n" || exitStatus(err) != 5 {
		t.Errorf("in 1 MB: %q, %v with status %d", out, err, exitStatus(err))
	}
	table := strings.Join(strings.Fields(must(t, append(args, "--details")...)), " ")
	for _, want := range []string{"UNet of emoji.safetensors", "runs 20 the first", "lower bound", "come over the link in each run", "0 bytes are read from disk", "upscaler realesr", "link 1 GB/s (given)", "GFLOP/s (measured)"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not say %q:\n%s", want, table)
		}
	}
	// A larger picture in less memory: the plan is the one that would run.
	small := must(t, "plan", emojiFlow, "--root", repo, "--details", "--vram", "2560KiB", "--set", "4.width=128", "--set", "4.height=128")
	if !regexp.MustCompile(`(?s)UNet of emoji.safetensors\n.*\ntiled +\d+ regions +in up to \d+ pieces\n`).MatchString(small) {
		t.Errorf("the table does not say that the UNet is tiled:\n%s", small)
	}
	var programs []struct {
		Runs  int
		Name  string
		Arena int64
		Ops   []struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(must(t, "plan", emojiFlow, "--root", repo, "--json")), &programs); err != nil {
		t.Fatal(err)
	}
	if len(programs) != 4 || programs[0].Runs != 2 || programs[1].Arena == 0 || len(programs[1].Ops) < 100 {
		t.Errorf("%d programs: %+v", len(programs), programs[0])
	}
	// Another machine, larger than this one and slow: what is predicted is the
	// transfer's time.
	var slow []struct{ Prediction pager.Prediction }
	if err := json.Unmarshal([]byte(must(t, "plan", emojiFlow, "--root", repo, "--json", "--vram", "8MB", "--ram", "5MB",
		"--link", "1GB/s", "--disk", "10MB/s", "--compute", "30TFLOP/s")), &slow); err != nil {
		t.Fatal(err)
	}
	if y := slow[1].Prediction; y.RAM.Streamed == 0 || y.RAM.Streamed >= y.Top.Streamed || math.Abs(y.Later/(float64(y.RAM.Streamed)/10e6)-1) > 0.1 || y.First < y.Later {
		t.Errorf("with a slow disk: %+v", y)
	}
	for flag, value := range map[string]string{"--disk": "0", "--compute": "fast", "--link": "x"} {
		if _, _, err := weir(t.Context(), "plan", emojiFlow, "--root", repo, "--vram", "8MB", flag, value); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
	if ops := must(t, "plan", emojiFlow, "--root", repo, "--ops"); !strings.Contains(ops, "groupnorm") {
		t.Error("--ops lists no operations")
	}
}

func TestBench(t *testing.T) {
	out := must(t, "bench", "step", "-c", emojiModel, "--width", "64", "--height", "64", "--steps", "1", "--against", "echo seconds_per_step 0.5")
	for _, want := range []string{"seconds_per_step ", "\npeak memory ", "\nother_seconds_per_step 0.500\n", "\nratio "} {
		if !strings.Contains(out, want) {
			t.Errorf("printed no %q:\n%s", want, out)
		}
	}
	exists := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(exists, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"exists: name another":       {"bench", "synth", "sd15", "-o", exists},
		"invalid argument \"sd3\"":   {"bench", "synth", "sd3"},
		"--dtype":                    {"bench", "synth", "sd15", "--dtype", "f7"},
		"needs --checkpoint FILE":    {"bench", "step"},
		"--steps must be at least 1": {"bench", "step", "-c", emojiModel, "--steps", "0"},
		"printed no line":            {"bench", "step", "-c", emojiModel, "--against", "true"},
		"exit status 3":              {"bench", "step", "-c", emojiModel, "--against", "exit 3"},
		"expected a time in seconds": {"bench", "step", "-c", emojiModel, "--against", "echo seconds_per_step fast"},
	} {
		if _, _, err := weir(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("weir %s: %v, want %q", strings.Join(args, " "), err, want)
		}
	}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(&out)
	p.now = func() time.Time { return now }
	n := &workflow.Node{ID: "3", Class: "KSampler", Title: "Draw"}
	p.Observe(workflow.Event{Kind: workflow.NodeStarted, Node: n})
	for step := 1; step <= 5; step++ {
		now = now.Add(600 * time.Millisecond)
		p.Observe(workflow.Event{Kind: workflow.NodeProgress, Node: n, Step: step, Total: 5})
	}
	p.Observe(workflow.Event{Kind: workflow.NodeDone, Node: n, Elapsed: 3 * time.Second})
	p.Observe(workflow.Event{Kind: workflow.NodeDone, Node: &workflow.Node{ID: "8", Class: "Fast"}, Elapsed: time.Millisecond})
	p.Observe(workflow.Event{Kind: workflow.NodeDone, Node: &workflow.Node{ID: "9", Class: "SaveImage"}, Files: []workflow.File{{Path: "output/a.png"}, {Path: "output/b.png"}}})
	p.Observe(workflow.Event{Kind: workflow.NodeDone, Node: &workflow.Node{ID: "4", Class: "PreviewAny"}, Text: "two\nlines"})
	const want = "Draw 3: step 1/5, 0.60 s a step, 2 s left\n" +
		"Draw 3: step 3/5, 0.60 s a step, 1 s left\n" +
		"Draw 3: step 5/5, 0.60 s a step, 0 s left\n" +
		"Draw 3: 3.0 s\n" +
		"SaveImage 9: saved output/a.png\n" +
		"SaveImage 9: saved output/b.png\n" +
		"PreviewAny 4: two\\nlines\n"
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}
