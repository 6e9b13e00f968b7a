package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPicturesAreCurrent draws the pictures of the docs again.
func TestPicturesAreCurrent(t *testing.T) {
	folder := t.TempDir()
	if err := draw(folder); err != nil {
		t.Fatal(err)
	}
	drawn, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil || len(drawn) == 0 {
		t.Fatalf("%d pictures were drawn: %v", len(drawn), err)
	}
	for _, path := range drawn {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what go generate ./internal/pictures draws now", name)
		}
	}
}

// TestSimulate compares with what can be worked out by hand.
func TestSimulate(t *testing.T) {
	all := slices.Repeat([]bool{true}, 10)
	for _, x := range []struct {
		room             int
		transfer, period float64
	}{
		{1, 1, 20}, // transfers and uses take turns
		{2, 1, 10}, // they go on side by side
		{2, 3, 30}, // the link is the slower
		{9, 0.5, 10},
	} {
		if _, _, got := simulate(all, x.room, x.transfer); got != x.period {
			t.Errorf("with room for %d and transfers of %v a pass takes %v, want %v", x.room, x.transfer, got, x.period)
		}
	}
}

// TestBound compares the pager's decisions and LRU with the bound: what is not
// moved in a pass was in memory when the pass began.
func TestBound(t *testing.T) {
	const extents = 20
	for room := 4; room <= extents; room++ {
		d, err := decide(extents, room, 100)
		if err != nil {
			t.Fatal(err)
		}
		if d.device > room || d.device < room-3 {
			t.Errorf("with room for %d extents %d are kept", room, d.device)
		}
		want := 0
		if room == extents {
			want = extents
		}
		if got := leastRecentlyUsed(extents, room); got != want {
			t.Errorf("with room for %d of %d extents LRU finds %d, want %d", room, extents, got, want)
		}
	}
}
