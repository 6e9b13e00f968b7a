package llm

import (
	"fmt"
	"math"
)

// Tables returns the inputs of a graph that depend on the length of the text
// alone: cos and sin[length,HeadDim/2] of the angles of rotary positions, and
// for Gemma 3 those of its local attentions and their window[length,length].
func (c Config) Tables(length int) map[string]any {
	t := map[string]any{}
	t["cos"], t["sin"] = angles(length, c.HeadDim, c.Theta, max(c.Stretch, 1))
	if c.Window == 0 {
		return t
	}
	t["local cos"], t["local sin"] = angles(length, c.HeadDim, c.LocalTheta, 1)
	if length > c.Window {
		window := make([]float32, length*length)
		for i := range length {
			for j := range i - c.Window + 1 {
				window[i*length+j] = float32(math.Inf(-1))
			}
		}
		t["window"] = window
	}
	return t
}

// angles returns the cosines and sines of position·theta^(-2i/dim)/stretch
// ("RoFormer", Su et al. 2021; "Extending Context Window of Large Language
// Models via Positional Interpolation", Chen et al. 2023). The frequencies and
// angles are float32, as models were trained with them.
func angles(length, dim int, theta, stretch float64) (cos, sin []float32) {
	half := dim / 2
	cos, sin = make([]float32, length*half), make([]float32, length*half)
	for i := range half {
		frequency := float32(math.Pow(theta, -2*float64(i)/float64(dim)) / stretch)
		for p := range length {
			s, c := math.Sincos(float64(float32(p) * frequency))
			cos[p*half+i], sin[p*half+i] = float32(c), float32(s)
		}
	}
	return cos, sin
}

func layerName(i int) string { return fmt.Sprintf("layers.%d.", i) }
