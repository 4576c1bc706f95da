// Package label promises to say what data is and how far it may go: its grade, its category, the mask that it wears
// before those who may not see it whole, and whether a number that names a person or an organization is well formed.
//
// Grades follow GB/T 43697-2024: core and important data, and general data in four levels. A grade stands in the tag of
// a struct field, such as
//
//	IDCard string `json:"idCard" grade:"L3,pii=id_card,mask=3-4"`
//
// and goes with the value from there: HTTP header, message header, log. A [Catalog] lists the categories that tags may
// name; operators add theirs in YAML. Who is asked for a grade and knows none says [Ungraded], which nobody is cleared
// for: what is not labelled does not go out.
//
// The checks of numbers are of shape and sum alone: that a number passes says nothing about whether it was ever issued.
// Their errors name what is wrong and never repeat the number. Fakes for tests and rehearsals are well formed, belong to
// nobody, and are told apart at sight.
package label
