package main

import (
	"context"

	"github.com/weir-run/weir/device/cpu"
	hostmemory "github.com/weir-run/weir/host"
	"github.com/weir-run/weir/pager"
)

// zeros is a source of weights that are all zero.
type zeros struct{}

const page = 4096 // bytes of each extent

func (zeros) ReadAt(_ context.Context, p []byte, _ int64) error { clear(p); return nil }
func (zeros) Bytes(_, n int64) ([]byte, error)                  { return make([]byte, n), nil }
func (zeros) Load(ctx context.Context, _, _ int64) error        { return ctx.Err() }
func (zeros) Drop(_, _ int64)                                   {}

// A decision is what the pager decides for the first pass of a model, in
// extents.
type decision struct {
	keeps  []bool // on the device, by extent
	device int    // kept on the device
	host   int    // kept in the host's memory, of the others
}

// decide asks the pager about a model of so many layers of equal size and
// cost, with room for so many on the device and in the host's memory.
func decide(layers, vram, ram int) (d decision, err error) {
	dev := cpu.New(cpu.Options{VRAM: int64(vram) * page, Threads: 1})
	defer dev.Close()
	p := pager.New(dev, pager.Options{
		VRAM: int64(vram) * page, RAM: int64(ram) * page,
		Host: func() (hostmemory.Info, error) {
			return hostmemory.Info{Total: 1 << 40, Available: 1 << 40}, nil
		},
	})
	defer p.Close()
	m := pager.Manifest{Name: "model"}
	var uses [][]int
	for i := range layers {
		m.Extents = append(m.Extents, pager.Extent{Key: string(rune('a' + i)), Bytes: page, Parts: []pager.Part{{Source: zeros{}, Bytes: page}}})
		uses = append(uses, []int{i})
	}
	space, err := p.Reserve(m)
	if err != nil {
		return d, err
	}
	s, err := space.Schedule(uses, nil)
	if err != nil {
		return d, err
	}
	pass, err := p.Begin(context.Background(), s, 0)
	if err != nil {
		return d, err
	}
	for i := range layers {
		d.keeps = append(d.keeps, pass.Keeps(i))
	}
	pass.End()
	top, both := s.Split()
	d.device = int(top.Kept / page)
	d.host = int(both.Kept/page) - d.device
	return d, nil
}
