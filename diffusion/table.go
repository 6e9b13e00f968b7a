package diffusion

import "math"

// A Prediction says what a network predicts.
type Prediction int

// The predictions.
const (
	Epsilon     Prediction = iota // the noise
	Velocity                      // sqrt(ā)·noise - sqrt(1-ā)·x0 (Salimans and Ho, 2022)
	Flow                          // noise - x0, of the state (1-sigma)·x0 + sigma·noise (Lipman et al. 2023)
	Original                      // x0 itself
	Consistency                   // the noise, of which latent consistency models make x0 (Luo et al. 2023)
)

// A Table is the noise that a network was trained with: the noise level sigma
// of each of its timesteps, ascending.
type Table struct {
	Prediction Prediction
	sigmas     []float64 // exactly representable in float32, as in PyTorch
	logs       []float64
	shift      float64 // of a flow
	// stride is the number of timesteps from a level to the next, if it is not 1:
	// each level is that of the last of them.
	stride int
}

// timesteps is the number of noise levels of every model of Stable Diffusion.
const timesteps = 1000

// StableDiffusion returns the noise levels of Stable Diffusion, whose betas
// are linear in their roots from 0.00085 to 0.012. With zeroSNR they are
// rescaled so that the last one is pure noise (Lin et al. 2024, Common
// Diffusion Noise Schedules and Sample Steps are Flawed).
func StableDiffusion(p Prediction, zeroSNR bool) *Table {
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
	t := &Table{Prediction: p}
	for _, b := range bars {
		sigma := math.Sqrt((1 - b) / b)
		t.sigmas = append(t.sigmas, float64(float32(sigma)))
		t.logs = append(t.logs, float64(float32(math.Log(sigma))))
	}
	return t
}

// Distilled returns the noise levels of a latent consistency model, which are 50
// of Stable Diffusion's.
func Distilled(zeroSNR bool) *Table {
	const levels = 50
	all := StableDiffusion(Consistency, zeroSNR)
	t := &Table{Prediction: Consistency, stride: timesteps / levels}
	for i := t.stride - 1; i < timesteps; i += t.stride {
		t.sigmas = append(t.sigmas, all.sigmas[i])
		t.logs = append(t.logs, float64(float32(math.Log(all.sigmas[i]))))
	}
	return t
}

// Rectified returns the noise levels of a rectified flow, from 0 to 1, with
// more of them near pure noise the larger the shift (Esser et al. 2024, Scaling
// Rectified Flow Transformers, equation 23).
func Rectified(shift float64) *Table {
	t := &Table{Prediction: Flow, shift: shift}
	for i := range timesteps {
		t.sigmas = append(t.sigmas, t.Sigma(float64(i+1)))
	}
	return t
}

// Min returns the lowest noise level.
func (t *Table) Min() float64 { return t.sigmas[0] }

// Max returns the highest noise level.
func (t *Table) Max() float64 { return t.sigmas[len(t.sigmas)-1] }

// Timestep returns the timestep of a noise level: of a flow it is sigma itself
// in thousandths, otherwise the one whose level is nearest on a logarithmic
// scale.
func (t *Table) Timestep(sigma float64) float64 {
	if t.Prediction == Flow {
		return float64(float32(sigma) * timesteps)
	}
	log := math.Log(sigma)
	best := 0
	for i, l := range t.logs {
		if math.Abs(log-l) < math.Abs(log-t.logs[best]) {
			best = i
		}
	}
	if t.stride > 0 {
		return float64(best*t.stride + t.stride - 1)
	}
	return float64(best)
}

// Sigma returns the noise level at a timestep, which need not be whole: of a
// flow it is shifted, otherwise interpolated between logarithms.
func (t *Table) Sigma(timestep float64) float64 {
	if t.Prediction == Flow {
		v, shift := float32(timestep)/timesteps, float32(t.shift)
		return float64(float32(shift*v) / (1 + float32((shift-1)*v)))
	}
	// Rounded in each operation as PyTorch does.
	if t.stride > 0 {
		timestep = float64(float32(timestep-float64(t.stride-1)) / float32(t.stride))
	}
	at := float32(min(max(timestep, 0), float64(len(t.sigmas)-1)))
	low := int(at)
	high := min(low+1, len(t.sigmas)-1)
	w := at - float32(low)
	log := float32((1-w)*float32(t.logs[low])) + float32(w*float32(t.logs[high]))
	return float64(float32(math.Exp(float64(log))))
}

// At returns the noise level after a part of the sampling, from 0, which is
// before all, to 1, after all.
func (t *Table) At(part float64) float64 {
	switch {
	case part <= 0:
		return math.Inf(1)
	case part >= 1:
		return 0
	case t.Prediction == Flow:
		return t.Sigma((1 - part) * timesteps)
	}
	return t.Sigma((1 - part) * (timesteps - 1))
}

// alpha returns the factor of the picture in a state at a level.
func (t *Table) alpha(sigma float64) float64 {
	if t.Prediction == Flow {
		return 1 - sigma
	}
	return 1
}

// denoised returns what a network's output p is taken for, of a state x that it
// was given at a level.
func (t *Table) denoised(x, p []float32, sigma float64) []float32 {
	switch t.Prediction {
	case Velocity:
		scale := 1 / math.Sqrt(sigma*sigma+1)
		return sum(term{scale * scale, x}, term{-sigma * scale, p})
	case Original:
		return p
	case Consistency:
		// Boundary conditions of a consistency function, with its time in tenths
		// of a timestep and a deviation of the data of 0.5.
		const data = 0.5
		time := t.Timestep(sigma) * 10
		keep, give := data*data/(time*time+data*data), time/math.Sqrt(time*time+data*data)
		return sum(term{give + keep, x}, term{-give * sigma, p})
	}
	return sum(term{1, x}, term{-sigma, p})
}

// logSNR returns half of the logarithm of the signal-to-noise ratio,
// log(alpha/sigma): the time in which exponential integrators work.
func (t *Table) logSNR(sigma float64) float64 { return math.Log(t.alpha(sigma) / sigma) }

// level is the inverse of logSNR.
func (t *Table) level(logSNR float64) float64 {
	if t.Prediction == Flow {
		return 1 / (1 + math.Exp(logSNR))
	}
	return math.Exp(-logSNR)
}

// noised returns the picture x0 with noise at a level.
func (t *Table) noised(x0, noise []float32, sigma float64) []float32 {
	return sum(term{sigma, noise}, term{t.alpha(sigma), x0})
}
