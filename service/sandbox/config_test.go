package sandbox

import (
	"math"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

func TestConfigThatNobodyCanRun(t *testing.T) {
	if c := DefaultConfig(); c.Validate() != nil {
		t.Errorf("the defaults: %v", c.Validate())
	}
	for field, change := range map[string]func(*Config){
		"speed":             func(c *Config) { c.Speed = math.NaN() },
		"callback-attempts": func(c *Config) { c.CallbackAttempts = 0 },
		"max-concurrent":    func(c *Config) { c.MaxConcurrent = 0 },
		"max-body":          func(c *Config) { c.MaxBody = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); !errs.Is(err, errs.Invalid) || errs.As(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if _, err := New(c, Deps{DB: sqldbtest.SQLite(t)}); err == nil {
			t.Errorf("%s: a sandbox was made", field)
		}
	}
	c := DefaultConfig()
	c.Scenario = t.TempDir() + "/none.yaml"
	if _, err := open(c.Scenario, nil); !errs.Is(err, errs.NotFound) {
		t.Errorf("a scenario that is not there: %v", err)
	}
}
