package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
	"github.com/weir-run/weir/resample"
)

// A Text is a text that a PNG carries under a key, such as the workflow that
// made it.
type Text struct{ Key, Value string }

// WritePNG writes the first picture of a batch as a PNG with 8 bits a channel
// and with texts, in their order, as ComfyUI does. The file appears whole or
// not at all.
func WritePNG(path string, m *Image, texts []Text) error {
	data, err := EncodePNG(m, texts)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeFile(path, data)
}

// writeFile writes under a temporary name and renames.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".weir-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// CreateTemp's files are for their owner alone; pictures are for all.
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// EncodePNG returns the first picture of a batch as a PNG with texts.
func EncodePNG(m *Image, texts []Text) ([]byte, error) {
	if m.Batch < 1 || m.Channels < 3 || m.Channels > 4 {
		return nil, fmt.Errorf("a picture of %d channels cannot be a PNG: expected 3 or 4", m.Channels)
	}
	for _, t := range texts {
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.DefaultCompression}
	if err := encoder.Encode(&b, rgba(m)); err != nil {
		return nil, err
	}
	data := b.Bytes()
	// Texts stand behind the header, as Pillow writes them.
	const header = len(pngMagic) + 12 + 13
	out := append([]byte{}, data[:header]...)
	for _, t := range texts {
		out = appendChunk(out, "tEXt", append([]byte(t.Key+"\x00"), t.Value...))
	}
	return append(out, data[header:]...), nil
}

// check reports whether a text can be stored as it is. JSON is always ASCII
// here, so nothing needs another encoding.
func (t Text) check() error {
	if len(t.Key) < 1 || len(t.Key) > 79 {
		return fmt.Errorf("the key %q of a PNG's text must have 1 to 79 characters", t.Key)
	}
	for _, r := range t.Key + t.Value {
		if r == 0 || r > 126 {
			return fmt.Errorf("the text %s has the character %q: only ASCII can be stored", t.Key, r)
		}
	}
	return nil
}

// rgba converts to bytes as ComfyUI does: values are cut to 0..1 and, times
// 255, to whole numbers.
func rgba(m *Image) image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height))
	row := make([]float32, m.Width*m.Channels)
	for y := range m.Height {
		m.Row(row, 0, y)
		for x := range m.Width {
			pixel := out.Pix[y*out.Stride+4*x:][:4]
			pixel[3] = 255
			for c, v := range row[x*m.Channels:][:m.Channels] {
				pixel[c] = resample.ToByte(v)
			}
		}
	}
	return out
}

const pngMagic = "\x89PNG\r\n\x1a\n"

func appendChunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// maxText is how many bytes of text are read of one PNG.
const maxText = 64 << 20

// ReadText returns the texts that a PNG carries, whatever their encoding and
// compression, without decoding the picture.
func ReadText(path string) ([]Text, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	texts, err := readText(f)
	if err != nil {
		return nil, fault.New(fault.Workflow, "%s: %w", path, err)
	}
	return texts, nil
}

func readText(r io.ReadSeeker) ([]Text, error) {
	var magic [len(pngMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != pngMagic {
		return nil, errors.New("this is not a PNG")
	}
	var texts []Text
	budget := int64(maxText)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return texts, nil // cut off, as after a broken download: what there is counts
		}
		n, kind := int64(binary.BigEndian.Uint32(head[:4])), string(head[4:])
		if kind == "IEND" {
			return texts, nil
		}
		if kind != "tEXt" && kind != "zTXt" && kind != "iTXt" {
			if _, err := r.Seek(n+4, io.SeekCurrent); err != nil {
				return texts, nil
			}
			continue
		}
		if budget -= n; budget < 0 {
			return nil, fmt.Errorf("the PNG carries more than %d bytes of text", maxText)
		}
		// What the chunk claims is read only as far as there is something.
		data, err := io.ReadAll(io.LimitReader(r, n))
		if err != nil || int64(len(data)) < n {
			return texts, nil
		}
		text, err := parseText(kind, data, &budget)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
		if _, err := r.Seek(4, io.SeekCurrent); err != nil {
			return texts, nil
		}
	}
}

// parseText reads a chunk of text. What it inflates counts against the budget.
func parseText(kind string, data []byte, budget *int64) (Text, error) {
	key, rest, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return Text{}, fmt.Errorf("a %s chunk has no key", kind)
	}
	compressed := false
	switch kind {
	case "tEXt":
		return Text{string(key), latin1(rest)}, nil
	case "zTXt":
		if len(rest) < 1 {
			return Text{}, fmt.Errorf("the chunk zTXt %s is cut off", key)
		}
		compressed, rest = true, rest[1:]
	case "iTXt":
		if len(rest) < 2 {
			return Text{}, fmt.Errorf("the chunk iTXt %s is cut off", key)
		}
		compressed, rest = rest[0] == 1, rest[2:]
		for range 2 { // language and translated key
			if _, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
				return Text{}, fmt.Errorf("the chunk iTXt %s is cut off", key)
			}
		}
	}
	if compressed {
		z, err := zlib.NewReader(bytes.NewReader(rest))
		if err != nil {
			return Text{}, fmt.Errorf("the text %s: %w", key, err)
		}
		if rest, err = io.ReadAll(io.LimitReader(z, *budget+1)); err != nil {
			return Text{}, fmt.Errorf("the text %s: %w", key, err)
		}
		if *budget -= int64(len(rest)); *budget < 0 {
			return Text{}, fmt.Errorf("the PNG carries more than %d bytes of text", maxText)
		}
	}
	if kind == "iTXt" {
		return Text{string(key), strings.ToValidUTF8(string(rest), "\uFFFD")}, nil
	}
	return Text{string(key), latin1(rest)}, nil
}

// latin1 returns text of ISO 8859-1 as UTF-8. Texts that are UTF-8 already,
// against the letter of the standard, are left as they are.
func latin1(b []byte) string {
	if s := string(b); strings.ToValidUTF8(s, "") == s {
		return s
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
