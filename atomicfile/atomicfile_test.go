package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/weir-run/weir/fault"
)

// Another program is this test's binary with these variables.
const (
	saves = "WEIR_TEST_SAVES" // the folder in which it claims names
	hangs = "WEIR_TEST_HANGS" // the folder in which it is killed
	lacks = "WEIR_TEST_LACKS" // what its file system lacks
)

func TestMain(m *testing.M) {
	flush = func(*os.File) error { return nil } // hundreds would wait for a busy disk
	withoutNow(strings.Fields(os.Getenv(lacks)))
	switch {
	case os.Getenv(saves) != "":
		for i := range filesEach {
			if err := save(os.Getenv(saves), fmt.Sprintf("%d of %d\n", i, os.Getpid())); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	case os.Getenv(hangs) != "":
		dir := os.Getenv(hangs)
		f, err := New(dir)
		if err != nil {
			panic(err)
		}
		g, err := Replacing(filepath.Join(dir, "trace.json"))
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, "half")
		fmt.Fprintln(g, "half")
		fmt.Println("ready")
		select {}
	default:
		os.Exit(m.Run())
	}
}

const filesEach = 8

// save claims the next free number.
func save(dir, text string) error {
	f, err := New(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write([]byte(text)); err != nil {
		return err
	}
	for i := 1; ; i++ {
		if err := f.Claim(fmt.Sprintf("x_%05d_.png", i)); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// systems are file systems by what they lack.
var systems = map[string][]string{
	"nothing":           nil,
	"unnamed files":     {"unnamed"},
	"names for unnamed": {"linkUnnamed"},
	"links":             {"unnamed", "linkNamed"}, // FAT
	"exclusive renames": {"unnamed", "renameNew"},
	"all but creation":  {"unnamed", "linkNamed", "renameNew"},
	"all but unnamed":   {"linkUnnamed", "linkNamed", "renameNew"},
	// As on Windows.
	"renames of open files":           {"unnamed", "linkNamed", "renamesOpen"},
	"renames of open files, and most": {"unnamed", "linkNamed", "renameNew", "renamesOpen"},
}

func withoutNow(what []string) {
	for _, w := range what {
		switch w {
		case "unnamed":
			unnamed = func(string) *os.File { return nil }
		case "linkUnnamed":
			linkUnnamed = func(*os.File, string) error { return errors.ErrUnsupported }
		case "linkNamed":
			linkNamed = func(string, string) error { return errors.ErrUnsupported }
		case "renameNew":
			renameNew = func(string, string) error { return errors.ErrUnsupported }
		case "renamesOpen":
			renamesOpen = false
		}
	}
}

// onEach runs a test on all file systems.
func onEach(t *testing.T, f func(t *testing.T)) {
	for name, lacking := range systems {
		t.Run("without "+name, func(t *testing.T) {
			a, b, c, d, e := unnamed, linkUnnamed, linkNamed, renameNew, renamesOpen
			defer func() { unnamed, linkUnnamed, linkNamed, renameNew, renamesOpen = a, b, c, d, e }()
			withoutNow(lacking)
			f(t)
		})
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestManySaveInOneFolder(t *testing.T) {
	onEach(t, func(t *testing.T) {
		dir := t.TempDir()
		const savers = 12
		var all sync.WaitGroup
		for i := range savers {
			all.Go(func() {
				for k := range filesEach {
					if err := save(dir, fmt.Sprintf("%d of %d", k, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		expectAll(t, dir, savers*filesEach)
	})
}

// expectAll expects n different files.
func expectAll(t *testing.T, dir string, n int) {
	t.Helper()
	there := names(t, dir)
	if len(there) != n {
		t.Errorf("%d files are there, want %d: %q", len(there), n, there)
	}
	seen := map[string]string{}
	for _, name := range there {
		text := read(t, filepath.Join(dir, name))
		if other, twice := seen[text]; twice {
			t.Errorf("%s and %s are both %q", name, other, text)
		}
		seen[text] = name
	}
}

func program(t *testing.T, variable, dir string, lacking []string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), variable+"="+dir, lacks+"="+strings.Join(lacking, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

func TestManyProgramsSaveInOneFolder(t *testing.T) {
	for _, lacking := range [][]string{nil, {"unnamed"}, {"unnamed", "linkNamed"}, {"unnamed", "linkNamed", "renameNew"}} {
		dir := t.TempDir()
		var programs []*exec.Cmd
		for range 10 {
			cmd := program(t, saves, dir, lacking)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			programs = append(programs, cmd)
		}
		for _, cmd := range programs {
			if err := cmd.Wait(); err != nil {
				t.Errorf("without %q: %v", lacking, err)
			}
		}
		expectAll(t, dir, len(programs)*filesEach)
	}
}

// TestKilledProgramsLeaveNothing kills a program that writes two files. The next
// one finds its folder as if the first had never been there.
func TestKilledProgramsLeaveNothing(t *testing.T) {
	for _, lacking := range [][]string{nil, {"unnamed"}} {
		dir := t.TempDir()
		cmd := program(t, hangs, dir, lacking)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(line, err)
		}
		sweepAsNext := func() []string {
			f, err := newTemporary(dir)
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return names(t, dir)
		}
		before := names(t, dir)
		if after := sweepAsNext(); len(after) != len(before) {
			t.Errorf("without %q: the files %q of a living program became %q", lacking, before, after)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if runtime.GOOS == "windows" {
			continue // there left-overs are removed after a minute
		}
		if left := sweepAsNext(); len(left) > 0 {
			t.Errorf("without %q: left are %q", lacking, left)
		}
	}
}

// TestClaimKeepsWhatIsThere has other programs take names in between: files,
// folders and links to nothing.
func TestClaimKeepsWhatIsThere(t *testing.T) {
	onEach(t, func(t *testing.T) {
		dir := t.TempDir()
		f, err := New(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, "ours")
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte("theirs"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "b"), 0o777); err != nil {
			t.Fatal(err)
		}
		taken := []string{"a", "b"}
		if os.Symlink("nothing", filepath.Join(dir, "c")) == nil {
			taken = append(taken, "c")
		}
		for _, name := range taken {
			if err := f.Claim(name); !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := f.Claim("d"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if a, d := read(t, filepath.Join(dir, "a")), read(t, filepath.Join(dir, "d")); a != "theirs" || d != "ours" {
			t.Errorf("a is %q, d is %q", a, d)
		}
		if there := names(t, dir); len(there) != len(taken)+1 {
			t.Errorf("there are %q", there)
		}
	})
}

func TestCommitReplaces(t *testing.T) {
	onEach(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "trace.json")
		for i := range 3 {
			f, err := Replacing(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, i)
			if i > 0 && read(t, path) != fmt.Sprint(i-1) {
				t.Error("the file changed before Commit")
			}
			if err := f.Commit(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != fmt.Sprint(i) {
				t.Errorf("the file is %q, want %d", got, i)
			}
		}
		f, err := Replacing(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "lost")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if there := names(t, dir); len(there) != 1 || read(t, path) != "2" {
			t.Errorf("there are %q, %q", there, read(t, path))
		}
	})
}

func TestCommitThroughLinksAndToDevices(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(path string) {
		t.Helper()
		f, err := Replacing(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "x")
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if os.Symlink("target", link) == nil {
		put(link)
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || read(t, target) != "x" {
			t.Errorf("the link is %v, %v, its target %q", info, err, read(t, target))
		}
	}
	if info, err := os.Stat(target); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the permissions became %v, %v", info, err)
	}
	put(os.DevNull)
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s is now %v, %v", os.DevNull, info.Mode(), err)
	}
	if _, err := Replacing(dir); fault.Of(err) != fault.IO {
		t.Errorf("a folder: %v", err)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	onEach(t, func(t *testing.T) {
		dir := t.TempDir()
		none := filepath.Join(dir, "none")
		if _, err := New(none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) || fault.Of(err) != fault.IO {
			t.Errorf("no folder: %v", err)
		}
		f, err := New(dir)
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("n", 300)
		if err := f.Claim(long); err == nil || !strings.Contains(err.Error(), long) || fault.Of(err) != fault.IO {
			t.Errorf("a long name: %v", err)
		}
		f.Close()
		if there := names(t, dir); len(there) > 0 {
			t.Errorf("left are %q", there)
		}
	})
}

func TestCheck(t *testing.T) {
	onEach(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, good := range []string{"new.png", "a/b/c/new.png", "file"} {
			if err := Check(filepath.Join(dir, good), 1<<10); err != nil {
				t.Errorf("%s: %v", good, err)
			}
		}
		bad := map[string]string{
			"a file as folder":   filepath.Join(file, "new.png"),
			"a file far above":   filepath.Join(file, "a", "b", "new.png"),
			"a long name":        filepath.Join(dir, strings.Repeat("n", 300)),
			"a long folder":      filepath.Join(dir, "a", strings.Repeat("n", 300), "new.png"),
			"a long path":        filepath.Join(dir, strings.Repeat("n/", 20000)),
			"a long name in new": filepath.Join(dir, "a", strings.Repeat("n", 300)),
		}
		want := 1
		if os.Symlink("nothing", filepath.Join(dir, "link")) == nil {
			bad["a link to nothing"] = filepath.Join(dir, "link", "new.png")
			want++
		}
		if runtime.GOOS == "linux" {
			bad["a folder in which nothing can be made"] = "/proc/weir/new.png"
		}
		for name, path := range bad {
			if err := Check(path, 0); fault.Of(err) != fault.IO || len(err.Error()) > 1000 {
				t.Errorf("%s: %.1000v", name, err)
			}
		}
		if err := Check(bad["a folder in which nothing can be made"], 0); runtime.GOOS == "linux" && !strings.HasPrefix(err.Error(), "make a file in /proc: ") {
			t.Errorf("a folder in which nothing can be made: %v", err)
		}
		if err := Check(filepath.Join(dir, "a", "huge.png"), 1<<60); err == nil || !strings.Contains(err.Error(), "are free") || fault.Of(err) != fault.IO {
			t.Errorf("no space: %v", err)
		}
		if there := names(t, dir); len(there) != want {
			t.Errorf("left are %q", there)
		}
	})
}
