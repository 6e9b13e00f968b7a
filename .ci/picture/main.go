// Command picture checks that two pictures are the same up to rounding: 99.9 %
// of their values differ by at most 2 of 255.
package main

import (
	"fmt"
	"image"
	_ "image/png"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: picture GOT.png WANT.png; got %d files", len(os.Args)-1)
	}
	got, want := read(os.Args[1]), read(os.Args[2])
	if got.Bounds() != want.Bounds() {
		fail("%s is %v, %s is %v", os.Args[1], got.Bounds(), os.Args[2], want.Bounds())
	}
	far, all := 0, 0
	for y := got.Bounds().Min.Y; y < got.Bounds().Max.Y; y++ {
		for x := got.Bounds().Min.X; x < got.Bounds().Max.X; x++ {
			r, g, b, _ := got.At(x, y).RGBA()
			r2, g2, b2, _ := want.At(x, y).RGBA()
			for _, d := range []int{int(r>>8) - int(r2>>8), int(g>>8) - int(g2>>8), int(b>>8) - int(b2>>8)} {
				all++
				if d > 2 || d < -2 {
					far++
				}
			}
		}
	}
	if far*1000 > all {
		fail("%d of %d values differ by more than 2", far, all)
	}
	fmt.Printf("%s shows what it should: %d of %d values differ by more than 2\n", os.Args[1], far, all)
}

func read(path string) image.Image {
	f, err := os.Open(path)
	if err != nil {
		fail("%v", err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		fail("%s: %v", path, err)
	}
	return img
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
