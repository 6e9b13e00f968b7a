package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// A dpmStep is a step of DPM-Solver (Lu et al. 2022, algorithms 1 and 2) from
// one level to another, in the time -log(sigma). Solvers of different orders
// share its evaluations.
type dpmStep struct {
	*state
	x, d     []float32 // d is x denoised
	from, to float64
	third    []float32 // the slope after a third of the time
}

// at returns the level after a part of the step's time.
func (p *dpmStep) at(part float64) float64 { return p.from * math.Pow(p.to/p.from, part) }

// slopeAt evaluates the slope of a state at a level.
func (p *dpmStep) slopeAt(x []float32, sigma float64) ([]float32, error) {
	d, err := p.eval(x, sigma)
	if err != nil {
		return nil, err
	}
	return slope(x, d, sigma), nil
}

// first is the step of first order, which is Euler's.
func (p *dpmStep) first() []float32 { return toward(p.x, p.d, p.from, p.to) }

// second is the step of second order with an evaluation after a part of the
// time.
func (p *dpmStep) second(part float64, inner []float32) []float32 {
	c := (p.to - p.from) / (2 * part)
	return sum(term{1, p.first()}, term{c, inner}, term{-c, slope(p.x, p.d, p.from)})
}

// middle returns the slope that is evaluated after a part of the time.
func (p *dpmStep) middle(part float64) ([]float32, error) {
	sigma := p.at(part)
	return p.slopeAt(toward(p.x, p.d, p.from, sigma), sigma)
}

// order makes a step of first, second or third order.
func (p *dpmStep) order(n int) ([]float32, error) {
	switch n {
	case 1:
		return p.first(), nil
	case 2:
		inner, err := p.middle(0.5)
		if err != nil {
			return nil, err
		}
		return p.second(0.5, inner), nil
	}
	var err error
	if p.third, err = p.middle(1. / 3); err != nil {
		return nil, err
	}
	const r1, r2 = 1. / 3, 2. / 3
	h, e := math.Log(p.from/p.to), slope(p.x, p.d, p.from)
	sigma := p.at(r2)
	c := -sigma * (r2 / r1) * (math.Expm1(r2*h)/(r2*h) - 1)
	inner, err := p.slopeAt(sum(term{1, toward(p.x, p.d, p.from, sigma)}, term{c, p.third}, term{-c, e}), sigma)
	if err != nil {
		return nil, err
	}
	c = -p.to / r2 * (math.Expm1(h)/h - 1)
	return sum(term{1, p.first()}, term{c, inner}, term{-c, e}), nil
}

// positive returns the last level of the schedule that is not 0, at which
// DPM-Solver ends: its time is a logarithm.
func (s *state) positive() float64 {
	if s.last() == 0 {
		return s.sigmas[len(s.sigmas)-2]
	}
	return s.last()
}

// dpmFast is DPM-Solver-fast (Lu et al. 2022, section 3.4): as many evaluations
// as there are steps, three to a step of third order, and a step of lower order
// for the rest. Of the schedule it takes both ends and the number of steps.
func dpmFast(s *state) ([]float32, error) {
	n := s.steps()
	orders := slices.Repeat([]int{3}, n/3)
	switch n % 3 {
	case 0:
		orders = append(orders[:n/3-1], 2, 1)
	default:
		orders = append(orders, n%3)
	}
	start, end := math.Log(s.sigmas[0]), math.Log(s.positive())
	level := func(k int) float64 { return math.Exp(start + (end-start)*float64(k)/float64(len(orders))) }
	x, done := s.x, 0
	for k, order := range orders {
		p := &dpmStep{state: s, x: x, from: level(k), to: level(k + 1)}
		var err error
		if p.d, err = s.eval(x, p.from); err != nil {
			return nil, err
		}
		if x, err = p.order(order); err != nil {
			return nil, err
		}
		done += order
		s.progress(done-1, p.d)
	}
	return x, nil
}

// dpmAdaptive is DPM-Solver-12 or -23 (Lu et al. 2022, appendix C): steps of
// second or third order, as long as they agree with those of an order less. Of the schedule
// it takes both ends. Its progress is the part of the time that is done.
func dpmAdaptive(s *state) ([]float32, error) {
	o := s.Adaptive
	start, end := -math.Log(s.sigmas[0]), -math.Log(s.positive())
	x, last := s.x, s.x // last is the state of lower order before
	h := o.First
	var errors [3]float64 // inverse, of this step and the last two that counted
	for t := start; t < end-1e-5; {
		next := min(end, t+h)
		p := &dpmStep{state: s, x: x, from: math.Exp(-t), to: math.Exp(-next)}
		var up float64
		if o.Eta > 0 {
			level := p.to
			p.to, _ = ancestral(p.from, level, o.Eta)
			p.to = max(p.to, math.Exp(-end))
			up = math.Sqrt(max(level*level-p.to*p.to, 0))
		}
		var err error
		if p.d, err = s.eval(x, p.from); err != nil {
			return nil, err
		}
		high, err := p.order(o.Order)
		if err != nil {
			return nil, err
		}
		low := p.first()
		if o.Order == 3 {
			low = p.second(1./3, p.third)
		}
		e := o.difference(low, high, last)
		errors[0] = 1 / (e + 1e-8)
		factor := 1 + math.Atan(o.factor(&errors)-1)
		if h *= factor; !(t+h > t) {
			return nil, fmt.Errorf("at noise level %.4g the step is %g long with an error of %g: the network's results are not finite, or they jump", p.from, h, e)
		}
		if factor >= o.Accept {
			errors[1], errors[2] = errors[0], errors[1]
			x, last, t = high, low, next
			if up > 0 {
				x = s.renoise(high, up)
			}
		}
		s.progress(int(float64(s.steps())*(t-start)/(end-start)+1e-9)-1, p.d)
	}
	return x, nil
}

// factor returns how much longer the next step is to be, by the inverse errors of
// this step and of the last two that counted, 0 for those that are not yet.
func (o *Adaptive) factor(errors *[3]float64) float64 {
	if errors[1] == 0 {
		errors[1], errors[2] = errors[0], errors[0]
	}
	order := float64(o.Order)
	if o.Eta > 0 {
		order = 1.5
	}
	if *o == defaults().Adaptive { // the same, but for rounding
		return math.Cbrt(errors[0])
	}
	return math.Pow(errors[0], (o.Proportional+o.Integral+o.Derivative)/order) *
		math.Pow(errors[1], -(o.Proportional+2*o.Derivative)/order) * math.Pow(errors[2], o.Derivative/order)
}

// difference returns the norm of the difference of two states, in tolerances,
// per value. The tolerance grows with the state.
func (o *Adaptive) difference(low, high, last []float32) float64 {
	var total float64
	for i := range low {
		size := max(math.Abs(float64(low[i])), math.Abs(float64(last[i])))
		v := float64(low[i]-high[i]) / max(o.Absolute, o.Relative*size)
		total += v * v
	}
	return math.Sqrt(total / float64(len(low)))
}
