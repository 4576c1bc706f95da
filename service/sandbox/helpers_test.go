package sandbox

import (
	"errors"

	"github.com/qiongdev/qiong/kit/errs"
)

var errUnknownKey = errs.New(errs.NotFound, "没有这把密钥", "there is no such key")

func isCode(err error, code string) bool {
	var e *errs.Error
	return errors.As(err, &e) && e.Code == code
}
