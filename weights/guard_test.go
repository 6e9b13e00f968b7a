package weights

import (
	"errors"
	"strings"
	"testing"
)

func TestGuardPasses(t *testing.T) {
	if err := Guard(func() error { return nil }); err != nil {
		t.Errorf("Guard of no error: %v", err)
	}
	mine := errors.New("mine")
	if err := Guard(func() error { return mine }); err != mine {
		t.Errorf("Guard of an error: %v", err)
	}
	var nowhere *Set
	for name, f := range map[string]func() error{
		"a value":       func() error { panic("value") },
		"nil pointer":   func() error { _ = nowhere.names; return nil },
		"out of bounds": func() error { _ = make([]int, 1)[len(name())]; return nil },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a panic of %s did not pass", name)
				}
			}()
			err := Guard(f)
			t.Errorf("Guard of a panic of %s: error %v", name, err)
		}()
	}
}

func name() string { return "longer than one" }

func TestFaultErrorNames(t *testing.T) {
	f, err := Open(t.Context(), goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e := &FaultError{File: f, Tensor: "f16", Offset: 7, Found: f.Size()}
	if want := goldenFile + `: tensor "f16": byte 7 of the mapped file could not be read: its disk failed or was removed`; e.Error() != want {
		t.Errorf("error %q, want %q", e, want)
	}
	e = &FaultError{File: f, Offset: 7, Found: 5}
	if !strings.HasPrefix(e.Error(), goldenFile+": byte 7 of the mapped file is gone: the file was truncated") {
		t.Errorf("error %q", e)
	}
}
