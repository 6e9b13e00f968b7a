// Command pictures draws the pictures of docs/dynamic-vram.md into a folder.
// What they show of the pager is what the pager decides.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
)

//go:generate go run . ../../docs

func main() {
	if len(os.Args) != 2 {
		log.Fatal("expected one argument, the folder to draw into")
	}
	if err := draw(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// draw writes all pictures.
func draw(folder string) error {
	for name, picture := range map[string]func() (*canvas, error){
		"tiers.svg":    tiers,
		"timeline.svg": timeline,
		"scan.svg":     scan,
	} {
		c, err := picture()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), c.svg(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
