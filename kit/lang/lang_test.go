package lang

import "testing"

func TestFromAccept(t *testing.T) {
	for header, want := range map[string]Lang{
		"":                                  ZH,
		"en":                                EN,
		"en-US,en;q=0.9,zh-CN;q=0.8":        EN,
		"zh-CN,zh;q=0.9,en;q=0.8":           ZH,
		"fr, en;q=0.4, zh;q=0.3":            EN,
		"en;q=0, zh;q=0.1":                  ZH,
		"en;q=0.5,zh;q=0.5":                 EN,
		"de":                                ZH,
		"en;q=abc":                          ZH,
		"zh;q=0.7, en ; q=0.8":              EN,
		";;;,,,q=":                          ZH,
		"en;q=1.000, zh;q=1.0":              EN,
		"english-is-not-a-tag, zh-Hans;q=1": ZH,
	} {
		if got := FromAccept(header); got != want {
			t.Errorf("FromAccept(%q) = %s, want %s", header, got, want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want Lang
	}{
		{nil, ZH},
		{map[string]string{"LANG": "zh_CN.UTF-8"}, ZH},
		{map[string]string{"LANG": "en_US.UTF-8"}, EN},
		{map[string]string{"LANG": "C"}, EN},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.GB18030"}, ZH},
	} {
		if got := FromEnv(func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("FromEnv(%v) = %s, want %s", c.env, got, c.want)
		}
	}
}

func TestTextFallsBack(t *testing.T) {
	if got := (Text{ZH: "受理"}).In(EN); got != "受理" {
		t.Errorf("In(EN) of a Chinese-only text = %q", got)
	}
	if got := T("受理", "accepted").In(EN); got != "accepted" {
		t.Errorf("In(EN) = %q", got)
	}
}

func FuzzFromAccept(f *testing.F) {
	f.Add("zh-CN,zh;q=0.9,en;q=0.8")
	f.Fuzz(func(t *testing.T, header string) {
		if l := FromAccept(header); l != ZH && l != EN {
			t.Fatalf("FromAccept(%q) = %q", header, l)
		}
	})
}
