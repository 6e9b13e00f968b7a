package diffusion

// A mersenne is the generator MT19937 (Matsumoto and Nishimura, 1998).
type mersenne struct {
	state [mersenneN]uint32
	next  int
}

const (
	mersenneN = 624
	mersenneM = 397
)

func newMersenne(seed uint32) *mersenne {
	m := &mersenne{next: mersenneN}
	m.state[0] = seed
	for i := 1; i < mersenneN; i++ {
		prev := m.state[i-1]
		m.state[i] = 1812433253*(prev^prev>>30) + uint32(i)
	}
	return m
}

// uint32 returns the next 32 random bits.
func (m *mersenne) uint32() uint32 {
	if m.next == mersenneN {
		m.twist()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mersenne) twist() {
	for i := range m.state {
		y := m.state[i]&0x80000000 | m.state[(i+1)%mersenneN]&0x7fffffff
		x := m.state[(i+mersenneM)%mersenneN] ^ y>>1
		if y&1 != 0 {
			x ^= 0x9908b0df
		}
		m.state[i] = x
	}
	m.next = 0
}
