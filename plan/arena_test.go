package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// randomLifetimes returns lifetimes in an order of n operations: mostly short
// ones, some that last, and inputs.
func randomLifetimes(r *rand.Rand, n int) []*lifetime {
	var lives []*lifetime
	for range 1 + r.IntN(2*n) {
		l := &lifetime{from: r.IntN(n+1) - 1, size: int64(1+r.IntN(30)) * Align}
		l.to = l.from + r.IntN(4)
		if r.IntN(5) == 0 {
			l.to += r.IntN(n)
		}
		l.to = min(l.to, n)
		if r.IntN(4) == 0 {
			l.size *= 16
		}
		lives = append(lives, l)
	}
	return lives
}

// TestPackLifetimes packs random lifetimes and compares each with each.
func TestPackLifetimes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	var packed, bound int64
	for range 400 {
		n := 1 + r.IntN(60)
		lives := randomLifetimes(r, n)
		low := lowerBound(lives)
		size := packLifetimes(lives, low)
		packed, bound = packed+size, bound+low
		if low != mostAtOnce(lives, n) || size < low {
			t.Fatalf("seed %d: size %d, lower bound %d, most at once %d", seed, size, low, mostAtOnce(lives, n))
		}
		for i, a := range lives {
			if a.at < 0 || a.at%Align != 0 || a.at+a.size > size {
				t.Fatalf("seed %d: %+v is not within %d", seed, *a, size)
			}
			for _, b := range lives[:i] {
				if a.from <= b.to && b.from <= a.to && a.at < b.at+b.size && b.at < a.at+a.size {
					t.Fatalf("seed %d: %+v and %+v are in the same place at the same time", seed, *a, *b)
				}
			}
		}
	}
	if ratio := float64(packed) / float64(bound); ratio > 1.15 {
		t.Errorf("seed %d: random lifetimes need %.3f times the lower bound", seed, ratio)
	} else {
		t.Logf("%.3f times the lower bound", ratio)
	}
}

// mostAtOnce counts what is in use at each time.
func mostAtOnce(lives []*lifetime, n int) int64 {
	var most int64
	for at := -1; at <= n; at++ {
		var sum int64
		for _, l := range lives {
			if l.from <= at && at <= l.to {
				sum += l.size
			}
		}
		most = max(most, sum)
	}
	return most
}

// TestPackLifetimesInTwoOrders has lifetimes that the greatest first do not
// pack well: the last and largest finds the one of one unit in its way. In the
// order in which they begin they take what is live at once.
func TestPackLifetimesInTwoOrders(t *testing.T) {
	lives := []*lifetime{
		{from: 1, to: 3, size: 3 * Align}, {from: 3, to: 5, size: 3 * Align},
		{from: 5, to: 7, size: Align}, {from: 6, to: 9, size: 4 * Align},
	}
	bound := lowerBound(lives)
	if got := packLifetimes(lives, bound); got != 6*Align || bound != 6*Align {
		t.Errorf("the lifetimes take %d bytes and the bound is %d, want %d", got, bound, 6*Align)
	}
}

// TestPackLifetimesByBreadth has lifetimes that need more than is live at once
// in either of the other orders.
func TestPackLifetimesByBreadth(t *testing.T) {
	lives := []*lifetime{
		{from: 2, to: 3, size: 2 * Align}, {from: 0, to: 2, size: 3 * Align},
		{from: 0, to: 1, size: 4 * Align}, {from: 2, to: 3, size: 3 * Align},
	}
	if bound := lowerBound(lives); packInOrder(bySize(slices.Clone(lives))) == bound || packInOrder(byBeginning(slices.Clone(lives))) == bound {
		t.Error("another order would do")
	} else if got := packLifetimes(lives, bound); got != 8*Align || bound != 8*Align {
		t.Errorf("the lifetimes take %d bytes and the bound is %d, want %d", got, bound, 8*Align)
	}
}
