//go:build linux

package membench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weir-run/weir/pager"
)

// generation is opening, encoding, so many steps and decoding.
func generation(file string, steps int) []Act {
	return []Act{{Op: "open", File: file}, {Op: "encode", Prompt: "a photograph of a weir"}, {Op: "step", Times: steps}, {Op: "decode"}}
}

// load measures how long models of 1 to 60 GiB take to open, and what memory.
func (b *Bench) load(ctx context.Context) error {
	b.title("load: opening a checkpoint (holes on disk: what is read comes from memory, which flatters classic)")
	info, err := memory()
	if err != nil {
		return err
	}
	small, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	var lines []string
	chart := barChart{title: "Opening a checkpoint: seconds", file: "load.svg"}
	var first, last float64
	var rss [2]int64 // of the smallest and the largest
	for _, size := range []int64{1, 4, 8, 30, 60} {
		path := filepath.Join(b.Dir, fmt.Sprintf("weir-bench-holes-%d.safetensors", size))
		if err := holes(ctx, small, path, size<<30); err != nil {
			return err
		}
		var dynamic, classic []Measure
		for range b.Rounds {
			m, err := b.child(ctx, Spec{Width: 64, Height: 64, Script: []Act{{Op: "open", File: path}}})
			if err != nil {
				return errors.Join(err, os.Remove(path))
			}
			dynamic = append(dynamic, m...)
			if size<<30 < info/2 {
				m, err := b.child(ctx, Spec{Memory: pager.Classic, Width: 64, Height: 64, Script: []Act{{Op: "open", File: path}}})
				if err != nil {
					return errors.Join(err, os.Remove(path))
				}
				classic = append(classic, m...)
			}
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		d := median(seconds(dynamic))
		line := fmt.Sprintf("%d GiB|%.1f ms|%s|", size, 1e3*d, mib(dynamic[0].RSS))
		if classic != nil {
			line += fmt.Sprintf("%.2f s|%s", median(seconds(classic)), gib(classic[0].RSS))
			chart.add(fmt.Sprintf("classic %d GiB", size), median(seconds(classic)))
		} else {
			line += "does not fit|"
		}
		chart.add(fmt.Sprintf("dynamic %d GiB", size), d)
		lines = append(lines, line)
		if first == 0 {
			first, rss[0] = d, dynamic[0].RSS
		}
		last, rss[1] = d, dynamic[0].RSS
	}
	b.table("size|dynamic|memory|classic|memory", lines)
	b.bar("load: flat", last < 3*first+0.01 && rss[1] < rss[0]+16<<20, "60 GiB open in %.1f ms with %s of memory, 1 GiB in %.1f ms with %s", 1e3*last, mib(rss[1]), 1e3*first, mib(rss[0]))
	return b.draw(chart)
}

// ram runs a model in a memory of half its size.
func (b *Bench) ram(ctx context.Context) error {
	file, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	const rate = 300e6
	limit := info.Size() / 2
	b.title("ram: a generation with %s of memory for a model of %s, disk at %.0f MB/s, classic with swap", gib(limit), gib(info.Size()), rate/1e6)
	swap, err := b.swap(ctx, 4<<30)
	if err != nil {
		return err
	}
	defer swap()
	cage, err := NewCage(limit, b.Dir, rate)
	if err != nil {
		return err
	}
	defer cage.Remove()
	ways := []pager.Mode{pager.Dynamic, pager.MMap, pager.Classic}
	firsts, steady, reads := map[pager.Mode][]float64{}, map[pager.Mode][]float64{}, map[pager.Mode][]float64{}
	var streamed, model int64
	swapped := map[pager.Mode]int64{}
	for range b.Rounds {
		for _, way := range ways {
			if err := dropCaches(); err != nil {
				return err
			}
			steps := 4
			all, err := b.child(ctx, Spec{Cage: cage.Files(), Memory: way, Width: 64, Height: 64, Script: generation(file, steps)})
			if err != nil {
				return err
			}
			firsts[way] = append(firsts[way], total(all))
			for _, m := range all {
				swapped[way] += m.Swapped
			}
			for _, m := range of(all, "step")[2:] {
				steady[way] = append(steady[way], m.Seconds)
				reads[way] = append(reads[way], float64(m.Read))
				if way == pager.Dynamic {
					streamed, model = m.Residency.Streamed, m.Residency.Kept+m.Residency.Streamed
				}
			}
		}
	}
	var lines []string
	chart := barChart{title: "Memory for half of the model: seconds", file: "ram.svg"}
	for _, way := range ways {
		name := or(string(way), "dynamic")
		lines = append(lines, fmt.Sprintf("%s|%.1f s|%.2f s|%s|%s", name, median(firsts[way]), median(steady[way]), gib(int64(median(reads[way]))), mib(swapped[way]/int64(b.Rounds))))
		chart.add(name+", generation", median(firsts[way]))
		chart.add(name+", step", median(steady[way]))
	}
	b.table("|first generation of 4 steps|a later step|read in it|written to the page file", lines)
	fmt.Fprintf(b.Out, "\nof %s that a step uses, dynamic keeps %s\n", gib(model), gib(model-streamed))
	d, c, k := pager.Dynamic, pager.Classic, pager.MMap
	b.bar("ram: first generation", median(firsts[c]) >= 3*median(firsts[d]), "%.1f times as fast as classic, at least 3", median(firsts[c])/median(firsts[d]))
	b.bar("ram: bytes read in a step", median(reads[d]) <= 1.05*float64(streamed), "%.3f of what is not kept, at most 1.05; mmap reads %.2f of the model", median(reads[d])/float64(streamed), median(reads[k])/float64(model))
	b.bar("ram: the page file", swapped[d] < 16<<20, "dynamic writes %s to it, classic %s", mib(swapped[d]/int64(b.Rounds)), mib(swapped[c]/int64(b.Rounds)))
	want := float64(model) / float64(streamed) * 0.9
	b.bar("ram: a later step", median(steady[k])/median(steady[d]) >= want, "%.2f times as fast as mmap, at least %.2f", median(steady[k])/median(steady[d]), want)
	return b.draw(chart)
}

// swap adds a swap file; the function takes it away.
func (b *Bench) swap(ctx context.Context, size int64) (func(), error) {
	path := filepath.Join(b.Dir, "weir-bench-swap")
	for _, args := range [][]string{
		{"fallocate", "-l", fmt.Sprint(size), path}, {"chmod", "600", path}, {"mkswap", "-q", path}, {"swapon", path},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("a swap file cannot be made here: %v: %w: %s", args, err, out)
		}
	}
	return func() {
		_ = exec.Command("swapoff", path).Run()
		_ = os.Remove(path)
	}, nil
}

// experts switches between two models halfway, with room for one.
func (b *Bench) experts(ctx context.Context) error {
	first, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	second, err := b.model(ctx, 2)
	if err != nil {
		return err
	}
	const width, rate = 64, 2e9
	probe, err := b.child(ctx, Spec{VRAM: plenty, Width: width, Height: width, Script: append(generation(first, 1)[:3], Act{Op: "arena"})})
	if err != nil {
		return err
	}
	model, arena := of(probe, "step")[0].Residency.Kept, of(probe, "arena")[0].Bytes
	b.title("experts: two models of %s, memory for one, switched after half of 8 steps, link at %.0f GB/s", gib(model), rate/1e9)
	var lines []string
	times, moved := map[pager.Mode][]float64{}, map[pager.Mode][]float64{}
	chart := barChart{title: "Two experts, memory for one: seconds of 8 steps", file: "experts.svg"}
	ways := []pager.Mode{pager.Dynamic, pager.Classic}
	for range b.Rounds {
		for _, way := range ways {
			all, err := b.child(ctx, Spec{Memory: way, VRAM: arena + model + 1<<20, Link: rate, Width: width, Height: width, Script: []Act{
				{Op: "open", File: first}, {Op: "open", File: second}, {Op: "encode", Prompt: "a boat"},
				{Op: "step", Times: 4}, {Op: "step", Model: 1, Times: 4}}})
			if err != nil {
				return err
			}
			times[way] = append(times[way], total(of(all, "step")))
			var n int64
			for _, m := range of(all, "step") {
				n += m.MovedVRAM
			}
			moved[way] = append(moved[way], float64(n))
		}
	}
	for _, way := range ways {
		name := or(string(way), "dynamic")
		lines = append(lines, fmt.Sprintf("%s|%.2f s|%s", name, median(times[way]), gib(int64(median(moved[way])))))
		chart.add(name, median(times[way]))
	}
	b.table("|8 steps|moved to the device", lines)
	m := median(moved[pager.Dynamic])
	b.bar("experts: each is moved once", m <= 1.05*float64(2*model), "%.3f of both, at most 1.05", m/float64(2*model))
	return b.draw(chart)
}

// prompt changes the prompt between generations, with memory for the denoiser
// and hardly the text encoder.
func (b *Bench) prompt(ctx context.Context) error {
	file, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	const width, rate = 64, 400e6
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b.title("prompt: a changed prompt with memory for three quarters of the model, disk at %.0f MB/s", rate/1e6)
	cage, err := NewCage(info.Size()*3/4, b.Dir, rate)
	if err != nil {
		return err
	}
	defer cage.Remove()
	ways := []pager.Mode{pager.Dynamic, pager.MMap}
	encode, whole, read := map[pager.Mode][]float64{}, map[pager.Mode][]float64{}, map[pager.Mode][]float64{}
	var same []float64
	for range b.Rounds {
		for _, way := range ways {
			if err := dropCaches(); err != nil {
				return err
			}
			all, err := b.child(ctx, Spec{Cage: cage.Files(), Memory: way, Width: width, Height: width, Script: []Act{
				{Op: "open", File: file}, {Op: "encode", Prompt: "a boat"}, {Op: "step", Times: 3},
				{Op: "encode", Prompt: "a house"}, {Op: "step", Times: 3}, // changed
				{Op: "step", Times: 3}, // the same prompt: the text encoder is not asked
			}})
			if err != nil {
				return err
			}
			e, s := of(all, "encode"), of(all, "step")
			encode[way] = append(encode[way], e[1].Seconds)
			whole[way] = append(whole[way], e[1].Seconds+total(s[3:6]))
			read[way] = append(read[way], float64(e[1].Read))
			if way == pager.Dynamic {
				for _, m := range s[6:] {
					same = append(same, float64(m.Read)/float64(max(m.Residency.Streamed, 1)))
				}
			}
		}
	}
	var lines []string
	for _, way := range ways {
		lines = append(lines, fmt.Sprintf("%s|%.2f s|%s|%.2f s", or(string(way), "dynamic"), median(encode[way]), mib(int64(median(read[way]))), median(whole[way])))
	}
	b.table("|encoding the changed prompt|read for it|with three steps", lines)
	room, err := NewCage(info.Size()*13/10, b.Dir, rate)
	if err != nil {
		return err
	}
	defer room.Remove()
	all, err := b.child(ctx, Spec{Cage: room.Files(), Width: width, Height: width, Script: []Act{
		{Op: "open", File: file}, {Op: "encode", Prompt: "a boat"}, {Op: "step", Times: 2}, {Op: "decode"}, {Op: "encode", Prompt: "a house"}}})
	if err != nil {
		return err
	}
	again := of(all, "encode")[1].Read
	b.bar("prompt: a changed one with memory for everything", again < 1<<20, "encoding it reads %s", mib(again))
	b.bar("prompt: an unchanged one", median(same) <= 1.05, "a step reads %.3f of what the denoiser streams, at most 1.05: nothing of the text encoder", median(same))
	return nil
}

// pressure has another process take and give back half of the memory twenty
// times during a generation.
func (b *Bench) pressure(ctx context.Context) error {
	file, err := b.model(ctx, 1)
	if err != nil {
		return err
	}
	const limit, times, width = 3 << 30, 20, 64
	b.title("pressure: another process takes and frees half of %s of memory %d times during a generation", gib(limit), times)
	cage, err := NewCage(limit, b.Dir, 0)
	if err != nil {
		return err
	}
	defer cage.Remove()
	spec := Spec{Cage: cage.Files(), Width: width, Height: width, Script: generation(file, 40)}
	calm, err := b.child(ctx, spec)
	if err != nil {
		return err
	}
	hog := exec.CommandContext(ctx, b.Hog[0], append(b.Hog[1:], fmt.Sprint(limit/2), fmt.Sprint(times), cage.Files()[0])...)
	hog.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var rounds, problems bytes.Buffer // a line for each time that memory was taken and freed
	hog.Stdout, hog.Stderr = &rounds, &problems
	if err := hog.Start(); err != nil {
		return err
	}
	pressed, err := b.child(ctx, spec)
	if err != nil {
		return errors.Join(err, hog.Process.Kill(), hog.Wait())
	}
	// The run may have ended first.
	if err := hog.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ended := hog.Wait()
	done := bytes.Count(rounds.Bytes(), []byte("\n"))
	if ended != nil && done < times {
		fmt.Fprintf(b.Log, "the other process: %v: %s\n", ended, strings.TrimSpace(problems.String()))
	}
	b.table("|steps|read", []string{
		fmt.Sprintf("alone|%.1f s|%s", total(of(calm, "step")), gib(sumRead(calm))),
		fmt.Sprintf("under pressure|%.1f s|%s", total(of(pressed, "step")), gib(sumRead(pressed))),
	})
	same := calm[len(calm)-1].Hash == pressed[len(pressed)-1].Hash
	b.bar("pressure: picture", same && done == times, "identical: %v; the memory was taken and freed %d times meanwhile, at least %d", same, done, times)
	return nil
}

func sumRead(all []Measure) (n int64) {
	for _, m := range all {
		n += m.Read
	}
	return n
}

// Hog takes bytes of memory and frees them, so many times, half a second
// each, and writes a line each time. It ends when the context does.
func Hog(ctx context.Context, out io.Writer, bytes int64, times int, cage string) error {
	if err := enter([]string{cage}); err != nil {
		return err
	}
	for range times {
		m, err := syscall.Mmap(-1, 0, int(bytes), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return err
		}
		for i := 0; i < len(m); i += 4096 {
			m[i] = 1
		}
		if err := pause(ctx); err != nil {
			return err
		}
		if err := syscall.Munmap(m); err != nil {
			return err
		}
		fmt.Fprintln(out, "taken and freed")
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(500 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
