//go:build !unix

package regular

// nonblock is no flag here: there are no pipes with names in folders.
const nonblock = 0
