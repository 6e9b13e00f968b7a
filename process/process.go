// Package process describes the noise that denoisers are trained to take off,
// as plain data. Package diffusion makes it run.
package process

// A Prediction says what a network predicts.
type Prediction int

// The predictions.
const (
	Epsilon     Prediction = iota // the noise
	Velocity                      // sqrt(ā)·noise - sqrt(1-ā)·x0 (Salimans and Ho, 2022)
	Flow                          // noise - x0, of the state (1-sigma)·x0 + sigma·noise (Lipman et al. 2023)
	Original                      // x0 itself
	Consistency                   // the noise, of which latent consistency models make x0 (Luo et al. 2023)
	// Preconditioned is F of Karras et al. (2022, equation 7), with pictures of a
	// deviation of 0.5.
	Preconditioned
)

// Levels says which noise levels there are.
type Levels int

// The noise levels.
const (
	// Betas are the 1000 of Stable Diffusion, whose betas are linear in their
	// roots from 0.00085 to 0.012.
	Betas Levels = iota
	// Distilled are every 20th of Betas.
	Distilled
	// Shifted are 1000 of a flow, s·u/(1+(s-1)·u) for u = k/1000 (Esser et al. 2024,
	// Scaling Rectified Flow Transformers, equation 23).
	Shifted
	// ShiftedExp are 10000 of a flow, e^mu/(e^mu + 1/u - 1) for u = k/10000: the
	// same curve with s = e^mu.
	ShiftedExp
	// ContinuousLog are all between Min and Max. The network is told log(sigma)/4
	// (Karras et al. 2022).
	ContinuousLog
	// ContinuousArc are all between Min and Max. The network is told the arc tangent
	// of sigma in right angles.
	ContinuousArc
)

// A Process is the noise of a network's training. The zero value is Stable
// Diffusion 1.x.
type Process struct {
	Prediction Prediction
	Levels     Levels
	// ZeroSNR rescales Betas so that the last level is pure noise (Lin et al. 2024,
	// Common Diffusion Noise Schedules and Sample Steps are Flawed).
	ZeroSNR bool
	// Shift is the s of Shifted and the mu of ShiftedExp.
	Shift float64
	// Multiplier is what a flow's level is multiplied by for the network; 0 is 1.
	Multiplier float64
	// Min and Max are the ends of continuous levels.
	Min, Max float64
}

// Discrete returns a process of Stable Diffusion's noise levels.
func Discrete(p Prediction, zeroSNR bool) Process { return Process{Prediction: p, ZeroSNR: zeroSNR} }

// Rectified returns a rectified flow of 1000 levels.
func Rectified(shift, multiplier float64) Process {
	return Process{Prediction: Flow, Levels: Shifted, Shift: shift, Multiplier: multiplier}
}

// RectifiedExp returns a rectified flow of 10000 levels whose shift is e^mu. The
// network is given the level itself.
func RectifiedExp(mu float64) Process {
	return Process{Prediction: Flow, Levels: ShiftedExp, Shift: mu}
}
