package imaging

import "math"

// Blends are the ways in which one picture changes another, as functions of the
// value below and the value above.
var Blends = []struct {
	Name string
	Of   func(below, above float32) float32
}{
	{"normal", func(_, b float32) float32 { return b }},
	{"multiply", func(a, b float32) float32 { return a * b }},
	{"screen", func(a, b float32) float32 { return 1 - (1-a)*(1-b) }},
	{"overlay", func(a, b float32) float32 {
		if a <= 0.5 {
			return 2 * a * b
		}
		return 1 - 2*(1-a)*(1-b)
	}},
	{"soft_light", softLight},
	{"difference", func(a, b float32) float32 { return a - b }},
}

// softLight darkens or lightens as by a spotlight (W3C Compositing and Blending).
func softLight(a, b float32) float32 {
	if b <= 0.5 {
		return a - (1-2*b)*a*(1-a)
	}
	d := float32(math.Sqrt(float64(a)))
	if a <= 0.25 {
		d = ((16*a-12)*a + 4) * a
	}
	return a + (2*b-1)*(d-a)
}

// A Pixel is a colour's value, scaled by its opacity, and the opacity.
type Pixel struct{ Value, Alpha float32 }

// Composites are ways to lay a source over a destination (Porter and Duff, 1984,
// and blends of the same form), of values that are scaled by their opacity.
var Composites = []struct {
	Name string
	Of   func(s, d Pixel) Pixel
}{
	{"ADD", func(s, d Pixel) Pixel { return Pixel{min(max(s.Value+d.Value, 0), 1), min(max(s.Alpha+d.Alpha, 0), 1)} }},
	{"CLEAR", func(s, d Pixel) Pixel { return Pixel{} }},
	{"DARKEN", func(s, d Pixel) Pixel { return Pixel{outside(s, d) + min(s.Value, d.Value), union(s, d)} }},
	{"DST", func(s, d Pixel) Pixel { return d }},
	{"DST_ATOP", func(s, d Pixel) Pixel { return Pixel{s.Alpha*d.Value + (1-d.Alpha)*s.Value, s.Alpha} }},
	{"DST_IN", func(s, d Pixel) Pixel { return Pixel{d.Value * s.Alpha, s.Alpha * d.Alpha} }},
	{"DST_OUT", func(s, d Pixel) Pixel { return Pixel{(1 - s.Alpha) * d.Value, (1 - s.Alpha) * d.Alpha} }},
	{"DST_OVER", func(s, d Pixel) Pixel {
		return Pixel{d.Value + (1-d.Alpha)*s.Value, d.Alpha + (1-d.Alpha)*s.Alpha}
	}},
	{"LIGHTEN", func(s, d Pixel) Pixel { return Pixel{outside(s, d) + max(s.Value, d.Value), union(s, d)} }},
	{"MULTIPLY", func(s, d Pixel) Pixel { return Pixel{s.Value * d.Value, s.Alpha * d.Alpha} }},
	{"OVERLAY", func(s, d Pixel) Pixel {
		if 2*d.Value < d.Alpha {
			return Pixel{2 * s.Value * d.Value, union(s, d)}
		}
		return Pixel{s.Alpha*d.Alpha - 2*(d.Alpha-s.Value)*(s.Alpha-d.Value), union(s, d)}
	}},
	{"SCREEN", func(s, d Pixel) Pixel { return Pixel{s.Value + d.Value - s.Value*d.Value, union(s, d)} }},
	{"SRC", func(s, d Pixel) Pixel { return s }},
	{"SRC_ATOP", func(s, d Pixel) Pixel { return Pixel{d.Alpha*s.Value + (1-s.Alpha)*d.Value, d.Alpha} }},
	{"SRC_IN", func(s, d Pixel) Pixel { return Pixel{s.Value * d.Alpha, s.Alpha * d.Alpha} }},
	{"SRC_OUT", func(s, d Pixel) Pixel { return Pixel{(1 - d.Alpha) * s.Value, (1 - d.Alpha) * s.Alpha} }},
	{"SRC_OVER", func(s, d Pixel) Pixel {
		return Pixel{s.Value + (1-s.Alpha)*d.Value, s.Alpha + (1-s.Alpha)*d.Alpha}
	}},
	{"XOR", func(s, d Pixel) Pixel { return Pixel{outside(s, d), (1-d.Alpha)*s.Alpha + (1-s.Alpha)*d.Alpha} }},
}

// outside returns what each has where the other is not.
func outside(s, d Pixel) float32 { return (1-d.Alpha)*s.Value + (1-s.Alpha)*d.Value }

// union returns the opacity of both together.
func union(s, d Pixel) float32 { return s.Alpha + d.Alpha - s.Alpha*d.Alpha }

// Straight returns the value that is not scaled by the opacity, within 0 and 1.
func (p Pixel) Straight() float32 {
	if p.Alpha <= 1e-5 {
		return 0
	}
	return min(max(p.Value/p.Alpha, 0), 1)
}
