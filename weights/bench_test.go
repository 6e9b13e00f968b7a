package weights

import (
	"os"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// BenchmarkOpen opens, maps and closes a sparse file of 60 GiB and 2,000 tensors. It fails when that takes 50 ms or adds
// 64 MiB of resident memory.
func BenchmarkOpen(b *testing.B) {
	path := writeSparse(b, 2000, 60<<30)
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	before, err := self.MemoryInfo()
	if err != nil {
		b.Fatal(err)
	}
	var s *Set
	for b.Loop() {
		if s != nil {
			s.Close()
		}
		if s, err = OpenSet(b.Context(), path); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Files()[0].Map(); err != nil {
			b.Fatal(err)
		}
	}
	after, err := self.MemoryInfo()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	added := max(int64(after.RSS)-int64(before.RSS), 0)
	b.ReportMetric(float64(added)/(1<<20), "MiB-added")
	if added >= 64<<20 {
		b.Errorf("opening added %d bytes of resident memory", added)
	}
	if each := b.Elapsed() / time.Duration(b.N); each >= 50*time.Millisecond {
		b.Errorf("opening took %v", each)
	}
}
