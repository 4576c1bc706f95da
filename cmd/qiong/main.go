// Command qiong is the whole house in one program: the services that stay running, and the tools that run and end.
package main

import (
	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/mysql"
	"github.com/qiongdev/qiong/kit/table/postgres"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/evidence"
	"github.com/qiongdev/qiong/service/evidence/node"
	"github.com/qiongdev/qiong/service/exchange"
	"github.com/qiongdev/qiong/service/sandbox"
	"github.com/qiongdev/qiong/service/witness"
	"github.com/qiongdev/qiong/tool/apply"
	"github.com/qiongdev/qiong/tool/audit"
	"github.com/qiongdev/qiong/tool/bench"
	"github.com/qiongdev/qiong/tool/demo"
	"github.com/qiongdev/qiong/tool/dialect"
	"github.com/qiongdev/qiong/tool/han"
	"github.com/qiongdev/qiong/tool/keys"
	"github.com/qiongdev/qiong/tool/label"
	"github.com/qiongdev/qiong/tool/leak"
	"github.com/qiongdev/qiong/tool/receipt"
	"github.com/qiongdev/qiong/tool/signer"
	"github.com/qiongdev/qiong/tool/token"
)

var services = []*qiong.Service{
	sandbox.Service,
	approval.Service,
	booking.Service,
	exchange.New(map[string]table.Opener{"mysql": mysql.Open, "postgres": postgres.Open}),
	evidence.New(node.Commands(openSQLite)...),
	witness.Service,
}

var tools = []*qiong.Tool{
	demo.Tool,
	apply.Tool,
	token.Tool,
	keys.Tool,
	signer.Tool,
	label.Tool,
	leak.Tool,
	han.Tool,
	dialect.Tool,
	receipt.Tool,
	audit.New(openSQLite),
	bench.Tool,
}

// openSQLite opens the ledger of an agency's node, or the audit log of a folder.
func openSQLite(path string) (sqldb.DB, error) { return sqlite.Open(path) }

func main() { house.Main(services, tools) }
