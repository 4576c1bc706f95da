package house

import (
	"runtime"
	"runtime/debug"
	"runtime/pprof"
)

// release is set by the linker in builds that have a version.
var release = ""

// VersionInfo says which program this is.
type VersionInfo struct {
	_        struct{} `grade:"L1"`
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"`
	Modified bool     `json:"modified,omitempty"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Leaks    bool     `json:"goroutineLeakProfile"` // built with the goroutine-leak profile
}

// Version returns what the build recorded.
func Version() VersionInfo {
	v := VersionInfo{
		Version: "dev", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Leaks: pprof.Lookup("goroutineleak") != nil,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if release != "" {
		v.Version = release
	}
	return v
}
