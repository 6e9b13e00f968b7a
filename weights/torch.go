package weights

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
)

// PyTorch's checkpoints are zip archives: data.pkl is a pickle of what was saved, in which the tensors name storages, and
// data/NAME are the storages, which are not compressed. So a tensor is a range of the file, as in safetensors.

const (
	magicZip = "PK\x03\x04"
	// maxPickle and maxDirectory are more bytes than checkpoints have for their pickle and for the archive's directory.
	maxPickle    = 16 << 20
	maxDirectory = 32 << 20
	// maxDepth and maxValues bound how deep and how many values are looked through for tensors.
	maxDepth  = 16
	maxValues = 1 << 17
	maxName   = 1000 // bytes of the name of a tensor, with those of the dictionaries around it
)

// A torchReader reads the archive of a checkpoint.
type torchReader struct {
	size    int64  // of the file
	root    string // of the names in the archive
	entries map[string]*zip.File
}

// A storage is an entry of the archive that holds elements.
type storage struct {
	key   string
	dtype dtype.DType // that of its elements, unless it is untyped
	typed bool
}

// A tensor is one as the pickle describes it.
type tensor struct {
	storage
	offset        int64 // in elements
	shape, stride []int
}

// readTorch reads the pickle of a checkpoint of PyTorch, and nothing of its tensors.
func readTorch(ctx context.Context, r io.ReaderAt, size int64) (*header, error) {
	ration := &rationed{interruptible{ctx, r}, maxDirectory}
	archive, err := zip.NewReader(ration, size)
	ration.left = math.MaxInt
	if err != nil {
		return nil, fmt.Errorf("the file begins as a zip archive, as PyTorch's checkpoints are, and is none: %w; download or copy it again", err)
	}
	t := torchReader{size: size, entries: map[string]*zip.File{}}
	for _, f := range archive.File {
		if _, twice := t.entries[f.Name]; twice {
			return nil, fmt.Errorf("the archive has %s twice", quote(f.Name))
		}
		t.entries[f.Name] = f
		if root, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && (root == "" || strings.HasSuffix(root, "/")) && (t.root == "" || len(root) < len(t.root)) {
			t.root = root
		}
	}
	text, err := t.pickle()
	if err != nil {
		return nil, err
	}
	m := machine{call: t.call, persistent: t.storage}
	value, err := m.run(ctx, text)
	if err != nil {
		return nil, err
	}
	return t.header(value)
}

// rationed reads so many bytes and no more.
type rationed struct {
	r    io.ReaderAt
	left int
}

func (r *rationed) ReadAt(p []byte, off int64) (int, error) {
	if r.left -= len(p); r.left < 0 {
		return 0, fmt.Errorf("its directory is longer than %d bytes", maxDirectory)
	}
	return r.r.ReadAt(p, off)
}

// pickle returns the text of data.pkl.
func (t *torchReader) pickle() ([]byte, error) {
	f := t.entries[t.root+"data.pkl"]
	switch {
	case f == nil:
		return nil, errors.New("this is a zip archive and no checkpoint of PyTorch: it has no data.pkl; unpack it and use the model in it")
	case t.entries[t.root+"constants.pkl"] != nil:
		return nil, errors.New("this is a program of TorchScript, not a checkpoint; use the model's weights")
	case f.UncompressedSize64 > maxPickle:
		return nil, fmt.Errorf("data.pkl has %d bytes, expected at most %d", f.UncompressedSize64, maxPickle)
	}
	if order := t.entries[t.root+"byteorder"]; order != nil {
		text, err := readEntry(order, 16)
		if err != nil {
			return nil, err
		}
		if string(text) != "little" {
			return nil, fmt.Errorf("the bytes of the numbers are in the order %s; use a little-endian file", quote(string(text)))
		}
	}
	return readEntry(f, maxPickle)
}

// readEntry reads an entry of the archive.
func readEntry(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s in the archive: %w", quote(f.Name), err)
	}
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err = errors.Join(err, r.Close()); err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s in the archive: %w", quote(f.Name), err)
	}
	return text, nil
}

// storageTypes are the classes of storages with elements of one type, and torchTypes the types of elements, by their names
// in the module torch.
var (
	storageTypes = map[string]dtype.DType{
		"FloatStorage": dtype.F32, "HalfStorage": dtype.F16, "BFloat16Storage": dtype.BF16, "DoubleStorage": dtype.F64,
		"CharStorage": dtype.I8, "ShortStorage": dtype.I16, "IntStorage": dtype.I32, "LongStorage": dtype.I64,
		"ByteStorage": dtype.U8, "BoolStorage": dtype.BOOL,
	}
	torchTypes = map[string]dtype.DType{
		"float32": dtype.F32, "float16": dtype.F16, "bfloat16": dtype.BF16, "float64": dtype.F64,
		"float8_e4m3fn": dtype.F8E4M3, "float8_e5m2": dtype.F8E5M2,
		"int8": dtype.I8, "int16": dtype.I16, "int32": dtype.I32, "int64": dtype.I64,
		"uint8": dtype.U8, "uint16": dtype.U16, "uint32": dtype.U32, "uint64": dtype.U64, "bool": dtype.BOOL,
	}
)

// storage returns the storage of a persistent id: ("storage", class, key, device, elements).
func (t *torchReader) storage(id any) (any, error) {
	parts, ok := id.(tuple)
	if !ok || len(parts) < 5 || parts[0] != "storage" {
		return nil, errors.New("a persistent id that is no storage")
	}
	class, ok := parts[1].(global)
	key, also := parts[2].(string)
	if !ok || !also {
		return nil, errors.New("a storage without a class or a key")
	}
	if dt, ok := storageTypes[class.name]; ok && class.module == "torch" {
		return storage{key, dt, true}, nil
	}
	if class == (global{"torch.storage", "UntypedStorage"}) || class == (global{"torch", "UntypedStorage"}) {
		return storage{key, dtype.U8, false}, nil
	}
	return nil, fmt.Errorf("a storage of the class %s, which is not supported", quote(class.String()))
}

// call makes what a pickle of tensors makes, and refuses everything else by its name.
func (t *torchReader) call(g global, args tuple) (any, error) {
	switch name := g.String(); {
	case (name == "collections.OrderedDict" || name == "torch.nn.modules.container.ParameterDict") && len(args) == 0:
		return &dict{}, nil
	case name == "torch._utils._rebuild_tensor", name == "torch._utils._rebuild_tensor_v2":
		return rebuild(args, nil)
	case name == "torch._utils._rebuild_tensor_v3" && len(args) >= 7:
		return rebuild(args, args[6])
	case (name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") && len(args) > 0:
		return args[0], nil
	case name == "torch._tensor._rebuild_from_type_v2" && len(args) >= 3: // a function, a class and the arguments
		f, ok := args[0].(global)
		inner, also := args[2].(tuple)
		if !ok || !also || f == g {
			return nil, errPickle
		}
		return t.call(f, inner)
	case name == "torch.Size" && len(args) == 1:
		return args[0], nil
	case name == "_codecs.encode", name == "__builtin__.set", name == "builtins.set", name == "torch.device", name == "numpy.dtype", name == "numpy.core.multiarray.scalar", name == "numpy._core.multiarray.scalar",
		strings.HasPrefix(g.module, "pytorch_lightning."): // what training leaves beside the weights
		return inert{}, nil
	}
	return nil, fmt.Errorf("it calls %s, which is nothing that tensors are made with: such a file may hold programs and is not read; use one in safetensors", quote(g.String()))
}

// rebuild returns a tensor of its storage, offset, shape and strides, with elements of the given type if the storage has
// none.
func rebuild(args tuple, typed any) (any, error) {
	if len(args) < 4 {
		return nil, errPickle
	}
	s, ok := args[0].(storage)
	offset, also := args[1].(int64)
	shape, err := integers(args[2])
	stride, err2 := integers(args[3])
	if !ok || !also || offset < 0 || err != nil || err2 != nil || len(shape) != len(stride) {
		return nil, errors.New("a tensor of no storage, or without a shape and strides")
	}
	if typed != nil {
		class, ok := typed.(global)
		if s.dtype, s.typed = torchTypes[class.name]; !ok || !s.typed || class.module != "torch" {
			return nil, fmt.Errorf("a tensor of the type %v, which is not supported", typed)
		}
	}
	if !s.typed {
		return nil, errors.New("a tensor of an untyped storage")
	}
	return tensor{s, offset, shape, stride}, nil
}

// integers returns the numbers of a tuple that is no longer than a shape.
func integers(v any) ([]int, error) {
	values, ok := v.(tuple)
	if !ok || len(values) > maxRank {
		return nil, errPickle
	}
	out := make([]int, len(values))
	for i, v := range values {
		n, ok := v.(int64)
		if !ok || n < 0 || n > math.MaxInt {
			return nil, errPickle
		}
		out[i] = int(n)
	}
	return out, nil
}

// wrappers are keys under which programs put the tensors, beside what else they save, in the order in which they count.
var wrappers = []string{"state_dict", "model_state_dict", "params_ema", "params-ema", "params", "string_to_param", "model", "net", "module"}

// unwrap returns the dictionary of tensors within one: that under a key that wraps them, or under the only key.
func unwrap(d *dict) *dict {
	for range maxDepth {
		var inner *dict
		for _, key := range wrappers {
			if v, ok := d.get(key); ok && inner == nil {
				inner, _ = v.(*dict)
			}
		}
		if len(d.values) == 1 && inner == nil {
			inner, _ = d.values[0].(*dict)
		}
		if inner == nil || len(inner.keys) == 0 {
			return d
		}
		d = inner
	}
	return d
}

// header returns the tensors of a value, which must be a dictionary.
func (t *torchReader) header(value any) (*header, error) {
	d, ok := value.(*dict)
	if !ok {
		return nil, errors.New("the checkpoint is no dictionary of tensors; save a state dict")
	}
	h := &header{metadata: map[string]string{}, byName: map[string]int{}}
	left := maxValues
	if err := t.collect(h, unwrap(d), "", 0, &left); err != nil {
		return nil, err
	}
	if len(h.refs) == 0 {
		return nil, errors.New("the checkpoint has no tensors that have names")
	}
	slices.SortStableFunc(h.refs, func(a, b Ref) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, ref := range h.refs {
		h.byName[ref.Name] = i
	}
	return h, nil
}

// collect adds the tensors of a dictionary, and of those within it, under names with dots. It looks at no more values than
// are left. What has another key than a string or a number has no name.
func (t *torchReader) collect(h *header, d *dict, prefix string, depth int, left *int) error {
	if depth > maxDepth {
		return fmt.Errorf("dictionaries within dictionaries, more than %d deep", maxDepth)
	}
	for i, key := range d.keys {
		if *left--; *left < 0 {
			return fmt.Errorf("the checkpoint has more than %d values", maxValues)
		}
		switch key.(type) {
		case string, int64:
		default:
			continue
		}
		switch d.values[i].(type) {
		case tensor, *dict:
		default:
			continue
		}
		name := prefix + fmt.Sprint(key)
		if len(name) > maxName {
			return fmt.Errorf("tensor %s: a name of %d bytes, expected at most %d", quote(name), len(name), maxName)
		}
		switch v := d.values[i].(type) {
		case tensor:
			if _, twice := h.byName[name]; twice {
				return fmt.Errorf("tensor %s occurs twice", quote(name))
			}
			ref, err := t.ref(name, v)
			if err != nil {
				return fmt.Errorf("tensor %s: %w", quote(name), err)
			}
			h.byName[name] = len(h.refs)
			h.refs = append(h.refs, ref)
		case *dict:
			if err := t.collect(h, v, name+".", depth+1, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// ref returns where a tensor is. Its elements must lie one after the other.
func (t *torchReader) ref(name string, v tensor) (Ref, error) {
	length, err := byteLength(v.dtype, v.shape)
	if err != nil {
		return Ref{}, err
	}
	ref := Ref{Name: name, DType: v.dtype, Shape: v.shape, Length: length}
	if length == 0 {
		return ref, nil
	}
	step := 1
	for i, n := range slices.Backward(v.shape) {
		if n > 1 && v.stride[i] != step {
			return Ref{}, fmt.Errorf("its elements do not lie in order (shape %v, strides %v); save a contiguous copy of it", v.shape, v.stride)
		}
		step *= n
	}
	f := t.entries[t.root+"data/"+v.key]
	switch {
	case f == nil:
		return Ref{}, fmt.Errorf("the archive has no storage %s", quote(v.key))
	case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64:
		return Ref{}, fmt.Errorf("its storage %s is compressed in the archive; save the checkpoint again with torch.save, or in safetensors", quote(v.key))
	}
	size := int64(v.dtype.Size())
	if f.UncompressedSize64 > maxFile || v.offset > int64(f.UncompressedSize64)/size || v.offset*size+length > int64(f.UncompressedSize64) {
		return Ref{}, fmt.Errorf("its elements %d and on do not fit in its storage %s of %d bytes", v.offset, quote(v.key), f.UncompressedSize64)
	}
	at, err := f.DataOffset()
	if err != nil {
		return Ref{}, fmt.Errorf("its storage %s: %w", quote(v.key), err)
	}
	if int64(f.UncompressedSize64) > t.size-at {
		return Ref{}, fmt.Errorf("the file is truncated: its storage %s ends at byte %d, the file has %d; download or copy it again", quote(v.key), at+int64(f.UncompressedSize64), t.size)
	}
	ref.Offset = at + v.offset*size
	return ref, nil
}
