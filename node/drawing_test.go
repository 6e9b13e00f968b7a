package node

import (
	"path/filepath"
	"testing"

	"github.com/weir-run/weir/pipeline"
)

// TestDrawing runs a file of the interface: sizes from primitive nodes of both
// kinds into a subgraph, a bypassed node, a name that is filled in.
func TestDrawing(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 4, 4, func(int, int) uint8 { return 255 })
	const text = `{"nodes": [
		{"id": 1, "type": "LoadImage", "outputs": [{"type": "IMAGE"}, {"type": "MASK"}], "widgets_values": ["in.png", "image"]},
		{"id": 2, "type": "PrimitiveInt", "outputs": [{"type": "INT"}], "widgets_values": [12, "fixed"], "properties": {"Node name for S&R": "Width"}},
		{"id": 3, "type": "PrimitiveNode", "outputs": [{"type": "INT"}], "widgets_values": [7, "fixed"]},
		{"id": 4, "type": "scale", "inputs": [{"name": "image", "type": "IMAGE", "link": 1}, {"name": "width", "type": "INT", "link": 2}, {"name": "height", "type": "INT", "link": 3}], "outputs": [{"type": "IMAGE"}]},
		{"id": 5, "type": "ImageInvert", "mode": 4, "inputs": [{"name": "image", "type": "IMAGE", "link": 4}], "outputs": [{"type": "IMAGE"}]},
		{"id": 6, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 5}], "widgets_values": ["w%Width.value%"]},
		{"id": 7, "type": "Note", "widgets_values": ["enlarges"]}],
	"links": [[1, 1, 0, 4, 0, "IMAGE"], [2, 2, 0, 4, 1, "INT"], [3, 3, 0, 4, 2, "INT"], [4, 4, 0, 5, 0, "IMAGE"], [5, 5, 0, 6, 0, "IMAGE"]],
	"definitions": {"subgraphs": [{"id": "scale", "name": "Scale",
		"inputs": [{"name": "image", "type": "IMAGE", "linkIds": [10]}, {"name": "width", "type": "INT", "linkIds": [11]}, {"name": "height", "type": "INT", "linkIds": [12]}],
		"outputs": [{"name": "IMAGE", "type": "IMAGE", "linkIds": [13]}],
		"nodes": [{"id": 8, "type": "ImageScale", "inputs": [{"name": "image", "type": "IMAGE", "link": 10}, {"name": "width", "type": "INT", "widget": {"name": "width"}, "link": 11}, {"name": "height", "type": "INT", "widget": {"name": "height"}, "link": 12}],
			"outputs": [{"type": "IMAGE"}], "widgets_values": ["bilinear", 1, 1, "disabled"]}],
		"links": [{"id": 10, "origin_id": -10, "origin_slot": 0, "target_id": 8, "target_slot": 0}, {"id": 11, "origin_id": -10, "origin_slot": 1, "target_id": 8, "target_slot": 1},
			{"id": 12, "origin_id": -10, "origin_slot": 2, "target_id": 8, "target_slot": 2}, {"id": 13, "origin_id": 8, "origin_slot": 0, "target_id": -20, "target_slot": 0}]}]}}`
	m := b.run(b.parse(text))
	if m.Width != 12 || m.Height != 7 {
		t.Errorf("the picture has %d×%d pixels, want 12×7", m.Width, m.Height)
	}
	if files, err := filepath.Glob(filepath.Join(b.env.Folders.Output, "w12_*.png")); err != nil || len(files) != 1 {
		t.Errorf("saved %v, %v", files, err)
	}
}
