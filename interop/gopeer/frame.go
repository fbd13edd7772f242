package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
)

// The compression bytes that this peer knows (F8).
const (
	pressNone byte = 0
	pressS2   byte = 1
	pressOff  byte = 7 // off for one message (F12)
)

const (
	maxBody  = 67_108_784 // F3
	maxPlain = 67_108_864 // F20
	maxBlock = 4 << 20    // F15
)

var magic = [7]byte{0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d}

// readFrame reads one frame (F2) and returns its compression byte and the decompressed body.
func readFrame(r io.Reader) (byte, []byte, error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	if !bytes.Equal(head[:7], magic[:]) {
		return 0, nil, fmt.Errorf("frame begins with % x, not with the magic", head[:7])
	}
	length := binary.BigEndian.Uint64(head[8:])
	if length > maxBody {
		return 0, nil, fmt.Errorf("frame of %d bytes; at most %d are allowed", length, maxBody)
	}
	// CopyN grows with what arrives: a length alone reserves nothing (F22).
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	plain, err := decompress(head[7], body.Bytes())
	return head[7], plain, err
}

// decompress follows the frame's byte, whatever this side is configured to send (F9).
func decompress(press byte, body []byte) ([]byte, error) {
	switch press {
	case pressNone, pressOff:
		return body, nil
	case pressS2:
		reader := s2.NewReader(bytes.NewReader(body), s2.ReaderMaxBlockSize(maxBlock))
		plain, err := io.ReadAll(io.LimitReader(reader, maxPlain+1))
		if err != nil {
			return nil, fmt.Errorf("s2: %w", err)
		}
		if len(plain) > maxPlain {
			return nil, fmt.Errorf("s2: more than %d bytes come out", maxPlain)
		}
		return plain, nil
	default:
		return nil, fmt.Errorf("compression byte %d is not supported", press)
	}
}

// frame makes the bytes of one frame.
func frame(press byte, plain []byte) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, 16+len(plain)))
	out.Write(magic[:])
	out.WriteByte(press)
	out.Write(make([]byte, 8))
	if press == pressS2 {
		writer := s2.NewWriter(out, s2.WriterConcurrency(1))
		if _, err := writer.Write(plain); err != nil {
			return nil, err
		}
		if err := writer.Close(); err != nil {
			return nil, err
		}
	} else {
		out.Write(plain)
	}
	whole := out.Bytes()
	length := len(whole) - 16
	if length > maxBody {
		return nil, fmt.Errorf("message of %d bytes; a frame holds at most %d", length, maxBody)
	}
	binary.BigEndian.PutUint64(whole[8:], uint64(length))
	return whole, nil
}

// pressByte is the compression byte of a name on the command line.
func pressByte(name string) (byte, error) {
	switch name {
	case "none":
		return pressNone, nil
	case "s2":
		return pressS2, nil
	default:
		return 0, fmt.Errorf("no compression is called %q; there are s2 and none", name)
	}
}
