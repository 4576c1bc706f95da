// Package examples has applications to try a house with, and the policy of a council to try. Every number in them passes
// its check and belongs to nobody: the region codes are not assigned.
package examples

import _ "embed"

// OpenEnterprise is an application to open an enterprise.
//
//go:embed open-enterprise.json
var OpenEnterprise []byte

// CertifyPerson is an application of a person who wants a qualification recognised.
//
//go:embed certify-person.json
var CertifyPerson []byte

// TradePolicy is the policy of a council of clearing, customs, forex and tax over orders and return vouchers, without
// gateways.
//
//go:embed trade-policy.yaml
var TradePolicy []byte
