package workflow

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/weir-run/weir/fault"
)

// utf16File encodes text as UTF-16, with or without a byte order mark.
func utf16File(text string, order binary.AppendByteOrder, mark bool) []byte {
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xfeff)
	}
	for _, u := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// TestWrappers reads a graph in all the ways in which programs wrap it.
func TestWrappers(t *testing.T) {
	const graph = `{"1": {"inputs": {"t": "café 😀"}, "class_type": "A"}}`
	const drawing = `{"nodes": [{"id": 1, "type": "Load", "widgets_values": ["a"]}]}`
	const escaped = `"{\"1\": {\"inputs\": {\"t\": \"caf\u00e9 \ud83d\ude00\"}, \"class_type\": \"A\"}}"`
	for what, test := range map[string]struct {
		data   string
		source bool
	}{
		"plain":              {graph, false},
		"UTF-8 mark":         {"\xef\xbb\xbf" + graph, false},
		"UTF-16 LE":          {string(utf16File(graph, binary.LittleEndian, true)), false},
		"UTF-16 BE":          {string(utf16File(graph, binary.BigEndian, true)), false},
		"UTF-16 LE, no mark": {string(utf16File(graph, binary.LittleEndian, false)), false},
		"UTF-16 BE, no mark": {string(utf16File("\n"+graph, binary.BigEndian, false)), false},
		"request":            {`{"client_id": "x", "prompt": ` + graph + `, "extra_data": {"extra_pnginfo": {"workflow": {"nodes": []}}}}`, true},
		"text in a PNG":      {`{"prompt": ` + escaped + `, "workflow": {"nodes": []}}`, true},
		"output":             {`{"workflow": ` + drawing + `, "output": ` + graph + `}`, true},
		"history entry":      {`{"prompt": [3, "id", ` + graph + `, {"extra_pnginfo": {"workflow": {"nodes": []}}}, ["9"]], "outputs": {}}`, true},
		"history":            {`{"b0c1": {"prompt": [3, "id", ` + graph + `, {}, ["9"]], "outputs": {}}}`, false},
		"twice wrapped":      {`{"output": {"prompt": ` + graph + `}}`, false},
		"a text":             {escaped, false},
	} {
		g, err := Parse([]byte(test.data), drawnRegistry())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if v, _ := g.Nodes[0].Arg("t"); v != "café 😀" || (g.Source != nil) != test.source {
			t.Errorf("%s: %s, source %v", what, g, g.Source)
		}
	}
	if g, err := Parse([]byte(`{"workflow": `+drawing+`}`), drawnRegistry()); err != nil || g.String() != `{"1": {"inputs": {"file": "a"}, "class_type": "Load"}}` {
		t.Errorf("%v, %v", g, err)
	}
	// Nodes may be called like wrappers.
	const named = `{"prompt": {"inputs": {}, "class_type": "A"}, "output": {"inputs": {}, "class_type": "B"}, "workflow": {"inputs": {}, "class_type": "C"}}`
	if g, err := Parse([]byte(named), drawnRegistry()); err != nil || g.String() != named {
		t.Errorf("%v, %v", g, err)
	}
	for data, want := range map[string]string{
		strings.Repeat(`{"prompt": `, 20) + graph + strings.Repeat("}", 20): "wrapped too often",
		`{"prompt": null}`:   `"prompt" should be an object of nodes, found null`,
		`{"output": [1]}`:    `"output" should be an object of nodes, found a list`,
		`{"prompt": "{"}`:    "the file ends early",
		`{"workflow": true}`: `"workflow" should be an object of nodes, found true`,
	} {
		if _, err := Parse([]byte(data), drawnRegistry()); err == nil || !strings.Contains(err.Error(), want) || fault.Of(err) != fault.Workflow {
			t.Errorf("%.60s: %v, want %q", data, err, want)
		}
	}
}

// TestTwice takes the last of two values, as ComfyUI does, and tells it.
func TestTwice(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, `{"1": {"class_type": "Add"}, "1": {"class_type": "Number", "inputs": {"value": 2, "value": 3}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	result, err := NewExecutor(nil).Run(t.Context(), job, nil)
	if err != nil || fmt.Sprint(shown(result)) != "[out=3]" {
		t.Errorf("shows %v, %v", result, err)
	}
	if len(job.Warnings) != 2 || !strings.Contains(job.Warnings[1].String(), `the key "1" is there twice`) {
		t.Errorf("warnings %v", job.Warnings)
	}
}

// TestSeeds takes whole numbers of 64 bits in all spellings of JSON.
func TestSeeds(t *testing.T) {
	in := Seed("seed")
	for text, want := range map[string]any{
		"0": int64(0), "7.0": int64(7), "7.9": int64(7), "1e3": int64(1000), "9223372036854775807": int64(1<<63 - 1), "9223372036854775808": uint64(1 << 63),
		"18446744073709551615": uint64(1<<64 - 1), "1.2e19": uint64(12e18), "1.8446744073709550e19": uint64(18446744073709549568),
	} {
		if got, err := in.typed(jsonText(t, text)); err != nil || got != want {
			t.Errorf("%s is %v (%T), %v, want %v", text, got, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"18446744073709552000": "no integer of 64 bits", "1e30": "no integer of 64 bits", "-1": "below the smallest", "-1e19": "no integer of 64 bits", `"many"`: "expected a value of type INT", "1e999": "expected a value of type INT",
	} {
		if got, err := in.typed(jsonText(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %v, %v, want %q", text, got, err, want)
		}
	}
}

func jsonText(t *testing.T, text string) any {
	t.Helper()
	v, _, err := parseJSON([]byte("[" + text + "]"))
	if err != nil {
		t.Fatal(err)
	}
	return v.([]any)[0]
}

// TestFormats names what is no workflow.
func TestFormats(t *testing.T) {
	for data, want := range map[string]string{
		"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR":     "a PNG picture without a workflow",
		"\xff\xd8\xff\xe0\x00\x10JFIF":            "a JPEG picture without a workflow",
		"RIFF\x24\x00\x00\x00WEBPVP8 ":            "a WebP picture without a workflow",
		"GIF89a\x01\x00":                          "a GIF picture without a workflow",
		"BM\x9a\xff\x00\x00":                      "a BMP picture",
		"\x00\x00\x00\x1cftypavif":                "an AVIF or HEIC picture",
		"\x00\x00\x00\x20ftypisom":                "an MP4 video",
		"PK\x03\x04\x14\x00":                      "a ZIP archive",
		"\x1f\x8b\x08\x00":                        "a gzip archive",
		"%PDF-1.7":                                "a PDF document",
		"GGUF\x03\x00\x00\x00":                    "a GGUF model",
		"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":": "a safetensors model",
		"{\x00\x00\x00\x00\x00\x00\x00{\"a\":":    "a safetensors model",
		"\x80\x02}q\x00.":                         "a Python pickle",
		"<!DOCTYPE html>\n<html>":                 "an HTML page",
		"  <html lang=en>":                        "an HTML page",
		"<?xml version=\"1.0\"?>":                 "an XML file",
		"<svg xmlns=":                             "an SVG drawing",
		"# models\ncomfyui:\n  base_path: x\n":    "a YAML file",
		"---\n- a\n":                              "a YAML file",
		"key: value\r\nother: 1":                  "a YAML file",
		"a\x00b":                                  "a binary file",
		"hello world":                             "line 1 column",
		"":                                        "the file is empty",
		" \n\t":                                   "the file is empty",
		"{\"1\": ":                                "the file ends early",
		"nul":                                     "line 1 column",
		"true":                                    "expected a JSON object of nodes, found true",
		"BM is no bitmap":                         "line 1 column",
	} {
		_, err := Parse([]byte(data), NewRegistry())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "not a workflow: ") || fault.Of(err) != fault.Workflow {
			t.Errorf("%.20q: %v, want %q", data, err, want)
		}
	}
	for pattern, want := range map[string]string{
		"../go.mod": "", "../docs/emoji.png": "a PNG picture", "../models/*/*.safetensors": "a safetensors model", "../testdata/golden/*.gguf": "a GGUF model",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(data[:min(len(data), maxBytes)], NewRegistry()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", files[0], err, want)
		}
	}
}
