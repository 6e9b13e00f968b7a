package workflow

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"unicode/utf16"
	"unicode/utf8"
)

// Beginnings of files that people give for workflows.
var formats = []struct{ begins, name string }{
	{"\x89PNG", "a PNG picture without a workflow"},
	{"\xff\xd8\xff", "a JPEG picture without a workflow"},
	{"GIF8", "a GIF picture without a workflow"},
	{"BM", "a BMP picture without a workflow"},
	{"II*\x00", "a TIFF picture without a workflow"},
	{"MM\x00*", "a TIFF picture without a workflow"},
	{"\x00\x00\x01\x00", "an icon"},
	{"PK\x03\x04", "a ZIP archive: unpack it first"},
	{"\x1f\x8b", "a gzip archive: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{"Rar!", "a RAR archive: unpack it first"},
	{"%PDF", "a PDF document"},
	{"GGUF", "a GGUF model: weir inspect tells about it"},
	{"\x80\x02", "a Python pickle"},
	{"\x7fELF", "a program"},
	{"MZ", "a program"},
	{"\x1aE\xdf\xa3", "a Matroska or WebM video"},
	{"fLaC", "a FLAC recording"},
	{"OggS", "an Ogg recording"},
	{"ID3", "an MP3 recording"},
}

var (
	markup   = regexp.MustCompile(`(?i)^\s*<(!doctype html|html|head|body|\?xml|svg|!--)`)
	yamlLine = regexp.MustCompile(`^(---(\s|$)|(- )*[\w."'/ -]+:(\s|$)|- \S|%YAML)`)
)

// Format names the format of a file that is no JSON by its beginning, for example
// "a ZIP archive: unpack it first"; "" when nothing tells.
func Format(data []byte) string {
	if len(bytes.TrimSpace(data)) == 0 {
		return ""
	}
	if len(data) >= 12 && string(data[:4]) == "RIFF" {
		switch string(data[8:12]) {
		case "WEBP":
			return "a WebP picture without a workflow"
		case "WAVE":
			return "a WAV recording"
		}
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		if kind := string(data[8:12]); kind == "avif" || kind == "heic" || kind == "mif1" {
			return "an AVIF or HEIC picture without a workflow"
		}
		return "an MP4 video"
	}
	if len(data) > 10 && data[8] == '{' {
		if n := binary.LittleEndian.Uint64(data); n > 1 && n < 1<<40 {
			return "a safetensors model: weir inspect tells about it"
		}
	}
	for _, f := range formats {
		if bytes.HasPrefix(data, []byte(f.begins)) && (len(f.begins) > 2 || !utf8.Valid(data[:min(len(data), 512)])) {
			return f.name
		}
	}
	if m := markup.FindSubmatch(data[:min(len(data), 4096)]); m != nil {
		switch name := string(bytes.ToLower(m[1])); name {
		case "svg":
			return "an SVG drawing"
		case "?xml":
			return "an XML file"
		}
		return "an HTML page: download the file itself and not the page that shows it"
	}
	for line := range bytes.Lines(data[:min(len(data), 64<<10)]) {
		line = bytes.TrimRight(line, " \t\r\n")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if yamlLine.Match(line) {
			return "a YAML file"
		}
		break
	}
	if i := bytes.IndexByte(data[:min(len(data), 4096)], 0); i >= 0 {
		return "a binary file of an unknown format"
	}
	return ""
}

// decodeText returns text as UTF-8 without a byte order mark. UTF-16 is known by
// its mark, or by the zero beside its first character.
func decodeText(data []byte) []byte {
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok {
		return rest
	}
	if len(data) < 2 {
		return data
	}
	var order binary.ByteOrder
	skip := 2
	switch {
	case data[0] == 0xff && data[1] == 0xfe:
		order = binary.LittleEndian
	case data[0] == 0xfe && data[1] == 0xff:
		order = binary.BigEndian
	case bytes.IndexByte([]byte("{[ \t\r\n"), data[0]) >= 0 && data[1] == 0:
		order, skip = binary.LittleEndian, 0
	case data[0] == 0 && bytes.IndexByte([]byte("{[ \t\r\n"), data[1]) >= 0:
		order, skip = binary.BigEndian, 0
	default:
		return data
	}
	data = data[skip:]
	out := make([]byte, 0, len(data))
	for len(data) >= 2 {
		r := rune(order.Uint16(data))
		data = data[2:]
		if utf16.IsSurrogate(r) && len(data) >= 2 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(data))); pair != utf8.RuneError {
				r, data = pair, data[2:]
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
