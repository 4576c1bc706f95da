package sandbox

import (
	"context"
	_ "embed"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed config.go
var configSource string

var defaults = DefaultConfig()

// Service is the sandbox in a house.
var Service = &qiong.Service{
	Name:         "sandbox",
	Doc:          lang.T("政务接口沙箱：代替各部门答复，用于开发和演练", "stand-ins of the agencies, for development and rehearsal"),
	Needs:        qiong.DB | qiong.Keys,
	Tables:       Tables(),
	Config:       &defaults,
	ConfigSource: configSource,
	New: func(_ context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
		s, err := New(*cfg.(*Config), Deps{DB: h.DB, Keys: h.Keys, Now: h.Now, Log: h.Log})
		if err != nil {
			return nil, err
		}
		h.Mux.Handle(Prefix, s.Handler())
		s.Control(h.API)
		return s, nil
	},
}
