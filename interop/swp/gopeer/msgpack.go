package main

import (
	"encoding/binary"
	"errors"
	"time"
)

// The forms of docs/wire W3 to W5.

func appendInt(out []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= 127:
		return append(out, byte(v))
	case v >= -128 && v <= 127:
		return append(out, 0xd0, byte(v))
	case v >= -32768 && v <= 32767:
		return binary.BigEndian.AppendUint16(append(out, 0xd1), uint16(v))
	case v >= -1<<31 && v < 1<<31:
		return binary.BigEndian.AppendUint32(append(out, 0xd2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(v))
}

func appendString(out []byte, v string) []byte {
	switch n := len(v); {
	case n < 32:
		out = append(out, 0xa0|byte(n))
	case n < 256:
		out = append(out, 0xd9, byte(n))
	case n < 65536:
		out = binary.BigEndian.AppendUint16(append(out, 0xda), uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(append(out, 0xdb), uint32(n))
	}
	return append(out, v...)
}

func appendBytesHeader(out []byte, n int) []byte {
	switch {
	case n < 256:
		return append(out, 0xc4, byte(n))
	case n < 65536:
		return binary.BigEndian.AppendUint16(append(out, 0xc5), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(out, 0xc6), uint32(n))
}

func appendBytes(out, v []byte) []byte {
	return append(appendBytesHeader(out, len(v)), v...)
}

func appendTime(out []byte, v time.Time) []byte {
	out = binary.BigEndian.AppendUint64(append(out, 0xc7, 12, 5), uint64(v.Unix()))
	return binary.BigEndian.AppendUint32(out, uint32(v.Nanosecond()))
}

// source gives exactly as many bytes as are asked for.
type source interface {
	take(n int) ([]byte, error)
}

var errForm = errors.New("a value has another form than expected")

func number(from source, n int) (uint64, error) {
	raw, err := from.take(n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for _, b := range raw {
		v = v<<8 | uint64(b)
	}
	return v, nil
}

func readInt(from source) (int64, error) {
	first, err := number(from, 1)
	if err != nil {
		return 0, err
	}
	switch b := byte(first); {
	case b < 0x80 || b >= 0xe0:
		return int64(int8(b)), nil
	case b >= 0xd0 && b <= 0xd3:
		width := 1 << (b - 0xd0)
		v, err := number(from, width)
		unused := 64 - 8*width
		return int64(v<<unused) >> unused, err
	}
	return 0, errForm
}

// readLength reads the header of a text or of bytes.
func readLength(from source, text bool) (int, error) {
	first, err := number(from, 1)
	if err != nil {
		return 0, err
	}
	b, base := byte(first), byte(0xc4)
	if text {
		base = 0xd9
		if b>>5 == 5 {
			return int(b & 31), nil
		}
	}
	if b < base || b > base+2 {
		return 0, errForm
	}
	n, err := number(from, 1<<(b-base))
	return int(n), err
}

func readBytes(from source, text bool) ([]byte, error) {
	n, err := readLength(from, text)
	if err != nil {
		return nil, err
	}
	return from.take(n)
}

func readTime(from source) (time.Time, error) {
	raw, err := from.take(15)
	if err != nil {
		return time.Time{}, err
	}
	if raw[0] != 0xc7 || raw[1] != 12 || raw[2] != 5 {
		return time.Time{}, errForm
	}
	seconds, nanos := binary.BigEndian.Uint64(raw[3:]), binary.BigEndian.Uint32(raw[11:])
	return time.Unix(int64(seconds), int64(nanos)).UTC(), nil
}

// memory is a source of bytes that are all here.
type memory struct{ rest []byte }

func (m *memory) take(n int) ([]byte, error) {
	if n > len(m.rest) {
		return nil, errors.New("cut short")
	}
	taken := m.rest[:n]
	m.rest = m.rest[n:]
	return taken, nil
}
