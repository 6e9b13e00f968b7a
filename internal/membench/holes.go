//go:build linux

package membench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/weights"
)

// holes writes a checkpoint of a size that takes no room on disk: the tensors
// of a model, and one more of the bytes that are left.
func holes(ctx context.Context, model, path string, size int64) (err error) {
	m, err := weights.Open(ctx, model)
	if err != nil {
		return err
	}
	defer m.Close()
	type entry struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header := map[string]entry{}
	var end int64
	for _, r := range m.Refs() {
		// A byte for each element, so that the smallest size holds them.
		n := r.Elements()
		header[r.Name] = entry{"F8_E4M3", r.Shape, [2]int64{end, end + n}}
		end += n
	}
	const room = 1 << 20 // for the header
	rest := size - end - room
	if rest < 0 {
		return fmt.Errorf("%d bytes are less than the model has", size)
	}
	header["filler"] = entry{"U8", []int{int(rest)}, [2]int64{end, end + rest}}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := binary.Write(f, binary.LittleEndian, uint64(len(text))); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Truncate(8 + int64(len(text)) + end + rest)
}

// memory returns how much memory is free.
func memory() (int64, error) {
	i, err := host.Memory()
	return i.Available, err
}
