// Package witness is a voter that decides, with those of other machines, who may write what (package lease): the third
// vote that two servers need, on any small machine, and the own vote of each of the two.
//
// It promises that what it answers is on its disk, that it believes nothing that is not signed by a replica it was told
// to trust, and that no replica is promoted by hand without a record of who, when, why, and what was given up.
package witness
