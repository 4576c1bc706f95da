package qiong

import (
	"context"
	"io"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is something that runs and ends: a command.
type Tool struct {
	Name    string // the command's word
	Args    string // what follows it in the usage line, such as "FILE..."
	Doc     Text   // one sentence
	Long    Text   // the rest; may be empty
	MinArgs int
	MaxArgs int // -1 for any number
	Flags   func(fs *pflag.FlagSet, say func(zh, en string) string)
	Run     func(ctx context.Context, c *Console, args []string) error
}

// Console is where a tool runs: a terminal, a pipe or a test.
type Console struct {
	In    io.Reader
	Out   io.Writer
	Err   io.Writer
	Lang  lang.Lang
	JSON  bool // answers are for a program
	Color bool // Out is a terminal that shows colours
	Live  bool // Out is a terminal whose lines can be rewritten
	Flags *pflag.FlagSet
	// Up starts a house with all services in this process and returns when it is healthy.
	Up func(ctx context.Context, o UpOptions) (*Running, error)
}

// Say returns the words in the console's language.
func (c *Console) Say(zh, en string) string { return lang.T(zh, en).In(c.Lang) }

// UpOptions say how a tool wants its house. Empty fields mean what the configuration says.
type UpOptions struct {
	Data   string // folder
	Listen string
	Set    map[string]string // further settings, such as "sandbox.speed": "0"
}

// Running is a house that a tool has started.
type Running struct {
	URL  string
	Data string
	Done <-chan error // the house has ended by itself
	Stop func() error // ends the house and waits for it
	// Issue returns a token for p that lives a day, and a link that opens the pages signed in as p, once.
	Issue func(ctx context.Context, p auth.Principal) (token, link string, err error)
}
