//go:build linux

package membench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weir-run/weir/pager"
)

// lora adds LoRAs between steps, as side paths and merged into the weights as
// the classic way does. Each is compared with the step without it right before.
func (b *Bench) lora(ctx context.Context) error {
	file, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	const width, files = 256, 4
	script := []Act{{Op: "open", File: file}, {Op: "encode", Prompt: "a boat"}, {Op: "step", Times: 2}}
	var bytes int64
	for k := range files { // each is new when it is added
		path := filepath.Join(b.Dir, fmt.Sprintf("weir-bench-lora-%d.safetensors", k))
		if err := b.write(path, func() error { return writeLoRA(ctx, file, path, 16) }); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		bytes = info.Size()
		script = append(script, Act{Op: "step"}, Act{Op: "lora", File: path}, Act{Op: "step", Model: k + 1}, Act{Op: "step", Model: k + 1})
	}
	b.title("lora: the first step after a LoRA of rank 16 (%s) on every layer of attention was added, %d×%d", mib(bytes), width, width)
	var lines []string
	chart := barChart{title: "From a LoRA to the first step's end: seconds more than a step without", file: "lora.svg"}
	ways := []struct {
		name   string
		memory pager.Mode
	}{{"side path", pager.Dynamic}, {"merged into the weights", pager.Classic}}
	added := make([][]float64, len(ways))
	for i, way := range ways {
		var without, first, later []float64
		for range b.Rounds {
			all, err := b.child(ctx, Spec{Memory: way.memory, Width: width, Height: width, Script: script})
			if err != nil {
				return err
			}
			s, l := of(all, "step")[2:], of(all, "lora")
			for k := range files {
				t := l[k].Seconds + s[3*k+1].Seconds
				without, first, later = append(without, s[3*k].Seconds), append(first, t), append(later, s[3*k+2].Seconds)
				added[i] = append(added[i], t/s[3*k].Seconds-1)
			}
		}
		lines = append(lines, fmt.Sprintf("%s|%.2f s|%.2f s|%.1f %%|%.2f s", way.name, median(without), median(first), 100*median(added[i]), median(later)))
		chart.add(way.name, max(median(added[i]), 0)*median(without))
	}
	b.table("LoRA|a step without|from adding it to the first step's end|more|a later step", lines)
	b.bar("lora: added cost", median(added[0]) <= 0.05, "%.1f %% of a step, at most 5 %% and reading the file; merging costs %.0f %%", 100*median(added[0]), 100*median(added[1]))
	all, err := b.child(ctx, Spec{VRAM: plenty, Width: 64, Height: 64, Script: []Act{
		{Op: "open", File: file}, {Op: "encode", Prompt: "a boat"}, {Op: "step"}, script[4], {Op: "step", Model: 1}}})
	if err != nil {
		return err
	}
	moved := of(all, "step")[1].MovedVRAM
	b.bar("lora: bytes moved to a device", float64(moved) <= 1.02*float64(bytes), "%s for a file of %s: none of the model's", mib(moved), mib(bytes))
	return b.draw(chart)
}
