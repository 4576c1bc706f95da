// Package label says what data a system has and how it is graded: it finds fields without a grade and personal data where
// none should be, prints the table of data assets that an auditor asks for, and lists who asked a house for graded data.
// It never prints a number unmasked.
package label

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "label", Args: "scan DIR|FILE|URL | report DIR|FILE|URL | accesses [WHO]", MinArgs: 1, MaxArgs: 2,
	Doc: lang.T("数据分类分级：扫描未定级字段与个人信息，输出数据资产清单，列出访问记录", "data grades: find ungraded fields and personal data, print the table of assets, list accesses"),
	Long: lang.T("scan SOURCE    列出未定级的字段与识别出的号码（位置、类别、掩码后的值）；有发现时以 5 退出\nreport SOURCE  输出数据资产清单\naccesses       列出对分级数据的访问，最新的在前；可只列一个主体。需要审计管理员的令牌（QIONG_TOKEN）\n\nSOURCE 为目录（Go 源码与其他文本文件）、文件，或网址（运行中的琼、OpenAPI 文档、JSON）。\n以 9 开头且地区不存在的测试号码不计。",
		"scan SOURCE    list fields without a grade and the numbers that were recognized (place, category, masked value); ends with 5 if there are any\nreport SOURCE  print the table of data assets\naccesses       list accesses to graded data, newest first, or those of one principal; needs the token of an audit administrator (QIONG_TOKEN)\n\nSOURCE is a folder (Go source and other text files), a file, or a URL (a running house, an OpenAPI document, JSON).\nNumbers made for tests, of regions that do not exist, do not count."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		client.Flags(fs, say)
		fs.String("format", "markdown", say("清单的格式：markdown、csv、json", "form of the table: markdown, csv or json"))
		fs.String("catalog", "", say("扩充分类目录的 YAML 文件", "YAML file with further categories"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	if args[0] == "accesses" {
		return accesses(ctx, c, strings.Join(args[1:], ""))
	}
	if len(args) < 2 {
		return errs.New(errs.Invalid, "参数个数不对", "wrong number of arguments").WithHint("运行 qiong label --help 查看用法", "run qiong label --help for the usage")
	}
	catalog, err := openCatalog(c)
	if err != nil {
		return err
	}
	switch verb, source := args[0], args[1]; verb {
	case "scan":
		return scan(ctx, c, catalog, source)
	case "report":
		assets, err := assetsOf(ctx, catalog, source)
		if err != nil {
			return err
		}
		return printAssets(c, catalog, assets)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong label --help 查看用法", "run qiong label --help for the usage")
}

func openCatalog(c *qiong.Console) (*label.Catalog, error) {
	path, _ := c.Flags.GetString("catalog") // declared above
	if path == "" {
		return label.Builtin(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(err, path)
	}
	return label.ParseCatalog(data)
}

// scan prints what it finds, as it finds it.
func scan(ctx context.Context, c *qiong.Console, catalog *label.Catalog, source string) error {
	found := 0
	tell := func(f finding) error {
		found++
		return f.print(c)
	}
	assets, err := []asset(nil), error(nil)
	if isURL(source) {
		var body []byte
		if body, err = get(ctx, source); err != nil {
			return err
		}
		if isOpenAPI(body) {
			assets, err = openAPI(body)
		} else {
			err = detect(strings.NewReader(string(body)), source, tell)
		}
	} else {
		assets, err = scanFiles(source, tell)
	}
	if err != nil {
		return err
	}
	for _, a := range assets {
		if a.Grade == label.Ungraded {
			if err := tell(a.ungraded(catalog)); err != nil {
				return err
			}
		}
	}
	if found > 0 {
		return errs.Newf(errs.Conflict, "发现 %d 处", "%d findings", found).WithCode("label.findings")
	}
	_, err = fmt.Fprintln(c.Err, c.Say("没有发现", "nothing was found"))
	return err
}

// scanFiles looks for numbers in every text file and returns the assets of Go source.
func scanFiles(root string, tell func(finding) error) ([]asset, error) {
	source := newSource()
	err := walk(root, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return unreadable(err, path)
		}
		defer f.Close()
		if filepath.Ext(path) == ".go" {
			if err := source.add(path); err != nil {
				return err
			}
		}
		return detect(f, path, tell)
	})
	return source.assets(), err
}

// assetsOf returns the assets of a source.
func assetsOf(ctx context.Context, catalog *label.Catalog, where string) ([]asset, error) {
	if isURL(where) {
		body, err := get(ctx, where)
		if err != nil {
			return nil, err
		}
		return openAPI(body)
	}
	if info, err := os.Stat(where); err == nil && !info.IsDir() && filepath.Ext(where) != ".go" {
		body, err := os.ReadFile(where)
		if err != nil {
			return nil, unreadable(err, where)
		}
		return openAPI(body)
	}
	source := newSource()
	err := walk(where, func(path string) error {
		if filepath.Ext(path) != ".go" {
			return nil
		}
		return source.add(path)
	})
	return source.assets(), err
}

// walk calls visit for every file of a folder but what tools and version control keep there, or for a file itself.
func walk(root string, visit func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return unreadable(err, path)
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "vendor") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return visit(path)
	})
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

const maxDocument = 64 << 20

// get fetches a document; of a URL without a path, the OpenAPI document of the house there.
func get(ctx context.Context, where string) ([]byte, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "网址无效", "not a valid URL")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/openapi.json"
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, errs.Wrap(err, errs.Unavailable, "网址无法访问", "the URL can't be reached")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errs.Newf(errs.FromHTTP(answer.StatusCode), "网址应答 %d", "the URL answered %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, errs.Wrap(err, errs.Unavailable, "应答不完整", "the answer is not whole")
	}
	if len(body) > maxDocument {
		return nil, errs.Newf(errs.TooLarge, "文档超过 %d 字节", "the document is longer than %d bytes", maxDocument)
	}
	return body, nil
}

func unreadable(err error, path string) error {
	return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
}
