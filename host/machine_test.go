package host

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shirou/gopsutil/v4/disk"
)

// write makes files below a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGraphics(t *testing.T) {
	const nvidia = "Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 120\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"none": {},
		"driver of NVIDIA": {map[string]string{
			"proc/driver/nvidia/gpus/0/information": nvidia,
			"sys/class/drm/card0/device/vendor":     "0x10de\n",
		}, []string{"NVIDIA GeForce RTX 3060"}},
		"NVIDIA without it": {map[string]string{
			"sys/class/drm/card0/device/vendor": "0x10de\n",
			"sys/class/drm/card0/device/uevent": "DRIVER=nouveau\nPCI_CLASS=30000\nPCI_ID=10DE:2504\n",
		}, []string{"NVIDIA (PCI 10de:2504)"}},
		"two, connectors, console": {map[string]string{
			"sys/class/drm/card0/device/vendor":        "0x1a03\n", // ASPEED
			"sys/class/drm/card1/device/vendor":        "0x1002\n",
			"sys/class/drm/card1/device/product_name":  "Radeon PRO W6800\n",
			"sys/class/drm/card1-DP-1/device/vendor":   "0x1002\n",
			"sys/class/drm/card2/device/vendor":        "0x8086\n",
			"sys/class/drm/card2/device/uevent":        "PCI_ID=8086:56A0\n",
			"sys/class/drm/renderD128/device/vendor":   "0x1002\n",
			"proc/driver/nvidia/gpus/none/other":       nvidia,
			"proc/driver/nvidia/gpus/none/information": "IRQ: 7\n",
		}, []string{"AMD Radeon PRO W6800", "Intel (PCI 8086:56a0)"}},
		"WSL": {map[string]string{"dev/dxg": ""}, []string{"that of Windows (in WSL)"}},
	} {
		dir := t.TempDir()
		write(t, dir, tt.files)
		if got := graphics(filepath.Join(dir, "proc"), filepath.Join(dir, "sys"), filepath.Join(dir, "dev")); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestVolume(t *testing.T) {
	at := func(parts ...string) string {
		return filepath.Join(append([]string{string(filepath.Separator)}, parts...)...)
	}
	all := []disk.PartitionStat{
		{Mountpoint: at("mnt"), Fstype: "ext4"}, {Mountpoint: at(), Fstype: "overlay"}, {Mountpoint: at("mnt", "nas"), Fstype: "autofs"}, {Mountpoint: at("mnt", "nas"), Fstype: "nfs4"},
	}
	for path, want := range map[string]string{
		at("home", "x"): "overlay", at("mnt"): "ext4", at("mnt", "nasty"): "ext4", at("mnt", "nas", "models"): "nfs4", at("mnt2"): "overlay",
	} {
		if p, ok := volume(all, path); !ok || p.Fstype != want {
			t.Errorf("%s lies on %q, want %q", path, p.Fstype, want)
		}
	}
	if p, ok := volume(nil, at("x")); ok {
		t.Errorf("without volumes there is %v", p)
	}
	for kind, want := range map[string]bool{"nfs4": true, "CIFS": true, "smbfs": true, "fuse.sshfs": true, "ext4": false, "apfs": false, "NTFS": false, "fuseblk": false, "": false} {
		if isNetwork(kind) != want {
			t.Errorf("isNetwork(%q) is %v", kind, !want)
		}
	}
}

// TestRotational reads what Linux tells of a disk and of a partition.
func TestRotational(t *testing.T) {
	folder := t.TempDir()
	id, ok := deviceID(folder)
	if !ok {
		if rotational(folder, folder) {
			t.Error("a system that tells nothing has a disk that rotates")
		}
		return
	}
	for name, want := range map[string]bool{"": false, "queue": true, "parent": true} {
		dir := t.TempDir()
		switch name {
		case "queue":
			write(t, dir, map[string]string{id + "/queue/rotational": "1\n"})
		case "parent":
			write(t, dir, map[string]string{id + "/partition": "1\n", "queue/rotational": "1\n"})
		}
		if got := rotational(dir, folder); got != want {
			t.Errorf("%q: rotational is %v", name, got)
		}
	}
}

// TestMachine asks this machine.
func TestMachine(t *testing.T) {
	swap, err := Swap()
	if err != nil || swap.Used < 0 || swap.Used > swap.Total {
		t.Errorf("the swap space is %+v, %v", swap, err)
	}
	for _, l := range Limits() {
		if l.Name == "" || l.Flag == "" || l.Value < 0 {
			t.Errorf("a limit is %+v", l)
		}
	}
	dir := t.TempDir()
	here, err := Disk(dir)
	if err != nil || here.Free <= 0 || here.Type == "" {
		t.Errorf("the volume is %+v, %v", here, err)
	}
	// Other programs write on it, so that what is free differs.
	missing, err := Disk(filepath.Join(dir, "not", "made", "yet"))
	if missing.Free = here.Free; err != nil || missing != here {
		t.Errorf("a folder to be made lies on %+v, %v, want %+v", missing, err, here)
	}
}
