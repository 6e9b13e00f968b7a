package tokenizer

import (
	_ "embed"
	"encoding/binary"
	"sync"
)

// qwenMerges is the list of byte pair merges of Qwen2.5 and Qwen3 (Apache-2.0
// licence): the left token of each rule, then the right one of each, as
// unsigned varints. Rule n makes token 256 + n.
// testdata/golden/vocabularies.py writes it.
//
//go:embed qwen_merges.bin.gz
var qwenMerges []byte

// QwenPad is the token that fills prompts up, <|endoftext|>.
const QwenPad int32 = 151643

// qwenSpecial are the special tokens from QwenPad on. A tokenizer finds them
// anywhere in a text.
var qwenSpecial = []string{
	"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
	"<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
	"<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
	"<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
	"<think>", "</think>",
}

// NewQwen returns the tokenizer of Qwen2.5 and Qwen3. The vocabulary is read
// once for all callers.
var NewQwen = sync.OnceValue(func() *BytePair {
	var ids []int32
	for data := unzip(qwenMerges); len(data) > 0; {
		id, n := binary.Uvarint(data)
		ids, data = append(ids, int32(id)), data[n:]
	}
	rules := make(merges, len(ids)/2)
	for i := range int32(len(ids) / 2) {
		rules[[2]int32{ids[i], ids[len(ids)/2+int(i)]}] = merged{i, 256 + i}
	}
	special := map[string]int32{}
	for i, text := range qwenSpecial {
		special[text] = QwenPad + int32(i)
	}
	b := &BytePair{special: newTrie(special), composed: true, digits: 1, rule: func(string) rule { return rules.rule }}
	for id, c := range byteOrder() {
		b.bytes[c] = int32(id)
	}
	return b
})
