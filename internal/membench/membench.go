//go:build linux

package membench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/synth"
)

// A Bench is a run of the benchmark.
type Bench struct {
	// Self starts this program as a child: the arguments with which it calls
	// Child and Hog.
	Self, Hog []string
	Dir       string // where the models are, and are written if they are missing
	Charts    string // where the charts are written, or ""
	Rounds    int    // how often each way is measured, in turns
	Out       io.Writer
	Log       io.Writer

	bars []Bar
}

// A Bar is what a number must be.
type Bar struct {
	Name string
	OK   bool
	Text string
}

// rows are the parts of the benchmark.
var rows = []struct {
	name string
	run  func(*Bench, context.Context) error
}{
	{"load", (*Bench).load},
	{"ram", (*Bench).ram},
	{"vram", (*Bench).vram},
	{"experts", (*Bench).experts},
	{"prompt", (*Bench).prompt},
	{"lora", (*Bench).lora},
	{"pressure", (*Bench).pressure},
	{"pager", (*Bench).pager},
}

// Rows returns the names of the rows.
func Rows() (names []string) {
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// Run measures the rows of the given names, or all. It returns an error when
// one could not be measured; a bar that is missed is told on Out.
func (b *Bench) Run(ctx context.Context, names []string) error {
	var errs []error
	for _, r := range rows {
		if len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		if err := r.run(b, ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			errs = append(errs, fmt.Errorf("row %s: %w", r.name, err))
		}
	}
	fmt.Fprintln(b.Out)
	for _, bar := range b.bars {
		verdict := "met   "
		if !bar.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(b.Out, "%s  %s: %s\n", verdict, bar.Name, bar.Text)
	}
	return errors.Join(errs...)
}

func (b *Bench) bar(name string, ok bool, format string, args ...any) {
	b.bars = append(b.bars, Bar{name, ok, fmt.Sprintf(format, args...)})
}

// title begins a row.
func (b *Bench) title(format string, args ...any) {
	fmt.Fprintf(b.Out, "\n## "+format+"\n\n", args...)
}

// table prints lines of columns.
func (b *Bench) table(head string, lines []string) {
	t := tabwriter.NewWriter(b.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(head, "|", "\t"))
	for _, l := range lines {
		fmt.Fprintln(t, strings.ReplaceAll(l, "|", "\t"))
	}
	t.Flush()
}

// model returns the path of a checkpoint of Stable Diffusion 1.5 with random
// weights, which it writes if it is not there.
func (b *Bench) model(ctx context.Context, seed uint64) (string, error) {
	path := filepath.Join(b.Dir, fmt.Sprintf("weir-bench-sd15-%d.safetensors", seed))
	return path, b.write(path, func() error {
		return synth.Write(ctx, path, synth.SD15(), dtype.F16, seed)
	})
}

func (b *Bench) write(path string, write func() error) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintf(b.Log, "writing %s\n", path)
	return write()
}

// child runs a spec in a process of its own.
func (b *Bench) child(ctx context.Context, s Spec) ([]Measure, error) {
	in, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.Self[0], b.Self[1:]...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &problems
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(problems.String()))
	}
	fmt.Fprintf(b.Log, "%s: %s in %.1f s\n", or(string(s.Memory), "dynamic"), s.what(), time.Since(start).Seconds())
	var all []Measure
	return all, json.Unmarshal(out.Bytes(), &all)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// of returns the measures of an operation.
func of(all []Measure, op string) (out []Measure) {
	for _, m := range all {
		if m.Op == op {
			out = append(out, m)
		}
	}
	return out
}

// total returns the seconds of measures in all.
func total(all []Measure) (s float64) {
	for _, m := range all {
		s += m.Seconds
	}
	return s
}

// seconds returns the seconds of each measure.
func seconds(all []Measure) (s []float64) {
	for _, m := range all {
		s = append(s, m.Seconds)
	}
	return s
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func gib(n int64) string { return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30)) }
func mib(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
