// Package web holds the module with which a page verifies receipts in the browser, where the program was built with it.
// Its source stands in web/receipt; make builds it into dist where npm is installed. The program builds without it, too.
package web

import "embed"

// dist has more than its placeholder where the module was built before the program.
//
//go:embed all:dist
var dist embed.FS

// Verify returns the module, an ES module in UTF-8 that loads nothing else, and whether this program was built with it.
// A page loads it as <script type="module">; web/receipt/README.en.md says which elements it looks for.
func Verify() ([]byte, bool) {
	module, err := dist.ReadFile("dist/verify.js")
	return module, err == nil
}
