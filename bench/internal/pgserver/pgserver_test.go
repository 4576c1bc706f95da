package pgserver

import (
	"os"
	"testing"
)

func TestStartUseStop(t *testing.T) {
	if _, err := programs(); err != nil {
		t.Skip(err)
	}
	s, err := Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := s.CPU()
	err = s.Exec(t.Context(), "postgres", "CREATE DATABASE b; ")
	if err == nil {
		err = s.Exec(t.Context(), "b", "CREATE TABLE x (n bigint); INSERT INTO x SELECT generate_series(1, 1000000)")
	}
	if err != nil {
		t.Error(err)
	}
	if used := s.CPU() - before; used <= 0 {
		t.Errorf("a million rows cost %v", used)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("the folder stayed: %v", err)
	}
}
