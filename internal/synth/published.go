package synth

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// published has the names and shapes of the tensors of published models, which
// testdata/golden/published.py writes. A section is of one model: its name, the
// numbers of its tensors and parameters, and a line for each tensor, or for one of
// each of as many blocks as a number in braces says.
//
//go:embed published.txt
var published string

// Published returns the tensors of a published model, with a prefix before each
// name. It is an error unless there are as many tensors and parameters as the
// script counted.
func Published(model, prefix string) ([]Tensor, error) {
	for _, section := range strings.Split(published, "\n\n") {
		if head, body, _ := strings.Cut(section, "\n"); strings.HasPrefix(head, model+" ") {
			return parsePublished(head, body, prefix)
		}
	}
	return nil, fmt.Errorf("there is no published model %s", model)
}

func parsePublished(head, body, prefix string) (all []Tensor, err error) {
	parameters := int64(0)
	for line := range strings.Lines(body) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		var shape []int
		if err := json.Unmarshal([]byte(text), &shape); err != nil {
			return nil, fmt.Errorf("published.txt: %q: %w", line, err)
		}
		names, err := expand(name)
		if err != nil {
			return nil, fmt.Errorf("published.txt: %q: %w", line, err)
		}
		for _, name := range names {
			t := Tensor{Name: prefix + name, Shape: shape}
			all = append(all, t)
			parameters += t.Elements()
		}
	}
	if got := fmt.Sprintf("%s %d %d", strings.Fields(head)[0], len(all), parameters); got != head {
		return nil, fmt.Errorf("published.txt has %q, and its head says %q", got, head)
	}
	return all, nil
}

// expand returns the names that one with a number of blocks in braces stands for.
func expand(name string) ([]string, error) {
	before, rest, ok := strings.Cut(name, "{")
	if !ok {
		return []string{name}, nil
	}
	number, after, _ := strings.Cut(rest, "}")
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = before + strconv.Itoa(i) + after
	}
	return names, nil
}
