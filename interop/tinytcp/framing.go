package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// maxPacket is the largest payload that is read.
const maxPacket = 1 << 16

var errTooBig = errors.New("packet too big")

// kinds are the framings: a separator, or what the length is written as.
const kinds = "SVWbBlLqQ"

var separator = []byte("\r\n")

func encodePacket(kind byte, payload []byte) []byte {
	n := uint64(len(payload))
	var head []byte
	switch kind {
	case 'S':
		return append(append([]byte(nil), payload...), separator...)
	case 'V', 'W':
		head = binary.AppendUvarint(nil, n)
	case 'b':
		head = binary.BigEndian.AppendUint16(nil, uint16(n))
	case 'l':
		head = binary.LittleEndian.AppendUint16(nil, uint16(n))
	case 'B':
		head = binary.BigEndian.AppendUint32(nil, uint32(n))
	case 'L':
		head = binary.LittleEndian.AppendUint32(nil, uint32(n))
	case 'Q':
		head = binary.BigEndian.AppendUint64(nil, n)
	case 'q':
		head = binary.LittleEndian.AppendUint64(nil, n)
	}
	return append(head, payload...)
}

func readPacket(r io.Reader, kind byte) ([]byte, error) {
	var n uint64
	switch kind {
	case 'S':
		return readSeparated(r)
	case 'V', 'W':
		groups := 5
		if kind == 'W' {
			groups = 10
		}
		var err error
		if n, err = readVar(r, groups); err != nil {
			return nil, err
		}
	default:
		size := map[byte]int{'b': 2, 'l': 2, 'B': 4, 'L': 4, 'q': 8, 'Q': 8}[kind]
		head, err := readFixed(r, size)
		if err != nil {
			return nil, err
		}
		var wide [8]byte
		if kind == 'b' || kind == 'B' || kind == 'Q' {
			copy(wide[8-size:], head)
			n = binary.BigEndian.Uint64(wide[:])
		} else {
			copy(wide[:], head)
			n = binary.LittleEndian.Uint64(wide[:])
		}
	}
	if n > maxPacket {
		return nil, errTooBig
	}
	return readFixed(r, int(n))
}

func readSeparated(r io.Reader) ([]byte, error) {
	var packet []byte
	for !bytes.HasSuffix(packet, separator) {
		b, err := readFixed(r, 1)
		if err != nil {
			return nil, err
		}
		if packet = append(packet, b[0]); len(packet) > maxPacket+len(separator) {
			return nil, errTooBig
		}
	}
	return packet[:len(packet)-len(separator)], nil
}

// packets are what a client sends: empty, small, with half a separator within, and large.
var packets = [][]byte{[]byte("hello"), {}, []byte("half \r of it\n"), bytes.Repeat([]byte{'x'}, 40000), []byte("end")}
