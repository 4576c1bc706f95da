package beijing

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestReadTime(t *testing.T) {
	for text, want := range map[string]string{
		"2024-06-15T09:23:45.123+08:00":  "2024-06-15T09:23:45.123+08:00",
		"2024-06-15T01:23:45Z":           "2024-06-15T09:23:45.000+08:00",
		"2024-06-14T21:23:45.5-04:00":    "2024-06-15T09:23:45.500+08:00",
		"2024-06-15T09:23:45+0800":       "2024-06-15T09:23:45.000+08:00",
		"20240615T092345+0800":           "2024-06-15T09:23:45.000+08:00",
		"2024-02-29T23:59:59.999999999Z": "2024-03-01T07:59:59.999+08:00",
	} {
		for _, policy := range []Naive{Refuse, Assume} {
			if got, err := ReadTime(text, policy); err != nil || Format(got) != want || got.Location() != Zone {
				t.Errorf("%s: %v, %v, want %s", text, got, err, want)
			}
		}
	}
	for text, want := range map[string]string{
		"2024-06-15 09:23:45":     "2024-06-15T09:23:45.000+08:00",
		"2024-06-15T09:23:45":     "2024-06-15T09:23:45.000+08:00",
		"2024-06-15 09:23:45.120": "2024-06-15T09:23:45.120+08:00",
		"2024-06-15 09:23:45,12":  "2024-06-15T09:23:45.120+08:00",
		"2024-06-15 09:23":        "2024-06-15T09:23:00.000+08:00",
		"2024/6/15 9:23:45":       "2024-06-15T09:23:45.000+08:00",
		"2024/06/15 09:23":        "2024-06-15T09:23:00.000+08:00",
		"2024.6.15 9:23":          "2024-06-15T09:23:00.000+08:00",
		"20240615092345":          "2024-06-15T09:23:45.000+08:00",
		"20240615092345123":       "2024-06-15T09:23:45.123+08:00",
		"20240615 092345":         "2024-06-15T09:23:45.000+08:00",
		"2024年6月15日 9时23分45秒":     "2024-06-15T09:23:45.000+08:00",
		"2024年06月15日09时23分":       "2024-06-15T09:23:00.000+08:00",
		"2024年6月15日 09:23:45":     "2024-06-15T09:23:45.000+08:00",
	} {
		if got, err := ReadTime(text, Assume); err != nil || Format(got) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
		if _, err := ReadTime(text, Refuse); errs.As(err).Code != "time.naive" {
			t.Errorf("%s has no zone: %v", text, err)
		}
	}
	for _, text := range []string{
		"", " ", "2024", "2024-06-15", "20240615", "2024-6-15 09:23:45", "24-06-15 09:23:45", "15-06-2024 09:23:45", "06/15/2024 09:23",
		"1718414625", "1718414625123", "2024-06-15 24:00:00", "2024-06-15 23:59:60", "2024-02-30 00:00:00", "2023-02-29 12:00:00",
		"2024-13-01 00:00:00", "2024-06-15 9", "2024-06-15 09:23:45 CST", "2024-06-15 09:23:45 +08:00", "2024-06-15 09:23:45PM",
		"2024-06-15 09:23:45 ", " 2024-06-15 09:23:45", "２０２４-06-15 09:23:45", "2024-06-15T09:23:45.", "2024-06-15T09:23:45.1234567890",
		"2024-06-15T09:23:45+25:00", "2024年6月15 9时23分", "2024年6月15日", "2024年6月15日 9时", "2024-06/15 09:23:45", "202406150923",
		"2024061509234512", "2024-06-15T09:60:00", "2024年6月15日 9时23分45", "二〇二四年六月十五日 9时23分",
	} {
		if got, err := ReadTime(text, Assume); errs.As(err).Code != "time.syntax" || err == nil {
			t.Errorf("%q is read as %v (%v)", text, got, err)
		}
	}
}

func TestReadDate(t *testing.T) {
	for _, text := range []string{"2024-06-05", "2024/6/5", "2024/06/05", "2024.6.5", "20240605", "2024年6月5日", "2024年06月05日", "2024-06-05 00:00:00", "2024-06-05T00:00:00.000"} {
		if got, err := ReadDate(text); err != nil || Format(got) != "2024-06-05T00:00:00.000+08:00" {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2024-06", "2024-6-5", "2024-02-30", "24-06-05", "06-05-2024", "2024-06-05 00:00:01", "2024-06-05T00:00:00Z", "20240605000", "2024年6月5", "2024-06-05 ", "1717545600"} {
		if got, err := ReadDate(text); errs.As(err).Code != "date.syntax" || err == nil {
			t.Errorf("%q is read as %v (%v)", text, got, err)
		}
	}
}

// FuzzReadTime: what is read is a time that, written in the one form of this package, reads as the same.
func FuzzReadTime(f *testing.F) {
	for _, s := range []string{"2024-06-15T09:23:45.123+08:00", "2024/6/15 9:23", "20240615092345123", "2024年6月15日 9时23分45秒"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ReadTime(s, Assume); err == nil {
			again, err := ReadTime(got.Format(time.RFC3339Nano), Refuse)
			if err != nil || !again.Equal(got) {
				t.Fatalf("%q: %v, then %v, %v", s, got, again, err)
			}
			if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
				if strict, err := ReadTime(s, Refuse); err == nil && !strict.Equal(got) {
					t.Fatalf("%q: %v with a zone, %v without", s, strict, got)
				}
			}
		}
		if standard, err := time.Parse(time.RFC3339Nano, s); err == nil && standard.Year() > 0 {
			if got, err := ReadTime(s, Refuse); err == nil && !got.Equal(standard) {
				t.Fatalf("%q: %v, want %v", s, got, standard)
			}
		}
		if got, err := ReadDate(s); err == nil {
			if again, err := ReadDate(Date(got)); err != nil || !again.Equal(got) {
				t.Fatalf("%q: %v, then %v, %v", s, got, again, err)
			}
		}
	})
}
