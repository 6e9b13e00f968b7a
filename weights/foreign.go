package weights

import (
	"bytes"
	"errors"
)

// sniffLength is how many bytes of a file are looked at to tell what it is when it is not safetensors.
const sniffLength = 512

// foreign returns an error that says what the file that begins with start is and what to do about it, or err when it is
// nothing known.
func foreign(start []byte, err error) error {
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf")), " \t\r\n"))
	switch {
	case len(start) == 0:
		return errors.New("the file is empty; download or copy it again")
	case len(start) > 1 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5:
		return errors.New("this is a pickle, as PyTorch saved checkpoints before version 1.6, which is not read; load it with torch.load(path, weights_only=True) and save it again with torch.save or safetensors.torch.save_file")
	case bytes.HasPrefix(start, []byte("\x1f\x8b")), bytes.HasPrefix(start, []byte("7z\xbc\xaf")), bytes.HasPrefix(start, []byte("Rar!")):
		return errors.New("this is an archive; unpack it and use the .safetensors or .gguf file in it")
	case bytes.HasPrefix(start, []byte("\x89PNG")), bytes.HasPrefix(start, []byte("\xff\xd8\xff")), bytes.HasPrefix(start, []byte("RIFF")), bytes.HasPrefix(start, []byte("GIF8")):
		return errors.New("this is a picture, not a model")
	case bytes.HasPrefix(start, []byte("\x89HDF")):
		return errors.New("this is an HDF5 file, as Keras writes; use one in safetensors or GGUF")
	case bytes.HasPrefix(text, []byte("version https://git-lfs")):
		return errors.New("this is a Git LFS pointer, the file's name in place of the file; run git lfs pull, or download the file itself")
	case bytes.HasPrefix(text, []byte("<!doctype")), bytes.HasPrefix(text, []byte("<html")), bytes.HasPrefix(text, []byte("<?xml")), bytes.HasPrefix(text, []byte("<head")):
		return errors.New("this is a web page, not a model: a download saved the site's answer (a login or an error) instead of the file; download it again")
	case bytes.HasPrefix(text, []byte("{")):
		return errors.New("this is JSON text, not a safetensors file; an index of a sharded checkpoint must be named *.safetensors.index.json")
	}
	return err
}
