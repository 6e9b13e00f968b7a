package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"
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
		Short: "Look at this machine: processor, graphics card, memory, disks, model folders",
		Long: `Look at this machine: processor, graphics card, memory and its limits, swap
space, all folders of models with the disks they lie on, and the room for
pictures. What is slow, missing or small is told as advice at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := s.folders()
			if err != nil {
				return err
			}
			d, err := examine(roots, folders.New(s.models...))
			if err != nil {
				return err
			}
			d.advise()
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
	f.StringVar(&s.extra, "extra-model-paths", "", "an extra_model_paths.yaml (default: that of the first root, if there is one)")
	f.StringVarP(&s.output, "output", "o", "", "folder for pictures (default: output in the first root)")
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
	Graphics []string       `json:"graphics_cards"` // which are not used yet
	Devices  []string       `json:"devices"`        // which are
	Memory   int64          `json:"memory"`
	Free     int64          `json:"free_memory"`
	Limit    int64          `json:"memory_limit,omitempty"` // of the control group
	Group    string         `json:"control_group,omitempty"`
	CopyRate float64        `json:"memory_copy_rate"`
	Swap     host.SwapInfo  `json:"swap"`
	Limits   []host.Limit   `json:"limits,omitempty"` // of ulimit
	Models   map[string]int `json:"models"`
	Folders  []modelFolder  `json:"folders"`
	Disks    []modelDisk    `json:"disks"`
	Output   outputFolder   `json:"output"`
	Advice   []string       `json:"advice,omitempty"`
}

// A modelFolder is one in which models of a category are searched.
type modelFolder struct {
	Category string `json:"category"`
	Path     string `json:"path"`
	Extra    bool   `json:"extra"`             // named by an extra_model_paths.yaml
	Problem  string `json:"problem,omitempty"` // missing, or the reason why it cannot be read
	Models   int    `json:"models"`
	Entries  int    `json:"entries"` // files and folders of all kinds directly in it
}

// missing is the problem of folders that do not exist.
const missing = "missing"

// A modelDisk is a volume that models lie on, and how fast one of them is read.
type modelDisk struct {
	host.Volume
	Rate float64 `json:"read_rate,omitempty"`
	File string  `json:"read_from,omitempty"`
}

// An outputFolder is the one that pictures are saved in.
type outputFolder struct {
	Path string `json:"path"`
	Free int64  `json:"free_disk"`
}

// examine looks at the machine and at the folders of models. Those that are not
// among the standard ones are extra.
func examine(roots, standard *folders.Roots) (*diagnosis, error) {
	d := &diagnosis{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuid.CPU.BrandName, Cores: runtime.NumCPU(), Graphics: host.Graphics(),
		CopyRate: copyRate(), Limits: host.Limits(), Models: map[string]int{},
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
	d.Memory, d.Free, d.Limit, d.Group = m.Total, m.Available, m.Limit, m.Group
	if d.Swap, err = host.Swap(); err != nil {
		return nil, err
	}
	dev := cpu.New(cpu.Options{})
	info := dev.Info()
	if err := dev.Close(); err != nil {
		return nil, err
	}
	d.Devices = []string{fmt.Sprintf("%s (%s, %d threads)", info.Name, info.Kind, info.Threads)}
	output, err := host.Disk(roots.Output)
	if err != nil {
		return nil, err
	}
	d.Output = outputFolder{roots.Output, output.Free}
	return d, d.readFolders(roots, standard)
}

// readFolders looks at all folders of models and measures the disk under each.
func (d *diagnosis) readFolders(roots, standard *folders.Roots) error {
	largest := map[string]int64{} // file on each volume, by its mount
	for _, category := range roots.Categories() {
		d.Models[category] = len(roots.List(category))
		for _, path := range roots.Folders(category) {
			f := modelFolder{Category: category, Path: path, Extra: !slices.Contains(standard.Folders(category), path)}
			f.look()
			if f.Problem == "" {
				if err := d.add(&f, largest); err != nil {
					return err
				}
			}
			d.Folders = append(d.Folders, f)
		}
	}
	for i := range d.Disks {
		if x := &d.Disks[i]; x.File != "" {
			var err error
			if x.Rate, err = readRate(x.File); err != nil {
				return err
			}
		}
	}
	return nil
}

// look finds out whether a folder can be read.
func (f *modelFolder) look() {
	entries, err := os.ReadDir(f.Path)
	pathError := (*fs.PathError)(nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Problem = missing
	case errors.As(err, &pathError):
		f.Problem = pathError.Err.Error()
	case err != nil:
		f.Problem = err.Error()
	}
	f.Entries = len(entries)
}

// add counts the models of a folder that can be read, and notes its volume and
// the largest file on each.
func (d *diagnosis) add(f *modelFolder, largest map[string]int64) error {
	volume, err := host.Disk(f.Path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Disks, func(x modelDisk) bool { return x.Mount == volume.Mount })
	if i < 0 {
		i, d.Disks = len(d.Disks), append(d.Disks, modelDisk{Volume: volume})
	}
	only := folders.In(f.Category, f.Path)
	names := only.List(f.Category)
	f.Models = len(names)
	for _, name := range names {
		path, err := only.Find(f.Category, name)
		if err != nil {
			continue // it has gone since it was listed
		}
		if info, err := os.Stat(path); err == nil && info.Size() > largest[volume.Mount] {
			largest[volume.Mount], d.Disks[i].File = info.Size(), path
		}
	}
	return nil
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

// readRate measures how fast a file is read.
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

// The numbers below which the machine is said to be small or slow.
const (
	lowMemory  = 2 << 30   // free bytes
	lowOutput  = 1 << 30   // free bytes
	slowDisk   = 200 << 20 // bytes a second
	fastDisk   = 400 << 20 // bytes a second that no hard disk reaches; those of virtual machines often claim to be one
	fewFiles   = 256       // that may be open
	smallShare = 4         // swap space below a quarter of the memory is small
)

// advise says what follows from the numbers.
func (d *diagnosis) advise() {
	say := func(format string, args ...any) { d.Advice = append(d.Advice, printable(fmt.Sprintf(format, args...))) }
	if len(d.Graphics) > 0 {
		say("the graphics card is not used yet: Weir computes on the processor, with the memory of the machine")
	}
	if d.Free < lowMemory {
		say("only %s of memory are free: a picture of 512×512 needs about 2 GiB beside the weights", size(d.Free))
	}
	if d.Limit > 0 && d.Limit < 2*lowMemory {
		say("the control group %s (of a container or a systemd unit) limits the memory to %s: raise its limit for large pictures", d.Group, size(d.Limit))
	}
	if d.Swap.Total == 0 && d.Memory < 4*lowMemory {
		say("there is no swap space: when memory runs out the system ends a program; weights need none, as they are read from their files again")
	}
	if d.Swap.Used > d.Swap.Total/2 {
		say("%s of swap space are in use: other programs lack memory, and all become slow", size(d.Swap.Used))
	}
	for _, l := range d.Limits {
		switch {
		case l.Bytes && l.Value < 2*d.Memory:
			say("ulimit %s limits the %s to %s: model files larger than that cannot be mapped or written", l.Flag, l.Name, size(l.Value))
		case !l.Bytes && l.Value < fewFiles:
			say("ulimit %s limits the %s to %d: models in many parts cannot be opened", l.Flag, l.Name, l.Value)
		}
	}
	for _, x := range d.Disks {
		switch {
		case x.Network:
			say("%s is held by another machine (%s): models that do not fit in memory are read from it in each step; copy them to a disk of this machine", x.Mount, x.Type)
		case x.Rotational && x.Rate < fastDisk:
			say("%s is a hard disk: models that do not fit in memory are read from it in each step; copy them to an SSD", x.Mount)
		}
		if x.Rate > 0 && x.Rate < slowDisk {
			say("%s is read at %s/s: a model of 2 GiB takes %.0f s to load", x.Mount, size(int64(x.Rate)), (2<<30)/x.Rate)
		}
	}
	models := 0
	for _, f := range d.Folders {
		models += f.Models
		switch {
		case f.Problem == missing && f.Extra:
			say("extra_model_paths.yaml names %s for %s, which does not exist", f.Path, f.Category)
		case f.Problem != "" && f.Problem != missing:
			say("%s (%s) cannot be read: %s", f.Path, f.Category, f.Problem)
		case f.Models == 0 && f.Entries > 0 && modelCategories[f.Category]:
			say("%s (%s) has %d files or folders, but none is a safetensors, GGUF or PyTorch file", f.Path, f.Category, f.Entries)
		}
	}
	if models == 0 {
		say("there are no models: put checkpoints into models/checkpoints, or name ComfyUI's folder with --root")
	}
	if d.Output.Free < lowOutput {
		say("only %s are free where pictures are saved (%s)", size(d.Output.Free), d.Output.Path)
	}
}

// modelCategories are the categories from which Weir reads models.
var modelCategories = map[string]bool{
	"checkpoints": true, "diffusion_models": true, "text_encoders": true, "vae": true, "loras": true, "upscale_models": true, "embeddings": true,
}

func (d *diagnosis) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("system", "%s", d.System)
	line("processor", "%s, %d cores, %s", d.CPU, d.Cores, strings.Join(d.Features, " "))
	for _, name := range d.Graphics {
		line("graphics card", "not used yet: %s", name)
	}
	if len(d.Graphics) == 0 {
		line("graphics card", "not used yet; none was found")
	}
	for _, name := range d.Devices {
		line("runs on", "%s", name)
	}
	line("memory", "%s, %s free, copied at %s/s", size(d.Memory), size(d.Free), size(int64(d.CopyRate)))
	if d.Limit > 0 {
		line("memory limit", "%s, of the control group %s", size(d.Limit), d.Group)
	}
	line("swap", "%s", d.swap())
	for _, l := range d.Limits {
		value := fmt.Sprint(l.Value)
		if l.Bytes {
			value = size(l.Value)
		}
		line("limit", "%s %s (ulimit %s)", l.Name, value, l.Flag)
	}
	line("pictures", "%s free for %s", size(d.Output.Free), d.Output.Path)
	for _, x := range d.Disks {
		line("disk", "%s", x.words())
	}
	var none []string
	for _, f := range d.Folders {
		if f.Problem == missing && !f.Extra {
			none = append(none, filepath.Base(f.Path))
			continue
		}
		line("models", "%s", f.words())
	}
	if len(none) > 0 {
		line("no folders", "%s", strings.Join(none, ", "))
	}
	for _, advice := range d.Advice {
		line("advice", "%s", advice)
	}
	return t.Flush()
}

// swap says how much swap space there is.
func (d *diagnosis) swap() string {
	switch s := d.Swap; {
	case s.Total == 0:
		return "none"
	case s.Total < d.Memory/smallShare:
		return fmt.Sprintf("small: %s beside %s of memory, %s in use", size(s.Total), size(d.Memory), size(s.Used))
	default:
		return fmt.Sprintf("on: %s, %s in use", size(s.Total), size(s.Used))
	}
}

// words says which kind of disk it is.
func (x *modelDisk) words() string {
	text := fmt.Sprintf("%s: %s", x.Mount, x.Type)
	if x.Network {
		text += ", held by another machine"
	}
	if x.Rotational {
		text += ", a hard disk as the system says"
	}
	text += fmt.Sprintf(", %s free", size(x.Free))
	if x.File != "" {
		text += fmt.Sprintf(", read at %s/s (%s, which the system may have had in its cache)", size(int64(x.Rate)), x.File)
	}
	return text
}

// words says what is in a folder of models.
func (f *modelFolder) words() string {
	state := fmt.Sprintf("%d", f.Models)
	switch {
	case f.Problem == missing:
		state = missing
	case f.Problem != "":
		state = "unreadable (" + f.Problem + ")"
	case f.Entries == 0:
		state = "empty"
	}
	text := fmt.Sprintf("%s: %s in %s", f.Category, state, f.Path)
	if f.Extra {
		text += " (of extra_model_paths.yaml)"
	}
	return text
}
