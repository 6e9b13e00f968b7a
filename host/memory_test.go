package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemory(t *testing.T) {
	i, err := Memory()
	if err != nil {
		t.Fatal(err)
	}
	if i.Total <= 0 || i.Available <= 0 || i.Available > i.Total || i.Limit != 0 && i.Limit != i.Total {
		t.Errorf("the memory is %+v", i)
	}
}

// TestGroups reads control groups of both versions, of which the inner or the
// outer one is the tighter.
func TestGroups(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"list": "7:blkio:/\n4:memory:/box/inner\n1:cpu,cpuacct:/\n0::/slice/unit\n",

		"fs/memory/box/inner/memory.limit_in_bytes": "4000\n",
		"fs/memory/box/inner/memory.usage_in_bytes": "3000\n",
		"fs/memory/box/inner/memory.stat":           "inactive_file 1\ntotal_inactive_file 500\ntotal_active_file 1500\n",
		"fs/memory/memory.limit_in_bytes":           "9223372036854771712\n",
		"fs/memory/memory.usage_in_bytes":           "9\n",
		"fs/memory/memory.stat":                     "total_inactive_file 1\n",

		"fs/slice/unit/memory.max":     "max\n",
		"fs/slice/unit/memory.current": "100\n",
		"fs/slice/unit/memory.stat":    "inactive_file 0\n",
		"fs/slice/memory.max":          "2000\n",
		"fs/slice/memory.current":      "700\n",
		"fs/slice/memory.stat":         "anon 5\ninactive_file 100\nactive_file 50\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := map[int64]int64{}
	for _, g := range groups(filepath.Join(dir, "list"), filepath.Join(dir, "fs")) {
		if limit, used, ok := g.memory(); ok {
			found[limit] = used
		}
	}
	if len(found) != 2 || found[4000] != 1000 || found[2000] != 550 {
		t.Errorf("limits and what is used of them are %v, want 1000 of 4000 and 550 of 2000", found)
	}
	if got := groups(filepath.Join(dir, "none"), dir); got != nil {
		t.Errorf("a system without control groups has %v", got)
	}
}
