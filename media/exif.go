package media

import (
	"bytes"
	"encoding/binary"
)

// orientation returns the EXIF orientation of a file, 1 for an upright picture.
func orientation(data []byte, format string) int {
	switch format {
	case "jpeg":
		data = jpegEXIF(data)
	case "png":
		data = chunkEXIF(data, len(pngMagic), "eXIf")
	case "webp":
		data = chunkEXIF(data, 12, "EXIF")
	case "tiff": // is EXIF
	default:
		return 1
	}
	return tiffOrientation(bytes.TrimPrefix(data, []byte("Exif\x00\x00")))
}

// jpegEXIF returns the EXIF data of a JPEG: the segment APP1 of that name.
func jpegEXIF(data []byte) []byte {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		if data[at+1] == 0xff { // filling
			at++
			continue
		}
		marker, n := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == 0xda || n < 2 || at+2+n > len(data) {
			break
		}
		if segment := data[at+4 : at+2+n]; marker == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")) {
			return segment
		}
		at += 2 + n
	}
	return nil
}

// chunkEXIF returns a chunk of a PNG, whose chunks begin with their length and
// end with a sum, or of a WebP, whose chunks begin with their name and have
// even lengths.
func chunkEXIF(data []byte, at int, name string) []byte {
	for at+8 <= len(data) {
		head, png := data[at:at+8], name == "eXIf"
		kind, n := string(head[:4]), int(binary.LittleEndian.Uint32(head[4:]))
		next := n + n%2
		if png {
			kind, n = string(head[4:]), int(binary.BigEndian.Uint32(head))
			next = n + 4
		}
		at += 8
		if n < 0 || next < n || n > len(data)-at {
			break
		}
		if kind == name {
			return data[at : at+n]
		}
		at += next
	}
	return nil
}

// tiffOrientation reads tag 0x112 of the first directory.
func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if t[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(t[4:]))
	if at < 8 || at+2 > int64(len(t)) {
		return 1
	}
	entries := t[at+2:]
	for range order.Uint16(t[at:]) {
		if len(entries) < 12 {
			break
		}
		if v := order.Uint16(entries[8:]); order.Uint16(entries) == 0x112 && v >= 1 && v <= 8 {
			return int(v)
		}
		entries = entries[12:]
	}
	return 1
}

// oriented turns and mirrors the first picture by its EXIF orientation.
func (r raster) oriented(o int) raster {
	if o <= 1 {
		return r
	}
	out := newRaster(1, r.Height, r.Width, r.Channels, r.form)
	if o >= 5 {
		out.Height, out.Width = r.Width, r.Height
	}
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := x, y
			if o >= 5 { // transposed first
				sx, sy = y, x
			}
			if o == 2 || o == 3 || o == 7 || o == 8 {
				sx = r.Width - 1 - sx
			}
			if o == 3 || o == 4 || o == 6 || o == 7 {
				sy = r.Height - 1 - sy
			}
			to, from := (y*out.Width+x)*r.Channels, (sy*r.Width+sx)*r.Channels
			if r.form == inFloat32 {
				copy(out.values[to:to+r.Channels], r.values[from:])
			} else {
				copy(out.bytes[to:to+r.Channels], r.bytes[from:])
			}
		}
	}
	return out
}
