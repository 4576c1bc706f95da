package batch

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
)

// ServerError is what a server answered, without its words: they repeat values.
type ServerError struct {
	Code string
}

// Error implements error.
func (e *ServerError) Error() string { return "the server's code is " + e.Code }

// Coded reports whether err is the server's answer with one of the codes.
func Coded(err error, codes ...string) bool {
	var e *ServerError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// Answer is a class of answers that a server gives other than about a row.
type Answer int

// The answers.
const (
	Other     Answer = iota
	Away             // it can't do it now: shutting down, read-only, full, a lock held too long
	Denied           // the account may not
	NoTable          // no such table, schema or database
	NoColumn         // no such column
	NoKey            // the key column has no unique index of its own
	NoCharset        // it does not have the character set
)

// Err returns the error of an answer with the server's code.
func (a Answer) Err(code string) error {
	e := a.words()
	e.Err = &ServerError{code}
	return e
}

func (a Answer) words() *errs.Error {
	switch a {
	case Away:
		return errs.New(errs.Unavailable, "目标数据库暂时不能处理", "the target's database can't do it now").WithCode("table.away")
	case Denied:
		return errs.New(errs.Forbidden, "目标数据库拒绝此账号", "the target's database refuses the account").WithCode("table.denied")
	case NoTable:
		return errs.New(errs.NotFound, "目标数据库中没有所说的表", "the target's database has no such table").WithCode("table.missing")
	case NoColumn:
		return errs.New(errs.NotFound, "目标表没有所说的列", "the target table has no such column").WithCode("table.column")
	case NoKey:
		return errs.New(errs.Unsupported, "目标表的键列没有自己的唯一索引，或可为空", "the key column of the target table has no unique index of its own, or may be NULL").WithCode("table.key")
	case NoCharset:
		return errs.New(errs.Unsupported, "目标数据库没有所说的字符集", "the target's database does not have the character set").WithCode("table.charset")
	}
	return errs.New(errs.Internal, "目标数据库出错", "the target's database failed").WithCode("table.failed")
}

// Unreachable returns the error of a connection that could not be made or broke: the context's own where that ended.
func Unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("table: %w", ctx.Err())
	}
	return errs.Wrap(err, errs.Unavailable, "连接不上目标数据库", "the target's database can't be reached").WithCode("table.away")
}

// WrongCharset says that a column's text is not in the Spec's character set.
func WrongCharset(column string) error {
	return errs.New(errs.Unsupported, "目标列的字符集或类型与所说的不同", "the target column's character set or type is not the one stated").
		WithCode("table.charset").WithField(column)
}
