package room

// fenwick counts who is waiting by rank, so that the number of those before a rank costs O(log n). Each rank counts 0 or 1.
type fenwick []int32

// append adds a rank at the end.
func (f *fenwick) append(v int32) {
	i := len(*f) + 1
	for j := i - 1; j > i-i&-i; j -= j & -j {
		v += (*f)[j-1]
	}
	*f = append(*f, v)
}

// add changes the count of a rank.
func (f fenwick) add(rank int, v int32) {
	for i := rank + 1; i <= len(f); i += i & -i {
		f[i-1] += v
	}
}

// before returns how many wait at ranks below rank.
func (f fenwick) before(rank int) (sum int) {
	for i := rank; i > 0; i -= i & -i {
		sum += int(f[i-1])
	}
	return sum
}
