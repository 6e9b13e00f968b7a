package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// A progress shows what a run does: bars on a terminal, otherwise lines.
type progress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	// residency tells what of the weights in use stays in memory.
	residency func() pipeline.Residency

	bar     *progressbar.ProgressBar
	started time.Time // the first step of the node that runs
	printed time.Time // the last line of steps
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), now: time.Now}
}

// title returns what the user calls a node, with its id: ComfyUI gives all
// nodes of a class the same title.
func title(n *workflow.Node) string { return n.Label() }

// Observe shows an event.
func (p *progress) Observe(e workflow.Event) {
	switch e.Kind {
	case workflow.NodeStarted:
		p.started, p.printed = p.now(), time.Time{}
	case workflow.NodeProgress:
		p.step(e)
	case workflow.NodeDone, workflow.NodeFailed:
		p.finish()
		if e.Kind == workflow.NodeDone {
			p.done(e)
		}
	}
}

func (p *progress) step(e workflow.Event) {
	now := p.now()
	each := now.Sub(p.started) / time.Duration(max(e.Step, 1))
	if p.terminal {
		if p.bar == nil {
			p.bar = progressbar.NewOptions(e.Total, progressbar.OptionSetWriter(p.w), progressbar.OptionShowCount(),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
		}
		p.bar.Describe(fmt.Sprintf("%s, %.2f s a step%s", title(e.Node), each.Seconds(), p.weights()))
		// A terminal that has gone away is no reason to stop.
		_ = p.bar.Set(e.Step)
		return
	}
	if e.Step < e.Total && now.Sub(p.printed) < time.Second || e.Total == 1 {
		return
	}
	p.printed = now
	fmt.Fprintf(p.w, "%s: step %d/%d, %.2f s a step, %.0f s left%s\n", title(e.Node), e.Step, e.Total,
		each.Seconds(), (each * time.Duration(e.Total-e.Step)).Seconds(), p.weights())
}

// weights says how much of the weights stays in memory and how much passes
// through it in each step.
func (p *progress) weights() string {
	if p.residency == nil {
		return ""
	}
	r := p.residency()
	switch {
	case r.Kept+r.Streamed == 0:
		return ""
	case r.Streamed == 0:
		return fmt.Sprintf(", %s of weights resident", size(r.Kept))
	case r.Read > 0 && r.Read < r.Streamed:
		return fmt.Sprintf(", %s of weights resident, %s streamed, %s of it from disk", size(r.Kept), size(r.Streamed), size(r.Read))
	}
	return fmt.Sprintf(", %s of weights resident, %s streamed", size(r.Kept), size(r.Streamed))
}

// done says what a node saved and shows, and how long it took when that can be noticed.
func (p *progress) done(e workflow.Event) {
	if e.Elapsed > 100*time.Millisecond {
		fmt.Fprintf(p.w, "%s: %.1f s\n", title(e.Node), e.Elapsed.Seconds())
	}
	for _, f := range e.Files {
		fmt.Fprintf(p.w, "%s: saved %s\n", title(e.Node), printable(f.Path))
	}
	if e.Text != "" {
		fmt.Fprintf(p.w, "%s: %s\n", title(e.Node), printable(e.Text))
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
