// Package trace writes timelines in Chrome's trace format, which
// chrome://tracing and ui.perfetto.dev show.
package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Recorder writes events as they come. A nil Recorder records nothing. Its
// methods may be called by several goroutines.
type Recorder struct {
	mu     sync.Mutex
	w      *bufio.Writer
	start  time.Time
	tracks map[string]int
	err    error
}

// New returns a recorder that writes to w; its times count from now. Close
// ends the timeline and leaves w open.
func New(w io.Writer) *Recorder {
	r := &Recorder{w: bufio.NewWriter(w), start: time.Now(), tracks: map[string]int{}}
	_, r.err = r.w.WriteString("[")
	return r
}

// event is one of the format's events. Times are in microseconds.
type event struct {
	Name     string            `json:"name"`
	Phase    string            `json:"ph"`
	Time     float64           `json:"ts"`
	Duration float64           `json:"dur,omitempty"`
	Process  int               `json:"pid"`
	Track    int               `json:"tid"`
	Scope    string            `json:"s,omitempty"`
	Args     map[string]string `json:"args,omitempty"`
}

// Span records what a track did from start to now.
func (r *Recorder) Span(track, name string, start time.Time, detail string) {
	if r == nil {
		return
	}
	e := event{Name: name, Phase: "X", Time: r.micros(start), Duration: float64(time.Since(start).Nanoseconds()) / 1e3}
	if detail != "" {
		e.Args = map[string]string{"detail": detail}
	}
	r.record(track, e)
}

// Mark records that something happened on a track now.
func (r *Recorder) Mark(track, name string) {
	if r == nil {
		return
	}
	r.record(track, event{Name: name, Phase: "i", Time: r.micros(time.Now()), Scope: "t"})
}

func (r *Recorder) micros(t time.Time) float64 { return float64(t.Sub(r.start).Nanoseconds()) / 1e3 }

func (r *Recorder) record(track string, e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.tracks[track]
	if !ok {
		id = len(r.tracks) + 1
		r.tracks[track] = id
		r.write(event{Name: "thread_name", Phase: "M", Track: id, Args: map[string]string{"name": track}}, id > 1)
	}
	e.Track = id
	r.write(e, true)
}

func (r *Recorder) write(e event, comma bool) {
	if r.err != nil {
		return
	}
	e.Process = 1
	line, err := json.Marshal(e)
	if err == nil {
		if comma {
			line = append([]byte(",\n"), line...)
		}
		_, err = r.w.Write(line)
	}
	r.err = err
}

// Close writes the end of the timeline. It returns the first error there was
// in writing it.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.w.WriteString("]\n")
	if err = errors.Join(r.err, err, r.w.Flush()); err != nil {
		return fmt.Errorf("writing the timeline: %w", err)
	}
	return nil
}
