package house

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

func TestConfigOfGrades(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"":                  func(*Config) {},
		"house.audit-keep":  func(c *Config) { c.AuditKeep = sixMonths - time.Second },
		"house.audit-grade": func(c *Config) { c.AuditGrade = label.Ungraded },
	} {
		c := Defaults
		change(&c)
		if err := c.Validate(); (err == nil) != (field == "") || err != nil && errs.As(err).Field != field {
			t.Errorf("%q: %v", field, err)
		}
	}
}

func TestWhatAPathNames(t *testing.T) {
	for _, c := range []struct{ pattern, path, want string }{
		{"GET /api/approval/cases/{id}", "/api/approval/cases/0G1XPOX0OYRJM", "0G1XPOX0OYRJM"},
		{"GET /api/approval/cases/{id}/attachments/{file}", "/api/approval/cases/0G1/attachments/a-1.pdf", "0G1/a-1.pdf"},
		{"GET /api/approval/cases/{id}", "/api/approval/cases/%E5%BC%A0", ""},
		{"GET /api/approval/cases/{id}", "/api/approval/cases/张", ""},
		{"POST /api/approval/cases", "/api/approval/cases", ""},
		{"", "/x", ""},
		{"GET /files/{path...}", "/files/a/b", "a"},
	} {
		if got := objectOf(c.pattern, c.path); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.pattern, c.path, got, c.want)
		}
	}
}
