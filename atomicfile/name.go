package atomicfile

import "os"

// The ways of making and naming files of which file systems lack some.
var (
	// unnamed opens a file without a name in a folder, or returns nil.
	unnamed = openUnnamed
	// linkUnnamed gives an unnamed file a name that is not taken.
	linkUnnamed = linkOpen
	// linkNamed gives a file another name that is not taken.
	linkNamed = os.Link
	// renameNew renames a file if the name is not taken.
	renameNew = renameExclusive
)
