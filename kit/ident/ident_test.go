package ident

import (
	"testing"
	"time"
)

func TestNextGrowsWhateverTheClockDoes(t *testing.T) {
	var s Source
	clock := time.UnixMilli(1_700_000_000_000)
	last := int64(0)
	for i := range 1000 {
		switch {
		case i%100 == 50:
			clock = clock.Add(-time.Hour)
		case i%10 == 0:
			clock = clock.Add(time.Minute)
		}
		n := s.Next(clock)
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		last = n
	}
	s.Seen(last + 1<<40)
	if n := s.Next(clock); n != last+1<<40+1 {
		t.Errorf("after Seen: %d", n)
	}
}

func TestStringAndParse(t *testing.T) {
	var s Source
	now := time.UnixMilli(1_718_414_603_123)
	before := ""
	for range 100 {
		n := s.Next(now)
		text := String(n)
		if len(text) != Length || text <= before {
			t.Fatalf("%q after %q", text, before)
		}
		before = text
		if back, err := Parse(text); err != nil || back != n {
			t.Fatalf("Parse(%q) = %d, %v", text, back, err)
		}
		if got := Time(n); !got.Equal(now) {
			t.Fatalf("made at %s", got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1H2Z9J4K00001")
	f.Add("../../etc/pas")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err == nil && (n < 0 || len(text) != Length) {
			t.Errorf("Parse(%q) = %d", text, n)
		}
		if err == nil {
			if back, _ := Parse(String(n)); back != n {
				t.Errorf("%q does not come back", text)
			}
		}
	})
}
