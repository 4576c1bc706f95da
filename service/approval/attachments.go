package approval

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// magic are the first bytes that a file of a type has. A type without an entry is taken at its word: nothing here opens
// a file, and it is handed out for saving only.
var magic = map[string][]byte{
	"application/pdf": []byte("%PDF-"),
	"image/jpeg":      {0xff, 0xd8, 0xff},
	"image/png":       []byte("\x89PNG\r\n\x1a\n"),
	"application/ofd": []byte("PK\x03\x04"),
}

func (f file) view() FileView {
	return FileView{ID: f.ID, Name: f.Name, Type: f.Type, Size: f.Size, SM3: hex.EncodeToString(f.SM3), Created: beijing.Time(f.Created)}
}

// checkFileName refuses what could be a path or can't be read; it changes nothing.
func checkFileName(name string) error {
	bad := func(zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField("name").WithCode("file.name")
	}
	switch {
	case name == "" || len([]rune(name)) > 200:
		return bad("文件名应为 1 至 200 个字", "the name must have 1 to 200 characters")
	case strings.ContainsAny(name, "/\\:*?\"<>|") || strings.Trim(name, ". ") != name && strings.Trim(name, ". ") == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, " "):
		return bad("文件名不能含路径或特殊符号", "the name must not hold a path or special characters")
	}
	return han.Error(han.Check(name, han.Policy{Max: 200}), "name")
}

// upload takes the body in as an attachment of a draft: streamed, limited, digested and sealed on its way to the disk.
func (a *Approval) upload(w http.ResponseWriter, r *http.Request) error {
	ctx, call := r.Context(), httpapi.CallFrom(r.Context())
	c, err := a.own(ctx, a.host.DB, call.Principal, r.PathValue("id"))
	if err != nil {
		return err
	}
	if c.Status != Draft {
		return notDraft()
	}
	rules := a.matters[matterKey{c.Matter, c.Version}].Attachments
	f, err := describe(r, rules)
	if err != nil {
		return err
	}
	f.ID, f.Case, f.Created = ident.String(a.ids.Next(a.host.Now())), c.ID, a.host.Now().UnixMilli()
	blob, err := a.host.Blobs.Create()
	if err != nil {
		return err
	}
	defer blob.Abort()
	if err := a.take(&f, blob, http.MaxBytesReader(w, r.Body, int64(rules.Size)), r.Header.Get("Content-Digest")); err != nil {
		return err
	}
	if err := blob.Commit(f.ID); err != nil {
		return err
	}
	kept, err := a.keepFile(ctx, call, f, rules.Max)
	if err != nil || kept.ID != f.ID {
		if drop := a.host.Blobs.Delete(f.ID); drop != nil {
			a.host.Log.WarnContext(ctx, "a file nobody refers to was left", "file", f.ID, "err", drop)
		}
	}
	if err != nil {
		return err
	}
	stored, err := httpapi.Encode(http.StatusCreated, http.Header{"Location": {"/api/approval/cases/" + c.ID + "/attachments/" + kept.ID}}, kept.view())
	if err != nil {
		return err
	}
	for k, v := range stored.Header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(stored.Status)
	_, err = w.Write(stored.Body)
	return err
}

// describe reads name and type of an upload, and refuses what the matter does not take.
func describe(r *http.Request, rules Attachments) (file, error) {
	name := r.URL.Query().Get("name")
	if err := checkFileName(name); err != nil {
		return file{}, err
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return file{}, errs.New(errs.Unsupported, "不接受压缩传输", "compressed bodies are not taken").WithField("Content-Encoding")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(rules.Types, media) {
		return file{}, errs.New(errs.Unsupported, "该事项不接受这种文件", "the matter does not take files of this type").
			WithField("Content-Type").WithHint("可接受："+strings.Join(rules.Types, "、"), "it takes "+strings.Join(rules.Types, ", "))
	}
	if r.ContentLength > int64(rules.Size) {
		return file{}, tooLarge(rules.Size)
	}
	return file{Name: name, Type: media}, nil
}

func tooLarge(limit size) error {
	return errs.Newf(errs.TooLarge, "文件超过 %d 字节的上限", "the file is over the limit of %d bytes", int64(limit)).WithCode("file.too-large")
}

// take copies body into blob, sealed, and fills in what only the bytes can tell.
func (a *Approval) take(f *file, blob io.Writer, body io.Reader, digest string) error {
	head := make([]byte, 16)
	n, err := io.ReadFull(body, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return bodyError(err)
	}
	head = head[:n]
	if want := magic[f.Type]; n == 0 || !bytes.HasPrefix(head, want) {
		return errs.New(errs.Unsupported, "文件内容与类型不符", "the file is not of the type it claims to be").WithField("Content-Type").WithCode("file.type")
	}
	sum := gm.NewSM3()
	sealed, err := a.sealer.SealWriter(blob, []byte("approval/file/"+f.ID))
	if err != nil {
		return err
	}
	if f.Size, err = io.Copy(io.MultiWriter(sum, sealed), io.MultiReader(bytes.NewReader(head), body)); err != nil {
		return bodyError(err)
	}
	f.SM3 = sum.Sum(nil)
	if err := checkDigest(digest, f.SM3); err != nil {
		return err
	}
	return sealed.Close()
}

func bodyError(err error) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return tooLarge(size(over.Limit))
	}
	return err
}

// checkDigest compares the body's SM3 with Content-Digest (RFC 9530), where that is given.
func checkDigest(header string, sum []byte) error {
	if header == "" {
		return nil
	}
	value, ok := strings.CutPrefix(header, "sm3=:")
	given, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(value, ":"))
	if !ok || err != nil || !strings.HasSuffix(value, ":") {
		return errs.New(errs.Invalid, "应为 sm3=:…:", "must be sm3=:…:").WithField("Content-Digest")
	}
	if subtle.ConstantTimeCompare(given, sum) != 1 {
		return errs.New(errs.Invalid, "摘要与收到的内容不符", "the digest is not that of what arrived").WithField("Content-Digest").WithCode("file.digest").
			WithHint("请重新上传", "upload it again")
	}
	return nil
}

// keepFile writes the row of f, or returns the same file where the case has it already.
func (a *Approval) keepFile(ctx context.Context, call httpapi.Call, f file, limit int) (kept file, err error) {
	err = a.change(ctx, call, f.Case, func(tx *sqldb.Tx, c *Case) error {
		files, err := a.store.files(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		for _, have := range files {
			if have.Name == f.Name && bytes.Equal(have.SM3, f.SM3) {
				kept = have
				return nil
			}
		}
		if len(files) >= limit {
			return errs.Newf(errs.Conflict, "该事项最多 %d 个附件", "the matter takes at most %d attachments", limit).WithCode("file.too-many")
		}
		kept = f
		return tx.Insert(ctx, intoAttachment.Row(f.ID, f.Case, f.Name, f.Type, f.Size, f.SM3, f.Created))
	})
	return kept, err
}

// download hands an attachment out for saving.
func (a *Approval) download(w http.ResponseWriter, r *http.Request) error {
	c, _, _, err := a.load(r.Context(), auth.From(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	files, err := a.store.files(r.Context(), a.host.DB, c.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(files, func(f file) bool { return f.ID == r.PathValue("file") })
	if i < 0 {
		return errs.New(errs.NotFound, "没有这个附件", "there is no such attachment")
	}
	f := files[i]
	blob, err := a.host.Blobs.Get(f.ID)
	if err != nil {
		return fmt.Errorf("attachment %s: %w", f.ID, err)
	}
	defer blob.Close()
	plain, err := a.sealer.OpenReader(blob, []byte("approval/file/"+f.ID))
	if err != nil {
		return fmt.Errorf("attachment %s: %w", f.ID, err)
	}
	h := w.Header()
	h.Set("Content-Type", f.Type)
	h.Set("Content-Length", fmt.Sprint(f.Size))
	h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(f.Name))
	h.Set("Content-Digest", "sm3=:"+base64.StdEncoding.EncodeToString(f.SM3)+":")
	h.Set("Cache-Control", "private, no-store")
	_, err = io.Copy(w, plain)
	return err
}
