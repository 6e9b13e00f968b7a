//go:build linux

package membench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// A Cage is limits on memory and on reading from a disk: control groups of
// Linux, of either version, which only root can make.
type Cage struct{ dirs []string }

const mount = "/sys/fs/cgroup"

var cages atomic.Int64 // made so far

// NewCage makes a cage. Memory is the limit in bytes, 0 for none; rate is how
// many bytes a second are read at most from the disk that holds path, 0 for no
// limit. Remove takes it away.
func NewCage(memory int64, path string, rate float64) (*Cage, error) {
	name := fmt.Sprintf("weir-bench-%d-%d", os.Getpid(), cages.Add(1))
	device, err := deviceOf(path)
	if err != nil {
		return nil, err
	}
	type setting struct{ file, value string }
	settings := map[string][]setting{}
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		dir := filepath.Join(mount, name)
		// Groups inherit no controllers that the top does not give.
		if err := os.WriteFile(filepath.Join(mount, "cgroup.subtree_control"), []byte("+memory +io"), 0o644); err != nil {
			return nil, fmt.Errorf("a control group with limits cannot be made here: %w", err)
		}
		settings[dir] = nil
		if memory > 0 {
			settings[dir] = append(settings[dir], setting{"memory.max", strconv.FormatInt(memory, 10)})
		}
		if rate > 0 {
			settings[dir] = append(settings[dir], setting{"io.max", fmt.Sprintf("%s rbps=%.0f", device, rate)})
		}
	} else {
		if memory > 0 {
			settings[filepath.Join(mount, "memory", name)] = []setting{{"memory.limit_in_bytes", strconv.FormatInt(memory, 10)}}
		}
		if rate > 0 {
			settings[filepath.Join(mount, "blkio", name)] = []setting{{"blkio.throttle.read_bps_device", fmt.Sprintf("%s %.0f", device, rate)}}
		}
	}
	c := &Cage{}
	for dir, list := range settings {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, errors.Join(fmt.Errorf("a control group cannot be made here: %w", err), c.Remove())
		}
		c.dirs = append(c.dirs, dir)
		for _, s := range list {
			if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0o644); err != nil {
				return nil, errors.Join(fmt.Errorf("the limit %s cannot be set to %q here: %w", s.file, s.value, err), c.Remove())
			}
		}
	}
	return c, nil
}

// deviceOf returns the numbers of the disk that a path is on.
func deviceOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: the system does not tell which disk it is on", path)
	}
	return fmt.Sprintf("%d:%d", (st.Dev>>8)&0xfff, st.Dev&0xff|(st.Dev>>12)&0xfff00), nil
}

// Files returns the files that a process writes its number to, to be caged.
func (c *Cage) Files() (files []string) {
	if c == nil {
		return nil
	}
	for _, dir := range c.dirs {
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files
}

// enter cages this process.
func enter(files []string) error {
	for _, f := range files {
		if err := os.WriteFile(f, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			return fmt.Errorf("entering a control group: %w", err)
		}
	}
	return nil
}

// Remove takes the cage away. No process may be left in it.
func (c *Cage) Remove() error {
	var errs []error
	for _, dir := range c.dirs {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}

// dropCaches makes the system forget what it has of files.
func dropCaches() error {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o644); err != nil {
		return fmt.Errorf("the page cache cannot be emptied here: %w", err)
	}
	return nil
}

// counters are what the system has counted of this process.
type counters struct {
	read int64 // bytes from disks
	rss  int64 // bytes of memory, and of them those with no file behind
	anon int64
	swap int64 // bytes that the system has written to page files, for anybody
}

func count() (c counters) {
	for file, keys := range map[string]map[string]*int64{
		"/proc/self/io":     {"read_bytes:": &c.read},
		"/proc/self/status": {"VmRSS:": &c.rss, "RssAnon:": &c.anon},
		"/proc/vmstat":      {"pswpout": &c.swap},
	} {
		text, _ := os.ReadFile(file) // zeros where there is none
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || keys[fields[0]] == nil {
				continue
			}
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			if len(fields) > 2 && fields[2] == "kB" {
				n <<= 10
			}
			*keys[fields[0]] = n
		}
	}
	c.swap *= int64(os.Getpagesize())
	return c
}
