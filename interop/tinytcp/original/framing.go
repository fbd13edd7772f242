package main

import (
	"bytes"
	"errors"
	"io"
	"math/bits"

	"github.com/mkorman9/tiny/tinytcp"
)

// maxPacket is the largest payload that is read.
const maxPacket = 1 << 16

var errTooBig = errors.New("packet too big")

// kinds are the framings: a separator, or what the length is written as.
const kinds = "SVWbBlLqQ"

var separator = []byte("\r\n")

// protocol is the original's own framing of this kind, if it has one.
func protocol(kind byte) tinytcp.FramingProtocol {
	switch kind {
	case 'S':
		return tinytcp.SplitBySeparator(separator)
	case 'B':
		return tinytcp.LengthPrefixedFraming(tinytcp.PrefixInt32_BE)
	case 'L':
		return tinytcp.LengthPrefixedFraming(tinytcp.PrefixInt32_LE)
	}
	return nil
}

// packetReader cuts packets with the original's framings where it has them, and with its values elsewhere.
//
// The handler that it has for framings delivers one packet of a framing by length and then panics, as the framing
// looks at four bytes before it knows that they are there. Here it is asked when they are.
type packetReader struct {
	input    io.Reader
	kind     byte
	protocol tinytcp.FramingProtocol
	come     []byte
}

func newPacketReader(input io.Reader, kind byte) *packetReader {
	return &packetReader{input: input, kind: kind, protocol: protocol(kind)}
}

func (p *packetReader) next() ([]byte, error) {
	if p.protocol == nil {
		n, err := readLength(p.input, p.kind)
		if err != nil {
			return nil, err
		}
		if n < 0 || n > maxPacket {
			return nil, errTooBig
		}
		return tinytcp.ReadBytes(p.input, int(n))
	}
	for {
		if p.kind == 'S' || len(p.come) >= 4 {
			packet, rest, ok := p.protocol.ExtractPacket(p.come)
			if ok {
				p.come = bytes.Clone(rest)
				return packet, nil
			}
		}
		if len(p.come) > maxPacket+8 {
			return nil, errTooBig
		}
		buffer := make([]byte, 4096)
		n, err := p.input.Read(buffer)
		if err != nil {
			return nil, err
		}
		p.come = append(p.come, buffer[:n]...)
	}
}

// readLength reads the prefix. Its integers are big-endian: the other order is made of them.
func readLength(r io.Reader, kind byte) (int64, error) {
	switch kind {
	case 'V':
		n, err := tinytcp.ReadVarInt(r)
		return int64(n), err
	case 'W':
		return tinytcp.ReadVarLong(r)
	case 'b', 'l':
		n, err := tinytcp.ReadInt16(r)
		if kind == 'l' {
			return int64(bits.ReverseBytes16(uint16(n))), err
		}
		return int64(uint16(n)), err
	case 'q':
		n, err := tinytcp.ReadInt64(r)
		return int64(bits.ReverseBytes64(uint64(n))), err
	}
	return tinytcp.ReadInt64(r)
}

// writePacket sends a packet by the original's values: it has no writer for framings.
func writePacket(w io.Writer, kind byte, payload []byte) error {
	n := len(payload)
	var err error
	switch kind {
	case 'S':
		return tinytcp.WriteBytes(w, append(bytes.Clone(payload), separator...))
	case 'V':
		err = tinytcp.WriteVarInt(w, n)
	case 'W':
		err = tinytcp.WriteVarLong(w, int64(n))
	case 'b':
		err = tinytcp.WriteInt16(w, int16(n))
	case 'l':
		err = tinytcp.WriteInt16(w, int16(bits.ReverseBytes16(uint16(n))))
	case 'B':
		err = tinytcp.WriteInt32(w, int32(n))
	case 'L':
		err = tinytcp.WriteInt32(w, int32(bits.ReverseBytes32(uint32(n))))
	case 'Q':
		err = tinytcp.WriteInt64(w, int64(n))
	case 'q':
		err = tinytcp.WriteInt64(w, int64(bits.ReverseBytes64(uint64(n))))
	}
	if err != nil {
		return err
	}
	return tinytcp.WriteBytes(w, payload)
}

// packets are what a client sends: empty, small, with half a separator within, and large.
var packets = [][]byte{[]byte("hello"), {}, []byte("half \r of it\n"), bytes.Repeat([]byte{'x'}, 40000), []byte("end")}
