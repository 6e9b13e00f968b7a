package weights

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Set is a namespace of tensors, which may come from several files. A name in a Set need not be the one in the tensor's
// file: views strip prefixes and additions give them. The zero Set is empty and ready to use. A Set may be read by
// several goroutines as long as nothing is added to it.
type Set struct {
	refs     map[string]Ref
	names    []string // sorted
	metadata map[string]string
	files    []*File
	owned    []*File // what Close closes
}

// OpenSet opens checkpoints as one namespace. A path is that of a safetensors or GGUF file or, for a checkpoint in
// shards, of its index (*.safetensors.index.json), whose shards lie beside it; of a GGUF file in parts it is that of any of
// them. The tensors of text models that llama.cpp has named have the names of transformers. Two tensors of one name are an
// error.
func OpenSet(ctx context.Context, paths ...string) (*Set, error) {
	s := &Set{}
	for _, path := range paths {
		if err := s.open(ctx, path); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Set) open(ctx context.Context, path string) error {
	var part *Set
	var err error
	if strings.EqualFold(filepath.Ext(path), ".json") {
		part, err = openIndex(ctx, path)
	} else {
		part, err = openSingle(ctx, path)
	}
	if err != nil {
		return err
	}
	s.owned = append(s.owned, part.owned...)
	return s.Add("", part)
}

func openSingle(ctx context.Context, path string) (*Set, error) {
	f, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	parts, err := f.openParts(ctx)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := &Set{metadata: parts[0].Metadata(), files: parts, owned: parts, refs: make(map[string]Ref, len(f.Refs()))}
	for _, part := range parts {
		for _, r := range part.Refs() {
			if there, twice := s.refs[r.Name]; twice {
				return nil, errors.Join(fault.New(fault.Model, "tensor %s is in two parts: %s and %s", quote(r.Name), there.File.Path(), part.path), s.Close())
			}
			s.refs[r.Name] = r
		}
	}
	s.sort()
	view, err := s.fromLlamaCPP()
	if err != nil {
		return nil, errors.Join(fault.Mark(fault.Model, fmt.Errorf("%s: %w", path, err)), s.Close())
	}
	return view, nil
}

func (s *Set) sort() { s.names = slices.Sorted(maps.Keys(s.refs)) }

// Lookup returns the tensor of that name. Parts of a quantized weight have the
// names that [ScaleOf] and [SmoothOf] give them, and are not among Names.
func (s *Set) Lookup(name string) (Ref, bool) {
	r, ok := s.refs[name]
	if part := s.partOf(name); !ok && part != nil {
		return *part, true
	}
	return r, ok
}

// Len returns the number of tensors.
func (s *Set) Len() int { return len(s.names) }

// Names returns the tensors' names in lexical order. The slice is not to be changed.
func (s *Set) Names() []string { return s.names }

// Files returns the files that the tensors lie in. The slice is not to be changed.
func (s *Set) Files() []*File { return s.files }

// Metadata returns a copy of the files' metadata. Where files disagree, the one opened or added first has its way.
func (s *Set) Metadata() map[string]string {
	m := make(map[string]string, len(s.metadata))
	maps.Copy(m, s.metadata)
	return m
}

// HasPrefix reports whether the name of any tensor begins with prefix.
func (s *Set) HasPrefix(prefix string) bool {
	i := sort.SearchStrings(s.names, prefix)
	return i < len(s.names) && strings.HasPrefix(s.names[i], prefix)
}

// Sub returns a view of the tensors whose names begin with prefix, under the rest of their names. To close the view does
// nothing: it is valid until s is closed.
func (s *Set) Sub(prefix string) *Set {
	view := &Set{refs: map[string]Ref{}, metadata: s.metadata}
	inView := map[*File]bool{}
	for i := sort.SearchStrings(s.names, prefix); i < len(s.names) && strings.HasPrefix(s.names[i], prefix); i++ {
		name, ref := s.names[i][len(prefix):], s.refs[s.names[i]]
		view.refs[name] = ref
		view.names = append(view.names, name) // in order, as what follows one prefix is
		inView[ref.File] = true
	}
	for _, f := range s.files {
		if inView[f] {
			view.files = append(view.files, f)
		}
	}
	return view
}

// Under returns a view of all tensors with prefix before their names. To close the view does nothing: it is valid until s
// is closed.
func (s *Set) Under(prefix string) *Set {
	view := &Set{refs: make(map[string]Ref, len(s.refs)), metadata: s.metadata, files: s.files}
	for _, name := range s.names {
		view.refs[prefix+name] = s.refs[name]
		view.names = append(view.names, prefix+name)
	}
	return view
}

// Renamed returns a view of all tensors under the names that f gives them. Two of
// one name are an error. To close the view does nothing: it is valid until s is
// closed.
func (s *Set) Renamed(f func(name string) string) (*Set, error) {
	view := &Set{refs: make(map[string]Ref, len(s.refs)), metadata: s.metadata, files: s.files}
	for _, name := range s.names {
		to := f(name)
		if there, twice := view.refs[to]; twice {
			return nil, fmt.Errorf("tensors %s and %s are both %s", quote(there.Name), quote(s.refs[name].Name), quote(to))
		}
		view.refs[to] = s.refs[name]
	}
	view.sort()
	return view, nil
}

// Shaped returns a view of all tensors, some of which have other shapes of as
// many elements or, if they are padded, of fewer. To close the view does nothing:
// it is valid until s is closed.
func (s *Set) Shaped(shapes map[string][]int) *Set {
	view := &Set{refs: maps.Clone(s.refs), names: s.names, metadata: s.metadata, files: s.files}
	for name, shape := range shapes {
		ref := view.refs[name]
		if ref.Quant != nil && ref.Quant.Padded {
			ref = ref.cropped(shape)
		}
		ref.Shape = shape
		view.refs[name] = ref
	}
	return view
}

// Add adds all tensors of other, with prefix before their names. Other keeps its files: s is valid until other is
// closed. A name that s has already is an error, after which s is as before.
func (s *Set) Add(prefix string, other *Set) error {
	for _, name := range other.names {
		if there, twice := s.refs[prefix+name]; twice {
			return fault.New(fault.Model, "tensor %s is in two files: %s and %s", quote(prefix+name), there.File.Path(), other.refs[name].File.Path())
		}
	}
	refs := make(map[string]Ref, len(s.refs)+len(other.refs))
	maps.Copy(refs, s.refs)
	for name, ref := range other.refs {
		refs[prefix+name] = ref
	}
	metadata := other.Metadata()
	maps.Copy(metadata, s.metadata)
	s.refs, s.metadata = refs, metadata
	for _, f := range other.files {
		if !slices.Contains(s.files, f) {
			s.files = append(s.files, f)
		}
	}
	s.sort()
	return nil
}

// Close closes the files that s opened. Closing it again does nothing.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.owned {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
