package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Writing: each value in its smallest form (G1).

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= math.MaxInt8:
		return append(b, byte(v))
	case v >= math.MinInt8 && v <= math.MaxInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16 && v <= math.MaxInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	}
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v <= math.MaxInt8:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	}
}

func appendText(b []byte, s string) []byte {
	switch n := len(s); {
	case n <= 31:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

func appendBytes(b, v []byte) []byte {
	switch n := len(v); {
	case n <= math.MaxUint8:
		b = append(b, 0xc4, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
	}
	return append(b, v...)
}

func appendMap(b []byte, n int) []byte {
	switch {
	case n <= 15:
		return append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
	}
}

// appendTime writes extension 5 (G7).
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, 0xc7, 12, 5)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// Reading.

var errShort = errors.New("greenpack: the input ends inside a value")

// reader takes values off the front of a body. A failed read leaves it where it was of no use: give up.
type reader struct{ left []byte }

func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.left)) {
		return nil, errShort
	}
	taken := r.left[:n]
	r.left = r.left[n:]
	return taken, nil
}

func (r *reader) number(width uint64) (uint64, error) {
	taken, err := r.take(width)
	var n uint64
	for _, b := range taken {
		n = n<<8 | uint64(b)
	}
	return n, err
}

// nilNext takes a nil, which stands for the zero value anywhere (G17).
func (r *reader) nilNext() bool {
	if len(r.left) > 0 && r.left[0] == 0xc0 {
		r.left = r.left[1:]
		return true
	}
	return false
}

type kind int

const (
	kindNil kind = iota
	kindBool
	kindInt  // negative, in signed
	kindUint // 0 and above, in n
	kindFloat
	kindText
	kindBytes
	kindArray
	kindMap
	kindExt
)

// head is what the first byte of a value, and the length behind it, say.
type head struct {
	kind   kind
	n      uint64 // value of an integer or bool; length of what follows; number of elements
	signed int64
	ext    int8
}

// next reads the head of the next value; the content of text, bytes, extensions and floats follows it.
func (r *reader) next() (head, error) {
	first, err := r.number(1)
	if err != nil {
		return head{}, err
	}
	c := byte(first)
	sized := func(k kind, width uint64) (head, error) {
		n, err := r.number(width)
		return head{kind: k, n: n}, err
	}
	switch {
	case c <= 0x7f:
		return head{kind: kindUint, n: uint64(c)}, nil
	case c <= 0x8f:
		return head{kind: kindMap, n: uint64(c & 0x0f)}, nil
	case c <= 0x9f:
		return head{kind: kindArray, n: uint64(c & 0x0f)}, nil
	case c <= 0xbf:
		return head{kind: kindText, n: uint64(c & 0x1f)}, nil
	case c >= 0xe0:
		return head{kind: kindInt, signed: int64(int8(c))}, nil
	}
	switch c {
	case 0xc0:
		return head{kind: kindNil}, nil
	case 0xc2, 0xc3:
		return head{kind: kindBool, n: uint64(c & 1)}, nil
	case 0xc4, 0xc5, 0xc6:
		return sized(kindBytes, 1<<(c-0xc4))
	case 0xc7, 0xc8, 0xc9:
		h, err := sized(kindExt, 1<<(c-0xc7))
		if err != nil {
			return h, err
		}
		ext, err := r.number(1)
		h.ext = int8(ext)
		return h, err
	case 0xca, 0xcb:
		return head{kind: kindFloat, n: 4 << (c - 0xca)}, nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return sized(kindUint, 1<<(c-0xcc))
	case 0xd0, 0xd1, 0xd2, 0xd3:
		width := uint64(1) << (c - 0xd0)
		n, err := r.number(width)
		shift := 64 - 8*width
		if v := int64(n<<shift) >> shift; v < 0 {
			return head{kind: kindInt, signed: v}, err
		}
		return head{kind: kindUint, n: n}, err
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		ext, err := r.number(1)
		return head{kind: kindExt, n: 1 << (c - 0xd4), ext: int8(ext)}, err
	case 0xd9, 0xda, 0xdb:
		return sized(kindText, 1<<(c-0xd9))
	case 0xdc, 0xdd:
		return sized(kindArray, 2<<(c-0xdc))
	case 0xde, 0xdf:
		return sized(kindMap, 2<<(c-0xde))
	}
	return head{}, fmt.Errorf("greenpack: byte %#x begins no value", c)
}

// want reads a head of one kind; types never convert (G22).
func (r *reader) want(k kind) (head, error) {
	h, err := r.next()
	if err == nil && h.kind != k {
		err = fmt.Errorf("greenpack: a value of kind %d where %d is expected", h.kind, k)
	}
	return h, err
}

// integer reads an integer of either sign's forms and judges it by its value (G21).
func (r *reader) integer() (int64, error) {
	h, err := r.next()
	switch {
	case err != nil:
		return 0, err
	case h.kind == kindInt:
		return h.signed, nil
	case h.kind == kindUint && h.n <= math.MaxInt64:
		return int64(h.n), nil
	}
	return 0, errors.New("greenpack: not a signed integer of 64 bits")
}

func (r *reader) unsigned() (uint64, error) {
	h, err := r.want(kindUint)
	return h.n, err
}

func (r *reader) boolean() (bool, error) {
	h, err := r.want(kindBool)
	return h.n == 1, err
}

func (r *reader) text() (string, error) {
	h, err := r.want(kindText)
	if err != nil {
		return "", err
	}
	taken, err := r.take(h.n)
	return string(taken), err
}

func (r *reader) bytes() ([]byte, error) {
	h, err := r.want(kindBytes)
	if err != nil {
		return nil, err
	}
	return r.take(h.n)
}

func (r *reader) time() (time.Time, error) {
	h, err := r.want(kindExt)
	if err != nil {
		return time.Time{}, err
	}
	if h.ext != 5 || h.n != 12 {
		return time.Time{}, fmt.Errorf("greenpack: extension %d of %d bytes is no time", h.ext, h.n)
	}
	taken, err := r.take(12)
	if err != nil {
		return time.Time{}, err
	}
	seconds := int64(binary.BigEndian.Uint64(taken))
	nanos := int32(binary.BigEndian.Uint32(taken[8:]))
	// time.Unix carries and borrows as G25 wants.
	return time.Unix(seconds, int64(nanos)).UTC(), nil
}

// entries reads a map and calls each for every entry whose key is neither nil nor empty (G16, G23).
func (r *reader) entries(each func(key string) error) error {
	h, err := r.want(kindMap)
	if err != nil {
		return err
	}
	if h.n > uint64(len(r.left))/2 {
		return errShort // G28
	}
	for range h.n {
		key, err := r.key()
		if err != nil {
			return err
		}
		if key == "" {
			err = r.skip()
		} else {
			err = each(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) key() (string, error) {
	h, err := r.next()
	if err != nil || h.kind == kindNil {
		return "", err
	}
	if h.kind != kindText && h.kind != kindBytes {
		return "", fmt.Errorf("greenpack: a key of kind %d", h.kind)
	}
	taken, err := r.take(h.n)
	return string(taken), err
}

// maxDepth is the number of levels that a skipped value may have (G27).
const maxDepth = 64

// skip passes over one value of any kind.
func (r *reader) skip() error {
	// How many values are still to come on each level that is open.
	open := []uint64{1}
	for len(open) > 0 {
		last := len(open) - 1
		if open[last] == 0 {
			open = open[:last]
			continue
		}
		open[last]--
		h, err := r.next()
		if err != nil {
			return err
		}
		switch h.kind {
		case kindText, kindBytes, kindExt, kindFloat:
			if _, err := r.take(h.n); err != nil {
				return err
			}
		case kindArray, kindMap:
			if h.kind == kindMap {
				h.n *= 2
			}
			if h.n > uint64(len(r.left)) {
				return errShort
			}
			if len(open) > maxDepth {
				return errors.New("greenpack: more than 64 levels")
			}
			open = append(open, h.n)
		}
	}
	return nil
}
