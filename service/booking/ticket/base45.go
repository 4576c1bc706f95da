package ticket

// alphabet is that of base45 (RFC 9285): the characters of a QR code's alphanumeric mode.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// encode45 writes two bytes as three characters, least significant first, and a last byte alone as two.
func encode45(b []byte) string {
	out := make([]byte, 0, (len(b)+1)/2*3)
	for ; len(b) >= 2; b = b[2:] {
		n := int(b[0])<<8 | int(b[1])
		out = append(out, alphabet[n%45], alphabet[n/45%45], alphabet[n/45/45])
	}
	if len(b) == 1 {
		out = append(out, alphabet[b[0]%45], alphabet[b[0]/45])
	}
	return string(out)
}

// decode45 fills b from text, and reports whether text is the one encoding of as many bytes.
func decode45(b []byte, text string) bool {
	if len(text) != len(b)/2*3+len(b)%2*2 {
		return false
	}
	for len(b) > 0 {
		size, width := min(len(b), 2), min(len(text), 3)
		n := 0
		for i := width - 1; i >= 0; i-- {
			digit := digit45(text[i])
			if digit < 0 {
				return false
			}
			n = n*45 + digit
		}
		if n >= 1<<(8*size) {
			return false
		}
		b[size-1] = byte(n)
		if size == 2 {
			b[0] = byte(n >> 8)
		}
		b, text = b[size:], text[width:]
	}
	return true
}

// digit45 returns the value of a character, negative for one that has none.
func digit45(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'Z':
		return int(c-'A') + 10
	}
	for i := 36; i < len(alphabet); i++ {
		if alphabet[i] == c {
			return i
		}
	}
	return -1
}
