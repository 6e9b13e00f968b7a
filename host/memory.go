// Package host tells what the machine has for this program now: memory, swap
// space, limits, disks and graphics cards.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/mem"
)

// Info is the memory that a program may use, in bytes.
type Info struct {
	// Total is all there is: the machine's, or the limit of the control groups
	// that the program is in.
	Total int64
	// Available is what can be taken now without pushing anything out but the
	// page cache.
	Available int64
	// Limit is that of the control groups, or 0, and Group the one whose limit it
	// is.
	Limit int64
	Group string
	// Heap is what the Go heap of this program holds.
	Heap int64
}

// Memory looks at the machine and at the control groups that the program is
// in, which containers are made of.
func Memory() (Info, error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return Info{}, fmt.Errorf("asking the system for its memory: %w", err)
	}
	i := Info{Total: int64(m.Total), Available: int64(m.Available), Heap: heap()}
	for _, g := range groups("/proc/self/cgroup", "/sys/fs/cgroup") {
		limit, used, ok := g.memory()
		if !ok || limit >= i.Total && i.Limit == 0 {
			continue
		}
		i.Available = min(i.Available, max(limit-used, 0))
		if i.Limit == 0 || limit < i.Total {
			i.Total, i.Limit, i.Group = limit, limit, g.name
		}
	}
	return i, nil
}

// heap returns how many bytes the objects of the Go heap take, those included
// that are garbage.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// A group is a control group: its name, the folder of its files, and their
// names, which the two versions of the interface call differently.
type group struct {
	name, dir            string
	limit, usage, prefix string
}

// groups returns the memory groups of a process with all that contain them.
// A file that cannot be read stands for no groups: not all systems have them.
func groups(list, mount string) []group {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil
	}
	var all []group
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		var g group
		switch {
		case fields[0] == "0" && fields[1] == "":
			g = group{limit: "memory.max", usage: "memory.current"}
		case hasField(fields[1], "memory"):
			g = group{limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", prefix: "total_"}
		default:
			continue
		}
		root := mount
		if g.prefix != "" {
			root = path.Join(mount, "memory")
		}
		// Inside of a container the path may be the one outside of it: then only
		// the top is there.
		for dir := path.Clean("/" + fields[2]); ; dir = path.Dir(dir) {
			g.name, g.dir = dir, path.Join(root, dir)
			all = append(all, g)
			if dir == "/" {
				break
			}
		}
	}
	return all
}

func hasField(list, name string) bool {
	for f := range strings.SplitSeq(list, ",") {
		if f == name {
			return true
		}
	}
	return false
}

// memory returns the limit of the group and what of it is in use for good,
// which the page cache is not.
func (g group) memory() (limit, used int64, ok bool) {
	limit, err := number(path.Join(g.dir, g.limit))
	if err != nil || limit > math.MaxInt64/2 {
		return 0, 0, false
	}
	used, err = number(path.Join(g.dir, g.usage))
	if err != nil {
		return 0, 0, false
	}
	stat, err := os.ReadFile(path.Join(g.dir, "memory.stat"))
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == g.prefix+"inactive_file" || name == g.prefix+"active_file" {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				used -= n
			}
		}
	}
	return limit, max(used, 0), true
}

// errUnlimited is the limit of groups that have none.
var errUnlimited = errors.New("unlimited")

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		return 0, fmt.Errorf("reading a limit: %w", err)
	}
	s := strings.TrimSpace(string(text))
	if s == "max" {
		return 0, errUnlimited
	}
	return strconv.ParseInt(s, 10, 64)
}
