package host

import (
	"fmt"

	"github.com/shirou/gopsutil/v4/mem"
)

// A Limit is one that the shell's ulimit sets for a process.
type Limit struct {
	Name  string `json:"name"`
	Flag  string `json:"flag"`  // of ulimit
	Bytes bool   `json:"bytes"` // whether Value is in bytes, and not a count
	Value int64  `json:"value"`
}

// SwapInfo is the swap space of the machine, in bytes.
type SwapInfo struct {
	Total int64 `json:"total"`
	Used  int64 `json:"used"`
}

// Swap returns the swap space of the machine, which is all 0 where there is
// none.
func Swap() (SwapInfo, error) {
	s, err := mem.SwapMemory()
	if err != nil {
		return SwapInfo{}, fmt.Errorf("asking the system for its swap space: %w", err)
	}
	return SwapInfo{Total: int64(s.Total), Used: int64(s.Used)}, nil
}
