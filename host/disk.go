package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
)

// A Volume is the file system that a folder lies on.
type Volume struct {
	Mount      string `json:"mount"`      // the folder where it begins
	Type       string `json:"type"`       // the name that the system gives its kind, such as ext4
	Network    bool   `json:"network"`    // whether another machine holds it
	Rotational bool   `json:"rotational"` // whether it is known to lie on a hard disk
	Free       int64  `json:"free"`       // bytes that this user may still write
}

// networks are the types of file systems that other machines hold, as Linux,
// macOS and Windows name them. A name stands for all that begin with it.
var networks = []string{
	"nfs", "cifs", "smb", "9p", "afpfs", "webdav", "davfs", "fuse.sshfs", "sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "gcsfuse",
	"ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs", "lustre", "beegfs", "gpfs", "afs", "ncpfs", "virtiofs", "vboxsf", "fuse.vmhgfs", "drvfs",
}

// isNetwork reports whether another machine holds file systems of a type.
func isNetwork(kind string) bool {
	for _, n := range networks {
		if strings.HasPrefix(strings.ToLower(kind), n) {
			return true
		}
	}
	return false
}

// Disk returns the volume that a folder lies on. A folder that does not exist is
// taken for the nearest one above it.
func Disk(folder string) (Volume, error) {
	folder, err := nearest(folder)
	if err != nil {
		return Volume{}, err
	}
	usage, err := disk.Usage(folder)
	if err != nil {
		return Volume{}, fmt.Errorf("asking for the free space of %s: %w", folder, err)
	}
	v := Volume{Type: usage.Fstype, Free: int64(usage.Free)}
	// A system that does not tell its volumes leaves the type alone.
	parts, _ := disk.Partitions(true)
	if p, ok := volume(parts, folder); ok {
		v.Mount, v.Type = p.Mountpoint, p.Fstype
	}
	v.Network = isNetwork(v.Type)
	v.Rotational = rotational("/sys/dev/block", folder)
	return v, nil
}

// nearest returns the real path of a folder, or of the nearest one above it that
// exists.
func nearest(folder string) (string, error) {
	path, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	for {
		real, err := filepath.EvalSymlinks(path)
		if above := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && above != path {
			path = above
			continue
		}
		return real, err
	}
}

// volume returns the one of the volumes that a real path lies on: the one whose
// mount is the longest part of it, the last of several on one place.
func volume(all []disk.PartitionStat, path string) (found disk.PartitionStat, ok bool) {
	for _, p := range all {
		rel, err := filepath.Rel(p.Mountpoint, path)
		if err == nil && filepath.IsLocal(rel) && len(p.Mountpoint) >= len(found.Mountpoint) {
			found, ok = p, true
		}
	}
	return found, ok
}

// rotational reports whether Linux, whose folder of block devices is given,
// knows the disk of a folder to rotate.
func rotational(devices, folder string) bool {
	id, ok := deviceID(folder)
	if !ok {
		return false
	}
	// A partition has no queue of its own: that of its disk is one folder up.
	for _, queue := range []string{"/queue", "/../queue"} {
		if text, err := os.ReadFile(devices + "/" + id + queue + "/rotational"); err == nil {
			return strings.TrimSpace(string(text)) == "1"
		}
	}
	return false
}
