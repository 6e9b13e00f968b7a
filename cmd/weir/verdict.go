package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/fault"
)

// A verdict is what is found of a workflow on a machine.
type verdict string

// The verdicts.
const (
	fits    verdict = "fits"
	streams verdict = "streams"
	fails   verdict = "does not fit"
)

// judge returns the verdict on the programs that were planned, with the reason.
func (p *planning) judge() (verdict, string) {
	var moved, most float64
	var worst *planned
	for _, x := range p.programs {
		y := x.Prediction
		n := float64(max(y.Top.Streamed, y.RAM.Streamed))
		moved += n * float64(x.Runs)
		if n > most {
			worst, most = x, n
		}
	}
	switch {
	case len(p.programs) == 0:
		return fits, "no model runs"
	case worst == nil:
		return fits, "all weights stay in memory beside the work"
	}
	from := "from disk"
	if worst.Prediction.RAM.Streamed == 0 {
		from = "over the link"
	}
	return streams, fmt.Sprintf("%s pass through memory in all, the most of %s: %s %s in each run", size(int64(moved)), printable(worst.Name), size(int64(most)), from)
}

// refuse prints the verdict on a workflow whose plan failed, if the reason is a
// memory that is too small. The error itself tells the numbers.
func refuse(out io.Writer, err error) error {
	if fault.Of(err) != fault.Memory {
		return err
	}
	_, e := fmt.Fprintf(out, "%s\n", fails)
	return errors.Join(err, e)
}

// summarize prints the verdict, a line for each program and the whole time.
func (p *planning) summarize(out io.Writer) error {
	v, why := p.judge()
	fmt.Fprintf(out, "%s: %s\n\n", v, why)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	discrete := p.device == device.Discrete
	merges := slices.ContainsFunc(p.programs, func(x *planned) bool { return x.Merging > 0 })
	head := []string{"program", "runs", "activations", "weights", "stay"}
	if merges {
		head = slices.Insert(head, 3, "merging")
	}
	if discrete {
		head = append(head, "over the link")
	}
	fmt.Fprintln(t, strings.Join(append(head, "from disk", "first run", "later", "of it work"), "\t"))
	var whole float64
	for _, x := range p.programs {
		y := x.Prediction
		activations := size(x.Arena)
		if x.Regions > 0 {
			activations += " in tiles"
		}
		row := []string{printable(x.Name), fmt.Sprint(x.Runs), activations, size(y.Top.Kept + y.Top.Streamed), size(y.Top.Kept)}
		if merges {
			row = slices.Insert(row, 3, size(x.Merging))
		}
		if discrete {
			row = append(row, size(y.Top.Streamed))
		}
		fmt.Fprintln(t, strings.Join(append(row, size(y.RAM.Streamed), duration(y.First), duration(y.Later), duration(y.Compute)), "\t"))
		whole += y.First + float64(x.Runs-1)*y.Later
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return p.writeTotal(out, whole)
}

// writeTotal prints how long the workflow takes, in which memory it is planned
// and the least that it runs in.
func (p *planning) writeTotal(out io.Writer, seconds float64) error {
	budget := "RAM for weights " + size(p.stats.RAM.Budget)
	if p.device == device.Discrete {
		budget = "VRAM " + size(p.stats.VRAM.Budget) + ", " + budget
	}
	_, err := fmt.Fprintf(out, "%s in all with nothing in memory before; %s; %s\n", duration(seconds), budget, strings.Join(p.rates, ", "))
	if p.least != "" && err == nil {
		_, err = fmt.Fprintf(out, "The workflow runs with %s or more\n", p.least)
	}
	return err
}
