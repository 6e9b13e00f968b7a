package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"strings"
)

// pngStart is the signature of PNG files.
const pngStart = "\x89PNG\r\n\x1a\n"

// chunk returns a chunk of a PNG.
func chunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// ihdr returns the header of a PNG.
func ihdr(width, height uint32, depth, colour, interlace byte) []byte {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	return chunk("IHDR", append(b, depth, colour, 0, 0, interlace))
}

// deflated returns n bytes of value 0 in zlib's format.
func deflated(n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	zeros := make([]byte, 1<<16)
	for n > 0 {
		// A buffer takes all that is written.
		_, _ = w.Write(zeros[:min(n, len(zeros))])
		n -= len(zeros)
	}
	_ = w.Close()
	return b.Bytes()
}

// pngFile joins the parts of a PNG.
func pngFile(parts ...[]byte) []byte {
	return append([]byte(pngStart), bytes.Join(parts, nil)...)
}

// painted returns a small picture of all colours.
func painted() *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = byte(37 * i)
	}
	return m
}

// encoded returns what an encoder of a picture writes.
func encoded(encode func(*bytes.Buffer) error) []byte {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		panic(err) // a buffer takes all, and the picture is good
	}
	return b.Bytes()
}

// Pictures returns hostile pictures of all formats.
func Pictures(seed uint64) []Input {
	r := rand.New(rand.NewPCG(seed, 4))
	var all []Input
	for _, some := range [][]Input{pngs(), jpegs(), gifs(), others()} {
		all = append(all, some...)
	}
	small := encoded(func(b *bytes.Buffer) error { return png.Encode(b, painted()) })
	photo := encoded(func(b *bytes.Buffer) error { return jpeg.Encode(b, painted(), nil) })
	moving := gifOf(3, 16, 16)
	for _, whole := range []Input{
		{"PNG", "picture.png", small, false}, {"JPEG", "picture.jpg", photo, false}, {"GIF", "picture.gif", moving, false},
		{"JPEG with EXIF", "picture.jpg", withExif(photo, exifPart(1, 0x0112, 3, 1, 6<<16)), false},
	} {
		all = append(all, truncated(whole, 8)...)
		all = append(all, flipped(r, whole, 10, len(whole.Data))...)
	}
	return all
}

func pngs() []Input {
	var all []Input
	add := func(name string, fails bool, parts ...[]byte) {
		all = append(all, Input{"PNG: " + name, "picture.png", pngFile(parts...), fails})
	}
	dot := chunk("IDAT", deflated(5)) // one pixel with 8 bits of red, green, blue and opacity
	end := chunk("IEND", nil)
	add("nothing", true)
	add("no header", true, dot, end)
	add("no data", true, ihdr(1, 1, 8, 6, 0), end)
	add("no end", false, ihdr(1, 1, 8, 6, 0), dot)
	for _, size := range [][2]uint32{{0, 1}, {1, 0}, {0, 0}, {math.MaxUint32, 1}, {1 << 31, 1 << 31}, {math.MaxInt32, math.MaxInt32}, {65535, 65535}, {1 << 20, 1 << 20}, {1 << 30, 1}} {
		for _, colour := range []byte{0, 6} {
			add(fmt.Sprintf("%d×%d of type %d", size[0], size[1], colour), true, ihdr(size[0], size[1], 8, colour, 0), dot, end)
			add(fmt.Sprintf("%d×%d of type %d, interlaced", size[0], size[1], colour), true, ihdr(size[0], size[1], 8, colour, 1), dot, end)
		}
	}
	// 15 kB that become 3.8 GB of planes in float32.
	const side = 11_000
	add("a bomb", false, ihdr(side, side, 1, 0, 0), chunk("IDAT", deflated(side*((side+7)/8+1))), end)
	add("a bomb of 16 bits", false, ihdr(1500, 1500, 16, 6, 0), chunk("IDAT", deflated(1500*(1500*8+1))), end)
	add("more data than pixels", false, ihdr(1, 1, 8, 6, 0), chunk("IDAT", deflated(16<<20)), end)
	add("data that is no zlib", true, ihdr(1, 1, 8, 6, 0), chunk("IDAT", []byte("data")), end)
	add("data that is too short", true, ihdr(64, 64, 8, 6, 0), dot, end)
	add("filter 5", true, ihdr(1, 1, 8, 6, 0), chunk("IDAT", encoded(func(b *bytes.Buffer) error {
		w := zlib.NewWriter(b)
		_, _ = w.Write([]byte{5, 0, 0, 0, 0})
		return w.Close()
	})), end)
	for _, depth := range []byte{0, 3, 32, 255} {
		add(fmt.Sprint("bits ", depth), true, ihdr(1, 1, depth, 6, 0), dot, end)
	}
	for _, colour := range []byte{1, 5, 7, 255} {
		add(fmt.Sprint("type ", colour), true, ihdr(1, 1, 8, colour, 0), dot, end)
	}
	add("interlaced in another way", true, ihdr(1, 1, 8, 6, 9), dot, end)
	add("no palette", true, ihdr(1, 1, 8, 3, 0), chunk("IDAT", deflated(2)), end)
	add("an empty palette", true, ihdr(1, 1, 8, 3, 0), chunk("PLTE", nil), chunk("IDAT", deflated(2)), end)
	add("a long palette", true, ihdr(1, 1, 8, 3, 0), chunk("PLTE", make([]byte, 3*300)), chunk("IDAT", deflated(2)), end)
	add("much opacity", false, ihdr(1, 1, 8, 3, 0), chunk("PLTE", make([]byte, 3)), chunk("tRNS", make([]byte, 256)), chunk("IDAT", deflated(2)), end)
	add("a chunk of 4 GB", true, ihdr(1, 1, 8, 6, 0), []byte("\xff\xff\xff\xffIDAT"), dot)
	add("a chunk of 2 GB of text", false, ihdr(1, 1, 8, 6, 0), []byte("\x7f\xff\xff\xfftEXtprompt\x00{}"), dot, end)
	add("a wrong checksum", true, ihdr(1, 1, 8, 6, 0), []byte("\x00\x00\x00\x01IDATx\x00\x00\x00\x00"), end)
	add("two headers", false, ihdr(1, 1, 8, 6, 0), ihdr(65535, 65535, 16, 6, 0), dot, end)
	text := func(kind string, parts ...string) []byte { return chunk(kind, []byte(strings.Join(parts, "\x00"))) }
	add("a text that is a bomb", false, ihdr(1, 1, 8, 6, 0), text("zTXt", "prompt", "\x00"+string(deflated(80<<20))), dot, end)
	add("an international text that is a bomb", false, ihdr(1, 1, 8, 6, 0), text("iTXt", "prompt", "\x01\x00", "", string(deflated(80<<20))), dot, end)
	add("a text that is no zlib", false, ihdr(1, 1, 8, 6, 0), text("zTXt", "prompt", "\x00zlib"), dot, end)
	add("a text of 5 MB", false, ihdr(1, 1, 8, 6, 0), text("tEXt", "prompt", Long()), dot, end)
	add("a text with escapes", false, ihdr(1, 1, 8, 6, 0), text("tEXt", "prompt", Escapes), text("tEXt", Escapes, "x"), dot, end)
	add("a text without end of its name", false, ihdr(1, 1, 8, 6, 0), chunk("tEXt", []byte("prompt")), dot, end)
	add("30,000 texts", false, ihdr(1, 1, 8, 6, 0), bytes.Repeat(text("tEXt", "prompt", "{}"), 30_000), dot, end)
	add("a workflow of nonsense", false, ihdr(1, 1, 8, 6, 0), text("tEXt", "workflow", `{"nodes":[`), text("tEXt", "prompt", `[1]`), dot, end)
	control := func(frames uint32) []byte { return chunk("acTL", binary.BigEndian.AppendUint32(nil, frames)[:4:4]) }
	frame := func(sequence, width, height, x, y uint32) []byte {
		var b []byte
		for _, v := range []uint32{sequence, width, height, x, y} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return chunk("fcTL", append(b, 0, 1, 0, 10, 9, 9))
	}
	full := func(frames uint32) []byte {
		return chunk("acTL", binary.BigEndian.AppendUint64(nil, uint64(frames)<<32))
	}
	add("animated, a short control", false, ihdr(1, 1, 8, 6, 0), control(2), dot, end)
	for _, n := range []uint32{0, 2, 1 << 31, math.MaxUint32} {
		add(fmt.Sprintf("animated, %d frames that are not there", n), false, ihdr(1, 1, 8, 6, 0), full(n), frame(0, 1, 1, 0, 0), dot, end)
	}
	more := chunk("fdAT", append([]byte{0, 0, 0, 2}, deflated(5)...))
	for name, f := range map[string][]byte{"outside": frame(1, 1, 1, 5, 5), "far outside": frame(1, 1, 1, math.MaxUint32, math.MaxUint32), "large": frame(1, math.MaxUint32, math.MaxUint32, 0, 0), "empty": frame(1, 0, 0, 0, 0), "out of order": frame(9, 1, 1, 0, 0)} {
		add("animated, a frame "+name, false, ihdr(1, 1, 8, 6, 0), full(2), frame(0, 1, 1, 0, 0), dot, f, more, end)
	}
	var frames [][]byte
	for i := range uint32(200) {
		frames = append(frames, frame(2*i+1, 1, 1, 0, 0), chunk("fdAT", append(binary.BigEndian.AppendUint32(nil, 2*i+2), deflated(5)...)))
	}
	add("animated, 200 frames", false, append([][]byte{ihdr(1, 1, 8, 6, 0), full(201), frame(0, 1, 1, 0, 0), dot}, append(frames, end)...)...)
	return all
}

// jpegs returns hostile JPEGs.
func jpegs() []Input {
	var all []Input
	photo := encoded(func(b *bytes.Buffer) error { return jpeg.Encode(b, painted(), nil) })
	add := func(name string, fails bool, data []byte) {
		all = append(all, Input{"JPEG: " + name, "picture.jpg", data, fails})
	}
	frame := bytes.Index(photo, []byte{0xff, 0xc0})
	sized := func(width, height uint16) []byte {
		data := bytes.Clone(photo)
		binary.BigEndian.PutUint16(data[frame+5:], height)
		binary.BigEndian.PutUint16(data[frame+7:], width)
		return data
	}
	add("no pixels", true, sized(0, 0))
	add("no columns", true, sized(0, 16))
	add("65535×65535", false, sized(65535, 65535))
	add("65535×1", false, sized(65535, 1))
	for _, n := range []byte{0, 2, 5, 255} {
		data := bytes.Clone(photo)
		data[frame+9] = n
		add(fmt.Sprint("components ", n), true, data)
	}
	add("nothing but a beginning", true, []byte{0xff, 0xd8})
	add("a segment of length 0", true, []byte{0xff, 0xd8, 0xff, 0xe1, 0, 0, 0xff, 0xd9})
	add("a segment that is not there", true, []byte{0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff})
	add("5 MB of fill", true, append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, long)...))
	add("100,000 segments", false, append(append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff, 0xe2, 0, 4, 'x', 0}, 100_000)...), photo[2:]...))
	add("two frames", false, append(bytes.Clone(photo[:len(photo)-2]), sized(65535, 65535)[2:]...))
	const (
		ascii = 2
		short = 3
		whole = 4
	)
	for name, part := range map[string][]byte{
		"orientation 0":          exifPart(1, 0x0112, short, 1, 0),
		"orientation 65535":      exifPart(1, 0x0112, short, 1, 0xffff<<16),
		"65535 entries":          exifPart(65535, 0x0112, short, 1, 6<<16),
		"4 GB of text":           exifPart(1, 0x010f, ascii, math.MaxUint32, 0),
		"a text beyond the end":  exifPart(1, 0x010f, ascii, 4096, math.MaxUint32-64),
		"an unknown type":        exifPart(1, 0x010f, 99, 1, 0),
		"a count that overflows": exifPart(1, 0x9286, 5, 1<<29+1, 8),
		"a folder in itself":     exifPart(1, 0x8769, whole, 1, 8),
		"a folder beyond":        exifPart(1, 0x8769, whole, 1, math.MaxUint32),
		"half":                   exifPart(1, 0x0112, short, 1, 0)[:15],
		"no byte order":          []byte("Exif\x00\x00XX\x00\x2a\x00\x00\x00\x08"),
		"a comment in UTF-16":    append([]byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x92\x86\x00\x07\x00\x00\x00\x0b\x00\x00\x00\x1a\x00\x00\x00\x00"), "UNICODE\x00\xd8\x00{"...),
	} {
		add("EXIF, "+name, false, withExif(photo, part))
	}
	return all
}

// exifPart returns EXIF data of one entry, in a folder that claims to have so
// many and whose next folder is itself.
func exifPart(entries, tag, kind uint16, count, value uint32) []byte {
	be := binary.BigEndian
	b := be.AppendUint16([]byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08"), entries)
	b = be.AppendUint32(be.AppendUint16(be.AppendUint16(b, tag), kind), count)
	return be.AppendUint32(be.AppendUint32(b, value), 8)
}

// withExif puts EXIF data into a JPEG.
func withExif(photo, exif []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(exif)+2))
	return append(append(b, exif...), photo[2:]...)
}

// gifOf returns an animation of so many frames.
func gifOf(frames, width, height int) []byte {
	g := &gif.GIF{Config: image.Config{Width: width, Height: height}}
	for i := range frames {
		m := image.NewPaletted(image.Rect(0, 0, min(width, 4), min(height, 4)), color.Palette{color.Black, color.White, color.Transparent})
		m.Pix[i%len(m.Pix)] = 1
		g.Image, g.Delay, g.Disposal = append(g.Image, m), append(g.Delay, 1), append(g.Disposal, byte(1+i%3))
	}
	return encoded(func(b *bytes.Buffer) error { return gif.EncodeAll(b, g) })
}

// gifs returns hostile GIFs.
func gifs() []Input {
	var all []Input
	add := func(name string, fails bool, data []byte) {
		all = append(all, Input{"GIF: " + name, "picture.gif", data, fails})
	}
	small := gifOf(2, 16, 16)
	at := bytes.IndexByte(small, 0x2c) // the first frame
	with := func(offset int, values ...byte) []byte {
		data := bytes.Clone(small)
		copy(data[offset:], values)
		return data
	}
	add("no pixels", false, with(6, 0, 0, 0, 0))
	add("65535×65535", false, with(6, 0xff, 0xff, 0xff, 0xff))
	add("65535×65535, 1,000 frames", true, gifOf(1000, 65535, 65535))
	add("200 frames", false, gifOf(200, 16, 16))
	add("a frame outside", false, with(at+1, 0xff, 0xff, 0xff, 0xff))
	add("a frame of 65535×65535", true, with(at+5, 0xff, 0xff, 0xff, 0xff))
	add("a frame without pixels", false, with(at+5, 0, 0, 0, 0))
	add("no frame", true, append(bytes.Clone(small[:at]), 0x3b))
	add("no end of comments", false, append(bytes.Clone(small[:at]), bytes.Repeat([]byte("\x21\xfe\xff"+strings.Repeat("x", 255)), 4000)...))
	return all
}

// others returns hostile WebPs, BMPs and TIFFs, and what only claims to be a
// picture.
func others() []Input {
	var all []Input
	add := func(name, file string, fails bool, data []byte) {
		all = append(all, Input{name, file, data, fails})
	}
	le := binary.LittleEndian
	riff := func(parts ...[]byte) []byte {
		body := append([]byte("WEBP"), bytes.Join(parts, nil)...)
		return append(le.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
	}
	part := func(kind string, data []byte) []byte {
		b := append(le.AppendUint32([]byte(kind), uint32(len(data))), data...)
		return append(b, make([]byte, len(b)%2)...)
	}
	canvas := func(flags byte, width, height uint32) []byte {
		b := append([]byte{flags, 0, 0, 0}, le.AppendUint32(nil, width-1)[:3]...)
		return part("VP8X", append(b, le.AppendUint32(nil, height-1)[:3]...))
	}
	lossless := func(width, height uint32) []byte {
		return part("VP8L", append(le.AppendUint32([]byte{0x2f}, width-1|(height-1)<<14), 0, 0, 0))
	}
	lossy := func(width, height uint16) []byte {
		return part("VP8 ", append(le.AppendUint16(le.AppendUint16([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}, width), height), 0, 0, 0))
	}
	const animated = 2
	frame := func(width, height uint32) []byte {
		b := make([]byte, 16)
		copy(b[6:], le.AppendUint32(nil, width-1)[:3])
		copy(b[9:], le.AppendUint32(nil, height-1)[:3])
		return part("ANMF", append(b, lossless(width, height)...))
	}
	add("WebP: nothing", "picture.webp", true, riff())
	add("WebP: 4 GB", "picture.webp", true, []byte("RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff"))
	add("WebP: a canvas alone", "picture.webp", true, riff(canvas(0, 1<<24, 1<<24)))
	add("WebP: a large canvas", "picture.webp", true, riff(canvas(0, 1<<24, 1<<24), lossless(1, 1)))
	add("WebP: lossless, 16384×16384", "picture.webp", true, riff(lossless(16384, 16384)))
	add("WebP: lossy, 16383×16383", "picture.webp", true, riff(lossy(16383, 16383)))
	add("WebP: lossy, no pixels", "picture.webp", true, riff(lossy(0, 0)))
	add("WebP: animated, no frames", "picture.webp", true, riff(canvas(animated, 16, 16), part("ANIM", make([]byte, 6))))
	add("WebP: animated, a large canvas", "picture.webp", true, riff(canvas(animated, 1<<24, 1<<24), part("ANIM", make([]byte, 6)), frame(1, 1)))
	add("WebP: animated, a large frame", "picture.webp", true, riff(canvas(animated, 16, 16), part("ANIM", make([]byte, 6)), frame(16384, 16384)))
	add("WebP: 100,000 frames", "picture.webp", false, riff(append([][]byte{canvas(animated, 16, 16), part("ANIM", make([]byte, 6))}, bytes.Repeat(frame(1, 1), 100_000))...))
	add("WebP: EXIF of nonsense", "picture.webp", true, riff(canvas(8, 16, 16), part("EXIF", exifPart(65535, 0x010f, 2, math.MaxUint32, 0)), lossless(16, 16)))
	bmp := func(width, height int32, bits uint16) []byte {
		b := append([]byte("BM"), make([]byte, 8)...)
		b = le.AppendUint32(le.AppendUint32(b, 54), 40)
		b = le.AppendUint32(le.AppendUint32(b, uint32(width)), uint32(height))
		b = le.AppendUint16(le.AppendUint16(b, 1), bits)
		return append(b, make([]byte, 24+64)...)
	}
	for _, size := range [][2]int32{{0, 0}, {-1, 1}, {math.MaxInt32, math.MaxInt32}, {1, math.MinInt32}, {65535, 65535}, {1 << 20, 1}} {
		add(fmt.Sprintf("BMP: %d×%d", size[0], size[1]), "picture.bmp", size[0] != 0, bmp(size[0], size[1], 24))
	}
	add("BMP: 7 bits", "picture.bmp", true, bmp(1, 1, 7))
	tiff := func(entries ...[3]uint32) []byte {
		b := le.AppendUint16([]byte("II\x2a\x00\x08\x00\x00\x00"), uint16(len(entries)))
		for _, e := range entries {
			b = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(b, uint16(e[0])), 4), e[1]), e[2])
		}
		return le.AppendUint32(b, 8)
	}
	add("TIFF: nothing", "picture.tiff", true, tiff())
	add("TIFF: 65535×65535", "picture.tiff", true, tiff([3]uint32{256, 1, 65535}, [3]uint32{257, 1, 65535}, [3]uint32{262, 1, 1}, [3]uint32{258, 1, 8}, [3]uint32{273, 1, 8}, [3]uint32{279, 1, 64}))
	add("TIFF: 4 GB of strips", "picture.tiff", true, tiff([3]uint32{256, 1, 16}, [3]uint32{257, 1, 16}, [3]uint32{273, math.MaxUint32, 8}, [3]uint32{279, math.MaxUint32, 8}))
	for _, name := range []string{"picture.png", "picture.jpg", "picture.webp", "picture.gif"} {
		add("text called "+name, name, true, []byte("no picture\n"))
		add("nothing called "+name, name, true, nil)
		add("another format called "+name, name, false, encoded(func(b *bytes.Buffer) error { return png.Encode(b, painted()) }))
	}
	return all
}
