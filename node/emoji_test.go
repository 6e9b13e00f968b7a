package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// root is the repository, which has the models of the demo.
const root = ".."

// A bench is an engine with the demo's models, and folders of its own.
type bench struct {
	t        *testing.T
	env      *Env
	reg      *workflow.Registry
	executor *workflow.Executor
}

func newBench(t *testing.T, o pipeline.Options) *bench {
	t.Helper()
	e := pipeline.New(o)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	f := folders.New(root)
	f.Input, f.Output, f.Temp = t.TempDir(), t.TempDir(), t.TempDir()
	env := &Env{Folders: f, Engine: e}
	return &bench{t, env, Registry(env), workflow.NewExecutor(e)}
}

// addRoot has models found in another folder too.
func (b *bench) addRoot(more string) {
	f := folders.New(root, more)
	f.Input, f.Output, f.Temp = b.env.Folders.Input, b.env.Folders.Output, b.env.Folders.Temp
	b.env.Folders = f
	b.reg = Registry(b.env)
}

// emoji returns the demo's workflow with changes NODE.INPUT=VALUE.
func (b *bench) emoji(sets ...string) *workflow.Graph {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "workflows", "emoji.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.parse(string(data), sets...)
}

func (b *bench) parse(text string, sets ...string) *workflow.Graph {
	b.t.Helper()
	g, err := workflow.Parse([]byte(text), b.reg)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, s := range sets {
		target, value, _ := strings.Cut(s, "=")
		if err := g.Set(b.reg, target, value); err != nil {
			b.t.Fatal(err)
		}
	}
	return g
}

// try runs a workflow and returns the files that it saved.
func (b *bench) try(g *workflow.Graph) ([]string, *workflow.Result, error) {
	job, err := workflow.Check(g, b.reg)
	if err != nil {
		return nil, nil, err
	}
	result, err := b.executor.Run(b.t.Context(), job, nil)
	if err != nil {
		return nil, nil, err
	}
	var files []string
	for _, f := range result.Files {
		for _, f := range f {
			files = append(files, f.Path)
		}
	}
	slices.Sort(files)
	return files, result, nil
}

// run is try for a workflow that saves one picture.
func (b *bench) run(g *workflow.Graph) *media.Image {
	b.t.Helper()
	files, _, err := b.try(g)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(files) != 1 {
		b.t.Fatalf("%d files were saved: %v", len(files), files)
	}
	m, _, err := media.Load(b.t.Context(), files[0], 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// TestEmojiIsTheReferences compares the demo with PyTorch from prompt to
// pixels: 99.9 % of the values are within 2 of 255.
func TestEmojiIsTheReferences(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	got := b.run(b.emoji())
	f := golden.Open(t, "pipeline_emoji")
	want, shape := f.F32("pixels"), f.Shape("pixels")
	if got.Height != shape[0] || got.Width != shape[1] {
		t.Fatalf("the picture is %d×%d, want %v", got.Width, got.Height, shape)
	}
	far := 0
	for i, v := range got.Pix() {
		if d := v*255 - want[i]; d > 2.5 || d < -2.5 {
			far++
		}
	}
	if far*1000 > len(want) {
		t.Errorf("%d of %d values are further than 2 from the reference", far, len(want))
	}
}

// TestEmojiInLittleMemory draws the demo with a third of the memory that its
// weights take: the picture is the same, bit for bit.
func TestEmojiInLittleMemory(t *testing.T) {
	large := newBench(t, pipeline.Options{})
	want := large.run(large.emoji())
	const vram = 8 << 20 // the checkpoint has 24 MiB
	small := newBench(t, pipeline.Options{VRAM: vram, Threads: 1})
	if got := small.run(small.emoji()); !slices.Equal(got.Pix(), want.Pix()) {
		t.Error("the picture is another one")
	}
	s := small.env.Engine.Stats().VRAM
	if s.Peak > vram || s.Evictions == 0 {
		t.Errorf("%d of %d bytes were taken at most, with %d evictions", s.Peak, int64(vram), s.Evictions)
	}
}

// TestSeedAloneEncodesNothing changes the seed: only what depends on it runs
// again.
func TestSeedAloneEncodesNothing(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	first := b.run(b.emoji("KSampler.steps=2"))
	_, result, err := b.try(b.emoji("KSampler.steps=2", "KSampler.seed=43"))
	if err != nil {
		t.Fatal(err)
	}
	// The sampler, the decoder, the upscaler and the node that saves.
	if result.Ran != 4 || result.Cached != 5 {
		t.Errorf("%d nodes ran and %d did not, want 4 and 5", result.Ran, result.Cached)
	}
	again := b.run(b.emoji("KSampler.steps=2"))
	if !slices.Equal(first.Pix(), again.Pix()) {
		t.Error("the same seed gave another picture")
	}
}

// TestPictureRunsAgain runs the workflow that a saved picture carries.
func TestPictureRunsAgain(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	files, _, err := b.try(b.emoji("KSampler.steps=2"))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := media.ReadText(t.Context(), files[0])
	if err != nil || len(texts) != 1 || texts[0].Key != "prompt" {
		t.Fatalf("the picture carries %v, %v", texts, err)
	}
	want, _, err := media.Load(t.Context(), files[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := newBench(t, pipeline.Options{}).parse(texts[0].Value); got.String() != texts[0].Value {
		t.Error("the workflow has changed on its way through the picture")
	}
	other := newBench(t, pipeline.Options{})
	if got := other.run(other.parse(texts[0].Value)); !slices.Equal(got.Pix(), want.Pix()) {
		t.Error("the workflow in the picture gives another picture")
	}
}

// TestFirstAndLastSteps runs the steps in two nodes, with the noise that is
// left handed over.
func TestFirstAndLastSteps(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	whole := b.run(b.emoji("KSampler.steps=4"))
	split := `"5": {"class_type": "KSamplerAdvanced", "inputs": {"add_noise": "enable", "noise_seed": 42, "steps": 4, "cfg": 2.5,
		"sampler_name": "euler", "scheduler": "normal", "start_at_step": 0, "end_at_step": 2, "return_with_leftover_noise": "enable",
		"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}},
	"55": {"class_type": "KSamplerAdvanced", "inputs": {"add_noise": "disable", "noise_seed": 1, "steps": 4, "cfg": 2.5,
		"sampler_name": "euler", "scheduler": "normal", "start_at_step": 2, "end_at_step": 10000, "return_with_leftover_noise": "disable",
		"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["5", 0]}},`
	text := b.emoji().String()
	start, end := strings.Index(text, `"5": {`), strings.Index(text, `"6": {`)
	text = text[:start] + split + strings.Replace(text[end:], `["5", 0]`, `["55", 0]`, 1)
	got := b.run(b.parse(text))
	want, far := whole.Pix(), 0
	for i, v := range got.Pix() {
		if d := (v - want[i]) * 255; d > 1.5 || d < -1.5 {
			far++
		}
	}
	if far > 0 {
		t.Errorf("%d of %d values differ from those of all steps in one node", far, len(got.Pix()))
	}
}

// TestEveryModelNode runs the nodes that the demo has not: inpainting, tiles,
// another size, conditioning and clip skip.
func TestEveryModelNode(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	picture := media.NewImage(1, 48, 80, 3, nil)
	for i := range picture.Pix() {
		picture.Pix()[i] = float32(i%7) / 7
	}
	b.write(filepath.Join(b.env.Folders.Input, "in.png"), picture)
	g := b.parse(`{
		"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
		"10": {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["1", 1], "stop_at_clip_layer": -2}},
		"2": {"class_type": "CLIPTextEncode", "inputs": {"text": "(cat:1.3) and dog", "clip": ["10", 0]}},
		"3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
		"11": {"class_type": "ConditioningSetTimestepRange", "inputs": {"conditioning": ["2", 0], "start": 0.0, "end": 0.5}},
		"12": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["11", 0], "conditioning_2": ["3", 0]}},
		"13": {"class_type": "ConditioningAverage", "inputs": {"conditioning_to": ["12", 0], "conditioning_from": ["3", 0], "conditioning_to_strength": 0.7}},
		"14": {"class_type": "ConditioningConcat", "inputs": {"conditioning_to": ["13", 0], "conditioning_from": ["2", 0]}},
		"20": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
		"21": {"class_type": "LoadImageMask", "inputs": {"image": "in.png", "channel": "red"}},
		"22": {"class_type": "VAEEncodeForInpaint", "inputs": {"pixels": ["20", 0], "vae": ["1", 2], "mask": ["21", 0], "grow_mask_by": 2}},
		"23": {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["1", 2]}},
		"24": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["23", 0], "mask": ["21", 0]}},
		"25": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["24", 0], "upscale_method": "bislerp", "scale_by": 1.0}},
		"5": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "cfg": 4.0, "sampler_name": "dpmpp_2m_sde", "scheduler": "karras", "denoise": 0.6,
			"model": ["1", 0], "positive": ["14", 0], "negative": ["3", 0], "latent_image": ["25", 0]}},
		"6": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
			"model": ["1", 0], "positive": ["3", 0], "negative": ["3", 0], "latent_image": ["22", 0]}},
		"7": {"class_type": "VAEDecodeTiled", "inputs": {"samples": ["5", 0], "vae": ["1", 2], "tile_size": 64, "overlap": 16}},
		"8": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
		"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "sub/%width%x%height%", "images": ["7", 0]}},
		"99": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
	}`)
	files, _, err := b.try(g)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 {
		t.Fatalf("saved %v", files)
	}
	path := filepath.Join(b.env.Folders.Output, "sub", "80x48_00001_.png")
	got, _, err := media.Load(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Height != 48 || got.Width != 80 {
		t.Errorf("the picture is %d×%d", got.Width, got.Height)
	}
}

// TestProblemsAreReportedTogether runs nothing when anything is wrong.
func TestProblemsAreReportedTogether(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	g := b.parse(`{
		"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoij.safetensors"}},
		"4": {"class_type": "EmptyLatentImage", "inputs": {"width": 3, "height": 64, "batch_size": 1}},
		"5": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 0, "cfg": 4.0, "sampler_name": "eular", "scheduler": "karras", "denoise": 0.6,
			"model": ["1", 0], "positive": ["1", 1], "negative": ["7", 0], "latent_image": ["4", 0]}},
		"6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
		"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["6", 0]}}
	}`)
	_, _, err := b.try(g)
	if err == nil {
		t.Fatal("the workflow ran")
	}
	for _, want := range []string{
		`"emoji.safetensors"`, "width", "steps", `"euler"`, "positive", "negative",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s:\n%v", want, err)
		}
	}
}

// TestErrorsOfRuns are those that only show while a workflow runs.
func TestErrorsOfRuns(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	for want, sets := range map[string][]string{
		"the weight +Inf":             {"Prompt.text=a (red:inf) apple"},
		"stays in that folder":        {"9.filename_prefix=../../x"},
		"MiB are needed for pictures": {"4.width=16384", "4.height=16384", "4.batch_size=4096"},
	} {
		_, _, err := b.try(b.emoji(append(sets, "KSampler.steps=1")...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error with %q", sets, err, want)
		}
	}
}
