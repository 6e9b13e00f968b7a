package media

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
)

// TestWorkflowsOfComfyUIsFiles reads what ComfyUI's own nodes and a program that
// writes comments have kept.
func TestWorkflowsOfComfyUIsFiles(t *testing.T) {
	prompt := Text{"prompt", `{"3": {"class_type": "\u00e9"}}`}
	flow := Text{"workflow", `{"nodes": [{"id": 3, "title": "\u65e5\u672c"}]}`}
	for _, name := range []string{"loading_saved.webp", "loading_saved.png", "loading_comment.jpg"} {
		texts, err := ReadText(t.Context(), filepath.Join(golden.Dir(), name))
		slices.SortFunc(texts, func(a, b Text) int { return strings.Compare(a.Key, b.Key) })
		if err != nil || !slices.Equal(texts, []Text{prompt, flow}) {
			t.Errorf("%s: %q, %v", name, texts, err)
		}
	}
}

// A value is one of a TIFF directory, of bytes.
type value struct {
	tag, kind uint16
	data      []byte
}

// tiffOf returns a TIFF file with two directories.
func tiffOf(order binary.AppendByteOrder, first, second []value) []byte {
	mark := "II*\x00"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		mark = "MM\x00*"
	}
	out := order.AppendUint32([]byte(mark), 8)
	write := func(values []value, more int) {
		out = order.AppendUint16(out, uint16(len(values)+more))
		at := len(out) + 12*(len(values)+more) + 4
		var data []byte
		for _, v := range values {
			out = order.AppendUint32(order.AppendUint16(order.AppendUint16(out, v.tag), v.kind), uint32(len(v.data)))
			out = order.AppendUint32(out, uint32(at+len(data)))
			data = append(data, v.data...)
		}
		if more > 0 {
			out = order.AppendUint32(order.AppendUint16(order.AppendUint16(out, tagEXIF), 4), 1)
			out = order.AppendUint32(out, uint32(at+len(data)))
		}
		out = append(order.AppendUint32(out, 0), data...)
	}
	write(first, 1)
	write(second, 0)
	return out
}

// jpegOf returns the beginning of a JPEG with EXIF data, in segments of at most
// a length.
func jpegOf(exif []byte, most int) []byte {
	out := []byte{0xff, 0xd8}
	for part := range slices.Chunk(exif, most) {
		segment := append([]byte(exifName), part...)
		out = append(binary.BigEndian.AppendUint16(append(out, 0xff, 0xe1), uint16(len(segment)+2)), segment...)
	}
	return append(out, 0xff, 0xda)
}

// riffOf returns a WebP of chunks.
func riffOf(chunks ...string) []byte {
	var body []byte
	for i := 0; i < len(chunks); i += 2 {
		body = binary.LittleEndian.AppendUint32(append(body, chunks[i]...), uint32(len(chunks[i+1])))
		body = append(body, chunks[i+1]...)
		if len(body)%2 == 1 {
			body = append(body, 0)
		}
	}
	out := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(body)))
	return append(append(out, "WEBP"...), body...)
}

// TestWorkflowsInEXIF reads the ways in which programs keep workflows.
func TestWorkflowsInEXIF(t *testing.T) {
	const model, maker, description, software = 0x110, 0x10f, 0x10e, 0x131
	prompt, flow := Text{"prompt", `{"1": {"class_type": "A"}}`}, Text{"workflow", `{"nodes": []}`}
	utf16 := func(order binary.AppendByteOrder, text string) []byte {
		out := []byte("UNICODE\x00")
		for _, r := range text {
			out = order.AppendUint16(out, uint16(r))
		}
		return out
	}
	long := Text{"workflow", `{"nodes": ["` + strings.Repeat("x", 200000) + `"]}`}
	for name, tt := range map[string]struct {
		first, second []value
		want          []Text
	}{
		"ComfyUI":      {[]value{{model, 2, []byte("prompt:" + prompt.Value + "\x00")}, {maker, 2, []byte("workflow:" + flow.Value + "\x00")}}, nil, []Text{prompt, flow}},
		"capitals":     {[]value{{description, 2, []byte("Workflow: " + flow.Value)}, {maker, 1, []byte("Prompt:\n" + prompt.Value)}}, nil, []Text{flow, prompt}},
		"JSON":         {nil, []value{{tagUserComment, 7, []byte("ASCII\x00\x00\x00" + `{"prompt": ` + prompt.Value + `, "workflow": ` + flow.Value + `}`)}}, []Text{prompt, flow}},
		"UTF-16":       {nil, []value{{tagUserComment, 7, utf16(binary.LittleEndian, `{"workflow": `+flow.Value+`}`)}}, []Text{flow}},
		"UTF-16, BE":   {nil, []value{{tagUserComment, 7, utf16(binary.BigEndian, `{"workflow": `+flow.Value+`}`)}}, []Text{flow}},
		"bare prompt":  {[]value{{description, 2, []byte(prompt.Value)}}, nil, []Text{prompt}},
		"bare flow":    {[]value{{description, 2, []byte(flow.Value)}}, nil, []Text{flow}},
		"a long one":   {[]value{{description, 2, []byte("workflow:" + long.Value)}}, nil, []Text{long}},
		"other things": {[]value{{software, 2, []byte("a program")}, {description, 2, []byte("workflow of a day")}, {maker, 2, []byte(`{"a": 1}`)}}, nil, nil},
		"broken JSON":  {[]value{{description, 2, []byte(`{"prompt": {`)}}, nil, nil},
	} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			exif := tiffOf(order, tt.first, tt.second)
			for format, data := range map[string][]byte{
				"jpeg": jpegOf(exif, 60000), "webp": riffOf("VP8X", strings.Repeat("\x00", 10), "EXIF", string(exif)),
				"png": appendChunk(appendChunk([]byte(pngMagic), "IHDR", make([]byte, 13)), "eXIf", exif),
			} {
				got, err := inMemory(t, data).texts()
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("%s in %s, %v: %.200q, %v", name, format, order, got, err)
				}
			}
		}
	}
}

// TestHostileEXIF gives directories that lie.
func TestHostileEXIF(t *testing.T) {
	order := binary.LittleEndian
	huge := tiffOf(order, []value{{0x10e, 2, []byte("workflow:{}")}}, nil)
	order.PutUint32(huge[8+2+4:], 1<<31) // more than there is
	loop := tiffOf(order, nil, nil)
	order.PutUint32(loop[8+2+8:], 8) // the second is the first
	many := append([]byte("II*\x00\x08\x00\x00\x00\xff\xff"), bytes.Repeat([]byte("\x0e\x01\x02\x00\xff\xff\xff\x0f\x08\x00\x00\x00"), 65535)...)
	for name, exif := range map[string][]byte{"huge": huge, "loop": loop, "many": many, "empty": {}, "short": []byte("II*\x00"), "far": []byte("II*\x00\xff\xff\xff\xff")} {
		f := inMemory(t, riffOf("EXIF", string(exif)))
		if texts, err := f.texts(); err != nil || len(texts) > 0 {
			t.Errorf("%s: %q, %v", name, texts, err)
		}
		if o, err := f.orientation("webp"); err != nil || o != 1 {
			t.Errorf("%s: orientation %d, %v", name, o, err)
		}
	}
}

func FuzzTexts(f *testing.F) {
	for _, path := range goldens(f) {
		f.Add(readFile(f, path))
	}
	f.Add(jpegOf(tiffOf(binary.BigEndian, []value{{0x10e, 2, []byte(`workflow:{"nodes": []}`)}}, []value{{tagUserComment, 7, []byte(`UNICODE {"prompt": {}}`)}}), 20))
	f.Add(bomb())
	f.Add([]byte(pngMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, err := inMemory(t, data).texts()
		if err != nil && texts != nil {
			t.Error("an error came with texts")
		}
		for _, text := range texts {
			if len(text.Key) > 200 {
				t.Errorf("a key of %d bytes", len(text.Key))
			}
		}
	})
}
