// Package floor holds the tree to the plan of the house: its tests read FLOORS, go.mod and the imports of every
// package. There is nothing here to import.
package floor
