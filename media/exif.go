package media

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
)

// maxEXIF bounds the EXIF data that is read of a picture.
const maxEXIF = 16 << 20

const exifName = "Exif\x00\x00"

// exif returns the EXIF data of a picture, which is a TIFF file, or nil.
func (f *file) exif(format string) (*file, error) {
	var data []byte
	var err error
	switch format {
	case "jpeg":
		data, err = f.jpegEXIF()
	case "png":
		if data, err = f.chunk(format, "eXIf", maxEXIF); err == nil && data == nil {
			data, err = f.profile("exif")
		}
	case "webp":
		data, err = f.chunk(format, "EXIF", maxEXIF)
	case "tiff":
		return f, nil
	}
	data = bytes.TrimPrefix(data, []byte(exifName))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return newFile(f.ctx, bytes.NewReader(data), int64(len(data))), nil
}

// profile returns data that ImageMagick keeps in a text of a PNG: its name, its
// length and hexadecimal digits.
func (f *file) profile(name string) ([]byte, error) {
	text, err := f.text("Raw profile type " + name)
	if err != nil {
		return nil, err
	}
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 {
		return nil, nil
	}
	data, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(lines[3]), "\n", ""))
	if err != nil {
		return nil, nil // no profile
	}
	return data, nil
}

// text returns the text of a PNG under a key, or "". Texts that are broken are
// left out.
func (f *file) text(key string) (text string, err error) {
	budget := int64(maxEXIF)
	walk := f.chunks("png", func(c chunk) bool {
		if c.kind != "tEXt" && c.kind != "zTXt" && c.kind != "iTXt" || c.n > maxEXIF {
			return true
		}
		if head, err := f.peek(c.at, int(min(c.n, int64(len(key))))); err != nil || string(head) != key {
			return true
		}
		var data []byte
		if data, err = f.bytes(c.at, c.n); err != nil {
			return false
		}
		if t, broken := parseText(c.kind, data, &budget); broken == nil && t.Key == key {
			text = t.Value
			return false
		}
		return true
	})
	return text, errors.Join(err, walk)
}

// xmp returns the description of a picture in XML, or nil.
func (f *file) xmp(format string) (data []byte, err error) {
	switch format {
	case "jpeg":
		const name = "http://ns.adobe.com/xap/1.0/\x00"
		err = f.segments(func(marker byte, at, n int64) bool {
			if marker != 0xe1 || n < int64(len(name)) {
				return true
			}
			if head, err := f.peek(at, len(name)); err != nil || string(head) != name {
				return true
			}
			data, err = f.bytes(at, n)
			return false
		})
	case "webp":
		data, err = f.chunk(format, "XMP ", maxEXIF)
	case "png":
		var text string
		text, err = f.text("XML:com.adobe.xmp")
		data = []byte(text)
	}
	return data, err
}

// orientation returns the EXIF orientation of a picture, 1 for an upright one.
// Where EXIF data do not say it, XMP may.
func (f *file) orientation(format string) (int, error) {
	exif, err := f.exif(format)
	if err != nil {
		return 1, err
	}
	if exif != nil {
		if d, ok := exif.firstDirectory(); ok {
			if o, ok := d.number(tagOrientation); ok {
				if o < 1 || o > 8 {
					o = 1
				}
				return int(o), nil
			}
		}
	}
	xmp, err := f.xmp(format)
	if found := xmpOrientation.FindSubmatch(xmp); found != nil && err == nil {
		return int(found[1][0] - '0'), nil
	}
	return 1, err
}

var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([1-8])`)

// jpegEXIF returns the EXIF data of a JPEG: the segments APP1 of that name, the
// second and later ones continue the first.
func (f *file) jpegEXIF() ([]byte, error) {
	var out []byte
	err := f.segments(func(marker byte, at, n int64) bool {
		if marker != 0xe1 || n < int64(len(exifName)) || int64(len(out))+n > maxEXIF {
			return true
		}
		if data, err := f.bytes(at, n); err == nil && bytes.HasPrefix(data, []byte(exifName)) {
			out = append(out, data[len(exifName):]...)
		}
		return true
	})
	return out, err
}

// segments passes the segments of a JPEG before the picture's data to each,
// until it returns false.
func (f *file) segments(each func(marker byte, at, n int64) bool) error {
	for at := int64(2); ; {
		head, err := f.peek(at, 4)
		if err != nil {
			return f.ctx.Err()
		}
		switch marker := head[1]; {
		case head[0] != 0xff || marker == 0xda || marker == 0xd9: // the picture's data, or its end
			return nil
		case marker == 0xff: // filling
			at++
			continue
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd7: // alone
			at += 2
			continue
		}
		n := int64(binary.BigEndian.Uint16(head[2:]))
		if n < 2 || !each(head[1], at+4, n-2) {
			return nil
		}
		at += 2 + n
	}
}

// chunk returns the data of the first chunk of a kind, or nil.
func (f *file) chunk(format, kind string, limit int64) (data []byte, err error) {
	walk := f.chunks(format, func(c chunk) bool {
		if c.kind != kind {
			return true
		}
		if c.n <= limit {
			data, err = f.bytes(c.at, c.n)
		}
		return false
	})
	if err == nil {
		err = walk
	}
	return data, err
}

// Tags of TIFF directories.
const (
	tagWidth       = 0x100
	tagHeight      = 0x101
	tagOrientation = 0x112
)

// A directory is a list of values in a TIFF file.
type directory struct {
	file    *file
	order   binary.ByteOrder
	at      int64
	entries int
}

// firstDirectory returns the first directory of a TIFF file, if there is one.
func (f *file) firstDirectory() (directory, bool) {
	head, err := f.peek(0, 8)
	if err != nil {
		return directory{}, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	return f.directory(order, int64(order.Uint32(head[4:])))
}

func (f *file) directory(order binary.ByteOrder, at int64) (directory, bool) {
	if at < 8 {
		return directory{}, false
	}
	n, err := f.peek(at, 2)
	if err != nil {
		return directory{}, false
	}
	return directory{f, order, at, int(order.Uint16(n))}, true
}

// next returns the place of the directory behind, or 0.
func (d directory) next() int64 {
	b, err := d.file.peek(d.at+2+12*int64(d.entries), 4)
	if err != nil {
		return 0
	}
	return int64(d.order.Uint32(b))
}

// sizes are the bytes of a value by its type.
var sizes = [...]int64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

// entry returns the tag of an entry, the type of its values and where they are.
func (d directory) entry(i int) (tag, kind uint16, at, n int64, ok bool) {
	entry := d.at + 2 + 12*int64(i)
	b, err := d.file.peek(entry, 12)
	if err != nil {
		return 0, 0, 0, 0, false
	}
	tag, kind = d.order.Uint16(b), d.order.Uint16(b[2:])
	if int(kind) >= len(sizes) {
		kind = 0
	}
	n = sizes[kind] * int64(d.order.Uint32(b[4:]))
	if n <= 4 {
		return tag, kind, entry + 8, n, true
	}
	return tag, kind, int64(d.order.Uint32(b[8:])), n, true
}

// number returns the first value of a tag.
func (d directory) number(tag uint16) (int64, bool) {
	for i := range d.entries {
		found, kind, at, n, ok := d.entry(i)
		if !ok {
			break
		}
		if found != tag || n == 0 || sizes[kind] > 4 {
			continue
		}
		b, err := d.file.peek(at, int(sizes[kind]))
		if err != nil {
			break
		}
		switch len(b) {
		case 1:
			return int64(b[0]), true
		case 2:
			return int64(d.order.Uint16(b)), true
		}
		return int64(d.order.Uint32(b)), true
	}
	return 0, false
}
