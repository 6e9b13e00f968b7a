package node

import (
	"fmt"
	"strings"
	"testing"
)

// TestSizes compares with the sizes that ComfyUI's nodes give.
func TestSizes(t *testing.T) {
	for size, want := range map[[2]int][2]int{{100, 100}: {1024, 1024}, {200, 100}: {1456, 720}, {100, 300}: {672, 1568}, {105, 100}: {1024, 1024}, {4, 5}: {944, 1104}} {
		if w, h := kontextSize(size[0], size[1]); [2]int{w, h} != want {
			t.Errorf("%v becomes %d×%d, want %v", size, w, h, want)
		}
	}
	for inputs, want := range map[string]string{
		`"aspect_ratio": "1:1 (Square)", "megapixels": 1.0, "multiple": 8`:          "[1024 1024]",
		`"aspect_ratio": "16:9 (Widescreen)", "megapixels": 0.5, "multiple": 16`:    "[960 544]",
		`"aspect_ratio": "2:3 (Portrait Photo)", "megapixels": 2.3, "multiple": 64`: "[1280 1920]",
		`"aspect_ratio": "21:9 (Ultrawide)", "megapixels": 1.0, "multiple": 12`:     "[1560 672]",
		`"aspect_ratio": "21:9", "megapixels": 1.0, "multiple": 12`:                 "is not available",
	} {
		got, err := evaluate(t, `"x": {"class_type": "ResolutionSelector", "inputs": {`+inputs+`}}`)
		if text := fmt.Sprint(got, err); !strings.Contains(text, want) {
			t.Errorf("%s: %s, want %s", inputs, text, want)
		}
	}
}

// TestImageNodeErrors names the input and both numbers.
func TestImageNodeErrors(t *testing.T) {
	const inputs = `"i": {"class_type": "ImageOf", "inputs": {"m": ["m", 0]}}, "m": {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": 9, "height": 5}}, "x": `
	for node, want := range map[string]string{
		`{"class_type": "CropMask", "inputs": {"mask": ["m", 0], "x": 9, "y": 0, "width": 1, "height": 1}}`:                                                                                                                                                                        "nothing is left of a mask of 9×5 from 9, 0 on",
		`{"class_type": "ImageToMask", "inputs": {"image": ["i", 0], "channel": "alpha"}}`:                                                                                                                                                                                         "pictures of 3 channels have no alpha",
		`{"class_type": "ImageBlur", "inputs": {"image": ["i", 0], "blur_radius": 5, "sigma": 1.0}}`:                                                                                                                                                                               "input blur_radius: 5 is not smaller than the sides of the picture, 9×5",
		`{"class_type": "Canny", "inputs": {"image": ["i", 0], "low_threshold": 0.5, "high_threshold": 0.4}}`:                                                                                                                                                                      "input low_threshold: 0.5 is above the high threshold, 0.4",
		`{"class_type": "ResizeImageMaskNode", "inputs": {"input": ["i", 0], "resize_type": "scale longer dimension", "resize_type.longer_size": 0, "scale_method": "area"}}`:                                                                                                      "cannot resize a picture to 0×0",
		`{"class_type": "ResizeImageMaskNode", "inputs": {"input": ["m", 0], "resize_type": "scale by multiplier", "resize_type.multiplier": 0.05, "scale_method": "area"}}`:                                                                                                       "cannot resize a mask to 0×0",
		`{"class_type": "ImageToMask", "inputs": {"image": ["m", 0], "channel": "red"}}`:                                                                                                                                                                                           "expected IMAGE, but output 0 of node m (SolidMask) is MASK",
		`{"class_type": "ImageToMask", "inputs": {"image": ["r", 0], "channel": "red"}}, "r": {"class_type": "ResizeImageMaskNode", "inputs": {"input": ["m", 0], "resize_type": "scale width", "resize_type.width": 4, "scale_method": "area"}}`:                                  "expected IMAGE, but output 0 of node r (ResizeImageMaskNode) is MASK",
		`{"class_type": "PorterDuffImageComposite", "inputs": {"source": ["i", 0], "source_alpha": ["m", 0], "destination": ["j", 0], "destination_alpha": ["m", 0], "mode": "XOR"}}, "j": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["i", 0], "alpha": ["m", 0]}}`: "input source: pictures of 3 channels, the destination has 4",
		`{"class_type": "Canny", "inputs": {"image": ["j", 0], "low_threshold": 0.1, "high_threshold": 0.4}}, "j": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["i", 0], "alpha": ["m", 0]}}`:                                                                         "pictures of 4 channels, expected [1 3]",
	} {
		_, err := evaluate(t, strings.Replace(inputs, `"ImageOf", "inputs": {"m": ["m", 0]}`, `"MaskToImage", "inputs": {"mask": ["m", 0]}`, 1)+node)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %s", node, err, want)
		}
	}
}
