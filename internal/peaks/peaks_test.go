// Package peaks holds what real models need, in numbers: operations, memory,
// and the bytes of weights that a pass moves under budgets that are too small.
// Programs are planned from the names and shapes of published models and never
// run, so that the numbers are exact and cost nothing to find.
package peaks

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
)

var update = flag.Bool("update", false, "write the tables in testdata as they are now")

// shapes are the weights of a checkpoint in float16, without bytes.
type shapes map[string]ir.Shape

func shapesOf(tensors []synth.Tensor) shapes {
	s := shapes{}
	for _, t := range tensors {
		s[t.Name] = t.Shape
	}
	return s
}

func (s shapes) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	shape, ok := s[name]
	return dtype.F16, shape, ok
}
func (s shapes) Adapters(string) []nn.Adapter { return nil }
func (s shapes) Names() []string              { return slices.Sorted(maps.Keys(s)) }

// esrganX4 are the tensors of RealESRGAN_x4plus: 23 blocks of 64 features.
func esrganX4() shapes {
	s := shapes{}
	conv := func(name string, out, in int) {
		s[name+".weight"], s[name+".bias"] = ir.Shape{out, in, 3, 3}, ir.Shape{out}
	}
	conv("conv_first", 64, 3)
	for i := range 23 {
		for dense := range 3 {
			for k := range 5 {
				out := 32
				if k == 4 {
					out = 64
				}
				conv(fmt.Sprintf("body.%d.rdb%d.conv%d", i, dense+1, k+1), out, 64+32*k)
			}
		}
	}
	for _, name := range []string{"conv_body", "conv_up1", "conv_up2", "conv_hr"} {
		conv(name, 64, 64)
	}
	conv("conv_last", 3, 64)
	return s
}

// A network is a part of a model for given sizes.
type network struct {
	name   string
	source nn.Source
	build  func(s nn.Scope)
	limit  int64 // MiB of the arena, 0 for none
}

func networks(t *testing.T) []network {
	sd15, sdxl, upscaler := shapesOf(synth.SD15()), shapesOf(synth.SDXL()), esrganX4()
	detect := func(s shapes) *families.Checkpoint {
		c, err := families.Detect(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	small, large := detect(sd15), detect(sdxl)
	unet := func(c *families.Checkpoint, batch, width, height int) func(nn.Scope) {
		shape := model.Shape{Shape: c.Denoiser.Latent().Of(batch, 1, height, width), Tokens: 77}
		return func(s nn.Scope) { c.Denoiser.Denoiser(s.Sub(model.DenoiserPrefix), shape) }
	}
	decode := func(width, height int) func(nn.Scope) {
		return func(s nn.Scope) {
			small.Autoencoder.Decode(s.Sub(model.AutoencoderPrefix), 1, height/8, width/8)
		}
	}
	encode := func(width, height int) func(nn.Scope) {
		return func(s nn.Scope) { small.Autoencoder.Encode(s.Sub(model.AutoencoderPrefix), 1, height, width) }
	}
	text := func(source shapes, c *families.Checkpoint, i int) func(nn.Scope) {
		slot := c.Text.Slots[i]
		e, err := slot.Match(source, c.Prefixes[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		shape := model.TextShape{Batch: 2, Tokens: slot.Prompt.Chunk, States: slot.States}
		return func(s nn.Scope) { e.Build(s.Sub(c.Prefixes[i]), shape) }
	}
	upscale := func(width, height int) func(nn.Scope) {
		c, err := esrgan.Detect(upscaler)
		if err != nil {
			t.Fatal(err)
		}
		return func(s nn.Scope) { esrgan.Upscale(s, c, 1, height, width) }
	}
	transformer := func(name string, tokens, width, height int) network {
		w := published.Tensors(t, name, model.DenoiserPrefix)
		c, err := families.Denoiser(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		shape := model.Shape{Shape: c.Latent().Of(1, 1, height, width), Tokens: tokens}
		build := func(s nn.Scope) { c.Denoiser(s.Sub(model.DenoiserPrefix), shape) }
		return network{fmt.Sprintf("%s %d×%d", name, width, height), w, build, 0}
	}
	vae := func(name string, width, height int) network {
		w := published.Tensors(t, name, model.AutoencoderPrefix)
		c, err := families.Autoencoder(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := c.Latent()
		build := func(s nn.Scope) {
			c.Decode(s.Sub(model.AutoencoderPrefix), 1, height/f.Stride.Height, width/f.Stride.Width)
		}
		return network{fmt.Sprintf("%s decodes %d×%d", name, width, height), w, build, 0}
	}
	return []network{
		{"SD 1.5 UNet 512×512", sd15, unet(small, 2, 512, 512), 0},
		{"SD 1.5 UNet 768×512", sd15, unet(small, 2, 768, 512), 0},
		{"SD 1.5 UNet 512×768", sd15, unet(small, 2, 512, 768), 0},
		{"SD 1.5 UNet 512×512 in 90 MiB", sd15, unet(small, 2, 512, 512), 90},
		{"SDXL UNet 1024×1024", sdxl, unet(large, 2, 1024, 1024), 0},
		{"SDXL UNet 832×1216", sdxl, unet(large, 2, 832, 1216), 0},
		{"SDXL UNet 832×1216 in 256 MiB", sdxl, unet(large, 2, 832, 1216), 256},
		{"VAE decodes 512×512", sd15, decode(512, 512), 0},
		{"VAE decodes 832×1216", sd15, decode(832, 1216), 0},
		{"VAE encodes 768×512", sd15, encode(768, 512), 0},
		{"CLIP-L of SD 1.5", sd15, text(sd15, small, 0), 0},
		{"OpenCLIP-G of SDXL", sdxl, text(sdxl, large, 1), 0},
		{"Real-ESRGAN x4 of 256×192", upscaler, upscale(256, 192), 0},
		transformer("z-image", 60, 832, 1216),
		transformer("flux1-dev", 256, 832, 1216),
		transformer("chroma1", 60, 832, 1216),
		transformer("flux2-klein-4b", 512, 832, 1216),
		transformer("flux2-dev", 512, 256, 256),
		transformer("flux2-dev", 512, 832, 1216),
		vae("flux2-vae-small-decoder", 832, 1216),
	}
}

// program plans a network.
func (n network) program(t *testing.T) *plan.Program {
	t.Helper()
	g := ir.New(n.name)
	n.build(nn.NewScope(g, n.source))
	p, err := plan.Compile(g, plan.Options{Arena: n.limit << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPeaks compares the operations and the memory of real models with the
// table in testdata. A number that grows is an optimisation lost.
func TestPeaks(t *testing.T) {
	rows := [][]string{{"network", "operations", "regions", "pieces", "arena", "lower bound", "extents", "weights", "read in a pass", "arithmetic"}}
	for _, n := range networks(t) {
		p := n.program(t)
		var read int64
		for _, use := range p.Uses() {
			for _, x := range use {
				read += p.Extents[x].Bytes
			}
		}
		var cost float64
		for _, c := range p.Costs() {
			cost += c
		}
		rows = append(rows, []string{n.name, fmt.Sprint(len(p.Ops)), fmt.Sprint(p.Regions), fmt.Sprint(p.Pieces), fmt.Sprint(p.Arena),
			fmt.Sprint(p.LowerBound), fmt.Sprint(len(p.Extents)), fmt.Sprint(p.WeightBytes()), fmt.Sprint(read), fmt.Sprintf("%.4g", cost)})
	}
	compare(t, "peaks.txt", rows)
}

// compare compares a table with that of a file.
func compare(t *testing.T, name string, rows [][]string) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(text), "\n"), strings.Split(b.String(), "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Errorf("%s has in line %d\n%s\n%s\nand now\n%s\nIf that is meant, run the test with -update and read the difference.",
				path, i+1, want[0], want[min(i, len(want)-1)], got[min(i, len(got)-1)])
		}
	}
}

// nothing is a mapped source without bytes.
type nothing struct{}

func (nothing) ReadAt(context.Context, []byte, int64) error  { return nil }
func (nothing) Bytes(int64, int64) ([]byte, error)           { return nil, nil }
func (nothing) Load(ctx context.Context, off, n int64) error { return ctx.Err() }
func (nothing) Drop(int64, int64)                            {}

// card is a discrete device with so many bytes of memory, which only counts
// them.
type card struct {
	device.Device
	total int64
}

type buffer int64

func (b buffer) Size() int64 { return int64(b) }

func (c card) Info() device.Info {
	return device.Info{Name: "card", Kind: device.Discrete, Total: c.total, Free: c.total}
}
func (c card) Alloc(n int64) (device.Buffer, error) { return buffer(n), nil }
func (c card) Free(device.Buffer)                   {}
func (c card) Upload(context.Context, device.Buffer, int64, []byte) device.Event {
	return device.Done(nil)
}

// schedule makes a pager with so many bytes of memory, and the schedule of a
// program in it.
func schedule(t *testing.T, p *plan.Program, vram, ram int64) (*pager.Pager, *pager.Schedule) {
	t.Helper()
	pg := pager.New(card{total: math.MaxInt64 / 4}, pager.Options{VRAM: vram, RAM: ram,
		Host: func() (host.Info, error) { return host.Info{Total: 1 << 50, Available: 1 << 50}, nil }})
	t.Cleanup(pg.Close)
	m := pager.Manifest{Name: p.Name}
	for i, e := range p.Extents {
		m.Extents = append(m.Extents, pager.Extent{Key: fmt.Sprint(i), Name: e.Name, Bytes: e.Bytes, Parts: []pager.Part{{Source: nothing{}, Bytes: e.Bytes}}})
	}
	space, err := pg.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := space.Schedule(p.Uses(), p.Costs())
	if err != nil {
		t.Fatal(err)
	}
	return pg, s
}

// TestMoved compares what a pass moves under budgets, as predicted, with the
// table in testdata: on a computer of 10 TFLOPS, 12 GB/s to the card and 2 GB/s
// from disk.
func TestMoved(t *testing.T) {
	rows := [][]string{{"network", "VRAM MiB", "RAM MiB", "kept in VRAM", "to VRAM", "kept in RAM", "from disk", "first s", "later s", "work s", "bound s"}}
	all := networks(t)
	for _, name := range []string{"SD 1.5 UNet 768×512", "SD 1.5 UNet 512×512 in 90 MiB", "SDXL UNet 832×1216", "SDXL UNet 832×1216 in 256 MiB", "flux2-dev 832×1216"} {
		n := all[slices.IndexFunc(all, func(n network) bool { return n.name == name })]
		p := n.program(t)
		times := p.Costs()
		for i := range times {
			times[i] /= 10e12
		}
		weights := p.WeightBytes()
		for _, budget := range [][2]int64{{2 * weights, 2 * weights}, {weights, 2 * weights}, {weights / 2, 2 * weights}, {weights / 4, weights / 2}, {weights / 8, weights / 8}} {
			vram, ram := budget[0]+p.Arena, budget[1]
			_, s := schedule(t, p, vram, ram)
			x := s.Predict(p.Arena, times, pager.Rates{Disk: 2e9, Link: 12e9})
			rows = append(rows, []string{name, fmt.Sprint(vram >> 20), fmt.Sprint(ram >> 20), fmt.Sprint(x.Top.Kept), fmt.Sprint(x.Top.Streamed),
				fmt.Sprint(x.RAM.Kept), fmt.Sprint(x.RAM.Streamed), fmt.Sprintf("%.3f", x.First), fmt.Sprintf("%.3f", x.Later),
				fmt.Sprintf("%.3f", x.Compute), fmt.Sprintf("%.3f", x.Bound)})
		}
	}
	compare(t, "moved.txt", rows)
}

// TestMovedByPasses runs passes of a real program on a device that only counts.
// A model that fits is moved once, to the byte; of one that does not, each pass
// moves what it does not keep, and no policy could keep more than the memory
// holds.
func TestMovedByPasses(t *testing.T) {
	all := networks(t)
	n := all[slices.IndexFunc(all, func(n network) bool { return n.name == "SD 1.5 UNet 768×512" })]
	p := n.program(t)
	weights := p.WeightBytes()
	var largest int64
	for _, e := range p.Extents {
		largest = max(largest, e.Bytes)
	}
	for _, share := range []float64{1, 0.75, 0.5, 0.25} {
		room := int64(share * float64(weights))
		pg, s := schedule(t, p, room+p.Arena, 2*weights)
		var moved, streamed int64
		const passes = 12
		for i := range passes {
			before := pg.Stats().VRAM.Moved
			pass, err := pg.Begin(t.Context(), s, p.Arena)
			if err != nil {
				t.Fatal(err)
			}
			for use := range p.Ops {
				if err := pass.Acquire(t.Context(), use); err != nil {
					t.Fatal(err)
				}
				pass.Release(use)
			}
			pass.End()
			peak, took := pg.Stats().VRAM.Peak, pg.Stats().VRAM.Moved-before
			top, _ := s.Split()
			if peak > room+p.Arena {
				t.Errorf("with room for %.2f of the weights the peak is %d of %d", share, peak, room+p.Arena)
			}
			if top.Kept+top.Streamed != weights || top.Kept > room {
				t.Errorf("with room for %d bytes %+v are kept of %d", room, top, weights)
			}
			switch {
			case i == 0 && took < weights-largest:
				t.Errorf("the first pass moves %d bytes, the weights are %d", took, weights)
			case i > 3: // the room for streaming is chosen by then
				moved, streamed = moved+took, streamed+top.Streamed
			}
		}
		if got := pg.Stats(); share == 1 && (got.VRAM.Moved != weights || got.RAM.Moved != weights || got.VRAM.Evictions != 0) {
			t.Errorf("a model that fits is moved by %d bytes to VRAM and %d to RAM, its weights are %d", got.VRAM.Moved, got.RAM.Moved, weights)
		}
		// At the end of the last pass up to the room for streaming is on its way
		// for one that does not come.
		if slack := room - (weights - streamed/(passes-4)); moved > streamed+max(slack, 0)+largest {
			t.Errorf("with room for %.2f of the weights %d passes move %d bytes, %d are not kept", share, passes-4, moved, streamed)
		}
		t.Logf("with room for %.2f of the weights %d passes move %d bytes, %d are not kept", share, passes-4, moved, streamed)
	}
}
