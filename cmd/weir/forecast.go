package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/workflow"
)

// A forecast is what a workflow would run: an engine that runs nothing goes
// through it.
type forecast struct {
	engine   *pipeline.Engine
	programs []*planned
	index    map[*plan.Program]*planned
	nodes    int
}

// A planned program is one that a workflow runs so many times.
type planned struct {
	Runs int
	*plan.Program
	// Merging is how many bytes of RAM are taken to merge LoRAs into weights.
	Merging    int64
	Prediction pager.Prediction

	model *run.Model
}

// newForecast returns an empty forecast for an engine of those options, which
// the caller closes.
func newForecast(o pipeline.Options) *forecast {
	f := &forecast{index: map[*plan.Program]*planned{}}
	o.Planned, o.Trace = f.add, nil
	f.engine = pipeline.New(o)
	return f
}

// add counts runs of a program.
func (f *forecast) add(m *run.Model, runs int) {
	x := f.index[m.Program()]
	if x == nil {
		x = &planned{Program: m.Program(), Merging: m.Scratch(), model: m}
		f.index[m.Program()] = x
		f.programs = append(f.programs, x)
	}
	x.Runs += runs
}

// enough refuses to begin where the program itself finds no room: the memory
// that an engine's device works in is taken as it is used.
func enough(e *pipeline.Engine) error {
	m, err := host.Memory()
	smallest := ownMemory + e.Device().Info().Workspace
	if err != nil || m.Available+m.Heap >= smallest {
		return nil
	}
	where := "the machine"
	if m.Limit > 0 {
		where = "control group " + m.Group
	}
	return fault.New(fault.Memory, "%s has %s free of %s, and Weir needs %s for itself, beside what a workflow needs", where, size(m.Available), size(m.Total), size(smallest))
}

// ownMemory is what the program takes without any weights, activations and
// pictures.
const ownMemory = 18 << 20

// job plans a job. It returns the job without the output nodes that cannot be
// made, and the reasons; without any output left there is no job.
func (f *forecast) job(ctx context.Context, job *workflow.Job) (*workflow.Job, error) {
	result, err := workflow.NewExecutor(f.engine).Run(ctx, job, nil)
	if fault.Of(err) == fault.Cancelled {
		return nil, err
	}
	f.nodes = result.Ran
	return job.Without(result.Failed), err
}

// predict predicts each program when operations are so fast and weights come at
// those rates.
func (f *forecast) predict(compute float64, rates pager.Rates) {
	for _, x := range f.programs {
		x.Prediction = x.model.Predict(compute, rates)
	}
}

// announce says in one line what is going to run, what of the weights stays in
// memory and about how long it takes.
func (f *forecast) announce(ctx context.Context) (string, error) {
	if len(f.programs) == 0 {
		return fmt.Sprintf("%d nodes, none of which runs a network", f.nodes), nil
	}
	compute, err := f.engine.MeasureCompute(ctx)
	if err != nil {
		return "", err
	}
	// Of the rates only what stays depends a little.
	f.predict(compute, pager.Rates{Disk: 1e9, Link: 1e10})
	seconds, most := 0.0, f.programs[0]
	for _, x := range f.programs {
		seconds += float64(x.Runs) * x.Prediction.Compute
		if x.WeightBytes()*int64(x.Runs) > most.WeightBytes()*int64(most.Runs) {
			most = x
		}
	}
	memory := "RAM"
	if f.engine.Device().Info().Kind == device.Discrete {
		memory = "VRAM"
	}
	weights := fmt.Sprintf("all %s of its weights stay in %s", size(most.WeightBytes()), memory)
	if top := most.Prediction.Top; top.Streamed > 0 {
		weights = fmt.Sprintf("%s of its weights stay in %s and %s pass through each time", size(top.Kept), memory, size(top.Streamed))
	}
	return fmt.Sprintf("%d nodes, about %s of work; %s runs %d times: %s", f.nodes, duration(seconds), most.Name, most.Runs, weights), nil
}

// A flag for memory, by its name, with the option that it sets.
type memoryFlag struct {
	name string
	of   func(*pipeline.Options) *int64
}

var (
	vramFlag = memoryFlag{"--vram", func(o *pipeline.Options) *int64 { return &o.VRAM }}
	ramFlag  = memoryFlag{"--ram", func(o *pipeline.Options) *int64 { return &o.RAM }}
)

// A leastMemory searches for the least memory that a workflow can run in.
type leastMemory struct {
	roots *folders.Roots
	graph *workflow.Graph
	o     pipeline.Options
}

// runs reports whether the workflow can be planned when a memory has so many
// bytes. The error is of another kind than memory.
func (l leastMemory) runs(ctx context.Context, flag memoryFlag, n int64) (bool, error) {
	o := l.o
	*flag.of(&o) = n
	f := newForecast(o)
	job, err := workflow.Check(l.graph, node.Registry(&node.Env{Folders: l.roots, Engine: f.engine}))
	if err == nil {
		_, err = f.job(ctx, job)
	}
	err = errors.Join(err, f.engine.Close())
	if short := fault.Of(err) == fault.Memory; short || ctx.Err() != nil {
		return false, ctx.Err()
	}
	return true, nil // what else is wrong is not the memory's fault
}

// most is more memory than any workflow needs.
const most = 1 << 46

// find returns the least value of a flag with which the workflow runs, rounded
// up to three digits, and false if no value helps.
func (l leastMemory) find(ctx context.Context, flag memoryFlag) (int64, bool, error) {
	if ok, err := l.runs(ctx, flag, most); !ok || err != nil {
		return 0, false, err
	}
	low, high := int64(0), int64(1<<20)
	for ; ; low, high = high, 2*high {
		if ok, err := l.runs(ctx, flag, high); err != nil {
			return 0, false, err
		} else if ok {
			break
		}
	}
	for high-low > max(high/128, 1<<12) {
		middle := low + (high-low)/2
		ok, err := l.runs(ctx, flag, middle)
		if err != nil {
			return 0, false, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	// Other extents and tiles belong to another budget: what is named must work.
	for n := roundUp(high); ; n = roundUp(n + n/64) {
		if ok, err := l.runs(ctx, flag, n); ok || err != nil {
			return n, ok, err
		}
	}
}

// roundUp returns the next number of three decimal digits.
func roundUp(n int64) int64 {
	unit := int64(math.Pow10(max(int(math.Log10(float64(max(n, 1))))-2, 0)))
	return (n + unit - 1) / unit * unit
}

// flags returns the flags whose memory a workflow may lack.
func (l leastMemory) flags() []memoryFlag {
	if l.o.VRAM > 0 {
		return []memoryFlag{vramFlag, ramFlag}
	}
	return []memoryFlag{ramFlag}
}

// words says how much memory the workflow runs in: of each kind as long as there
// is as much of the other as there is.
func (l leastMemory) words(ctx context.Context) (string, error) {
	var all []string
	for _, flag := range l.flags() {
		n, ok, err := l.find(ctx, flag)
		if err != nil {
			return "", err
		}
		if ok {
			all = append(all, flag.name+" "+decimal(n))
		}
	}
	return strings.Join(all, ", or "), nil
}

// remedy adds to the error of a workflow that does not fit how much memory would
// do.
func (l leastMemory) remedy(ctx context.Context, err error) error {
	if fault.Of(err) != fault.Memory {
		return err
	}
	words, failed := l.words(ctx)
	switch {
	case failed != nil:
		return failed
	case words == "":
		return fmt.Errorf("%w\nMore memory of one kind alone does not help; smaller or fewer pictures do", err)
	}
	if l.o.RAM == 0 && l.o.VRAM == 0 { // the memory is the machine's, and no flag makes it larger
		return fmt.Errorf("%w\nThe workflow runs where %s are left for it; smaller or fewer pictures need less", err, strings.TrimPrefix(words, ramFlag.name+" "))
	}
	return fmt.Errorf("%w\nThe workflow runs with %s or more; smaller or fewer pictures need less", err, words)
}

// decimal writes a number of bytes of three digits exactly, as flags read it.
func decimal(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%vGB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%vMB", float64(n)/1e6)
	}
	return fmt.Sprintf("%vkB", float64(n)/1e3)
}
