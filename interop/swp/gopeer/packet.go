package main

import (
	"fmt"
	"time"

	"golang.org/x/crypto/blake2b"
)

// Events (docs/wire W13).
const (
	eventUpdate    = 0
	eventSyn       = 3
	eventSynAck    = 4
	eventEstabAck  = 5
	eventFin       = 8
	eventFinAck    = 9
	eventDataAck   = 10
	eventData      = 11
	eventKeepAlive = 12
)

// Numbers of packets that are not data (docs/wire W11).
const (
	seqSyn       = -98
	seqAnswer    = -99
	seqKeepAlive = -777
	seqFin       = -888
)

// packet is docs/wire W2.
type packet struct {
	from, dest, fromNonce, destNonce string
	arrived, sent                    time.Time
	seq, retry, ack, ackRetry        int64
	ackSent                          time.Time
	event                            int64
	windowBytes, windowMessages      int64
	rtt, rttDeviation, rttSamples    int64
	cumulative                       int64
	data                             []byte
	offset                           int64
	checksum                         []byte
}

// field is a key and where its value is.
type field struct {
	key   string
	value any
}

func (p *packet) fields() []field {
	return []field{
		{"From", &p.from}, {"Dest", &p.dest}, {"FromSessNonce", &p.fromNonce}, {"DestSessNonce", &p.destNonce},
		{"ArrivedAtDestTm", &p.arrived}, {"DataSendTm", &p.sent}, {"SeqNum", &p.seq}, {"SeqRetry", &p.retry},
		{"AckNum", &p.ack}, {"AckRetry", &p.ackRetry}, {"AckReplyTm", &p.ackSent}, {"TcpEvent", &p.event},
		{"AvailReaderBytesCap", &p.windowBytes}, {"AvailReaderMsgCap", &p.windowMessages},
		{"FromRttEstNsec", &p.rtt}, {"FromRttSdNsec", &p.rttDeviation}, {"FromRttN", &p.rttSamples},
		{"CumulBytesTransmitted", &p.cumulative}, {"Data", &p.data}, {"DataOffset", &p.offset},
		{"Blake2bChecksum", &p.checksum},
	}
}

func (p *packet) encode() []byte {
	out := append(make([]byte, 0, 512+len(p.data)), 0xde, 0, 21)
	return appendFields(out, p.fields())
}

func appendFields(out []byte, fields []field) []byte {
	for _, f := range fields {
		out = appendString(out, f.key)
		switch v := f.value.(type) {
		case *string:
			out = appendString(out, *v)
		case *int64:
			out = appendInt(out, *v)
		case *time.Time:
			out = appendTime(out, *v)
		case *[]byte:
			out = appendBytes(out, *v)
		}
	}
	return out
}

// readFields reads the entries of a map. A key that is not known can only be TowlineCaps, a number (docs/wire W47).
func readFields(from source, count int, fields []field) error {
	for range count {
		key, err := readBytes(from, true)
		if err != nil {
			return err
		}
		var other int64
		value := any(&other)
		for _, f := range fields {
			if f.key == string(key) {
				value = f.value
			}
		}
		if err := readValue(from, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func readValue(from source, value any) (err error) {
	switch v := value.(type) {
	case *string:
		var raw []byte
		raw, err = readBytes(from, true)
		*v = string(raw)
	case *int64:
		*v, err = readInt(from)
	case *time.Time:
		*v, err = readTime(from)
	case *[]byte:
		*v, err = readBytes(from, false)
	}
	return err
}

func decode(raw []byte) (*packet, error) {
	from := &memory{raw}
	header, err := from.take(3)
	if err != nil {
		return nil, err
	}
	if header[0] != 0xde {
		return nil, errForm
	}
	p := new(packet)
	if err := readFields(from, int(header[1])<<8|int(header[2]), p.fields()); err != nil {
		return nil, err
	}
	if len(p.data) > 0 && string(p.checksum) != string(checksum(p.data)) {
		return nil, fmt.Errorf("packet %d has another checksum", p.seq)
	}
	return p, nil
}

// checksum is docs/wire W9.
func checksum(data []byte) []byte {
	sum := blake2b.Sum512(data)
	return sum[:]
}
