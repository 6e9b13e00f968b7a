package pager_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/pager"
)

// page is the size of every extent of the example, in bytes.
const page = 4096

// memory is a source: a tensor that lies in memory. One whose file is mapped
// looks the same, and asks the system to read and to forget its pages.
type memory []byte

func (m memory) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}
func (m memory) Bytes(off, n int64) ([]byte, error)         { return m[off : off+n], nil }
func (m memory) Load(ctx context.Context, _, _ int64) error { return ctx.Err() }
func (m memory) Drop(_, _ int64)                            {}

// A model is layers that are used one after another, each in an extent.
type model struct {
	name     string
	layers   int
	space    *pager.Space
	schedule *pager.Schedule
}

// reserve describes a model to the pager. It costs no memory.
func reserve(p *pager.Pager, name string, layers int) (*model, error) {
	manifest := pager.Manifest{Name: name}
	for i := range layers {
		layer := fmt.Sprintf("%s, layer %d", name, i)
		weights := memory(strings.Repeat(string(rune('a'+i)), page))
		manifest.Extents = append(manifest.Extents, pager.Extent{
			Key: layer, Name: layer, Bytes: page,
			Parts: []pager.Part{{Source: weights, Bytes: page}},
		})
	}
	space, err := p.Reserve(manifest)
	if err != nil {
		return nil, err
	}
	m := &model{name: name, layers: layers, space: space}
	return m, m.plan()
}

// plan makes the schedule of a program: here it uses one layer after another.
func (m *model) plan() (err error) {
	var uses [][]int
	for i := range m.layers {
		uses = append(uses, []int{i})
	}
	m.schedule, err = m.space.Schedule(uses, nil)
	return err
}

// run runs the program once, with so many bytes of activations. It returns a
// character for each layer: # for one that the run kept, ~ for one that was
// streamed.
func (m *model) run(ctx context.Context, p *pager.Pager, activations int64) (kept string, err error) {
	pass, err := p.Begin(ctx, m.schedule, activations)
	if err != nil {
		return "", err
	}
	defer pass.End()
	for i := range m.layers {
		if err := pass.Acquire(ctx, i); err != nil {
			return "", err
		}
		buffer, off := pass.Part(i, 0)
		err := compute(ctx, p.Device(), buffer, off, byte('a'+i))
		pass.Release(i)
		if err != nil {
			return "", err
		}
		if pass.Keeps(i) {
			kept += "#"
		} else {
			kept += "~"
		}
	}
	return kept, nil
}

// compute stands for a kernel: it reads weights where the pager has put them.
func compute(ctx context.Context, dev device.Device, weights device.Buffer, off int64, want byte) error {
	var got [1]byte
	if err := dev.Download(ctx, got[:], weights, off).Wait(ctx); err != nil {
		return err
	}
	if got[0] != want {
		return fmt.Errorf("the weights are %q, expected %q", got[0], want)
	}
	return nil
}

// resident draws how many of a model's layers are on the device. Which of them
// have made way for another model depends on how long each was worked with; how
// many have does not.
func (m *model) resident() string {
	n := 0
	for _, r := range m.space.Residence() {
		if r.VRAM {
			n++
		}
	}
	return strings.Repeat("#", n) + strings.Repeat(".", m.layers-n)
}

// Two models of 22 pages together take turns on a device with 24 pages, of
// which activations take four: each takes from the other what it lacks, no
// more. Then one of them makes a larger picture, whose activations leave it
// less than its size, and nothing to the other.
func Example() {
	ctx := context.Background()
	dev := cpu.New(cpu.Options{VRAM: 24 * page, Threads: 1})
	defer dev.Close()
	p := pager.New(dev, pager.Options{VRAM: 24 * page})
	defer p.Close()

	encoder, err := reserve(p, "encoder", 6)
	if err != nil {
		log.Fatal(err)
	}
	denoiser, err := reserve(p, "denoiser", 16)
	if err != nil {
		log.Fatal(err)
	}

	for _, m := range []*model{encoder, denoiser, encoder, denoiser} {
		before := p.Stats().VRAM.Moved
		if _, err := m.run(ctx, p, 4*page); err != nil {
			log.Fatal(err)
		}
		moved := (p.Stats().VRAM.Moved - before) / page
		fmt.Printf("%-8s moved %2d:  %s  %s\n", m.name, moved, encoder.resident(), denoiser.resident())
	}

	// Another size of picture is another program.
	if err := denoiser.plan(); err != nil {
		log.Fatal(err)
	}
	kept, err := denoiser.run(ctx, p, 13*page)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("a larger picture:  %s  %s\n", encoder.resident(), kept)

	// Output:
	// encoder  moved  6:  ######  ................
	// denoiser moved 16:  ####..  ################
	// encoder  moved  2:  ######  ##############..
	// denoiser moved  2:  ####..  ################
	// a larger picture:  ......  #~~#~#~#~#~#~#~#
}
