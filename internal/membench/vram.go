//go:build linux

package membench

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/synth"
)

// plenty is memory that every network fits in.
const plenty = 8 << 30

// vram runs networks on a device with memory for a part of their weights,
// behind a link that takes as long for the rest as computing does.
func (b *Bench) vram(ctx context.Context) error {
	transformer := filepath.Join(b.Dir, "weir-bench-openclip.safetensors")
	if err := b.write(transformer, func() error { return synth.Write(ctx, transformer, synth.OpenCLIP(), dtype.F16, 1) }); err != nil {
		return err
	}
	unet, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	const runs = 4
	if err := b.within(ctx, "transformer", Network{Kind: "transformer", File: transformer, Size: 4, Runs: runs}); err != nil {
		return err
	}
	return b.within(ctx, "UNet", Network{Kind: "unet", File: unet, Size: 256, Runs: runs})
}

// A pressed is what was measured with memory for a part of the weights.
type pressed struct {
	alone, beside, step, limit, besides, bound, predicted []float64
	streamed                                              int64
}

// within measures a network with memory for 25 to 100 % of its weights.
func (b *Bench) within(ctx context.Context, name string, n Network) error {
	b.title("vram: %s, memory for a part of the weights; the link carries the rest in the time of computing", name)
	all, err := b.child(ctx, Spec{VRAM: plenty, Network: n})
	if err != nil {
		return err
	}
	model, arena := all[0].Residency.Kept, all[0].Bytes
	var lines []string
	chart := barChart{title: name + ": seconds of a step against memory on the device", file: "vram-" + n.Kind + ".svg"}
	for _, part := range []int64{25, 50, 75, 100} {
		vram := arena + model*part/100
		if part == 100 {
			vram += 1 << 20 // for the alignment of buffers
		}
		var p pressed
		for range b.Rounds {
			if err := b.press(ctx, n, &p, vram, float64(model*max(100-part, 25)/100)); err != nil {
				return err
			}
		}
		step, alone := median(p.step), median(p.alone)
		chart.add(fmt.Sprintf("%d %%", part), step)
		lines = append(lines, fmt.Sprintf("%d %%|%s|%s|%.2f s|%.2f s|%.3f|%.2f s|%.3f|%.2f s|%.3f", part, gib(vram), gib(p.streamed),
			alone, step, step/median(p.limit), median(p.beside), step/median(p.besides), median(p.predicted), step/median(p.bound)))
		switch {
		case part == 100:
			b.bar(fmt.Sprintf("vram: %s with all weights", name), step <= 1.02*alone, "%.3f of everything resident from the start, at most 1.02", step/alone)
		case n.Kind == "transformer":
			b.bar(fmt.Sprintf("vram: %s with %d %% of the weights", name, part), step <= 1.10*median(p.limit), "%.3f of max(computing, transfer), at most 1.10", step/median(p.limit))
		default:
			b.bar(fmt.Sprintf("vram: %s with %d %% of the weights", name, part), step <= 1.10*median(p.limit) || step <= 1.10*median(p.bound),
				"%.3f of max(computing, transfer), %.3f of the least time that any policy can reach, since its layers are uneven; at most 1.10 of either", step/median(p.limit), step/median(p.bound))
		}
	}
	b.table("weights that fit|memory|streamed in a step|computing alone|step|of max(computing, transfer)|computing beside copies|of max with that|predicted|of any policy's least", lines)
	return b.draw(chart)
}

// press measures once with so much memory and a link that carries carried
// bytes in the time of computing. What computing takes varies from minute to
// minute: it is measured before and after. A device has an engine for its link,
// here a core plays it that computing could use: so computing is measured beside
// as many copies too.
func (b *Bench) press(ctx context.Context, n Network, p *pressed, vram int64, carried float64) error {
	work := func(copies float64) (float64, error) {
		n := n
		n.Copies = copies
		all, err := b.child(ctx, Spec{VRAM: plenty, Network: n})
		if err != nil {
			return 0, err
		}
		return median(seconds(all[1:])), nil
	}
	alone, err := work(0)
	if err != nil {
		return err
	}
	rate := carried / alone
	n.Work = alone
	all, err := b.child(ctx, Spec{VRAM: vram, Link: rate, Network: n})
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	var moved []float64
	for _, m := range all[2:] {
		moved = append(moved, float64(m.MovedVRAM))
	}
	step, streamed := median(seconds(all[2:])), median(moved)
	beside, err := work(streamed / step)
	if err != nil {
		return err
	}
	again, err := work(0)
	if err != nil {
		return err
	}
	alone = (alone + again) / 2
	p.alone, p.beside, p.step = append(p.alone, alone), append(p.beside, beside), append(p.step, step)
	p.limit, p.besides = append(p.limit, max(alone, streamed/rate)), append(p.besides, max(beside, streamed/rate))
	p.bound = append(p.bound, last.Predicted.Bound)
	p.predicted = append(p.predicted, last.Predicted.Later)
	p.streamed = int64(streamed)
	return nil
}
