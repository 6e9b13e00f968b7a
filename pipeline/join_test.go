package pipeline

import (
	"slices"
	"testing"

	"github.com/weir-run/weir/model"
)

// TestJoin has texts of encoders as models read them together.
func TestJoin(t *testing.T) {
	l := Text{Tokens: 2, Width: 1, Embed: []float32{1, 2}, Pooled: []float32{3}}
	g := Text{Tokens: 2, Width: 2, Embed: []float32{4, 5, 6, 7}, Pooled: []float32{8, 9}}
	t5 := Text{Tokens: 1, Width: 4, Embed: []float32{10, 11, 12, 13}}
	for _, tt := range []struct {
		how   model.Join
		texts []Text
		want  Text
	}{
		{model.Beside, []Text{l}, l},
		{model.Beside, []Text{l, g}, Text{2, 3, []float32{1, 4, 5, 2, 6, 7}, []float32{8, 9}}},
		{model.First, []Text{t5, l}, Text{1, 4, []float32{10, 11, 12, 13}, []float32{3}}},
		{model.Sequence, []Text{l, g, t5}, Text{3, 4, []float32{1, 4, 5, 0, 2, 6, 7, 0, 10, 11, 12, 13}, []float32{3, 8, 9}}},
	} {
		got := join(tt.texts, tt.how)
		if got.Tokens != tt.want.Tokens || got.Width != tt.want.Width || !slices.Equal(got.Embed, tt.want.Embed) || !slices.Equal(got.Pooled, tt.want.Pooled) {
			t.Errorf("join %d gives %+v, want %+v", tt.how, got, tt.want)
		}
	}
}
