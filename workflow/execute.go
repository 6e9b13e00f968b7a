package workflow

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/weir-run/weir/fault"
)

// An EventKind says what happened to a node.
type EventKind int

// The kinds of events.
const (
	NodeStarted  EventKind = iota // begins to run
	NodeProgress                  // did Step of Total steps
	NodeDone                      // has run, in Elapsed, wrote Files and shows Text
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
	Text    string // that the node shows
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
	// Failed are the output nodes that failed or need a node that did.
	Failed []*Node
	// Ran and Cached count the nodes that ran and those whose results were known.
	Ran, Cached int
}

// A Memory counts what nodes hold in the host's memory beside the weights and
// activations of models.
type Memory interface {
	// Claim makes room for n bytes. Its error, of the kind fault.Memory, names the
	// numbers. A negative n gives bytes back and never fails.
	Claim(ctx context.Context, n int64) error
}

// A Sizer is a result that knows how many bytes of memory it holds.
type Sizer interface{ Size() int64 }

// An Executor runs jobs one after the other and keeps results, so that a run
// computes only what has changed since the last one: a node runs when its
// class, its values, its fingerprint or anything of the nodes it is linked to
// differs. Results that a new job does not use are dropped before it runs, and
// those that no later node of the job needs when memory is short.
type Executor struct {
	mu     sync.Mutex
	memory Memory            // may be nil
	cache  map[string]*entry // by signature
	made   int64             // results so far
}

// An entry is the result of a node.
type entry struct {
	outputs []any
	files   []File
	bytes   int64 // claimed for the outputs
	serial  int64 // of all results of the executor
}

// NewExecutor returns an executor without results. Memory that is nil counts
// nothing.
func NewExecutor(memory Memory) *Executor {
	return &Executor{memory: memory, cache: map[string]*entry{}}
}

// Clear drops all results.
func (x *Executor) Clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for signature := range x.cache {
		x.dropLocked(signature)
	}
}

// dropLocked drops a result.
func (x *Executor) dropLocked(signature string) {
	e := x.cache[signature]
	delete(x.cache, signature)
	e.outputs = nil
	if x.memory != nil && e.bytes > 0 {
		_ = x.memory.Claim(context.Background(), -e.bytes) // giving back never fails
	}
}

// claimLocked makes room for n bytes: results that the rest of the run does not
// need are dropped, the oldest first.
func (x *Executor) claimLocked(ctx context.Context, n int64, neededBy func() map[string]bool) error {
	if x.memory == nil || n == 0 {
		return nil
	}
	for {
		err := x.memory.Claim(ctx, n)
		if err == nil || fault.Of(err) != fault.Memory {
			return err
		}
		oldest, needed := "", neededBy()
		for signature, e := range x.cache {
			if e.bytes > 0 && !needed[signature] && (oldest == "" || e.serial < x.cache[oldest].serial) {
				oldest = signature
			}
		}
		if oldest == "" {
			return err
		}
		x.dropLocked(oldest)
	}
}

// Run executes a job. The observer may be nil. A node that fails does not stop
// the output nodes that do not need it. The error joins a *NodeError for each
// node that failed or was stopped; the result has what was made all the same,
// and what worked is kept for the next run.
func (x *Executor) Run(ctx context.Context, job *Job, observer Observer) (*Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := &run{x: x, job: job, observe: func(Event) {}, decided: map[*step]bool{}, chosen: map[*step]map[string]Reference{}, results: map[string]*entry{}, failures: map[string]bool{}}
	if observer != nil {
		r.observe = observer.Observe
	}
	result := &Result{Files: map[string][]File{}}
	r.sign(ctx)
	x.keepLocked(r.signatures)
	r.want()
	for len(r.todo) > 0 {
		i := heap.Pop(&r.todo).(int)
		s := job.steps[i]
		r.reached = max(r.reached, i)
		e, cached := x.cache[r.signatures[s.node.ID]]
		if !cached && !r.spoiled(s) && r.chooses(i) {
			continue
		}
		if r.spoiled(s) {
			result.failed(s)
			continue
		}
		switch {
		case cached:
			result.Cached++
			r.observe(Event{Kind: NodeCached, Node: s.node, Files: e.files})
		default:
			var err error
			if e, err = r.step(ctx, i); err != nil {
				result.failed(s)
				if e != nil && len(e.files) > 0 {
					result.Files[s.node.ID] = e.files
				}
				if fault.Of(err) == fault.Cancelled {
					return result, r.joined()
				}
				continue
			}
			result.Ran++
		}
		r.results[s.node.ID] = e
		if s.schema.Output {
			result.Files[s.node.ID] = e.files
		}
	}
	return result, r.joined()
}

// failed notes a step that has brought forth nothing.
func (r *Result) failed(s *step) {
	if s.schema.Output {
		r.Failed = append(r.Failed, s.node)
	}
}

// keepLocked drops the results that are not among those of the signatures.
func (x *Executor) keepLocked(signatures map[string]string) {
	current := map[string]bool{}
	for _, s := range signatures {
		current[s] = true
	}
	for s := range x.cache {
		if !current[s] {
			x.dropLocked(s)
		}
	}
}

type run struct {
	x          *Executor
	job        *Job
	observe    func(Event)
	signatures map[string]string // by node id, as all that follow
	wanted     map[string]bool
	todo       steps
	reached    int                            // the last step that was looked at
	index      map[string]int                 // of steps by node id
	decided    map[*step]bool                 // steps with lazy inputs that have chosen
	chosen     map[*step]map[string]Reference // their links that count
	last       map[string]int                 // the last step that may use a result
	results    map[string]*entry
	failures   map[string]bool // nodes that failed or need one that did
	errs       []error         // of the first nodes that failed
	untold     int             // nodes that failed after those
	next       int             // the step that following looks at next
}

// sign digests for each step all that its result depends on.
func (r *run) sign(ctx context.Context) {
	r.signatures = map[string]string{}
	for _, s := range r.job.steps {
		if r.spoiled(s) {
			continue
		}
		h := sha256.New()
		write := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
		write(s.node.Class)
		if s.schema.Output {
			write(s.node.ID) // two nodes that save the same both do
		}
		for _, in := range s.inputs {
			if ref, ok := s.links[in.Name]; ok {
				write(in.Name)
				write(r.signatures[ref.Node])
				write(strconv.Itoa(ref.Output))
			} else if v := s.values[in.Name]; v != nil {
				write(in.Name)
				write(fmt.Sprintf("%T %v", v, v))
			}
		}
		if s.schema.Changed != nil {
			var fingerprint string
			err := fault.Guard(func() (err error) {
				fingerprint, err = s.schema.Changed(ctx, r.call(s, s.values))
				return err
			})
			if err != nil {
				r.failed(s, err)
				continue
			}
			write(fingerprint)
		}
		r.signatures[s.node.ID] = hex.EncodeToString(h.Sum(nil))
	}
}

// spoiled reports whether a step has failed or needs one that has.
func (r *run) spoiled(s *step) bool {
	for _, ref := range r.links(s) {
		if r.failures[ref.Node] {
			r.failures[s.node.ID] = true
		}
	}
	return r.failures[s.node.ID]
}

// needed returns the signatures of the results that the rest of the run may use.
func (r *run) needed() map[string]bool {
	needed := map[string]bool{}
	for id := range r.results {
		if last, ok := r.last[id]; ok && last >= r.reached {
			needed[r.signatures[id]] = true
		}
	}
	return needed
}

func (r *run) call(s *step, values map[string]any) *Call {
	return &Call{Node: s.node, Schema: s.schema, Graph: r.job.Graph, values: values, observe: r.observe}
}

// following returns the first step after number i that will run and can be
// prepared, or nil. A step that is passed over once never will be.
func (r *run) following(i int) *step {
	for r.next = max(r.next, i+1); r.next < len(r.job.steps); r.next++ {
		s := r.job.steps[r.next]
		if s.schema.Prepare == nil || !r.wanted[s.node.ID] || r.failures[s.node.ID] {
			continue
		}
		if _, cached := r.x.cache[r.signatures[s.node.ID]]; !cached {
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
	for name, ref := range r.links(s) {
		e := r.results[ref.Node]
		if e == nil || e.outputs == nil {
			continue
		}
		v := e.outputs[ref.Output]
		if in := pick(s.inputs, name); in.Type.Widget() && v != nil {
			var err error
			if v, err = in.linked(v); err != nil {
				return nil, fmt.Errorf("input %s: %w", name, err)
			}
		}
		values[name] = v
	}
	return values, nil
}

// step runs step number i. When it is finishing, the following one is prepared.
func (r *run) step(ctx context.Context, i int) (*entry, error) {
	s := r.job.steps[i]
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
		following := r.following(i)
		if following == nil {
			return
		}
		// What is wrong with its inputs will be said when it runs.
		if values, err := r.inputs(following); err == nil {
			preparing.Go(func() {
				err := fault.Guard(func() error { following.schema.Prepare(ctx, r.call(following, values)); return nil })
				if err != nil {
					slog.Debug("preparing a node failed", "node", following.node.ID, "err", err)
				}
			})
		}
	}
	var taken int64
	c.need = func(ctx context.Context, n int64) error {
		err := r.x.claimLocked(ctx, n, r.needed)
		if err == nil {
			taken += n
		}
		return err
	}
	r.observe(Event{Kind: NodeStarted, Node: s.node})
	start := time.Now()
	e := &entry{}
	err = fault.Guard(func() (err error) {
		e.outputs, err = s.schema.Run(ctx, c)
		return err
	})
	if err == nil && len(e.outputs) != len(s.schema.Outputs) {
		err = fault.New(fault.Internal, "it returned %d outputs, its schema has %d", len(e.outputs), len(s.schema.Outputs))
	}
	if err == nil {
		e.bytes = held(e.outputs)
	}
	if more := r.x.claimLocked(ctx, e.bytes-taken, r.needed); more != nil {
		_ = r.x.claimLocked(ctx, -taken, r.needed)
		e.bytes, err = 0, errors.Join(err, more)
	}
	e.files = c.files
	if err != nil {
		return e, r.failed(s, err) // with the files that were written all the same
	}
	r.x.made++
	e.serial = r.x.made
	r.x.cache[r.signatures[s.node.ID]] = e
	r.observe(Event{Kind: NodeDone, Node: s.node, Files: c.files, Text: c.text, Elapsed: time.Since(start)})
	return e, nil
}

// held returns how many bytes results hold. What several results share is
// counted by each, so that any of them can be dropped.
func held(outputs []any) (n int64) {
	for _, out := range outputs {
		switch out := out.(type) {
		case Sizer:
			n += out.Size()
		case string:
			n += int64(len(out))
		}
	}
	return n
}

// joined returns the errors of the nodes that failed as one.
func (r *run) joined() error {
	err := errors.Join(r.errs...)
	if r.untold > 0 {
		err = fmt.Errorf("%w\nand %s more nodes", err, fault.Count(r.untold))
	}
	return err
}

// failed notes that a node has failed.
func (r *run) failed(s *step, err error) error {
	err = &NodeError{s.node.ID, s.node.Class, fault.Mark(fault.Workflow, err)}
	r.failures[s.node.ID] = true
	if len(r.errs) < maxTold || fault.Of(err) == fault.Cancelled {
		r.errs = append(r.errs, err)
	} else {
		r.untold++
	}
	r.observe(Event{Kind: NodeFailed, Node: s.node, Err: err})
	return err
}
