package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"
)

// An EventKind says what happened to a node.
type EventKind int

// The kinds of events.
const (
	NodeStarted  EventKind = iota // begins to run
	NodeProgress                  // did Step of Total steps
	NodeDone                      // has run, in Elapsed, and wrote Files
	NodeCached                    // need not run: its result is known; Files are those of then
	NodeFailed                    // ended with Err
)

// An Event is something that happened to a node during a run.
type Event struct {
	Kind        EventKind
	Node        *Node
	Step, Total int
	// Preview computes a picture of the state at this step; nil when the node
	// has none. It may be called only until Observe returns.
	Preview func() any
	Files   []File
	Elapsed time.Duration
	Err     error
}

// An Observer is told what happens during a run, one event at a time.
type Observer interface {
	Observe(Event)
}

// ObserverFunc makes an Observer of a function.
type ObserverFunc func(Event)

// Observe calls the function.
func (f ObserverFunc) Observe(e Event) { f(e) }

// A Result is what a run brought forth.
type Result struct {
	// Files are what each output node wrote, by id.
	Files map[string][]File
	// Ran and Cached count the nodes that ran and those whose results were known.
	Ran, Cached int
}

// An Executor runs jobs one after the other and keeps results, so that a run
// computes only what has changed since the last one: a node runs when its
// class, its values, its fingerprint or anything of the nodes it is linked to
// differs. Results that a new job does not use are dropped before it runs.
type Executor struct {
	mu    sync.Mutex
	cache map[string]*entry // by signature
}

type entry struct {
	outputs []any
	files   []File
}

// NewExecutor returns an executor without results.
func NewExecutor() *Executor { return &Executor{cache: map[string]*entry{}} }

// Clear drops all results.
func (x *Executor) Clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.cache)
}

// Run executes a job. The observer may be nil. The error is a *NodeError when a
// node failed or was cancelled; results of the nodes before it are kept.
func (x *Executor) Run(ctx context.Context, job *Job, observer Observer) (*Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := &run{x: x, job: job, observe: func(Event) {}, results: map[string]*entry{}}
	if observer != nil {
		r.observe = observer.Observe
	}
	signatures, err := r.signatures(ctx)
	if err != nil {
		return nil, err
	}
	x.keep(signatures)
	wanted := r.wanted(signatures)
	result := &Result{Files: map[string][]File{}}
	for i, s := range job.steps {
		signature := signatures[s.node.ID]
		e, cached := x.cache[signature]
		switch {
		case cached:
			result.Cached++
			r.observe(Event{Kind: NodeCached, Node: s.node, Files: e.files})
		case !wanted[s.node.ID]:
			continue
		default:
			if e, err = r.step(ctx, s, r.following(i, signatures, wanted)); err != nil {
				return nil, err
			}
			result.Ran++
			x.cache[signature] = e
		}
		r.results[s.node.ID] = e
		if s.schema.Output {
			result.Files[s.node.ID] = e.files
		}
	}
	return result, nil
}

// keep drops the results that are not among those of the signatures.
func (x *Executor) keep(signatures map[string]string) {
	current := map[string]bool{}
	for _, s := range signatures {
		current[s] = true
	}
	for s := range x.cache {
		if !current[s] {
			delete(x.cache, s)
		}
	}
}

type run struct {
	x       *Executor
	job     *Job
	observe func(Event)
	results map[string]*entry // by node id
}

// signatures returns for each step a digest of all that its result depends on.
func (r *run) signatures(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for _, s := range r.job.steps {
		h := sha256.New()
		write := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
		write(s.node.Class)
		if s.schema.Output {
			write(s.node.ID) // two nodes that save the same both do
		}
		for _, in := range s.schema.Inputs {
			if ref, ok := s.links[in.Name]; ok {
				write(in.Name)
				write(all[ref.Node])
				write(strconv.Itoa(ref.Output))
			} else if v := s.values[in.Name]; v != nil {
				write(in.Name)
				write(fmt.Sprintf("%T %v", v, v))
			}
		}
		if s.schema.Changed != nil {
			fingerprint, err := s.schema.Changed(ctx, r.call(s, s.values))
			if err != nil {
				return nil, r.failed(s, err)
			}
			write(fingerprint)
		}
		all[s.node.ID] = hex.EncodeToString(h.Sum(nil))
	}
	return all, nil
}

// wanted returns the nodes whose results are needed and not known: output
// nodes, and what such nodes are linked to.
func (r *run) wanted(signatures map[string]string) map[string]bool {
	wanted := map[string]bool{}
	for i := len(r.job.steps) - 1; i >= 0; i-- {
		s := r.job.steps[i]
		if _, cached := r.x.cache[signatures[s.node.ID]]; cached || !s.schema.Output && !wanted[s.node.ID] {
			continue
		}
		wanted[s.node.ID] = true
		for _, ref := range s.links {
			wanted[ref.Node] = true
		}
	}
	return wanted
}

func (r *run) call(s *step, values map[string]any) *Call {
	return &Call{Node: s.node, Schema: s.schema, Graph: r.job.Graph, values: values, observe: r.observe}
}

// following returns the first step after number i that will run and can be
// prepared, or nil.
func (r *run) following(i int, signatures map[string]string, wanted map[string]bool) *step {
	for _, s := range r.job.steps[i+1:] {
		_, cached := r.x.cache[signatures[s.node.ID]]
		if wanted[s.node.ID] && !cached && s.schema.Prepare != nil {
			return s
		}
	}
	return nil
}

// inputs returns the values of a node's inputs, as far as the nodes that they
// are linked to have run.
func (r *run) inputs(s *step) (map[string]any, error) {
	values := maps.Clone(s.values)
	if values == nil {
		values = map[string]any{}
	}
	for name, ref := range s.links {
		e := r.results[ref.Node]
		if e == nil {
			continue
		}
		v := e.outputs[ref.Output]
		if in := s.schema.Input(name); in.Type.Widget() && v != nil {
			var err error
			if v, err = in.linked(v); err != nil {
				return nil, fmt.Errorf("input %s: %w", name, err)
			}
		}
		values[name] = v
	}
	return values, nil
}

// step runs one node. When it is finishing, the following one is prepared.
func (r *run) step(ctx context.Context, s, following *step) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, r.failed(s, err)
	}
	values, err := r.inputs(s)
	if err != nil {
		return nil, r.failed(s, err)
	}
	c := r.call(s, values)
	var preparing sync.WaitGroup
	defer preparing.Wait()
	c.prepare = func() {
		if following == nil {
			return
		}
		// What is wrong with its inputs will be said when it runs.
		if values, err := r.inputs(following); err == nil {
			preparing.Go(func() { following.schema.Prepare(ctx, r.call(following, values)) })
		}
	}
	r.observe(Event{Kind: NodeStarted, Node: s.node})
	start := time.Now()
	outputs, err := s.schema.Run(ctx, c)
	if err == nil && len(outputs) != len(s.schema.Outputs) {
		err = fmt.Errorf("it returned %d outputs, its schema has %d", len(outputs), len(s.schema.Outputs))
	}
	if err != nil {
		return nil, r.failed(s, err)
	}
	r.observe(Event{Kind: NodeDone, Node: s.node, Files: c.files, Elapsed: time.Since(start)})
	return &entry{outputs, c.files}, nil
}

func (r *run) failed(s *step, err error) error {
	err = &NodeError{s.node.ID, s.node.Class, err}
	r.observe(Event{Kind: NodeFailed, Node: s.node, Err: err})
	return err
}
