package latent

import (
	"slices"
	"strings"
	"testing"
)

func TestShape(t *testing.T) {
	s := Shape{2, 3, 4, 5, 6}
	if s.Elems() != 720 || s.Item() != 360 || s.Volume() != 120 || s.Area() != 30 || s.Bytes() != 2880 || s.String() != "[2 3 4 5 6]" {
		t.Errorf("%v has %d values, %d each, %d places, %d a frame, %d bytes", s, s.Elems(), s.Item(), s.Volume(), s.Area(), s.Bytes())
	}
	if p := Picture(2, 3, 5, 6); p.Time != 1 || p.String() != "[2 3 5 6]" {
		t.Errorf("a picture is %v", p)
	}
	x := New(s)
	if one := x.At(1); one.Batch != 1 || &one.Data[0] != &x.Data[360] || len(one.Data) != 360 {
		t.Errorf("the second latent is %v", one)
	}
}

// TestFormatSizes has the sizes of pictures, and of videos whose first frame is
// a value of its own.
func TestFormatSizes(t *testing.T) {
	video := Format{Name: "video", Channels: 16, Stride: Stride{4, 8, 8}}
	for _, test := range []struct {
		f                     Format
		frames, height, width int
		want                  Shape
	}{
		{Flux2, 1, 64, 100, Shape{2, 128, 1, 4, 6}},
		{SD3, 1, 64, 100, Shape{2, 16, 1, 8, 12}},
		{video, 81, 64, 104, Shape{2, 16, 21, 8, 13}},
		{video, 1, 64, 104, Shape{2, 16, 1, 8, 13}},
	} {
		got := test.f.Of(2, test.frames, test.height, test.width)
		if got != test.want {
			t.Errorf("%s: %d frames of %d×%d are %v, want %v", test.f.Name, test.frames, test.height, test.width, got, test.want)
		}
		if err := test.f.Check(got); err != nil {
			t.Errorf("%s: %v", test.f.Name, err)
		}
		frames, height, width := test.f.Pixels(got)
		if frames != test.frames || height != test.height || width != test.width/test.f.Stride.Width*test.f.Stride.Width {
			t.Errorf("%s: %v is %d frames of %d×%d", test.f.Name, got, frames, height, width)
		}
	}
	for want, s := range map[string]Shape{"4 channels, the model has 16": Picture(1, 4, 8, 8), "21 frames": {1, 16, 21, 8, 8}} {
		if err := Flux.Check(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestFormatScale(t *testing.T) {
	x := Tensor{Shape{2, 2, 2, 1, 1}, []float32{1, 2, 3, 4, 5, 6, 7, 8}}
	channels := Format{Channels: 2, Scale: []float32{2, 0.5}, Shift: []float32{1, 3}}
	in := channels.In(x)
	if want := []float32{0, 2, 0, 0.5, 8, 10, 2, 2.5}; !slices.Equal(in.Data, want) || in.Shape != x.Shape {
		t.Errorf("got %v, want %v", in, want)
	}
	if out := channels.Out(in); !slices.Equal(out.Data, x.Data) {
		t.Errorf("there and back: %v", out.Data)
	}
	if one := Square("", 2, 8, 4, 1).In(x); one.Data[1] != 4 || one.Data[7] != 28 {
		t.Errorf("one scale for all: %v", one.Data)
	}
	if same := Flux2.In(x); !slices.Equal(same.Data, x.Data) {
		t.Errorf("no scale: %v", same.Data)
	}
}
