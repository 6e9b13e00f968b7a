// Package pager decides which weights are in memory. It knows no model and no
// operation: only extents, the order in which they will be used, and budgets.
//
// There are two tiers, and the same policy serves both. The host's memory
// holds extents where their files are mapped: what is resident there is in the
// system's page cache, clean and backed by its file, and what must make way is
// dropped from it. A discrete device holds copies. On a unified device, whose
// kernels read the host's memory, there is the first tier alone and nothing is
// ever copied.
//
// A user reserves a [Space] for the extents of a model, which costs no memory,
// makes a [Schedule] of the order in which a program uses them, begins a [Pass]
// for each run of the program, and acquires and releases each use in turn.
// While one use is worked with, the pager brings in the extents of the next.
//
// # Lock
//
// Pager.mu guards the page table, both tiers, all passes and what schedules
// have learnt. Methods whose names end in Locked expect the caller to hold it;
// so do all methods of tiers, their lists and their tracks. A few of them let go
// of the lock while they wait, read or allocate, and say so. Their callers look
// at the state again afterwards.
//
// # How passes wait for room
//
// Passes run side by side and never deadlock. Four rules see to it.
//
//  1. Admission. Begin waits until the activations of all running passes, what
//     is claimed and the largest use of any pass fit in the budget together, so
//     each pass can run to its end as soon as the others hold no weights. When
//     nothing runs and the new pass still does not fit, Begin fails with the
//     numbers. Claim never takes what a running pass needs by this rule.
//  2. Starvation. A use takes its extents one after the other and pins each. A
//     use that finds no room for the next is starved: it keeps its pins and
//     waits. While any pass is starved, nothing is brought in ahead of its use.
//  3. Age. Passes are numbered as they begin. A starved pass that is younger
//     than another starved pass is outranked: it unpins all extents of its use
//     and takes none until the older one has its own. The oldest therefore
//     finds the memory of all others, and by rule 1 that is enough.
//  4. Shrinking. Budgets may shrink while passes run. A pass is stuck when it
//     is not outranked, all others are starved and hold nothing, and nothing is
//     in flight: then no event can make room, and its use fails. In the host's
//     memory a use goes on above the budget instead, since its pages are backed
//     by files, and what it took makes way when it is unpinned.
//
// Whatever may have made room (an extent was evicted, unpinned or has arrived,
// a pass ended, a budget grew) wakes all who wait, and each looks again.
package pager
