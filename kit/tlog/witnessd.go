package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// sizeType is the media type of the size that a witness knows (C2SP tlog-witness).
const sizeType = "text/x.tlog.size"

const maxAdd = receipt.MaxSize + 8<<10

func knownOf(err error) *Known {
	var k *Known
	if errors.As(err, &k) {
		return k
	}
	return nil
}

// appendAdd writes the body of add-checkpoint: the old size, the proof, an empty line, the note.
func appendAdd(older uint64, proof []merkle.Hash, n *receipt.Note) ([]byte, error) {
	note, err := n.Marshal()
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, "old %d\n", older)
	for _, h := range proof {
		b = append(append(b, h.String()...), '\n')
	}
	return append(append(b, '\n'), note...), nil
}

// parseAdd reads what appendAdd writes and nothing else.
func parseAdd(body []byte) (older uint64, proof []merkle.Hash, n *receipt.Note, err error) {
	head, note, found := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	digits, ok := strings.CutPrefix(lines[0], "old ")
	older, number := strconv.ParseUint(digits, 10, 63)
	if !found || !ok || number != nil || strconv.FormatUint(older, 10) != digits || len(lines) > 64 {
		return 0, nil, nil, errs.New(errs.Invalid, "请求须为 old 行、证明、空行、检查点", "the request is a line old, the proof, an empty line, and the checkpoint")
	}
	for i, line := range lines[1:] {
		h, err := merkle.ParseHash(line)
		if err != nil {
			return 0, nil, nil, errs.As(err).WithLine(i + 2)
		}
		proof = append(proof, h)
	}
	n, err = receipt.ParseNote([]byte(note))
	return older, proof, n, err
}

// signatureLines returns the part of a note behind its checkpoint.
func signatureLines(c receipt.Checkpoint, s receipt.Signature) ([]byte, error) {
	n := receipt.Note{Checkpoint: c, Signatures: []receipt.Signature{s}}
	text, err := n.Marshal()
	if err != nil {
		return nil, err
	}
	_, lines, _ := bytes.Cut(text, []byte("\n\n"))
	return lines, nil
}

// Handler serves POST /add-checkpoint of C2SP tlog-witness: 200 with the cosignature; 400 for a malformed request, 403
// where no key of the log has signed, 404 for a log that is not witnessed here, 409 with the size that was cosigned last,
// or for another root of that size, 413 for too much, 422 where the proof does not hold.
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "no-store")
		lines, err := w.add(rw, r)
		if err != nil {
			refuseAdd(rw, err)
			return
		}
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write(lines) // the client has gone
	})
	return mux
}

func (w *Witness) add(rw http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxAdd))
	if err != nil {
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			return nil, errs.Newf(errs.TooLarge, "请求超过 %d 字节", "the request is longer than %d bytes", maxAdd)
		}
		return nil, errs.Wrap(err, errs.Invalid, "请求不完整", "the request is cut")
	}
	older, proof, n, err := parseAdd(body)
	if err != nil {
		return nil, err
	}
	s, err := w.Cosign(r.Context(), older, proof, n)
	if err != nil {
		return nil, err
	}
	return signatureLines(n.Checkpoint, s)
}

func refuseAdd(rw http.ResponseWriter, err error) {
	e := errs.As(err)
	if known := knownOf(err); known != nil {
		rw.Header().Set("Content-Type", sizeType)
		rw.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(rw, "%d\n", known.Size) // the client has gone
		return
	}
	status := e.Kind.HTTP()
	if e.Code == CodeProof {
		status = http.StatusUnprocessableEntity
	}
	http.Error(rw, e.Msg.EN, status)
}

// WitnessClient asks a witness elsewhere, by C2SP tlog-witness, and believes its cosignature only when it verifies.
type WitnessClient struct {
	client *Client
	trust  *receipt.Trust // the witness's key for the log
}

// NewWitnessClient returns a client of the witness under an address. trust has the witness's key for the log that is to
// be cosigned; transport may be nil.
func NewWitnessClient(address string, trust *receipt.Trust, transport http.RoundTripper) (*WitnessClient, error) {
	c, err := NewClient(address, transport)
	if err != nil {
		return nil, err
	}
	return &WitnessClient{c, trust}, nil
}

// Cosign implements [Cosigner].
func (c *WitnessClient) Cosign(ctx context.Context, older uint64, proof []merkle.Hash, n *receipt.Note) (receipt.Signature, error) {
	const path = "add-checkpoint"
	body, err := appendAdd(older, proof, n)
	if err != nil {
		return receipt.Signature{}, err
	}
	status, kind, answer, err := c.client.post(ctx, path, body, maxNote)
	switch {
	case err != nil:
		return receipt.Signature{}, err
	case status == http.StatusConflict && kind == sizeType:
		return receipt.Signature{}, conflictOf(answer, path)
	case status != http.StatusOK:
		return receipt.Signature{}, refusal(status, path)
	}
	signed, err := receipt.ParseNote(append([]byte(n.Checkpoint.Text()+"\n"), answer...))
	if err != nil {
		return receipt.Signature{}, strange(err, path)
	}
	for _, s := range signed.Signatures {
		if _, err = c.trust.VerifySignature(n.Checkpoint, s); err == nil {
			return s, nil
		}
	}
	return receipt.Signature{}, strange(err, path)
}

func conflictOf(answer []byte, path string) error {
	size, err := strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 63)
	if err != nil || fmt.Sprintf("%d\n", size) != string(answer) {
		return strange(errs.New(errs.Invalid, "大小有误", "the size is wrong"), path)
	}
	e := errs.New(errs.Conflict, "见证者上次签署的是另一个大小", "the witness has cosigned another size last").WithCode("log.size").WithField(path)
	e.Err = &Known{size}
	return e
}

// refusal says what the status of a witness's refusal means.
func refusal(status int, path string) error {
	switch status {
	case http.StatusNotFound:
		return errs.New(errs.NotFound, "见证者不见证这本日志", "the witness does not witness this log").WithField(path)
	case http.StatusForbidden:
		return errs.New(errs.Forbidden, "见证者不认这本日志的签名", "the witness does not know the log's signatures").WithField(path)
	case http.StatusConflict:
		return errs.New(errs.Conflict, "见证者签署过同样大小的另一个根", "the witness has cosigned another root of this size").WithCode(CodeForked).WithField(path)
	case http.StatusUnprocessableEntity:
		return errs.New(errs.Invalid, "检查点不是上次的延续", "the checkpoint does not continue the last one").WithCode(CodeProof).WithField(path)
	}
	return errs.Newf(errs.FromHTTP(status), "见证者返回状态 %d", "the witness answered with status %d", status).WithField(path)
}

// post sends a body and returns the answer, of at most so many bytes.
func (c *Client) post(ctx context.Context, path string, body []byte, most int) (status int, kind string, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(c.timeout, 10*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", nil, away(ctx, err, path)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, int64(most)+1)); err != nil {
		return 0, "", nil, away(ctx, err, path)
	}
	if len(answer) > most {
		return 0, "", nil, strange(errs.Newf(errs.Invalid, "超过 %d 字节", "longer than %d bytes", most), path)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer, nil
}
