package node

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// A gauge counts what is claimed of a memory that has enough.
type gauge struct {
	mu        sync.Mutex
	now, peak int64
}

func (g *gauge) Claim(_ context.Context, n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.peak = max(g.peak, g.now)
	return nil
}

// heapPeak runs f and returns the most bytes that the Go heap took meanwhile, of
// objects in use and what little garbage there is between two collections.
func heapPeak(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	heap := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	base := heap()
	peak, stop := base, make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
				peak = max(peak, heap())
			}
		}
	})
	f()
	close(stop)
	sampler.Wait()
	return max(peak, heap()) - base
}

// TestClaimsCoverMemory runs nodes on large pictures and latents, and compares
// what the heap grew by with what was claimed.
func TestClaimsCoverMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector takes memory of its own, and long for what collects garbage all the time")
	}
	b := newBench(t, pipeline.Options{Threads: 1})
	b.run(b.emoji("KSampler.steps=1")) // opens and plans what is kept for good
	b.draw("in.png", 500, 400, func(x, y int) uint8 { return uint8(x * y) })
	load := `"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}, `
	float := load + `"2": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "scale_by": 1.0}}, `
	latents := `"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
		"2": {"class_type": "CLIPTextEncode", "inputs": {"text": "cat", "clip": ["1", 1]}},
		"4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 32}},
		"3": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}}, `
	cases := map[string]string{
		"invert":         float + `"x": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}}`,
		"invert bytes":   load + `"x": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}`,
		"mask":           `"x": {"class_type": "LoadImageMask", "inputs": {"image": "in.png", "channel": "red"}}`,
		"VAE decode":     strings.Replace(latents, `"3": {`, `"x": {`, 1),
		"crop":           load + `"x": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "upscale_method": "bicubic", "width": 300, "height": 1900, "crop": "center"}}`,
		"VAE encode":     load + `"c": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}}, "s": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 0.3}}, "x": {"class_type": "VAEEncode", "inputs": {"pixels": ["s", 0], "vae": ["c", 2]}}`,
		"latent upscale": float + `"c": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}}, "s": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 0.3}}, "e": {"class_type": "VAEEncode", "inputs": {"pixels": ["s", 0], "vae": ["c", 2]}}, "x": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["e", 0], "upscale_method": "bislerp", "scale_by": 8.0}}`,
	}
	for _, method := range []string{"nearest-exact", "bilinear", "area", "bicubic", "lanczos"} {
		cases["larger by "+method] = float + fmt.Sprintf(`"x": {"class_type": "ImageScaleBy", "inputs": {"image": ["2", 0], "upscale_method": %q, "scale_by": 2.0}}`, method)
		cases["bytes smaller by "+method] = load + fmt.Sprintf(`"x": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": %q, "scale_by": 0.5}}`, method)
	}
	for _, sampler := range []string{"euler", "dpmpp_3m_sde"} {
		cases["sampling by "+sampler] = strings.Replace(latents, `"3": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}}, `, "", 1) +
			fmt.Sprintf(`"x": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "cfg": 2.5, "sampler_name": %q, "scheduler": "normal", "denoise": 1.0,
				"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0]}}`, sampler)
	}
	b.reg.Register(workflow.Schema{Class: "End", Inputs: []workflow.Input{workflow.Link("v", workflow.TypeAny)}, Output: true,
		Run: func(context.Context, *workflow.Call) ([]any, error) { return nil, nil }})
	for name, text := range cases {
		g := b.parse("{" + strings.TrimSuffix(text, ", ") + `, "end": {"class_type": "End", "inputs": {"v": ["x", 0]}}}`)
		job, err := workflow.Check(g, b.reg)
		if err != nil {
			t.Fatal(err)
		}
		var claimed gauge
		took := heapPeak(func() {
			if _, err := workflow.NewExecutor(&claimed).Run(t.Context(), job, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		const beside = 3 << 20 // programs, and garbage
		if took > claimed.peak+claimed.peak/4+beside {
			t.Errorf("%s: the heap grew by %.1f MiB and %.1f were claimed", name, float64(took)/(1<<20), float64(claimed.peak)/(1<<20))
		}
		t.Logf("%s: the heap grew by %.1f MiB, %.1f were claimed", name, float64(took)/(1<<20), float64(claimed.peak)/(1<<20))
	}
}

// TestTooLittleForPictures runs a workflow whose pictures do not fit: results
// that nobody needs make way first, then it is refused with the numbers.
func TestTooLittleForPictures(t *testing.T) {
	b := newBench(t, pipeline.Options{RAM: 40 << 20})
	b.draw("in.png", 500, 500, func(int, int) uint8 { return 255 })
	chain := func(scales ...float64) *workflow.Graph {
		text := `{"0": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}`
		for i, s := range scales {
			text += fmt.Sprintf(`, "%d": {"class_type": "ImageScaleBy", "inputs": {"image": ["%d", 0], "upscale_method": "bilinear", "scale_by": %v}}`, i+1, i, s)
		}
		return b.parse(text + fmt.Sprintf(`, "s": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["%d", 0]}}}`, len(scales)))
	}
	// Each takes 12 MB with what it is made of, and two are needed at a time.
	if _, _, err := b.try(chain(1, 1, 1, 1, 1, 1, 1, 1)); err != nil {
		t.Error(err)
	}
	_, _, err := b.try(chain(1, 2, 2))
	if fault.Of(err) != fault.Memory || !strings.Contains(err.Error(), "node 3 (ImageScaleBy)") || !strings.Contains(err.Error(), "RAM has 40.00 MiB") {
		t.Errorf("got %v of kind %q", err, fault.Of(err))
	}
	if got := b.env.Engine.Stats().RAM; got.Peak > 40<<20 {
		t.Errorf("%d bytes were held", got.Peak)
	}
}
