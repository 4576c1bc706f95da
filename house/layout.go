package house

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
)

// layout is the version of the data folder's arrangement, kept in its file of that name. A test opens every one there
// ever was.
const layout = 1

// checkLayout refuses a folder that this program can't read, and marks a new one.
func checkLayout(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "layout"))
	if errors.Is(err, fs.ErrNotExist) {
		return writeLayout(dir)
	}
	if err != nil {
		return err
	}
	switch version, err := strconv.Atoi(strings.TrimSpace(string(have))); {
	case err != nil || version < 1:
		return errs.New(errs.Conflict, "数据目录中的 layout 文件不是版本号", "the file layout in the data folder holds no version").
			WithField("house.data").WithHint("确认目录正确；若文件损坏，请从备份恢复", "check the folder; where the file is damaged, restore it from a backup")
	case version > layout:
		return errs.New(errs.Conflict, "数据目录由更新的版本写成", "the data folder was written by a newer version").
			WithField("house.data").WithHint("请使用该版本或更新的程序", "use that version or a newer one")
	}
	return nil
}

// writeLayout marks dir, synced before any database in it is: a power cut must not leave data without their mark.
func writeLayout(dir string) error {
	return folder.Place(filepath.Join(dir, "layout"), func(w io.Writer) error {
		_, err := fmt.Fprintln(w, layout)
		return err
	})
}
