package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Graphics returns the names of the graphics cards that the system shows in its
// files, which Linux alone does.
func Graphics() []string { return graphics("/proc", "/sys", "/dev") }

// vendors are the makers of graphics processors by their PCI numbers. Those of
// servers' consoles and of emulated machines are not among them.
var vendors = map[string]string{"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}

func graphics(proc, sys, dev string) []string {
	var names []string
	nvidia, _ := filepath.Glob(filepath.Join(proc, "driver/nvidia/gpus/*/information"))
	for _, file := range nvidia {
		if model := field(file, "Model:"); model != "" {
			names = append(names, model)
		}
	}
	cards, _ := filepath.Glob(filepath.Join(sys, "class/drm/card*/device/vendor"))
	for _, file := range cards {
		device := filepath.Dir(file)
		if strings.Contains(filepath.Base(filepath.Dir(device)), "-") {
			continue // a connector of a card
		}
		vendor := vendors[line(file)]
		if vendor == "" || vendor == "NVIDIA" && len(nvidia) > 0 {
			continue // the driver has named it
		}
		name := line(filepath.Join(device, "product_name"))
		if name == "" {
			name = fmt.Sprintf("%s (PCI %s)", vendor, strings.ToLower(field(filepath.Join(device, "uevent"), "PCI_ID=")))
		} else if !strings.Contains(name, vendor) {
			name = vendor + " " + name
		}
		names = append(names, name)
	}
	if _, err := os.Stat(filepath.Join(dev, "dxg")); err == nil && len(names) == 0 {
		names = append(names, "that of Windows (in WSL)")
	}
	slices.Sort(names)
	return names
}

// field returns what follows a key at the beginning of a line.
func field(file, key string) string {
	text, _ := os.ReadFile(file)
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, key); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// line returns the text of a file of one line, or "".
func line(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}
