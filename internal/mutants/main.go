// Mutants asks whether the tests would notice: it makes one wrong change after
// another in a copy of the repository, and runs the tests of the packages that
// should fail. A change that no test notices is a survivor.
//
//	go run ./internal/mutants
//	go run ./internal/mutants -run 'pager|plan'
//
// A change whose text is not found once in its file is reported as stale: the
// code has moved on, and the list in list.go must follow. The exit status is 1
// if a mutant survives or is stale.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// A mutant is a wrong change: a text of a file, which must be there once, and
// another in its place. Some test of the packages must fail.
type mutant struct {
	name, file, before, after string
	packages                  string // separated by spaces
}

// A verdict says what became of a mutant. One whose tests hang is killed too.
type verdict string

const (
	killed     verdict = "killed"
	survived   verdict = "SURVIVED"
	stale      verdict = "STALE: its text is not once in the file"
	incomplete verdict = "STALE: it does not compile"
)

func main() {
	only := flag.String("run", "", "try the mutants alone whose file or name match the regular expression")
	root := flag.String("root", ".", "the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := try(ctx, *root, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// try runs all mutants that match and writes a table of them.
func try(ctx context.Context, root, only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	copied, err := copyOf(ctx, root)
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	bad, all := 0, 0
	for _, m := range mutants {
		if !match.MatchString(m.file) && !match.MatchString(m.name) {
			continue
		}
		start := time.Now()
		v, by, err := m.try(ctx, copied)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if all++; v != killed {
			bad++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0f s\n", m.file, m.name, v, by, time.Since(start).Seconds())
		fmt.Fprintf(os.Stderr, "%s: %s: %s %s\n", m.file, m.name, v, by)
	}
	table.Flush()
	if bad > 0 {
		return fmt.Errorf("%d of %d mutants survived or are stale", bad, all)
	}
	fmt.Printf("all %d mutants were killed\n", all)
	return nil
}

// copyOf copies the files that git tracks or would track to a new folder.
func copyOf(ctx context.Context, root string) (string, error) {
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("git ls-files in %s: %w", root, err)
	}
	to, err := os.MkdirTemp("", "weir-mutants-")
	if err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) { // deleted, and git not yet told
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o755)
		}
		if err != nil {
			os.RemoveAll(to)
			return "", err
		}
	}
	return to, nil
}

// try makes the change, runs the tests, and takes the change back. It returns
// the first test that failed too.
func (m mutant) try(ctx context.Context, root string) (verdict, string, error) {
	path := filepath.Join(root, filepath.FromSlash(m.file))
	source, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return stale, "", nil
	}
	if err != nil {
		return "", "", err
	}
	if bytes.Count(source, []byte(m.before)) != 1 {
		return stale, "", nil
	}
	if err := os.WriteFile(path, bytes.Replace(source, []byte(m.before), []byte(m.after), 1), 0o644); err != nil {
		return "", "", err
	}
	defer os.WriteFile(path, source, 0o644)
	args := []string{"test", "-short", "-failfast", "-timeout", "3m"}
	for p := range strings.FieldsSeq(m.packages) {
		args = append(args, "./"+p)
	}
	test := exec.CommandContext(ctx, "go", args...)
	test.Dir = root
	test.Env = append(os.Environ(), "GOFLAGS=-vet=off")
	out, err := test.CombinedOutput()
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	text := string(out)
	switch {
	case err == nil:
		return survived, "", nil
	case strings.Contains(text, "[build failed]") || strings.Contains(text, "[setup failed]"):
		return incomplete, "", nil
	}
	if _, failed, ok := strings.Cut(text, "--- FAIL: "); ok {
		name, _, _ := strings.Cut(failed, " ")
		return killed, name, nil
	}
	return killed, "", nil
}
