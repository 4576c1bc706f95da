// Package examples has applications to try a house with. Every number in them passes its check and belongs to nobody:
// the region codes are not assigned.
package examples

import _ "embed"

// OpenEnterprise is an application to open an enterprise.
//
//go:embed open-enterprise.json
var OpenEnterprise []byte
