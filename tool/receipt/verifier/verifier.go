// Package verifier is the command that verifies receipts, as the house has it and as the small program qiong-verify has
// it alone: it reads three files and nothing else, asks no network, and says in words what a receipt proves and what it
// does not.
package verifier

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
)

// TrustFile is the file of public keys that is looked for beside a receipt where none is named.
const TrustFile = "trust.pem"

const (
	maxTrust    = 1 << 20
	maxOriginal = 256 << 20
)

// Command is where and how the answer is given.
type Command struct {
	Out  io.Writer
	Lang lang.Lang
	JSON bool
}

func (c Command) say(zh, en string) string { return lang.T(zh, en).In(c.Lang) }

// answer is what Verify says to a program.
type answer struct {
	*receipt.Result
	Trust       string `json:"trust"`       // the file of public keys
	TrustBeside bool   `json:"trustBeside"` // it was not named, but lay beside the receipt: compare the fingerprints
}

// Verify says what the receipt in a file proves, or returns why it proves nothing. Where trust is empty, the public keys
// are those of TrustFile beside the receipt; where original is not empty, it names the file of the original.
func (c Command) Verify(file, trust, original string) error {
	r, err := parse(file)
	if err != nil {
		return err
	}
	beside := trust == ""
	if beside {
		trust = filepath.Join(filepath.Dir(file), TrustFile)
	}
	keys, err := readTrust(trust, beside)
	if err != nil {
		return err
	}
	var data []byte
	if original != "" {
		if data, err = read(original, maxOriginal); err != nil {
			return err
		}
	}
	result, err := receipt.Verify(r, keys, data)
	if err != nil {
		return refusal(file, err)
	}
	if c.JSON {
		return c.encode(answer{result, trust, beside})
	}
	return c.print(result, trust, beside)
}

// Show says what stands in a receipt, without verifying it.
func (c Command) Show(file string) error {
	r, err := parse(file)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.encode(shown(r))
	}
	return c.printUnverified(r)
}

func parse(file string) (*receipt.Receipt, error) {
	data, err := read(file, receipt.MaxSize)
	if err != nil {
		return nil, err
	}
	r, err := receipt.Parse(data)
	if err != nil {
		return nil, refusal(file, err)
	}
	return r, nil
}

func readTrust(file string, beside bool) (*receipt.Trust, error) {
	data, err := read(file, maxTrust)
	if err != nil {
		if beside && errs.Is(err, errs.NotFound) {
			return nil, errs.New(errs.NotFound, "回执旁边没有公钥文件 "+TrustFile, "there are no public keys beside the receipt: no "+TrustFile).
				WithHint("用 --trust 指定从各单位取得的公钥文件", "name the file of keys that you have from the agencies with --trust")
		}
		return nil, err
	}
	keys, err := receipt.ParseTrust(data)
	if err != nil {
		return nil, at(file, err)
	}
	return keys, nil
}

// read returns a file of at most so many bytes.
func read(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, unreadable(file, err)
	}
	if int64(len(data)) > most {
		return nil, errs.Newf(errs.TooLarge, "文件超过 %d 字节", "the file is longer than %d bytes", most).WithField(file)
	}
	return data, nil
}

func unreadable(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(file)
}

// refusal says of which file it is, and that the whole receipt is worth nothing.
func refusal(file string, err error) error {
	e := errs.As(err)
	told := errs.New(e.Kind, "回执无效："+e.In(lang.ZH), "the receipt is not valid: "+e.In(lang.EN)).WithField(file).WithCode(e.Code)
	told.Hint = e.Hint
	return told
}

// at says in which file something is wrong.
func at(file string, err error) error {
	e := errs.As(err)
	told := errs.New(e.Kind, e.In(lang.ZH), e.In(lang.EN)).WithField(file).WithCode(e.Code)
	told.Hint = e.Hint
	return told
}

func (c Command) encode(v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
