// Package label promises to know the numbers that public services label people and organizations with: whether one is
// well formed, and fakes for tests and rehearsals that are well formed, belong to nobody, and are told apart at sight.
//
// The checks are of shape and sum alone: that a number passes says nothing about whether it was ever issued. Their
// errors name what is wrong and never repeat the number.
package label
