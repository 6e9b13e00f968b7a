package hostile

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Vocabularies returns broken vocabularies of text encoders, beside changed copies
// of good ones: a tekken.json and a sentencepiece model.
func Vocabularies(seed uint64, tekken, spiece []byte) []Input {
	r := rand.New(rand.NewPCG(seed, 9))
	var all []Input
	for _, whole := range []Input{{"a tekken.json", "tekken.json", tekken, false}, {"a sentencepiece model", "spiece.model", spiece, false}} {
		all = append(all, truncated(whole, 12)...)
		all = append(all, flipped(r, whole, 24, len(whole.Data))...)
	}
	return append(append(all, tekkens()...), spieces()...)
}

func tekkens() (all []Input) {
	add := func(name, text string, fails bool) {
		all = append(all, Input{"tekken.json: " + name, "tekken.json", []byte(text), fails})
	}
	file := func(size, reserved, vocab, special string) string {
		return fmt.Sprintf(`{"config":{"default_vocab_size":%s,"default_num_special_tokens":%s},"vocab":[%s],"special_tokens":[%s]}`, size, reserved, vocab, special)
	}
	var bytes strings.Builder
	for b := range 256 {
		fmt.Fprintf(&bytes, `{"rank":%d,"token_bytes":"%s"},`, b, base64.StdEncoding.EncodeToString([]byte{byte(b)}))
	}
	const special = `{"rank":0,"token_str":"<s>"}`
	last := `{"rank":256,"token_bytes":"YWE="}`
	add("nested", nested("[", 1<<20), true)
	add("nested objects", nested(`{"config":`, 1<<18), true)
	add("a size without end", file(strings.Repeat("9", 1<<20), "1", last, special), true)
	add("a negative size", file("-1", "1", last, special), true)
	add("sizes that are no numbers", file(`"1"`, "null", last, special), true)
	add("a million tokens that are one", file("2000000", "1", bytes.String()+strings.Repeat(last+",", 200_000)+last, special), false)
	add("a token of 4 MB", file("300", "1", bytes.String()+`{"rank":256,"token_bytes":"`+strings.Repeat("YWFh", 1<<20)+`"}`, special), false)
	add("a special token of 5 MB", file("300", "1", bytes.String()+last, `{"rank":0,"token_str":"`+Long()+`"}`), true)
	add("a special token that is empty", file("300", "1", bytes.String()+last, `{"rank":0,"token_str":""}`), false)
	add("escapes", file("300", "1", bytes.String()+last, fmt.Sprintf(`{"rank":999999,"token_str":%q}`, "\x1b[2J\u202e")), true)
	add("every rank the same", file("300", "1", strings.ReplaceAll(bytes.String(), `"rank":`, `"rank":0,"other":`)+last, special), false)
	return all
}

func spieces() (all []Input) {
	add := func(name string, data []byte, fails bool) {
		all = append(all, Input{"spiece.model: " + name, "spiece.model", data, fails})
	}
	field := func(number uint64, data []byte) []byte {
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, number<<3|2), uint64(len(data))), data...)
	}
	piece := func(text string, score uint32, kind byte) []byte {
		data := append(field(1, []byte(text)), 2<<3|5)
		return field(1, append(binary.LittleEndian.AppendUint32(data, score), 3<<3, kind))
	}
	unknown := piece("<unk>", 0, 2)
	add("a length without end", []byte{1<<3 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, true)
	add("a varint without end", []byte(strings.Repeat("\xFF", 1<<20)), true)
	add("empty pieces", []byte(strings.Repeat("\x0A\x00", 1<<20)), true)
	add("no number for a score", append(piece("a", 0x7FC00000, 1), unknown...), true)
	add("a piece of 5 MB", append(piece(Long(), 0, 1), unknown...), true)
	add("messages within messages", field(3, field(3, field(3, field(3, []byte(Long()))))), true)
	circle := make([]byte, 4, 4+4*256)
	binary.LittleEndian.PutUint32(circle, 4*256)
	for i := range uint32(256) {
		circle = binary.LittleEndian.AppendUint32(circle, i|1<<8|i<<10)
	}
	add("an array that leads in circles", append(append([]byte{}, unknown...), field(3, field(2, append(circle, "aaaaaaaa\x00"...)))...), false)
	add("a replacement of 5 MB", append(append([]byte{}, unknown...), field(3, field(2, append(circle, Long()...)))...), true)
	beginnings := append([]byte{}, unknown...)
	for n := 1; n <= 256; n++ {
		beginnings = append(beginnings, piece(strings.Repeat("a", n), uint32(n), 1)...)
	}
	add("pieces that begin one another", beginnings, false)
	add("pieces that begin one another, joined", append(append([]byte{}, beginnings...), field(2, []byte{3 << 3, 2})...), false)
	return all
}
