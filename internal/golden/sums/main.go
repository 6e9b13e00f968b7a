// Command sums writes testdata/golden/SUMS, the checksums of the goldens and
// of the scripts that made them.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/weir-run/weir/internal/golden"
)

func main() {
	text, err := golden.Sums()
	if err == nil {
		err = os.WriteFile(filepath.Join(golden.Dir(), golden.SumsFile), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
