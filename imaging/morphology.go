package imaging

import "context"

// Grow returns a plane in which each value is the largest within so many steps,
// or the smallest when the steps are negative. A step goes to the neighbours
// beside, above and below, and across corners unless they are tapered.
func Grow(ctx context.Context, plane []float32, height, width, steps int, tapered bool) ([]float32, error) {
	sign := float32(1)
	if steps < 0 {
		sign, steps = -1, -steps
	}
	now, next := make([]float32, len(plane)), make([]float32, len(plane))
	for i, v := range plane {
		now[i] = sign * v
	}
	for range min(steps, height+width) { // more change nothing
		for y := range height {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			step(next, now, y, height, width, tapered)
		}
		now, next = next, now
	}
	for i, v := range now {
		now[i] = sign * v
	}
	return now, nil
}

// step makes row y of the largest values of neighbours.
func step(to, from []float32, y, height, width int, tapered bool) {
	for x := range width {
		v := from[y*width+x]
		for dy := max(y-1, 0); dy <= min(y+1, height-1); dy++ {
			for dx := max(x-1, 0); dx <= min(x+1, width-1); dx++ {
				if !tapered || dx == x || dy == y {
					v = max(v, from[dy*width+dx])
				}
			}
		}
		to[y*width+x] = v
	}
}
