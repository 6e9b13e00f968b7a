package diffusion

import (
	"math"

	"github.com/weir-run/weir/process"
)

// A Process is the noise that a network was trained to take off, as a sampler
// needs it: the noise level sigma of each of its timesteps, ascending.
type Process struct {
	process.Process
	sigmas []float64 // exactly representable in float32, as in PyTorch
	logs   []float64 // of levels that are no flow's
}

const (
	// timesteps is the number of noise levels of every model of Stable Diffusion.
	timesteps = 1000
	// stride is the number of timesteps from a distilled level to the next. Each
	// level is that of the last of them.
	stride = 20
)

// NewProcess returns what a description stands for.
func NewProcess(p process.Process) *Process {
	out := &Process{Process: p}
	if out.Multiplier == 0 {
		out.Multiplier = 1
	}
	switch p.Levels {
	case process.Shifted:
		out.flow(timesteps)
	case process.ShiftedExp:
		out.flow(10 * timesteps)
	case process.ContinuousLog, process.ContinuousArc:
		for _, v := range linspace(math.Log(p.Min), math.Log(p.Max), timesteps) {
			sigma := float32(math.Exp(float64(v)))
			out.sigmas = append(out.sigmas, float64(sigma))
			out.logs = append(out.logs, float64(float32(math.Log(float64(sigma)))))
		}
	default:
		out.betas(p.ZeroSNR)
		if p.Levels == process.Distilled {
			out.distill()
		}
	}
	return out
}

// flow makes n levels, of equal distances before they are shifted.
func (p *Process) flow(n int) {
	for k := range n {
		part := float32(k+1) / float32(n)
		p.sigmas = append(p.sigmas, p.Sigma(float64(part*float32(p.Multiplier))))
	}
}

// betas makes the levels of Stable Diffusion.
func (p *Process) betas(zeroSNR bool) {
	lo, hi := math.Sqrt(0.00085), math.Sqrt(0.012)
	bars := make([]float64, timesteps) // ā, the products of 1-beta
	bar := 1.0
	for i := range bars {
		root := lo + (hi-lo)*float64(i)/(timesteps-1)
		bar *= 1 - root*root
		bars[i] = bar
	}
	if zeroSNR {
		first, last := math.Sqrt(bars[0]), math.Sqrt(bars[timesteps-1])
		for i, b := range bars {
			root := (math.Sqrt(b) - last) * first / (first - last)
			bars[i] = root * root
		}
		bars[timesteps-1] = 4.8973451890853435e-08 // not quite zero, so that sigma is finite
	}
	for _, b := range bars {
		sigma := math.Sqrt((1 - b) / b)
		p.sigmas = append(p.sigmas, float64(float32(sigma)))
		p.logs = append(p.logs, float64(float32(math.Log(sigma))))
	}
}

// distill keeps the levels of a latent consistency model.
func (p *Process) distill() {
	all := p.sigmas
	p.sigmas, p.logs = nil, nil
	for i := stride - 1; i < len(all); i += stride {
		p.sigmas = append(p.sigmas, all[i])
		p.logs = append(p.logs, float64(float32(math.Log(all[i]))))
	}
}

// Flow reports whether the process is a rectified flow, whose states are
// (1-sigma)·x0 + sigma·noise, and not x0 + sigma·noise.
func (p *Process) Flow() bool { return p.Prediction == process.Flow }

// Min returns the lowest noise level.
func (p *Process) Min() float64 { return p.sigmas[0] }

// Max returns the highest noise level.
func (p *Process) Max() float64 { return p.sigmas[len(p.sigmas)-1] }

// Timestep returns what the network is told of a noise level: of a flow sigma
// itself times the multiplier, of continuous levels a function of it, otherwise
// the timestep whose level is nearest on a logarithmic scale.
func (p *Process) Timestep(sigma float64) float64 {
	switch p.Levels {
	case process.Shifted, process.ShiftedExp:
		return float64(float32(sigma) * float32(p.Multiplier))
	case process.ContinuousLog:
		return float64(float32(0.25 * math.Log(sigma)))
	case process.ContinuousArc:
		return float64(float32(math.Atan(sigma)) / math.Pi * 2)
	}
	log := math.Log(sigma)
	best := 0
	for i, l := range p.logs {
		if math.Abs(log-l) < math.Abs(log-p.logs[best]) {
			best = i
		}
	}
	if p.Levels == process.Distilled {
		return float64(best*stride + stride - 1)
	}
	return float64(best)
}

// Sigma is the inverse of Timestep. The timestep need not be whole: levels
// between two are interpolated between logarithms.
func (p *Process) Sigma(timestep float64) float64 {
	// Rounded in each operation as PyTorch does.
	switch p.Levels {
	case process.Shifted:
		v := float32(timestep) / float32(p.Multiplier)
		if p.Shift == 1 {
			return float64(v)
		}
		return float64(float32(float32(p.Shift)*v) / (1 + float32(float32(p.Shift-1)*v)))
	case process.ShiftedExp:
		e := float32(math.Exp(p.Shift))
		odds := 1/float32(timestep) - 1
		return float64(float32(1/(e+odds)) * e)
	case process.ContinuousLog:
		return float64(float32(math.Exp(timestep / 0.25)))
	case process.ContinuousArc:
		return float64(float32(math.Tan(float64(float32(timestep) * math.Pi / 2))))
	case process.Distilled:
		timestep = float64(float32(timestep-(stride-1)) / stride)
	}
	at := float32(min(max(timestep, 0), float64(len(p.sigmas)-1)))
	low := int(at)
	high := min(low+1, len(p.sigmas)-1)
	w := at - float32(low)
	log := float32((1-w)*float32(p.logs[low])) + float32(w*float32(p.logs[high]))
	return float64(float32(math.Exp(float64(log))))
}

// beforeAll is a level above all others.
const beforeAll = 999999999.9

// At returns the noise level after a part of the sampling, from 0, which is
// before all, to 1, after all.
func (p *Process) At(part float64) float64 {
	rest := 1 - part
	switch {
	case part <= 0 && p.Flow():
		return 1
	case part <= 0:
		return beforeAll
	case part >= 1:
		return 0
	}
	switch p.Levels {
	case process.Shifted:
		return p.Shift * rest / (1 + (p.Shift-1)*rest)
	case process.ShiftedExp:
		e := math.Exp(p.Shift)
		return e / (e + (1/rest - 1))
	case process.ContinuousLog, process.ContinuousArc:
		return math.Exp(math.Log(p.Max()/p.Min())*rest + math.Log(p.Min()))
	}
	return p.Sigma(rest * (timesteps - 1))
}

// within reports whether a level is within the part of the sampling from start
// to end, both included.
func (p *Process) within(sigma, start, end float64) bool {
	return sigma <= float64(float32(p.At(start))) && sigma >= float64(float32(p.At(end)))
}

// input returns a state as the network reads it.
func (p *Process) input(x []float32, sigma float64) []float32 {
	scale := 1.0
	if !p.Flow() {
		scale = 1 / math.Sqrt(sigma*sigma+p.data()*p.data())
	}
	return sum(term{scale, x})
}

// data returns the deviation of the pictures that a preconditioned network was
// trained with (Karras et al. 2022).
func (p *Process) data() float64 {
	if p.Prediction == process.Preconditioned {
		return 0.5
	}
	return 1
}

// denoised returns what a network's output y is taken for, of a state x that it
// was given at a level.
func (p *Process) denoised(x, y []float32, sigma float64) []float32 {
	switch p.Prediction {
	case process.Velocity:
		scale := 1 / math.Sqrt(sigma*sigma+1)
		return sum(term{scale * scale, x}, term{-sigma * scale, y})
	case process.Preconditioned:
		data := p.data()
		v := sigma*sigma + data*data
		return sum(term{data * data / v, x}, term{sigma * data / math.Sqrt(v), y})
	case process.Original:
		return y
	case process.Consistency:
		// Boundary conditions of a consistency function, with its time in tenths
		// of a timestep and a deviation of the data of 0.5.
		const data = 0.5
		time := p.Timestep(sigma) * 10
		keep, give := data*data/(time*time+data*data), time/math.Sqrt(time*time+data*data)
		return sum(term{give + keep, x}, term{-give * sigma, y})
	}
	return sum(term{1, x}, term{-sigma, y})
}

// alpha returns the factor of the picture in a state at a level.
func (p *Process) alpha(sigma float64) float64 {
	if p.Flow() {
		return 1 - sigma
	}
	return 1
}

// logSNR returns half of the logarithm of the signal-to-noise ratio,
// log(alpha/sigma): the time in which exponential integrators work.
func (p *Process) logSNR(sigma float64) float64 { return math.Log(p.alpha(sigma) / sigma) }

// level is the inverse of logSNR.
func (p *Process) level(logSNR float64) float64 {
	if p.Flow() {
		return 1 / (1 + math.Exp(logSNR))
	}
	return math.Exp(-logSNR)
}

// noised returns the picture x0 with noise at a level.
func (p *Process) noised(x0, noise []float32, sigma float64) []float32 {
	return sum(term{sigma, noise}, term{p.alpha(sigma), x0})
}

// first returns the state at the level that sampling begins with. At the
// highest level the noise is scaled as if it were the state with its variance
// preserved, as the network was trained to see it.
func (p *Process) first(x0, noise []float32, sigma float64) []float32 {
	if top := p.Max(); !p.Flow() && (sigma > top || math.Abs(top-sigma) <= 1e-5*top) {
		return sum(term{math.Sqrt(1 + sigma*sigma), noise}, term{1, x0})
	}
	return p.noised(x0, noise, sigma)
}

// last returns the picture of the state at the level that sampling ends with.
func (p *Process) last(x []float32, sigma float64) []float32 {
	if a := p.alpha(sigma); a != 1 {
		return sum(term{1 / a, x})
	}
	return x
}
