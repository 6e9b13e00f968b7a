package weights

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
)

// maxShardName is the most bytes that file systems allow for a name.
const maxShardName = 255

// parseIndex reads the JSON of a sharded checkpoint's index and returns the file name of each tensor's shard. The names
// are those of files in the index's own folder.
func parseIndex(text []byte) (map[string]string, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("the index is not valid UTF-8")
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("the index is not the JSON expected: %w", jsonError(err))
	}
	if len(index.WeightMap) == 0 {
		return nil, errors.New("this is no index of a sharded checkpoint: it has no weight_map, or an empty one")
	}
	for name, shard := range index.WeightMap {
		if shard == "." || len(shard) > maxShardName || strings.ContainsAny(shard, `/\:`) || strings.ContainsFunc(shard, fault.Control) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("tensor %s is said to be in %s: a shard must be a file beside the index", quote(name), quote(shard))
		}
	}
	return index.WeightMap, nil
}

// openIndex opens the shards that the index at path names and checks that each tensor is in its shard. Tensors that the
// index does not name are left out.
func openIndex(ctx context.Context, path string) (*Set, error) {
	text, err := regular.Read(path, maxHeader) // it may be as long as a header
	if err != nil {
		return nil, err
	}
	shardOf, err := parseIndex(text)
	if err != nil {
		return nil, fault.New(fault.Model, "%s: %w", path, err)
	}
	s := &Set{}
	if err := s.openShards(ctx, path, shardOf); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Set) openShards(ctx context.Context, index string, shardOf map[string]string) error {
	shards := map[string]*File{}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(shardOf))) {
		f, err := Open(ctx, filepath.Join(filepath.Dir(index), shard))
		if errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Model, "%s: a shard is missing: %w", index, err)
		}
		if err != nil {
			return err
		}
		shards[shard] = f
		s.files, s.owned = append(s.files, f), append(s.owned, f)
		if s.metadata == nil {
			s.metadata = f.Metadata()
		}
	}
	s.refs = make(map[string]Ref, len(shardOf))
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		f := shards[shardOf[name]]
		ref, ok := f.Lookup(name)
		if !ok {
			return fault.New(fault.Model, "%s: tensor %s is said to be in %s, which has no such tensor", index, quote(name), f.Path())
		}
		s.refs[name] = ref
	}
	s.sort()
	return nil
}
