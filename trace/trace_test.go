package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestRecorder(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	var wait sync.WaitGroup
	for _, track := range []string{"compute", "RAM"} {
		wait.Go(func() {
			start := time.Now()
			time.Sleep(2 * time.Millisecond)
			r.Span(track, `a "name"`, start, "12 bytes")
			r.Mark(track, "evict")
		})
	}
	wait.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var events []event
	if err := json.Unmarshal(out.Bytes(), &events); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	tracks := map[int]string{}
	spans := map[string]event{}
	for _, e := range events {
		switch e.Phase {
		case "M":
			tracks[e.Track] = e.Args["name"]
		case "X":
			spans[tracks[e.Track]] = e
		}
	}
	for _, track := range []string{"compute", "RAM"} {
		if e := spans[track]; e.Name != `a "name"` || e.Duration < 2000 || e.Time < 0 || e.Args["detail"] != "12 bytes" {
			t.Errorf("%s: %+v", track, e)
		}
	}
	if len(events) != 6 {
		t.Errorf("%d events, want two names, two spans and two marks", len(events))
	}
}

func TestEmpty(t *testing.T) {
	var out bytes.Buffer
	if err := New(&out).Close(); err != nil || out.String() != "[]\n" {
		t.Errorf("an empty timeline is %q, %v", out.String(), err)
	}
	var none *Recorder
	none.Span("a", "b", time.Now(), "")
	none.Mark("a", "b")
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

type full struct{}

var errFull = errors.New("the disk is full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	r := New(full{})
	r.Mark("a", "b")
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("the error is %v", err)
	}
}
