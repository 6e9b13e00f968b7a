package media

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weir-run/weir/fault"
)

// A Text is a text that a picture carries under a key, such as the workflow
// that made it.
type Text struct{ Key, Value string }

// maxText bounds the bytes of text that are read of one picture.
const maxText = 64 << 20

// ReadText returns the texts that a picture carries, without decoding it: those
// of a PNG, whatever their encoding and compression, and the workflow in the
// EXIF data of others, under the keys prompt and workflow. A picture without
// texts is no error, a file that is no picture is.
func ReadText(ctx context.Context, path string) ([]Text, error) {
	f, closer, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	texts, err := f.texts()
	if err != nil {
		return nil, fault.Mark(fault.Workflow, fmt.Errorf("%s: %w", path, err))
	}
	return texts, nil
}

// Format returns the name of a picture's format, such as PNG, or "" for a file
// that is none.
func Format(ctx context.Context, path string) (string, error) {
	f, closer, err := open(ctx, path)
	if err != nil {
		return "", err
	}
	defer closer.Close()
	return names[f.format()], ctx.Err()
}

// names are the formats as people write them.
var names = map[string]string{
	"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF",
	"avif": "AVIF", "heic": "HEIC", "jxl": "JPEG XL", "mp4": "MP4", "webm": "WebM", "psd": "PSD",
}

func (f *file) texts() ([]Text, error) {
	format := f.format()
	if format == "" {
		return nil, errors.New("this is no picture")
	}
	if format == "png" {
		texts, err := f.pngTexts()
		if err != nil || hasWorkflow(texts) {
			return texts, err
		}
		more, err := f.exifTexts(format)
		return append(texts, more...), err
	}
	return f.exifTexts(format)
}

func hasWorkflow(texts []Text) bool {
	for _, t := range texts {
		if t.Key == keyPrompt || t.Key == keyWorkflow {
			return true
		}
	}
	return false
}

// pngTexts returns the texts of a PNG. Of one that is cut off, as after a broken
// download, what there is counts.
func (f *file) pngTexts() (texts []Text, err error) {
	budget := int64(maxText)
	walk := f.chunks("png", func(c chunk) bool {
		if c.kind == "IEND" || c.cut {
			return false
		}
		if c.kind != "tEXt" && c.kind != "zTXt" && c.kind != "iTXt" && c.kind != "comf" {
			return true
		}
		if budget -= c.n; budget < 0 {
			err = errTooMuchText
			return false
		}
		var data []byte
		if data, err = f.bytes(c.at, c.n); err != nil {
			return false
		}
		var text Text
		if text, err = parseText(c.kind, data, &budget); err == nil {
			texts = append(texts, text)
		}
		return err == nil
	})
	if err = errors.Join(err, walk); err != nil {
		return nil, err
	}
	return texts, nil
}

var errTooMuchText = fmt.Errorf("the picture carries more than %d bytes of text", maxText)

// parseText reads a chunk of text. What it inflates counts against the budget.
func parseText(kind string, data []byte, budget *int64) (Text, error) {
	k, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(k) > 79 {
		return Text{}, fmt.Errorf("a %s chunk has no key", kind)
	}
	key := latin1(k)
	compressed := false
	switch kind {
	case "tEXt", "comf": // the latter is ComfyUI's own, in animations
		return Text{key, latin1(rest)}, nil
	case "zTXt":
		if len(rest) < 1 {
			return Text{}, fmt.Errorf("the chunk zTXt %q is cut off", key)
		}
		compressed, rest = true, rest[1:]
	case "iTXt":
		if len(rest) < 2 {
			return Text{}, fmt.Errorf("the chunk iTXt %q is cut off", key)
		}
		compressed, rest = rest[0] == 1, rest[2:]
		for range 2 { // language and translated key
			if _, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
				return Text{}, fmt.Errorf("the chunk iTXt %q is cut off", key)
			}
		}
	}
	if compressed {
		z, err := zlib.NewReader(bytes.NewReader(rest))
		if err != nil {
			return Text{}, fmt.Errorf("the text %q: %w", key, err)
		}
		if rest, err = io.ReadAll(io.LimitReader(z, *budget+1)); err != nil {
			return Text{}, fmt.Errorf("the text %q: %w", key, err)
		}
		if *budget -= int64(len(rest)); *budget < 0 {
			return Text{}, errTooMuchText
		}
	}
	if kind == "iTXt" {
		return Text{key, strings.ToValidUTF8(string(rest), "\uFFFD")}, nil
	}
	return Text{key, latin1(rest)}, nil
}

// latin1 returns text of ISO 8859-1 as UTF-8. Texts that are UTF-8 already,
// against the letter of the standard, are left as they are.
func latin1(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// Keys of workflows: as it was run, and as the interface shows it.
const (
	keyPrompt   = "prompt"
	keyWorkflow = "workflow"
)

// Tags of EXIF data in which programs keep workflows.
const (
	tagEXIF        = 0x8769 // where the second directory is
	tagUserComment = 0x9286
)

// exifTexts returns the workflows in the EXIF data of a picture. Programs keep
// them in texts of any tag, as "workflow:{...}" or as JSON with such keys.
func (f *file) exifTexts(format string) ([]Text, error) {
	exif, err := f.exif(format)
	if exif == nil || err != nil {
		return nil, err
	}
	first, ok := exif.firstDirectory()
	if !ok {
		return nil, f.ctx.Err()
	}
	directories := []directory{first}
	if at, ok := first.number(tagEXIF); ok {
		if second, ok := exif.directory(first.order, at); ok {
			directories = append(directories, second)
		}
	}
	var out []Text
	budget := int64(maxEXIF)
	for _, d := range directories {
		for i := range d.entries {
			tag, kind, at, n, ok := d.entry(i)
			if !ok {
				break
			}
			// Bytes, ASCII and what is undefined, as long as a workflow.
			if kind != 1 && kind != 2 && kind != 7 || n < int64(len(keyPrompt)) || n > budget {
				continue
			}
			data, err := exif.bytes(at, n)
			if err != nil {
				continue
			}
			budget -= n
			text := latin1(data)
			if tag == tagUserComment {
				text = comment(data, d.order)
			}
			out = append(out, workflows(strings.Trim(text, "\x00 \t\r\n"))...)
		}
	}
	return out, f.ctx.Err()
}

// comment returns the text of a UserComment, which begins with its encoding.
func comment(data []byte, order binary.ByteOrder) string {
	if len(data) < 8 {
		return latin1(data)
	}
	name, rest := string(data[:8]), data[8:]
	switch name {
	case "ASCII\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00":
		return latin1(rest)
	case "UNICODE\x00":
		if len(rest) >= 2 { // many programs have another order than the file
			switch {
			case rest[0] == 0xfe && rest[1] == 0xff, rest[0] == 0 && rest[1] != 0:
				order = binary.BigEndian
			case rest[0] == 0xff && rest[1] == 0xfe, rest[0] != 0 && rest[1] == 0:
				order = binary.LittleEndian
			}
		}
		units := make([]uint16, len(rest)/2)
		for i := range units {
			units[i] = order.Uint16(rest[2*i:])
		}
		return strings.TrimPrefix(string(utf16.Decode(units)), "\uFEFF")
	}
	return latin1(data)
}

// workflows returns the workflows in a text.
func workflows(text string) []Text {
	for _, key := range []string{keyPrompt, keyWorkflow} {
		if len(text) > len(key) && strings.EqualFold(text[:len(key)], key) {
			if rest := strings.TrimLeft(text[len(key):], ": \t\r\n"); strings.HasPrefix(rest, "{") {
				return []Text{{key, rest}}
			}
		}
	}
	if !strings.HasPrefix(text, "{") {
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil {
		return nil
	}
	var out []Text
	for _, key := range []string{keyPrompt, keyWorkflow} {
		value := object[key]
		var inner string
		if json.Unmarshal(value, &inner) == nil { // JSON in a string
			value = json.RawMessage(inner)
		}
		if bytes.HasPrefix(bytes.TrimSpace(value), []byte("{")) {
			out = append(out, Text{key, string(value)})
		}
	}
	if out == nil && object["nodes"] != nil {
		return []Text{{keyWorkflow, text}}
	}
	for _, node := range object {
		if out == nil && bytes.Contains(node, []byte(`"class_type"`)) {
			return []Text{{keyPrompt, text}}
		}
	}
	return out
}
