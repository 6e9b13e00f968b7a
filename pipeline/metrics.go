package pipeline

import (
	"github.com/VictoriaMetrics/metrics"

	"github.com/weir-run/weir/pager"
)

// A Residency says where the weights were of the program that ran last, in
// bytes.
type Residency struct {
	Program string
	// Kept stayed where kernels read them, Streamed came through in each run,
	// and Read is what of the latter came from disk rather than from the host's
	// memory.
	Kept, Streamed, Read int64
}

// Residency returns where the weights were of the program that ran last.
func (e *Engine) Residency() Residency {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.residency
}

// Metrics returns the counters of the engine's memory, as Prometheus knows
// them: those of each tier by the label tier.
func (e *Engine) Metrics() *metrics.Set {
	set := metrics.NewSet()
	tiers := map[string]func(pager.Stats) pager.Tier{"ram": func(s pager.Stats) pager.Tier { return s.RAM }}
	if e.Stats().VRAM.Budget > 0 {
		tiers["vram"] = func(s pager.Stats) pager.Tier { return s.VRAM }
	}
	for name, tier := range tiers {
		for metric, value := range map[string]func(pager.Tier) int64{
			"weir_memory_budget_bytes":      func(t pager.Tier) int64 { return t.Budget },
			"weir_memory_resident_bytes":    func(t pager.Tier) int64 { return t.Resident },
			"weir_memory_in_flight_bytes":   func(t pager.Tier) int64 { return t.InFlight },
			"weir_memory_activations_bytes": func(t pager.Tier) int64 { return t.Activations },
			"weir_memory_claimed_bytes":     func(t pager.Tier) int64 { return t.Claimed },
			"weir_memory_peak_bytes":        func(t pager.Tier) int64 { return t.Peak },
			"weir_memory_moved_bytes_total": func(t pager.Tier) int64 { return t.Moved },
			"weir_memory_faults_total":      func(t pager.Tier) int64 { return t.Faults },
			"weir_memory_evictions_total":   func(t pager.Tier) int64 { return t.Evictions },
		} {
			set.NewGauge(metric+`{tier="`+name+`"}`, func() float64 { return float64(value(tier(e.Stats()))) })
		}
	}
	return set
}
