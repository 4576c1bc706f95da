package house

import (
	_ "embed"
	"net"
	"net/url"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
)

//go:embed config.go
var configSource string

// Config is what a house itself can be told. Each service has its own section beside this one.
type Config struct {
	// Address and port to listen on. Anything but a loopback address is open to the network: put TLS in front.
	Listen string `koanf:"listen" zh:"监听地址和端口。非回环地址即对网络开放，须在前面加 TLS。"`
	// Folder of everything the house keeps: databases, keys, files. One house a folder.
	Data string `koanf:"data" zh:"数据目录：数据库、密钥、文件都在其中。一个目录只供一套服务使用。"`
	// Address under which others reach the house, such as https://gov.example.cn; agencies call back there. Empty: the
	// address it listens on.
	URL string `koanf:"url" zh:"外部访问地址，如 https://gov.example.cn，部门回调也用它。留空即监听地址。"`
	// PostgreSQL server for the services' databases, such as postgres://user@host:5432/name. Empty: SQLite files in the
	// data folder.
	Database string `koanf:"database" zh:"PostgreSQL 地址，如 postgres://user@host:5432/name。留空则用数据目录内的 SQLite。" secret:"true"`
	// Connections to PostgreSQL for each service: so many for durable writes, and as many for the rest.
	Connections int `koanf:"connections" zh:"每个服务到 PostgreSQL 的连接数（持久写入与其余各占此数）。"`
	// File with the master secret that seals the keys, at least 32 bytes, readable by its owner alone. Empty: made in
	// the data folder at the first start, which is not safe for production.
	MasterKey string `koanf:"master-key" zh:"封存密钥用的主密钥文件，至少 32 字节，仅属主可读。留空则首次启动时在数据目录内生成，不宜用于生产。"`
	// Socket of a signer (qiong signer, or the process of a hardware module). A key that it has under the name that a service
	// asks for is used there, and not made in the data folder. Empty: all keys are in the data folder.
	Signer string `koanf:"signer" zh:"签名进程（qiong signer，或硬件密码模块的进程）的套接字。服务所需名称的密钥若在其中，即用它签名，不在数据目录中新建。留空则密钥都在数据目录。"`
	// What to log: debug, info, warn or error.
	LogLevel string `koanf:"log-level" zh:"日志级别：debug、info、warn 或 error。"`
	// How to log: text or json.
	LogFormat string `koanf:"log-format" zh:"日志格式：text 或 json。"`
	// OTLP/HTTP collector for traces, such as http://127.0.0.1:4318. Empty: traces do not leave the house.
	OTLP string `koanf:"otlp" zh:"接收链路追踪的 OTLP/HTTP 地址，如 http://127.0.0.1:4318。留空则不外送。"`
	// How long requests under way may take to finish when the house stops.
	Grace time.Duration `koanf:"grace" zh:"停止时等待在途请求完成的最长时间。"`
	// The highest grade of data that each role sees whole; what is above is masked or refused. What a service lets somebody
	// see at all is its own rule.
	Clearance Clearance `koanf:"clearance" zh:"各角色可见全貌的最高数据级别；更高的被掩码或拒绝。能否看到某项数据，另由各服务的规则决定。"`
	// Accesses to data of this grade or above are recorded for the auditor.
	AuditGrade label.Grade `koanf:"audit-grade" zh:"访问达到此级别的数据时，为审计管理员留痕。"`
	// How long the record of accesses is kept; at least six months (184 days).
	AuditKeep time.Duration `koanf:"audit-keep" zh:"访问记录的保存时间，不少于六个月（184 天）。"`
	// Address of another house that witnesses the audit log beside the local witness. Empty: none does.
	AuditWitness string `koanf:"audit-witness" zh:"除本地见证者外，另由哪一系统见证审计日志，填其地址；留空则没有。"`
	// File with the public keys of that house as a witness: its /evidence/witness/keys.pem, compared over another channel.
	AuditWitnessKeys string `koanf:"audit-witness-keys" zh:"该系统作为见证者的公钥文件，即其 /evidence/witness/keys.pem，须经另一渠道核对。"`
}

// Clearance is the clearance of each role.
type Clearance struct {
	// Whoever is not signed in.
	Anybody label.Grade `koanf:"anybody" zh:"未登录者。"`
	// Applicants, who see their own cases alone.
	Applicant label.Grade `koanf:"applicant" zh:"申请人，只看得到自己的办件。"`
	// Window officials, who handle applications.
	Official label.Grade `koanf:"official" zh:"窗口人员，办理申请。"`
	// Systems of agencies, which exchange data.
	Agency label.Grade `koanf:"agency" zh:"部门系统，交换数据。"`
	// System administrators, who need to know that a case is stuck, and not what it says.
	Operator label.Grade `koanf:"operator" zh:"系统管理员，需知道哪件停滞，不需知道内容。"`
	// Security administrators, who need to know whom they hand tokens to.
	Security label.Grade `koanf:"security" zh:"安全管理员，需知道令牌发给谁。"`
	// Audit administrators, who need to know who did what.
	Auditor label.Grade `koanf:"auditor" zh:"审计管理员，需知道谁做了什么。"`
}

// roles is c as what decides.
func (c Clearance) roles() access.Roles {
	return access.Roles{"": c.Anybody, auth.Applicant: c.Applicant, auth.Official: c.Official, auth.Agency: c.Agency,
		auth.Operator: c.Operator, auth.Security: c.Security, auth.Auditor: c.Auditor}
}

// sixMonths is how long records of accesses are kept at least: the longest that six months can be.
const sixMonths = 184 * 24 * time.Hour

// Defaults is the configuration of a house nobody told anything.
var Defaults = Config{
	Listen: "127.0.0.1:8460", Data: "./qiong-data", Connections: 16, LogLevel: "info", LogFormat: "text", Grace: 10 * time.Second,
	Clearance: Clearance{Anybody: label.L1, Applicant: label.L3, Official: label.L3, Agency: label.L3,
		Operator: label.L2, Security: label.L2, Auditor: label.L2},
	AuditGrade: label.L3, AuditKeep: sixMonths,
}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return errs.New(errs.Invalid, "应为“地址:端口”", "must be address:port").WithField("house.listen")
	}
	if c.Data == "" {
		return errs.New(errs.Invalid, "不能为空", "must not be empty").WithField("house.data")
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("house.url")
	}
	if c.Connections < 1 || c.Connections > 500 {
		return errs.New(errs.Invalid, "应在 1 至 500 之间", "must be between 1 and 500").WithField("house.connections")
	}
	if c.AuditKeep < sixMonths {
		return errs.New(errs.Invalid, "不得少于六个月（4416h）", "must be six months (4416h) at least").WithField("house.audit-keep")
	}
	if u, err := url.Parse(c.AuditWitness); c.AuditWitness != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("house.audit-witness")
	}
	if (c.AuditWitness == "") != (c.AuditWitnessKeys == "") {
		return errs.New(errs.Invalid, "audit-witness 与 audit-witness-keys 须同时设置", "audit-witness and audit-witness-keys are set together").WithField("house.audit-witness-keys")
	}
	if c.AuditGrade == label.Ungraded {
		return errs.New(errs.Invalid, "应为级别，如 L3", "must be a grade, such as L3").WithField("house.audit-grade")
	}
	if c.Grace < 0 {
		return errs.New(errs.Invalid, "不能为负", "must not be negative").WithField("house.grace")
	}
	return nil
}
