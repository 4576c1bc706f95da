package scenario

import (
	"crypto/tls"
	"io/fs"
	"net"
	"net/url"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/load"
)

// Address reads where the requests go.
func (d *Definition) Address() (load.Target, error) {
	u, err := url.Parse(d.expand(d.Target))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return load.Target{}, errs.New(errs.Invalid, "目标应为 http://主机:端口 或 https://主机:端口", "the target is http://host:port or https://host:port").WithField("target")
	}
	port := u.Port()
	t := load.Target{Host: u.Host}
	switch d.Protocol {
	case "", "http1":
	case "http2":
		t.Protocol = load.HTTP2
	case "grpc":
		t.Protocol = load.GRPC
	default:
		return t, errs.New(errs.Invalid, "协议应为 http1、http2 或 grpc", "the protocol is http1, http2 or grpc").WithField("protocol")
	}
	if u.Scheme == "https" {
		t.TLS = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: d.Insecure, MinVersion: tls.VersionTLS12} // only where asked for
	}
	if port == "" {
		port = "80"
		if t.TLS != nil {
			port = "443"
		}
	}
	t.Addr = net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// Loopback refuses addresses of other machines than this one. A name other than localhost is one, whatever it resolves to.
func Loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errs.New(errs.Forbidden, "目标不是本机", "the target is not this machine").WithField("target").
		WithHint("压测会使服务不可用。只有在其管理者同意后，才加 --i-may-load-this-host", "a load can take a service down. Only where its operator agrees, add --i-may-load-this-host")
}

// ReadFiles returns the files that the definition's data is in.
func (d *Definition) ReadFiles(files fs.FS) (map[string][]byte, error) {
	all := map[string][]byte{}
	names := []string{d.Descriptors}
	for _, f := range d.Data {
		names = append(names, f.File)
	}
	for _, name := range names {
		if name == "" || files == nil {
			continue
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, errs.Wrap(err, errs.NotFound, "方案的文件无法读取", "a file of the scenario can't be read")
		}
		all[name] = data
	}
	return all, nil
}
