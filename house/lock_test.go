package house

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func TestOneHouseAFolder(t *testing.T) {
	dir := t.TempDir()
	first, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockFolder(dir)
	if !errs.Is(err, errs.Conflict) {
		t.Fatalf("a second lock: %v; want a conflict", err)
	}
	for _, l := range []lang.Lang{lang.ZH, lang.EN} {
		if words := errs.As(err).In(l); !strings.Contains(words, strconv.Itoa(os.Getpid())) {
			t.Errorf("%q does not name the process that holds the folder", words)
		}
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	again, err := lockFolder(dir)
	if err != nil {
		t.Fatalf("after the first has left: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}

func TestLockSaysWhyItCannot(t *testing.T) {
	if _, err := lockFolder(t.TempDir() + "/absent"); err == nil {
		t.Error("a lock in a folder that is not there")
	}
}
