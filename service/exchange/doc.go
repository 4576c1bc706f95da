// Package exchange carries records between systems that write Chinese differently, so that none is lost, doubled or
// quietly changed: from a partner's files or a table, checked field by field, to tables, folders and interfaces in UTF-8,
// GB 18030 or its ancestors.
//
// A sender announces a file by a signed manifest and sends it in as many pieces as the network needs. Its records are
// checked and kept in sealed chunks as it comes; when it is whole and as the manifest says, one transaction accepts it
// and hands it to every target. A record that can't be taken, or that a target can't have, stands in quarantine with the
// reason and its place until somebody corrects or dismisses it. Each chunk takes effect at its target once. A
// reconciliation reads back what a target's table has and names every difference.
//
// A feed, its fields and its targets are described in a YAML file; see doc/exchange.md. A table that is a source is read
// by a column that only grows: rows that are committed later than rows with greater numbers are not seen, so the
// column's numbers must be given in short transactions.
package exchange
