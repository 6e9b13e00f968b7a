package main

import "testing"

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"8GiB": 8 << 30, "500MB": 500e6, "6G": 6 << 30, "1.5 gib": 3 << 29, "0": 0, "12": 12, "64k": 64 << 10, "1TiB": 1 << 40,
	} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "G", "-1G", "8XB", "nan", "1e300G", "99999999999T"} {
		if got, err := parseBytes(s); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", s, got)
		}
	}
}
