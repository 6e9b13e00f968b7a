package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/spf13/cobra"

	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/regular"
)

// newDoctor returns the command that looks at the machine.
func newDoctor() *cobra.Command {
	var s setup
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this machine: processor, memory, disk, model folders",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := s.folders()
			if err != nil {
				return err
			}
			d, err := examine(roots)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(d)
			}
			return d.write(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.models, "root", nil, "folder with models, as ComfyUI's own (default: the working folder)")
	f.StringVar(&s.extra, "extra-model-paths", "", "an extra_model_paths.yaml")
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}

// A diagnosis is what was found on a machine. Sizes are in bytes, rates in
// bytes a second.
type diagnosis struct {
	System   string         `json:"system"`
	CPU      string         `json:"cpu"`
	Cores    int            `json:"cores"`
	Features []string       `json:"features"`
	Memory   int64          `json:"memory"`
	Free     int64          `json:"free_memory"`
	Limit    int64          `json:"memory_limit,omitempty"` // of the cgroup
	CopyRate float64        `json:"memory_copy_rate"`
	DiskFree int64          `json:"free_disk"`
	DiskRate float64        `json:"disk_read_rate"`
	DiskFile string         `json:"disk_read_from"`
	Devices  []string       `json:"devices"`
	Models   map[string]int `json:"models"`
	Advice   []string       `json:"advice,omitempty"`
}

func examine(roots *folders.Roots) (*diagnosis, error) {
	d := &diagnosis{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuid.CPU.BrandName, Cores: runtime.NumCPU(),
		CopyRate: copyRate(), Models: map[string]int{},
	}
	for _, f := range []cpuid.FeatureID{cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVX512F, cpuid.AVX512BF16, cpuid.ASIMD} {
		if cpuid.CPU.Supports(f) {
			d.Features = append(d.Features, f.String())
		}
	}
	m, err := host.Memory()
	if err != nil {
		return nil, err
	}
	d.Memory, d.Free, d.Limit = m.Total, m.Available, m.Limit
	dev := cpu.New(cpu.Options{})
	info := dev.Info()
	if err := dev.Close(); err != nil {
		return nil, err
	}
	d.Devices = []string{fmt.Sprintf("%s (%s, %d threads)", info.Name, info.Kind, info.Threads)}
	for _, category := range roots.Categories() {
		d.Models[category] = len(roots.List(category))
	}
	if err := d.readDisk(roots); err != nil {
		return nil, err
	}
	d.advise()
	return d, nil
}

// copyRate measures how fast one core copies memory.
func copyRate() float64 {
	a, b := make([]byte, 64<<20), make([]byte, 64<<20)
	copy(a, b) // touches both
	start := time.Now()
	n := 0
	for time.Since(start) < 100*time.Millisecond {
		n += copy(a, b)
	}
	return float64(n) / time.Since(start).Seconds()
}

// Limits of what is read to measure a disk.
const (
	probeBytes = 512 << 20
	probeTime  = 2 * time.Second
)

// readDisk measures how fast the largest model is read.
func (d *diagnosis) readDisk(roots *folders.Roots) error {
	var largest int64
	for _, category := range roots.Categories() {
		for _, name := range roots.List(category) {
			path, err := roots.Find(category, name)
			if err != nil {
				continue // it has gone since it was listed
			}
			if info, err := os.Stat(path); err == nil && info.Size() > largest {
				largest, d.DiskFile = info.Size(), path
			}
		}
	}
	folder := "."
	if d.DiskFile != "" {
		folder = filepath.Dir(d.DiskFile)
		var err error
		if d.DiskRate, err = readRate(d.DiskFile); err != nil {
			return err
		}
	}
	if usage, err := disk.Usage(folder); err == nil {
		d.DiskFree = int64(usage.Free)
	}
	return nil
}

func readRate(path string) (float64, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 8<<20)
	start := time.Now()
	var n int64
	for n < probeBytes && time.Since(start) < probeTime {
		k, err := f.Read(buf)
		n += int64(k)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// advise says what follows from the numbers.
func (d *diagnosis) advise() {
	if d.Free < 2<<30 {
		d.Advice = append(d.Advice, fmt.Sprintf("only %s of memory are free: a picture of 512×512 needs about 2 GiB beside the weights", size(d.Free)))
	}
	n := 0
	for _, count := range d.Models {
		n += count
	}
	if n == 0 {
		d.Advice = append(d.Advice, "there are no models: put checkpoints into models/checkpoints, or name ComfyUI's folder with --root")
	}
}

func (d *diagnosis) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "system\t%s\n", d.System)
	fmt.Fprintf(t, "processor\t%s, %d cores, %s\n", d.CPU, d.Cores, strings.Join(d.Features, " "))
	fmt.Fprintf(t, "memory\t%s, %s free, copied at %s/s\n", size(d.Memory), size(d.Free), size(int64(d.CopyRate)))
	if d.Limit > 0 {
		fmt.Fprintf(t, "memory limit\t%s\n", size(d.Limit))
	}
	fmt.Fprintf(t, "disk\t%s free\n", size(d.DiskFree))
	if d.DiskFile != "" {
		fmt.Fprintf(t, "reading\t%s/s from %s, which the system may have had in its cache\n", size(int64(d.DiskRate)), d.DiskFile)
	}
	for _, name := range d.Devices {
		fmt.Fprintf(t, "device\t%s\n", name)
	}
	for _, category := range []string{"checkpoints", "loras", "vae", "upscale_models"} {
		fmt.Fprintf(t, "models\t%d in %s\n", d.Models[category], category)
	}
	for _, line := range d.Advice {
		fmt.Fprintf(t, "advice\t%s\n", line)
	}
	return t.Flush()
}
