package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

type source struct{ *weights.File }

func (s source) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	r, ok := s.File.Lookup(name)
	return r.DType, r.Shape, ok
}
func (s source) Adapters(string) []nn.Adapter { return nil }

// encoder is the text encoder of the golden clip_l, with what it is given.
type encoder struct {
	file    *weights.File
	program *plan.Program
	inputs  run.Inputs
}

func newEncoder(t *testing.T, path string, o plan.Options) encoder {
	t.Helper()
	file, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	const prefix = "cond_stage_model.transformer."
	config, err := clip.Detect(source{file}, prefix, file.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	g := ir.New("text encoder")
	clip.Text(nn.NewScope(g, source{file}).Sub(prefix), config, 3, clip.Output{Layer: -1, Norm: true})
	p, err := plan.Compile(g, o)
	if err != nil {
		t.Fatal(err)
	}
	tokens := golden.Open(t, "clip_l").I32("tokens")
	return encoder{file, p, run.Inputs{"tokens": tokens, "ends": []int32{76, 77 + 9, 2*77 + 30}}}
}

func goldenPath() string { return filepath.Join(golden.Dir(), "clip_l.safetensors") }

// bind binds the encoder on a device of its own.
func (e encoder) bind(t *testing.T, vram int64) (*run.Model, *pager.Pager) {
	t.Helper()
	dev := cpu.New(cpu.Options{VRAM: vram})
	t.Cleanup(func() { dev.Close() })
	pg := pager.New(dev, pager.Options{VRAM: vram})
	t.Cleanup(pg.Close)
	m, err := run.Bind(e.program, e.file, pg)
	if err != nil {
		t.Fatal(err)
	}
	return m, pg
}

func TestRunEqualsReference(t *testing.T) {
	e := newEncoder(t, goldenPath(), plan.Options{})
	m, pg := e.bind(t, 0)
	steps := 0
	out, err := m.Run(t.Context(), e.inputs, func(done, total int) {
		if steps++; done != steps || total != len(e.program.Ops) {
			t.Errorf("operation %d of %d was reported as %d of %d", steps, len(e.program.Ops), done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "last state", out["hidden"], golden.Open(t, "clip_l").F32("last"), 1e-4)
	if steps != len(e.program.Ops) {
		t.Errorf("%d operations were reported of %d", steps, len(e.program.Ops))
	}
	if s := pg.Stats(); s.VRAM.Moved != 0 || s.RAM.Moved != e.program.WeightBytes() {
		t.Errorf("weights are read once and used in place on the CPU: %d bytes were read and %d copied", s.RAM.Moved, s.VRAM.Moved)
	}
}

// TestLargerThanMemory runs a model on a device with memory for a third of its
// weights: the result has the same bits, and the memory that was planned is
// what was taken.
func TestLargerThanMemory(t *testing.T) {
	whole := newEncoder(t, goldenPath(), plan.Options{})
	m, _ := whole.bind(t, 0)
	want, err := m.Run(t.Context(), whole.inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Extents so small that the table of tokens must be cut in rows.
	e := newEncoder(t, goldenPath(), plan.Options{MaxExtent: 20000})
	vram := e.program.Arena + e.program.WeightBytes()/3
	small, pg := e.bind(t, vram)
	for pass := range 3 {
		got, err := small.Run(t.Context(), e.inputs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("pass %d: %s is not the same bits as with all weights in place", pass, name)
			}
		}
	}
	s := pg.Stats().VRAM
	if s.Peak > vram || s.Activations != e.program.Arena {
		t.Errorf("%d of %d bytes were taken, %d of them for activations of %d", s.Peak, vram, s.Activations, e.program.Arena)
	}
	if s.Evictions == 0 {
		t.Error("nothing was evicted: the test is not what it says")
	}
}

// TestPeakIsWhatIsAllocated runs with memory for exactly what the planner
// predicts, and with a byte less.
func TestPeakIsWhatIsAllocated(t *testing.T) {
	e := newEncoder(t, goldenPath(), plan.Options{MaxExtent: 20000})
	var largest int64
	for _, op := range e.program.Ops {
		var n int64
		for _, x := range op.Extents {
			n += e.program.Extents[x].Bytes
		}
		largest = max(largest, n)
	}
	m, pg := e.bind(t, e.program.Arena+largest)
	if _, err := m.Run(t.Context(), e.inputs, nil); err != nil {
		t.Errorf("with exactly the memory that was planned: %v", err)
	}
	if s := pg.Stats().VRAM; s.Peak != e.program.Arena+largest {
		t.Errorf("the peak was %d bytes, the plan says %d", s.Peak, e.program.Arena+largest)
	}
	m, _ = e.bind(t, e.program.Arena+largest-1)
	_, err := m.Run(t.Context(), e.inputs, nil)
	if !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("with a byte less: %v", err)
	}
	m, _ = e.bind(t, e.program.Arena-1)
	if _, err = m.Run(t.Context(), e.inputs, nil); !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("with less than the activations: %v", err)
	}
}

func TestInputErrors(t *testing.T) {
	e := newEncoder(t, goldenPath(), plan.Options{})
	m, _ := e.bind(t, 0)
	for _, test := range []struct {
		inputs run.Inputs
		want   string
	}{
		{run.Inputs{"ends": e.inputs["ends"]}, "was not given the input tokens"},
		{run.Inputs{"tokens": make([]int32, 5), "ends": e.inputs["ends"]}, "input tokens: expected 231 values of I32 in the shape [3 77], found 5"},
		{run.Inputs{"tokens": make([]float32, 231), "ends": e.inputs["ends"]}, "input tokens: expected 231 values of I32"},
		{run.Inputs{"tokens": "text", "ends": e.inputs["ends"]}, "input tokens is a string"},
	} {
		if _, err := m.Run(t.Context(), test.inputs, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want an error with %q", err, test.want)
		}
	}
}

func TestMissingTensor(t *testing.T) {
	e := newEncoder(t, goldenPath(), plan.Options{})
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	_, err := run.Bind(e.program, &weights.Set{}, pager.New(dev, pager.Options{}))
	if err == nil || !strings.Contains(err.Error(), "has no tensor cond_stage_model.") {
		t.Errorf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	for _, vram := range []int64{0, 1 << 30} {
		e := newEncoder(t, goldenPath(), plan.Options{})
		m, _ := e.bind(t, vram)
		for point := range len(e.program.Ops) {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := m.Run(ctx, e.inputs, func(done, _ int) {
				if done == point {
					cancel()
				}
			})
			if point > 0 && !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled after operation %d: %v", point, err)
			}
			cancel()
		}
		if _, err := m.Run(t.Context(), e.inputs, nil); err != nil {
			t.Errorf("after the cancelled runs: %v", err)
		}
	}
}

// TestFileChanges truncates, replaces and removes the file of a bound model.
func TestFileChanges(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files that are mapped can be neither truncated nor removed on Windows")
	}
	bytes, err := os.ReadFile(goldenPath())
	if err != nil {
		t.Fatal(err)
	}
	cut := func(path string) error { return os.Truncate(path, int64(len(bytes)/2)) }
	replace := func(path string) error {
		if err := os.WriteFile(path+".new", bytes, 0o644); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	for _, vram := range []int64{0, 1 << 30} {
		for _, test := range []struct {
			name   string
			change func(path string) error
			at     int // the operation before which it happens; 0 is before the run
			want   string
		}{
			{"truncated before", cut, 0, "truncated"},
			{"truncated during", cut, 3, "truncated"},
			{"removed before", os.Remove, 0, "removed"},
			{"replaced before", replace, 0, "replaced"},
		} {
			path := filepath.Join(t.TempDir(), "model.safetensors")
			if err := os.WriteFile(path, bytes, 0o644); err != nil {
				t.Fatal(err)
			}
			// A little older than what replaces it, whatever the clock's grain.
			if err := os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
			e := newEncoder(t, path, plan.Options{MaxExtent: 20000})
			budget := vram
			if budget > 0 {
				budget = e.program.Arena + e.program.WeightBytes()/3
			}
			m, _ := e.bind(t, budget)
			if test.at == 0 {
				if err := test.change(path); err != nil {
					t.Fatal(err)
				}
			}
			_, err := m.Run(t.Context(), e.inputs, func(done, _ int) {
				if done == test.at {
					if err := test.change(path); err != nil {
						t.Error(err)
					}
				}
			})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("VRAM %d, %s: %v, want an error that names the file and says %s", vram, test.name, err, test.want)
			}
		}
	}
}

// TestReplacedDuring puts another file in the place of the one that a run
// reads: the run goes on with the one that it has, and the next is refused.
func TestReplacedDuring(t *testing.T) {
	bytes, err := os.ReadFile(goldenPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, vram := range []int64{0, 1} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		if err := os.WriteFile(path, bytes, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		e := newEncoder(t, path, plan.Options{MaxExtent: 20000})
		m, _ := e.bind(t, vram*(e.program.Arena+e.program.WeightBytes()/3))
		want, err := m.Run(t.Context(), e.inputs, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Run(t.Context(), e.inputs, func(done, _ int) {
			if done != 3 {
				return
			}
			other := slices.Clone(bytes)
			for i := len(other) / 2; i < len(other); i++ {
				other[i] ^= 0x11
			}
			if err := os.WriteFile(path+".new", other, 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		})
		if err != nil || !slices.Equal(got["hidden"], want["hidden"]) {
			t.Errorf("VRAM %d: the run whose file was replaced: %v, and the result is the same: %v", vram, err, slices.Equal(got["hidden"], want["hidden"]))
		}
		if _, err := m.Run(t.Context(), e.inputs, nil); err == nil || !strings.Contains(err.Error(), "replaced") {
			t.Errorf("VRAM %d: the next run: %v", vram, err)
		}
	}
}
