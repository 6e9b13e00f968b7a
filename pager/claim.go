package pager

import (
	"context"
	"fmt"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Claim counts n bytes of the host's memory that something other than weights
// and activations takes, such as pictures: weights make way for them. It fails
// when they do not fit beside the activations and the largest use of the passes
// that run; the error names the numbers. A negative n gives bytes back and
// never fails.
func (p *Pager) Claim(ctx context.Context, n int64) error {
	if err := ctx.Err(); err != nil && n > 0 {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.ram
	if n > p.unclaimedLocked() {
		return fault.New(fault.Memory, "%s are needed for pictures and what else is no weight: %s", mebibytes(n), p.roomLocked(t))
	}
	t.Claimed += n
	t.grown()
	p.makeRoomLocked(t, 0, demand)
	p.balanceLocked()
	p.notifyLocked()
	return nil
}

// unclaimedLocked returns how many bytes can be claimed.
func (p *Pager) unclaimedLocked() int64 {
	t := p.ram
	room := t.Budget - t.Claimed
	if t != p.top {
		return room
	}
	room -= t.Activations
	if p.idle != nil {
		room += p.idle.size
	}
	var largest int64
	for _, ps := range p.passes {
		largest = max(largest, ps.sched.largest)
	}
	return room - largest
}

// Room says in words what there is of the memory that kernels read, for errors
// of what does not fit in it.
func (p *Pager) Room() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roomLocked(p.top)
}

// HostRoom is Room for the host's memory.
func (p *Pager) HostRoom() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roomLocked(p.ram)
}

// roomsLocked says in words how large the budgets of all tiers are.
func (p *Pager) roomsLocked() string {
	var words []string
	for _, t := range p.tiers() {
		words = append(words, p.roomLocked(t))
	}
	return strings.Join(words, ", and ")
}

// roomLocked says in words how large the budget of a tier is, and why.
func (p *Pager) roomLocked(t *tier) string {
	text := fmt.Sprintf("%s has %s", t.name, mebibytes(t.Budget))
	if t.Claimed > 0 {
		text += fmt.Sprintf(", of which pictures and what else is no weight hold %s", mebibytes(t.Claimed))
	}
	if t != p.ram || t.limit > 0 && t.Budget >= t.limit {
		return text
	}
	h := p.host
	whole := "the machine's"
	if h.Limit > 0 {
		whole = "the limit of control group " + h.Group
	}
	text += fmt.Sprintf(": of %s, %s, %s are free, and %s are left to other programs", mebibytes(h.Total), whole, mebibytes(h.Available), mebibytes(headroom(h.Total)))
	if p.options.Own > 0 {
		text += fmt.Sprintf(" and %s to the program itself", mebibytes(p.options.Own))
	}
	return text
}

// mebibytes writes bytes for people.
func mebibytes(n int64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }

// headroom is what is left to other programs of a memory of so many bytes.
func headroom(total int64) int64 { return min(total/16, 1<<30) }
