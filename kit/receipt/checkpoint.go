package receipt

import (
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/merkle"
)

// Checkpoint is what a log says of itself (C2SP tlog-checkpoint): how many records it has, and their root. Extension
// lines are not allowed.
type Checkpoint struct {
	Origin string      `json:"origin"` // the log's name, such as evidence.hainan.example
	Size   uint64      `json:"size"`
	Root   merkle.Hash `json:"root"`
}

// Text returns the text that is signed: three lines.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + c.Root.String() + "\n"
}

func (c Checkpoint) check() error {
	if c.Size > merkle.MaxSize {
		return bad("size", "超出范围", "out of range")
	}
	return CheckOrigin(c.Origin)
}

// ParseCheckpoint reads what [Checkpoint.Text] returns and nothing else.
func ParseCheckpoint(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, bad("checkpoint", "应为三行：日志名、大小、根", "three lines: origin, size, root")
	}
	c.Origin = lines[0]
	if err := CheckOrigin(c.Origin); err != nil {
		return c, line(err, 1)
	}
	var err error
	if c.Size, err = number("size "+lines[1], "size"); err != nil {
		return c, line(err, 2)
	}
	if c.Root, err = merkle.ParseHash(lines[2]); err != nil {
		return c, bad("root", "不是 32 字节的 base64", "not 32 bytes in base64").WithLine(3)
	}
	return c, nil
}
