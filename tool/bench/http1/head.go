package http1

import "bytes"

// framing is what a head says about the body.
type framing struct {
	length  int64 // -1 where it is not said
	chunked bool
}

// parseHead reads a head, whose last line is ended, and sets what follows it.
func (p *Parser) parseHead(head []byte) (interim bool, err error) {
	line, rest := cutLine(head)
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return false, ErrHead
	}
	status := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return false, ErrHead
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return false, ErrHead
	}
	if status < 200 && status != 101 {
		return true, nil
	}
	p.Status, p.Body, p.Size, p.Close = status, p.Body[:0], 0, line[7] == '0'
	f := framing{length: -1}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if err := p.field(line, &f); err != nil {
			return false, err
		}
	}
	return false, p.frame(f)
}

// frame sets where the body ends.
func (p *Parser) frame(f framing) error {
	switch {
	case p.NoBody || p.Status == 204 || p.Status == 304 || p.Status == 101:
		p.state = inHead
	case f.chunked && f.length >= 0:
		return ErrFraming
	case f.chunked:
		p.state = chunkSize
	case f.length == 0:
		p.state = inHead
	case f.length > 0:
		p.state, p.left = inLength, f.length
	default:
		p.state, p.Close = untilClose, true
	}
	return nil
}

// field reads one field. Only those with the letters of a field that matters are looked at closely.
func (p *Parser) field(line []byte, f *framing) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return ErrHead
	}
	name := line[:colon]
	switch {
	case len(name) == 14 && name[0]|0x20 == 'c' && bytes.EqualFold(name, []byte("Content-Length")):
		n, ok := decimal(bytes.Trim(line[colon+1:], " \t"))
		if !ok || f.length >= 0 && f.length != n {
			return ErrFraming
		}
		f.length = n
	case len(name) == 17 && name[0]|0x20 == 't' && bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if f.chunked || !bytes.EqualFold(bytes.Trim(line[colon+1:], " \t"), []byte("chunked")) {
			return ErrFraming
		}
		f.chunked = true
	case len(name) == 10 && name[0]|0x20 == 'c' && bytes.EqualFold(name, []byte("Connection")):
		for option := range bytes.SplitSeq(line[colon+1:], []byte(",")) {
			switch option = bytes.Trim(option, " \t"); {
			case bytes.EqualFold(option, []byte("close")):
				p.Close = true
			case bytes.EqualFold(option, []byte("keep-alive")):
				p.Close = false
			}
		}
	}
	return nil
}

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

func decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
