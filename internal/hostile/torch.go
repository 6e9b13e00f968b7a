package hostile

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/torchfile"
)

// Torch returns hostile checkpoints of PyTorch: archives that lie, and pickles that
// call programs or never end.
func Torch(seed uint64) []Input {
	r := rand.New(rand.NewPCG(seed, 4))
	var all []Input
	add := func(name string, fails bool, data []byte) {
		all = append(all, Input{"PyTorch: " + name, "model.ckpt", data, fails})
	}
	pickled := func(text string) []byte {
		return torchfile.Archive([]string{"archive/data.pkl", "archive/data/0"}, map[string][]byte{"archive/data.pkl": []byte(text), "archive/data/0": make([]byte, 64)})
	}
	text := func(s string) string {
		return fmt.Sprintf("X%c%c%c%c%s", byte(len(s)), byte(len(s)>>8), byte(len(s)>>16), byte(len(s)>>24), s)
	}
	tensor := func(class, key, offset, shape, strides string) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + class + text(key) + text("cpu") + "K\x10tQ" + offset + "(" + shape + "t(" + strides + "t\x89ccollections\nOrderedDict\n)RtR"
	}
	in := func(value string) string { return "\x80\x02}(" + text("a") + value + "u." }
	const floats = "ctorch\nFloatStorage\n"
	for name, p := range map[string]string{
		"nothing":                   "",
		"no end":                    "\x80\x02}",
		"a number":                  "\x80\x02K\x01.",
		"a program":                 "cposix\nsystem\n(" + text("touch owned") + "tR.",
		"a program of Python":       "cbuiltins\neval\n(" + text("1") + "tR.",
		"a program in the module":   "ctorch.hub\nload\n(" + text("x") + "tR.",
		"a program by its last way": "\x80\x04" + text("os") + text("system") + "\x93(" + text("x") + "tR.",
		"a class with escapes":      "c" + strings.ReplaceAll(Escapes, "\n", "") + "\nx\n)R.",
		"a class of 5 MB":           "c" + Long() + "\nx\n)R.",
		"lists in lists":            strings.Repeat("](", 200_000) + "e.",
		"marks":                     strings.Repeat("(", 1_000_000) + ".",
		"tuples in tuples":          ")" + strings.Repeat("\x85", 1_000_000) + ".",
		"a list that doubles":       "]q\x00" + strings.Repeat("h\x00h\x00\x86q\x00", 100_000) + ".",
		"itself":                    "}q\x00(" + text("a") + "h\x00" + text("b") + "h\x00u.",
		"a long string":             "X\xff\xff\xff\x7fab.",
		"a longer string":           "\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.",
		"a large memo":              "Nr\xff\xff\xff\xffj\xff\xff\xff\xfe.",
		"a large number":            "\x8b\xff\xff\xff\x7f.",
		"a persistent number":       "K\x01Q.",
		"no storage":                in(tensor(floats, "1", "K\x00", "K\x10", "K\x01")),
		"a storage outside":         in(tensor(floats, "../0", "K\x00", "K\x10", "K\x01")),
		"another class":             in(tensor("cos\nsystem\n", "0", "K\x00", "K\x10", "K\x01")),
		"a large offset":            in(tensor(floats, "0", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x10", "K\x01")),
		"a negative offset":         in(tensor(floats, "0", "J\xff\xff\xff\xff", "K\x10", "K\x01")),
		"a large shape":             in(tensor(floats, "0", "K\x00", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x04", "K\x04K\x01")),
		"a shape that wraps":        in(tensor(floats, "0", "K\x00", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40K\x04", "K\x04K\x01")),
		"a negative shape":          in(tensor(floats, "0", "K\x00", "J\xff\xff\xff\xff", "K\x01")),
		"many dimensions":           in(tensor(floats, "0", "K\x00", strings.Repeat("K\x01", 100_000), strings.Repeat("K\x01", 100_000))),
		"strides of others":         in(tensor(floats, "0", "K\x00", "K\x04K\x04", "K\x01K\x04")),
		"no strides":                in(tensor(floats, "0", "K\x00", "K\x10", "")),
		"old opcodes":               "(dp0\nS'a'\np1\nI1\ns.",
	} {
		add(name, true, pickled(p))
	}
	good := in(tensor(floats, "0", "K\x00", "K\x10", "K\x01"))
	add("a name of 5 MB", false, pickled("\x80\x02}("+text(Long())+good[len("\x80\x02}("+text("a")):]))
	add("a name with escapes", false, pickled("\x80\x02}("+text(Escapes)+good[len("\x80\x02}("+text("a")):]))
	add("pickle of zeros", true, zipped("archive/data.pkl", 1<<30))
	add("pickle of marks", true, pickled(strings.Repeat("(", 17<<20)))
	add("no pickle", true, torchfile.Archive([]string{"a"}, map[string][]byte{"a": nil}))
	add("an entry twice", true, torchfile.Archive([]string{"archive/data.pkl", "archive/data.pkl"}, map[string][]byte{"archive/data.pkl": []byte(good)}))
	add("an archive without entries", true, torchfile.Archive(nil, nil))
	whole := Input{"PyTorch", "model.ckpt", torchfile.Encode([]string{"state_dict"}, []torchfile.Tensor{
		{Name: "a.weight", DType: dtype.F32, Shape: []int{2, 3}, Data: make([]byte, 24)}, {Name: "a.bias", DType: dtype.F16, Shape: []int{2}, Data: make([]byte, 4)},
	}), false}
	all = append(all, truncated(whole, 40)...)
	return append(all, flipped(r, whole, 60, len(whole.Data))...)
}

// zipped returns an archive with an entry of so many zeros.
func zipped(name string, n int64) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	w, err := z.Create(name)
	if err == nil {
		_, err = io.CopyN(w, zeros{}, n)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a buffer cannot fail
	}
	return out.Bytes()
}

// zeros is a reader of zeros without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
