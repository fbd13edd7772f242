package main

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// maxBytes is the longest byte array that is read.
const maxBytes = 1 << 20

var errVarInt = errors.New("invalid size of VarInt")
var errTooLong = errors.New("a byte array is too long")

// values is one of each of tinytcp's values.
type values struct {
	flag    bool
	octet   byte
	short   int16
	integer int32
	long    int64
	single  float32
	double  float64
	varInt  uint64
	varLong uint64
	array   []byte
	text    string
}

func (v values) encode() []byte {
	var out []byte
	if v.flag {
		out = append(out, 1)
	} else {
		out = append(out, 0)
	}
	out = append(out, v.octet)
	out = binary.BigEndian.AppendUint16(out, uint16(v.short))
	out = binary.BigEndian.AppendUint32(out, uint32(v.integer))
	out = binary.BigEndian.AppendUint64(out, uint64(v.long))
	out = binary.BigEndian.AppendUint32(out, math.Float32bits(v.single))
	out = binary.BigEndian.AppendUint64(out, math.Float64bits(v.double))
	out = binary.AppendUvarint(out, v.varInt)
	out = binary.AppendUvarint(out, v.varLong)
	out = binary.AppendUvarint(out, uint64(len(v.array)))
	out = append(out, v.array...)
	out = binary.AppendUvarint(out, uint64(len(v.text)))
	return append(out, v.text...)
}

func readFixed(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, n)
	_, err := io.ReadFull(r, buf)
	return buf, err
}

// readVar reads groups of seven bits, the lowest first, of which there are at most so many.
func readVar(r io.Reader, groups int) (uint64, error) {
	var value uint64
	for at := 0; at < groups; at++ {
		b, err := readFixed(r, 1)
		if err != nil {
			return 0, err
		}
		value |= uint64(b[0]&0x7f) << (7 * at)
		if b[0] < 0x80 {
			return value, nil
		}
	}
	return 0, errVarInt
}

func readArray(r io.Reader) ([]byte, error) {
	n, err := readVar(r, 5)
	if err != nil {
		return nil, err
	}
	if n > maxBytes {
		return nil, errTooLong
	}
	return readFixed(r, int(n))
}

func decode(r io.Reader) (v values, err error) {
	head, err := readFixed(r, 2+2+4+8+4+8)
	if err != nil {
		return v, err
	}
	v.flag, v.octet = head[0] != 0, head[1]
	v.short = int16(binary.BigEndian.Uint16(head[2:]))
	v.integer = int32(binary.BigEndian.Uint32(head[4:]))
	v.long = int64(binary.BigEndian.Uint64(head[8:]))
	v.single = math.Float32frombits(binary.BigEndian.Uint32(head[16:]))
	v.double = math.Float64frombits(binary.BigEndian.Uint64(head[20:]))
	if v.varInt, err = readVar(r, 5); err != nil {
		return v, err
	}
	if v.varLong, err = readVar(r, 10); err != nil {
		return v, err
	}
	if v.array, err = readArray(r); err != nil {
		return v, err
	}
	text, err := readArray(r)
	v.text = string(text)
	return v, err
}

// samples are what a client sends: ordinary values, and the ends of what there is.
var samples = []values{
	{true, 200, -12345, -1234567890, -1234567890123456789, 1.5, -2.25, 25565, 300, []byte{0, 255, 7}, "hello, wörld"},
	{false, 0, math.MaxInt16, math.MaxInt32, math.MaxInt64, math.MaxFloat32, math.SmallestNonzeroFloat64, math.MaxInt32, math.MaxInt64, nil, ""},
	{true, 255, math.MinInt16, math.MinInt32, math.MinInt64, float32(math.Copysign(0, -1)), math.Inf(-1), 0, 127, make([]byte, 70000), "\x00"},
}
