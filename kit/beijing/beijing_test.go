package beijing

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		in         time.Time
		want, date string
	}{
		{time.Date(2024, 6, 15, 1, 23, 45, 123_999_999, time.UTC), "2024-06-15T09:23:45.123+08:00", "2024-06-15"},
		{time.Date(2024, 12, 31, 16, 0, 0, 0, time.UTC), "2025-01-01T00:00:00.000+08:00", "2025-01-01"},
		{time.Date(2024, 12, 31, 15, 59, 59, 0, time.UTC), "2024-12-31T23:59:59.000+08:00", "2024-12-31"},
		{time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("", -8*3600)), "2024-03-01T04:00:00.000+08:00", "2024-03-01"},
		// 13:00 on the clocks of Beijing then, in daylight saving time that is deliberately not applied.
		{time.Date(1988, 7, 1, 4, 0, 0, 0, time.UTC), "1988-07-01T12:00:00.000+08:00", "1988-07-01"},
	} {
		if got := Format(c.in); got != c.want {
			t.Errorf("Format(%v) = %s, want %s", c.in, got, c.want)
		}
		if got := Date(c.in); got != c.date {
			t.Errorf("Date(%v) = %s, want %s", c.in, got, c.date)
		}
		if got := FromMilli(c.in.UnixMilli()).Format(Layout); got != c.want {
			t.Errorf("FromMilli = %s, want %s", got, c.want)
		}
		if got := At(c.in).String(); got != c.want {
			t.Errorf("String = %s, want %s", got, c.want)
		}
	}
}

func TestTimeInJSON(t *testing.T) {
	type record struct {
		At   Time `json:"at"`
		Done Time `json:"done,omitzero"`
	}
	const want = `{"at":"2024-06-15T09:23:45.123+08:00"}`
	got, err := json.Marshal(record{At: 1718414625123})
	if err != nil || string(got) != want {
		t.Errorf("Marshal = %s, %v", got, err)
	}
	var back record
	if err := json.Unmarshal([]byte(want), &back); err != nil || back.At != 1718414625123 || back.Done != 0 {
		t.Errorf("Unmarshal = %+v, %v", back, err)
	}
	if _, err := json.Marshal(record{At: 1 << 60}); err == nil {
		t.Error("a year beyond 9999 was written")
	}
}

func TestParseTakesOneShapeOnly(t *testing.T) {
	for _, s := range []string{
		"", "2024-06-15", "2024-06-15T09:23:45+08:00", "2024-06-15T09:23:45.12+08:00", "2024-06-15T09:23:45.1234+08:00",
		"2024-06-15T09:23:45.123Z", "2024-06-15T01:23:45.123+00:00", "2024-06-15T10:23:45.123+09:00", "2024-06-15 09:23:45.123+08:00",
		"2024-06-15t09:23:45.123+08:00", "2024-02-30T09:23:45.123+08:00", "2024-06-15T24:00:00.000+08:00", "2024-06-15T09:23:60.000+08:00",
		"2024-06-15T09:23:45,123+08:00", "2024-06-15T09:23:45.123+0800", " 2024-06-15T09:23:45.123+08:00", "２024-06-15T09:23:45.123+08:00",
	} {
		value := Time(7)
		if err := value.UnmarshalText([]byte(s)); !errs.Is(err, errs.Invalid) || value != 7 {
			t.Errorf("UnmarshalText(%q) = %v, %v", s, value, err)
		}
	}
}

func TestParseDate(t *testing.T) {
	day, err := ParseDate("2024-02-29")
	if err != nil || Format(day) != "2024-02-29T00:00:00.000+08:00" {
		t.Errorf("ParseDate = %v, %v", day, err)
	}
	for _, s := range []string{"", "2023-02-29", "2024-2-29", "20240229", "2024-02-29T00:00:00Z", "2024-13-01"} {
		if _, err := ParseDate(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseDate(%q): %v", s, err)
		}
	}
}

// TestAnyZone runs this package's other tests on machines set to other zones, and on one without a zone database.
func TestAnyZone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts itself anew, which a test under emulation cannot")
	}
	if os.Getenv("QIONG_ZONE_CHILD") != "" {
		t.Skip("is the child")
	}
	for _, env := range [][]string{
		{"TZ=America/New_York"}, {"TZ=Asia/Shanghai"}, {"TZ=UTC"}, {"TZ=Pacific/Kiritimati"}, {"TZ=Asia/Kolkata"},
		{"TZ=Asia/Shanghai", "ZONEINFO=/nonexistent"},
	} {
		child := exec.Command(os.Args[0], "-test.run=^(Test|Example)")
		child.Env = append(append(os.Environ(), "QIONG_ZONE_CHILD=1"), env...)
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", env, err, out)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2024-06-15T09:23:45.123+08:00")
	f.Add("0000-01-01T00:00:00.000+08:00")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := Parse(s)
		if err != nil {
			return
		}
		if len(s) != len("2024-06-15T09:23:45.123+08:00") || Format(at) != s || At(at).String() != s {
			t.Fatalf("Parse(%q) = %v, which is written %q", s, at, Format(at))
		}
	})
}
