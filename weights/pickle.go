package weights

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// A pickle is a program for a machine with a stack that builds values (PEP 3154). Python's machine imports and calls
// whatever a pickle names. This one builds plain values, and what it is told to call is a name that the caller decides upon.
//
// Its values are nil, bool, int64, float64, string, []byte, tuple, *list, *dict, *set, global and what calls return.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any }
	set   struct{ items []any }
	// global is the name of a Python object, which is not looked up.
	global struct{ module, name string }
	// inert is a value of which nothing is needed.
	inert struct{}
)

// String returns the name as Python has it.
func (g global) String() string { return g.module + "." + g.name }

// get returns the value of a key that is a string.
func (d *dict) get(key string) (any, bool) {
	for i, k := range d.keys {
		if k == key {
			return d.values[i], true
		}
	}
	return nil, false
}

// A machine unpickles.
type machine struct {
	// call returns what calling a global with arguments gives, which may refuse it.
	call func(g global, args tuple) (any, error)
	// persistent returns the value that a persistent id stands for.
	persistent func(id any) (any, error)

	text  []byte
	at    int
	stack []any
	marks []int // lengths of the stack
	memo  map[uint64]any
}

// maxAttributes is more than modules have.
const maxAttributes = 100

// opcodesAtOnce is how many opcodes are run between two looks at the context.
const opcodesAtOnce = 1 << 16

var errPickle = errors.New("the pickle ends too early or takes what is not there")

// run runs a pickle and returns its value. Each opcode takes memory for one value at most.
func (m *machine) run(ctx context.Context, text []byte) (value any, err error) {
	m.text, m.memo = text, map[uint64]any{}
	for n := 0; ; n++ {
		if n%opcodesAtOnce == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		op, err := m.bytes(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			return m.pop()
		}
		if err := m.do(op[0]); err != nil {
			return nil, fmt.Errorf("byte %d of the pickle: %w", m.at-1, err)
		}
	}
}

// do runs an opcode. Their names in Python's pickletools are beside them.
func (m *machine) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		_, err := m.bytes(1)
		return err
	case 0x95: // FRAME
		_, err := m.bytes(8)
		return err
	case '(': // MARK
		m.marks = append(m.marks, len(m.stack))
		return nil
	case '0': // POP
		_, err := m.pop()
		return err
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case '2': // DUP
		return m.again()
	case 'N': // NONE
		return m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		return m.push(op == 0x88)
	case 'J', 'K', 'M', 0x8a, 0x8b, 'G': // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
		return m.number(op)
	case 'X', 0x8c, 0x8d, 'T', 'U': // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, BINSTRING, SHORT_BINSTRING
		text, err := m.sized(map[byte]int{'X': 4, 0x8c: 1, 0x8d: 8, 'T': 4, 'U': 1}[op])
		if err == nil && !utf8.Valid(text) {
			return m.push(text)
		}
		return errors.Join(err, m.push(string(text)))
	case 'B', 'C', 0x8e: // BINBYTES, SHORT_BINBYTES, BINBYTES8
		text, err := m.sized(map[byte]int{'B': 4, 'C': 1, 0x8e: 8}[op])
		return errors.Join(err, m.push(text))
	case ']', '}', 0x8f, ')': // EMPTY_LIST, EMPTY_DICT, EMPTY_SET, EMPTY_TUPLE
		return m.push(map[byte]func() any{
			']': func() any { return &list{} }, '}': func() any { return &dict{} }, 0x8f: func() any { return &set{} }, ')': func() any { return tuple{} },
		}[op]())
	case 0x85, 0x86, 0x87, 't': // TUPLE1, TUPLE2, TUPLE3, TUPLE
		return m.tuple(op)
	case 'a', 'e', 's', 'u', 0x90, 'd', 'l': // APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS, DICT, LIST
		return m.fill(op)
	case 'q', 'r', 0x94, 'h', 'j': // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
		return m.remember(op)
	case 'c', 0x93, 'R', 0x81, 'b', 'Q': // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, BUILD, BINPERSID
		return m.object(op)
	}
	return fmt.Errorf("the opcode %q is not one that tensors need", op)
}

// bytes returns the next n bytes of the pickle.
func (m *machine) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(m.text)-m.at) {
		return nil, errPickle
	}
	m.at += int(n)
	return m.text[m.at-int(n) : m.at], nil
}

// integer reads a number of so many bytes.
func (m *machine) integer(width int) (uint64, error) {
	raw, err := m.bytes(uint64(width))
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], raw)
	return binary.LittleEndian.Uint64(word[:]), nil
}

// sized reads a length of so many bytes and as many bytes as it says.
func (m *machine) sized(width int) ([]byte, error) {
	n, err := m.integer(width)
	if err != nil {
		return nil, err
	}
	return m.bytes(n)
}

// line reads up to the end of a line.
func (m *machine) line() (string, error) {
	for i, c := range m.text[m.at:] {
		if c == '\n' {
			raw, err := m.bytes(uint64(i + 1))
			return string(raw[:i]), err
		}
	}
	return "", errPickle
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

// pop takes the last value, which must not be before the last mark.
func (m *machine) pop() (any, error) {
	n := len(m.stack)
	if n == 0 || len(m.marks) > 0 && m.marks[len(m.marks)-1] == n {
		return nil, errPickle
	}
	v := m.stack[n-1]
	m.stack = m.stack[:n-1]
	return v, nil
}

// popMark takes all values behind the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	n := len(m.marks)
	if n == 0 {
		return nil, errPickle
	}
	from := m.marks[n-1]
	values := append([]any(nil), m.stack[from:]...)
	m.stack, m.marks = m.stack[:from], m.marks[:n-1]
	return values, nil
}

// again pushes the last value once more.
func (m *machine) again() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	m.stack = append(m.stack, v, v)
	return nil
}

// number pushes a number. An integer of more than 64 bits is nothing that is needed.
func (m *machine) number(op byte) error {
	switch op {
	case 'G': // the only number that is big-endian
		raw, err := m.bytes(8)
		if err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(raw)))
	case 0x8a, 0x8b:
		raw, err := m.sized(map[byte]int{0x8a: 1, 0x8b: 4}[op])
		if err != nil || len(raw) > 8 {
			return errors.Join(err, m.push(inert{}))
		}
		var v int64
		for i, b := range raw {
			v |= int64(b) << (8 * i)
		}
		if n := len(raw); n > 0 {
			v = v << (64 - 8*n) >> (64 - 8*n)
		}
		return m.push(v)
	}
	v, err := m.integer(map[byte]int{'J': 4, 'K': 1, 'M': 2}[op])
	if op == 'J' {
		return errors.Join(err, m.push(int64(int32(v))))
	}
	return errors.Join(err, m.push(int64(v)))
}

func (m *machine) tuple(op byte) error {
	if op == 't' {
		values, err := m.popMark()
		return errors.Join(err, m.push(tuple(values)))
	}
	out := make(tuple, op-0x84)
	for i := range out {
		v, err := m.pop()
		if err != nil {
			return err
		}
		out[len(out)-1-i] = v
	}
	return m.push(out)
}

// fill makes lists, dictionaries and sets, or adds to them.
func (m *machine) fill(op byte) error {
	var values []any
	var err error
	switch op {
	case 'a':
		values = make([]any, 1)
		values[0], err = m.pop()
	case 's':
		values = make([]any, 2)
		if values[1], err = m.pop(); err == nil {
			values[0], err = m.pop()
		}
	default:
		values, err = m.popMark()
	}
	if err != nil {
		return err
	}
	switch op {
	case 'l':
		return m.push(&list{values})
	case 'd':
		err = m.push(&dict{})
	}
	to, popped := m.pop()
	if err := errors.Join(err, popped); err != nil {
		return err
	}
	switch to := to.(type) {
	case *list:
		to.items = append(to.items, values...)
	case *set:
		to.items = append(to.items, values...)
	case *dict:
		if len(values)%2 != 0 {
			return errPickle
		}
		for i := 0; i < len(values); i += 2 {
			to.keys, to.values = append(to.keys, values[i]), append(to.values, values[i+1])
		}
	case inert:
	default:
		return fmt.Errorf("something is put into a %T", to)
	}
	return m.push(to)
}

// built returns a value with a state. Of states only the parameters of a module are needed, which a dictionary stands for.
func built(value, state any) any {
	to, ok := value.(*dict)
	attributes, also := state.(*dict)
	if !ok || !also || len(attributes.keys) > maxAttributes {
		return value
	}
	if v, ok := attributes.get("_parameters"); ok {
		if parameters, ok := v.(*dict); ok && len(to.keys) == 0 {
			to.keys, to.values = slices.Clip(parameters.keys), slices.Clip(parameters.values)
		}
	}
	return value
}

// remember puts the last value under a number, or pushes the one that is there.
func (m *machine) remember(op byte) error {
	if op == 0x94 {
		return m.store(uint64(len(m.memo)))
	}
	n, err := m.integer(map[byte]int{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op])
	if err != nil {
		return err
	}
	if op == 'q' || op == 'r' {
		return m.store(n)
	}
	v, ok := m.memo[n]
	if !ok {
		return errPickle
	}
	return m.push(v)
}

func (m *machine) store(n uint64) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	m.memo[n] = v
	return m.push(v)
}

// object names a global, calls one, gives a value a state, which is left out, or asks for a persistent value.
func (m *machine) object(op byte) error {
	if op == 'c' {
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		return errors.Join(err, m.push(global{module, name}))
	}
	last, err := m.pop()
	if err != nil {
		return err
	}
	if op == 'Q' {
		v, err := m.persistent(last)
		return errors.Join(err, m.push(v))
	}
	first, err := m.pop()
	if err != nil {
		return err
	}
	switch op {
	case 'b':
		return m.push(built(first, last))
	case 0x93:
		module, ok := first.(string)
		name, also := last.(string)
		if !ok || !also {
			return errPickle
		}
		return m.push(global{module, name})
	}
	g, ok := first.(global)
	args, also := last.(tuple)
	if !ok || !also {
		return fmt.Errorf("a %T is called with a %T, expected a name and a tuple", first, last)
	}
	v, err := m.call(g, args)
	return errors.Join(err, m.push(v))
}
