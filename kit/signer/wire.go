package signer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// A frame is the length of what follows in 4 bytes, big endian, a byte with the version, a byte with the kind, the body.
const (
	version    = 1
	maxRequest = 2 + 8 + 32 // bytes behind the length
	maxAnswer  = 64 << 10
	maxKeys    = 256
	maxName    = 64
	pointSize  = 65
)

// The kinds of frame: what is asked, and the answer with the high bit.
const (
	askKeys   = 0x01
	askSign   = 0x02
	sayKeys   = 0x81
	saySigned = 0x82
	sayNo     = 0xff
)

// reason is why a signer refuses.
type reason byte

const (
	malformed   reason = 1 // the request is not of this protocol
	otherForm   reason = 2 // of another version
	noKey       reason = 3 // there is no such key
	forbidden   reason = 4 // not for this user
	tooMany     reason = 5 // signatures, or connections; later
	unavailable reason = 6 // the module behind the signer is away, or the record can't be written
	failed      reason = 7 // the module failed
)

var (
	errFrame   = errors.New("not a frame of this protocol")
	errVersion = errors.New("another version of the protocol")
)

// keyID is gm.KeyID as bytes.
type keyID [8]byte

func idOf(pub *gm.PublicKey) (id keyID) {
	digest := gm.SM3(pub.PKIX())
	copy(id[:], digest[:])
	return id
}

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// request is what is asked: for the keys, or for a signature.
type request struct {
	kind   byte
	key    keyID
	digest [32]byte
}

func (r *request) append(b []byte) []byte {
	if r.kind == askKeys {
		return frame(b, askKeys, nil)
	}
	return frame(b, askSign, append(append(make([]byte, 0, 40), r.key[:]...), r.digest[:]...))
}

// parseRequest reads a frame without its length.
func parseRequest(p []byte) (r request, err error) {
	switch {
	case len(p) >= 1 && p[0] != version:
		return r, errVersion
	case len(p) == 2 && p[1] == askKeys:
		return request{kind: askKeys}, nil
	case len(p) == maxRequest && p[1] == askSign:
		return request{askSign, keyID(p[2:10]), [32]byte(p[10:])}, nil
	}
	return r, errFrame
}

// answer is what a signer says: its keys, a signature, or no.
type answer struct {
	kind byte
	keys []Public
	sig  [64]byte // r and s
	why  reason
	wait time.Duration // until it is of use to ask again; whole milliseconds
}

func (a *answer) append(b []byte) []byte {
	var body []byte
	switch a.kind {
	case sayKeys:
		body = binary.BigEndian.AppendUint16(nil, uint16(len(a.keys)))
		for _, k := range a.keys {
			body = append(body, k.Key.Bytes()...)
			body = append(append(body, byte(len(k.Name))), k.Name...)
		}
	case saySigned:
		body = a.sig[:]
	default:
		body = binary.BigEndian.AppendUint32([]byte{byte(a.why)}, uint32(a.wait/time.Millisecond))
	}
	return frame(b, a.kind, body)
}

// parseAnswer reads a frame without its length.
func parseAnswer(p []byte) (*answer, error) {
	if len(p) < 2 {
		return nil, errFrame
	}
	if p[0] != version {
		return nil, errVersion
	}
	a, body := &answer{kind: p[1]}, p[2:]
	switch {
	case a.kind == sayKeys:
		var err error
		a.keys, err = parseKeys(body)
		return a, err
	case a.kind == saySigned && len(body) == len(a.sig):
		a.sig = [64]byte(body)
		return a, nil
	case a.kind == sayNo && len(body) == 5:
		a.why, a.wait = reason(body[0]), time.Duration(binary.BigEndian.Uint32(body[1:]))*time.Millisecond
		return a, nil
	}
	return nil, errFrame
}

// parseKeys reads a list of keys, each a point on the curve, none twice, with names that people can read.
func parseKeys(b []byte) ([]Public, error) {
	if len(b) < 2 || binary.BigEndian.Uint16(b) > maxKeys {
		return nil, errFrame
	}
	keys := make([]Public, binary.BigEndian.Uint16(b))
	seen := map[keyID]bool{}
	b = b[2:]
	for i := range keys {
		if len(b) <= pointSize || len(b) < pointSize+1+int(b[pointSize]) {
			return nil, errFrame
		}
		pub, err := gm.NewPublicKey(b[:pointSize])
		if err != nil {
			return nil, err
		}
		rest := b[pointSize+1:]
		name := string(rest[:b[pointSize]])
		if err := checkName(name); err != nil {
			return nil, err
		}
		if id := idOf(pub); seen[id] {
			return nil, errFrame
		} else {
			seen[id] = true
		}
		keys[i], b = Public{name, pub}, rest[len(name):]
	}
	if len(b) > 0 {
		return nil, errFrame
	}
	return keys, nil
}

func frame(b []byte, kind byte, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(body)))
	return append(append(b, version, kind), body...)
}

// readFrame reads a frame of at most so many bytes behind its length. io.EOF says that there is none.
func readFrame(r io.Reader, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 2 || n > uint32(most) {
		return nil, errFrame
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, cut(err)
	}
	return p, nil
}

// cut tells the end of a stream within a frame from the end behind one.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// refusal says what a signer's no means, for who reads of the signer at a socket.
func (a *answer) refusal(socket string) error {
	switch a.why {
	case noKey:
		return errs.Newf(errs.NotFound, "签名进程 %s 没有这把密钥", "the signer at %s has no such key", socket).WithCode(CodeNoKey).
			WithHint("运行 qiong signer list 查看它有哪些", "run qiong signer list to see which it has")
	case forbidden:
		return errs.Newf(errs.Forbidden, "签名进程 %s 不为本用户签名", "the signer at %s does not sign for this user", socket).WithCode(CodeRefused)
	case tooMany:
		return errs.Newf(errs.TooMany, "签名进程 %s 请求过多", "the signer at %s is asked too often", socket).WithCode(CodeRefused).WithRetryAfter(a.wait)
	case unavailable:
		return errs.Newf(errs.Unavailable, "签名进程 %s 暂时不能签名", "the signer at %s can't sign at the moment", socket).WithCode(CodeAway)
	case otherForm:
		return errs.Newf(errs.Unsupported, "签名进程 %s 使用另一版本的协议", "the signer at %s speaks another version of the protocol", socket).WithCode(CodeStrange)
	case malformed:
		return errs.Newf(errs.Internal, "签名进程 %s 不认识请求", "the signer at %s does not know the request", socket).WithCode(CodeStrange)
	}
	return errs.Newf(errs.Internal, "签名进程 %s 签名失败", "the signer at %s failed to sign", socket).WithCode(CodeAway)
}
