package pager

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-run/weir/device"
)

// Stats are the counters of a pager.
type Stats struct {
	RAM, VRAM Tier
}

// Top returns the counters of the tier that kernels read.
func (s Stats) Top() Tier {
	if s.VRAM.Budget > 0 {
		return s.VRAM
	}
	return s.RAM
}

// A Tier is the counters of one: since the pager was made, and what is held
// now, in bytes.
type Tier struct {
	Budget      int64 // what may be held now
	Resident    int64 // extents that are there
	InFlight    int64 // extents that are being brought in
	Activations int64 // arenas, the idle one included
	Claimed     int64 // by others than passes, in the host's memory
	Peak        int64 // the largest sum of the last four
	Moved       int64 // bytes brought in
	Faults      int64 // extents that a use had to wait for
	Evictions   int64
}

// Held returns the bytes that count against the budget.
func (t Tier) Held() int64 { return t.Resident + t.InFlight + t.Activations + t.Claimed }

// A tier is memory that holds extents.
type tier struct {
	Tier
	index int
	name  string
	limit int64 // the user's, 0 for none
	// total is what there is at most, whoever has it now.
	total int64
	// soft is set of the host's memory: what is resident there is backed by
	// files, so that a use that does not fit in the budget can go on all the
	// same.
	soft bool
	// buffers are the bytes that the device has given.
	buffers int64

	// Every resident extent is on one of three lists: of extents that no running
	// pass uses, least recently used first; of those that running passes use but
	// let go of when they have used them; and of those that they keep.
	cold, loose, kept list

	// The loaders of the tier sleep on wake until there may be something to do:
	// the counter calls is then another. Idle is how many of them have looked since.
	wake        *sync.Cond
	calls       uint64
	idle, staff int

	tracks tracks // of the timeline, that transfers are drawn on

	// What was carried to the tier lately, and in what time: how long there was
	// anything under way, which several transfers at once share.
	carried  float64
	busy     float64
	rate     float64 // bytes a second, 0 as long as it is unknown
	carrying int     // transfers under way
	since    time.Time
}

func newTier(index int, name string, limit int64) *tier {
	return &tier{index: index, name: name, limit: limit}
}

// depart notes that a transfer begins.
func (t *tier) depart() {
	t.elapse()
	t.carrying++
}

// arrive notes that a transfer of n bytes has ended. What was long ago counts
// less and less.
func (t *tier) arrive(n int64) {
	t.elapse()
	t.carrying--
	const memory = 4 << 30
	if t.carried += float64(n); t.carried > memory {
		t.carried, t.busy = t.carried/2, t.busy/2
	}
	if t.busy > 0 {
		t.rate = t.carried / t.busy
	}
}

// elapse counts the time since the last transfer began or ended.
func (t *tier) elapse() {
	now := time.Now()
	if t.carrying > 0 {
		t.busy += now.Sub(t.since).Seconds()
	}
	t.since = now
}

// A tracks says which tracks of a timeline are in use: what happens at the same
// time is on different ones.
type tracks struct{ used []bool }

// take returns the first track that is free.
func (ts *tracks) take() int {
	i := slices.Index(ts.used, false)
	if i < 0 {
		i = len(ts.used)
		ts.used = append(ts.used, false)
	}
	ts.used[i] = true
	return i
}

func (ts *tracks) give(i int) { ts.used[i] = false }

// trackName names the tracks of one kind: the first has no number.
func trackName(kind string, i int) string {
	if i == 0 {
		return kind
	}
	return fmt.Sprintf("%s %d", kind, i+1)
}

// grown keeps the peak.
func (t *tier) grown() { t.Peak = max(t.Peak, t.Held()) }

// An identity is what makes two extents of manifests the same.
type identity struct {
	key       string
	signature uint64
	bytes     int64
}

// An extent is an entry of the page table.
type extent struct {
	Extent
	id     identity
	mapped bool // all its sources are
	spaces int  // that refer to it
	passes int  // running, that use it
	on     [2]residency
}

// A residency is the state of an extent on a tier.
type residency struct {
	resident bool
	loading  chan struct{} // not nil while it is brought in; closed when that ends
	failed   bool          // to be brought in ahead: only a use tries it again
	pins     int
	keeps    int             // running passes that keep it
	used     int64           // when, by the pager's clock
	buffer   device.Buffer   // of a copy
	windows  []device.Buffer // of each part, where kernels read the mapped file

	in         *list
	prev, next *extent
}

func (t *tier) of(e *extent) *residency { return &e.on[t.index] }

// place puts an extent on the list that it belongs to.
func (t *tier) place(e *extent) {
	s := t.of(e)
	var l *list
	switch {
	case !s.resident:
	case e.passes == 0:
		l = &t.cold
	case s.keeps > 0:
		l = &t.kept
	default:
		l = &t.loose
	}
	if s.in == l {
		return
	}
	if s.in != nil {
		s.in.remove(t, e)
	}
	if l != nil {
		l.push(t, e)
	}
}

// A list is a doubly linked list of extents through their residencies.
type list struct{ first, last *extent }

func (l *list) push(t *tier, e *extent) {
	s := t.of(e)
	s.in, s.prev, s.next = l, l.last, nil
	if l.last != nil {
		t.of(l.last).next = e
	} else {
		l.first = e
	}
	l.last = e
}

func (l *list) remove(t *tier, e *extent) {
	s := t.of(e)
	if s.prev != nil {
		t.of(s.prev).next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		t.of(s.next).prev = s.prev
	} else {
		l.last = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
}
