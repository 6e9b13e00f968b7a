package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// newPlan returns the command that shows what a workflow would run.
func newPlan() *cobra.Command {
	var p planning
	var asJSON, details, ops bool
	cmd := &cobra.Command{
		Use:   "plan WORKFLOW",
		Short: "Predict memory, transfers and times of a workflow, without running it",
		Long: `Plan all networks of a workflow without running them and say whether it fits,
streams its weights or does not fit. A table has a line for each program: how
much memory its work takes, how large its weights are, what of them stays in
memory, what passes through in each run, and how long a run takes. The memory
can be another machine's: --vram is that of a device, --ram that of its host.
Rates that are not given are measured here.`,
		Example: "  weir plan workflow.json --vram 8GiB --ram 32GiB --link 25GB/s --disk 5GB/s --compute 30TFLOP/s",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.plan(cmd, args[0]); err != nil {
				if asJSON {
					return err
				}
				return refuse(cmd.OutOrStdout(), err)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(p.programs)
			}
			if len(p.programs) > 0 { // searched for where it is told
				var err error
				if p.least, err = p.search.words(cmd.Context()); err != nil {
					return refuse(cmd.OutOrStdout(), err)
				}
			}
			if details || ops {
				return p.write(cmd.OutOrStdout(), ops)
			}
			return p.summarize(cmd.OutOrStdout())
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&p.sets, "set", nil, "change an input: NODE.INPUT=VALUE")
	f.StringVar(&p.disk, "disk", "", "how fast files are read, for example 5GB/s (default: measured)")
	f.StringVar(&p.compute, "compute", "", "how fast operations are, for example 30TFLOP/s (default: measured on the processor)")
	f.Lookup("link").Usage = "how fast the memory of --vram is filled, for example 25GB/s (default: measured)"
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	f.BoolVar(&details, "details", false, "show each program with its inputs, outputs, operations and extents")
	f.BoolVar(&ops, "ops", false, "show each program with a list of its operations")
	return cmd
}

// A planning is a workflow that is planned for a machine.
type planning struct {
	setup
	sets          []string
	disk, compute string

	device   device.Kind
	stats    pager.Stats
	rates    []string // that predictions rest on, in words
	search   leastMemory
	least    string // memory that the workflow runs in
	programs []*planned
}

// plan goes through a workflow with an engine that runs nothing.
func (p *planning) plan(cmd *cobra.Command, path string) (err error) {
	disk, err := parseRate("--disk", p.disk)
	if err != nil {
		return err
	}
	compute, err := parseCompute(p.compute)
	if err != nil {
		return err
	}
	roots, err := p.folders()
	if err != nil {
		return err
	}
	o, err := p.options(pipeline.Options{})
	if err != nil {
		return err
	}
	f := newForecast(o)
	defer func() { err = errors.Join(err, f.engine.Close()) }()
	if err := enough(f.engine); err != nil {
		return err
	}
	job, err := check(&node.Env{Folders: roots, Engine: f.engine}, func(reg *workflow.Registry) (*workflow.Graph, error) {
		g, err := readWorkflow(cmd.Context(), path, reg)
		if err != nil {
			return nil, err
		}
		return g, applySets(g, reg, p.sets)
	})
	if err != nil {
		return err
	}
	warn(job)
	p.search = leastMemory{roots, job.Graph, o}
	if _, err = f.job(cmd.Context(), job); err != nil {
		return p.search.remedy(cmd.Context(), err)
	}
	p.programs = f.programs
	if len(p.programs) == 0 {
		return nil
	}
	p.device, p.stats = f.engine.Device().Info().Kind, f.engine.Stats()
	return p.predict(cmd.Context(), f, compute, disk)
}

// predict predicts each program from the rates that are given, and from those
// that are measured.
func (p *planning) predict(ctx context.Context, f *forecast, compute, disk float64) error {
	work, err := p.rate(ctx, "work", "FLOP/s", compute, f.engine.MeasureCompute)
	if err != nil {
		return err
	}
	var r pager.Rates
	if r.Disk, err = p.rate(ctx, "disk", "B/s", disk, f.engine.MeasureDisk); err != nil {
		return err
	}
	if p.device == device.Discrete {
		link, err := parseRate("--link", p.link)
		if err != nil {
			return err
		}
		if r.Link, err = p.rate(ctx, "link", "B/s", link, f.engine.MeasureLink); err != nil {
			return err
		}
	}
	f.predict(work, r)
	return nil
}

// rate returns a rate that is given, or measures it if it is 0, and notes which
// it was.
func (p *planning) rate(ctx context.Context, name, unit string, value float64, measure func(context.Context) (float64, error)) (float64, error) {
	how := "given"
	if value == 0 {
		how = "measured"
		var err error
		if value, err = measure(ctx); err != nil {
			return 0, err
		}
	}
	p.rates = append(p.rates, fmt.Sprintf("%s %s (%s)", name, si(value, unit), how))
	return value, nil
}

// write prints all programs with what is predicted of each.
func (p *planning) write(out io.Writer, ops bool) error {
	var whole float64
	for _, x := range p.programs {
		if err := x.WriteTable(out, ops); err != nil {
			return err
		}
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		y := x.Prediction
		if p.device == device.Discrete {
			fmt.Fprintf(t, "VRAM\t%s of %s of weights stay\t%s come over the link in each run\n", size(y.Top.Kept), size(y.Top.Kept+y.Top.Streamed), size(y.Top.Streamed))
		}
		fmt.Fprintf(t, "RAM\t%s of weights need no disk\t%s are read from disk in each run\n", size(y.RAM.Kept), size(y.RAM.Streamed))
		if n := x.Merging; n > 0 {
			fmt.Fprintf(t, "merging\t%s of RAM while LoRAs are merged into weights\n", size(n))
		}
		fmt.Fprintf(t, "runs\t%d\tthe first %s, each later one %s, of which %s work\n", x.Runs, duration(y.First), duration(y.Later), duration(y.Compute))
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(out)
		whole += y.First + float64(x.Runs-1)*y.Later
	}
	return p.writeTotal(out, whole)
}

// duration writes seconds for people.
func duration(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.3g ms", 1e3*seconds)
	}
	return fmt.Sprintf("%.2f s", seconds)
}
