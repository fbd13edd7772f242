package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The call types that this peer uses (C1).
const (
	callRPC           = 1
	callOneWay        = 10
	callReply         = 11
	callKeepAlive     = 12
	callCancel        = 13
	callError         = 14
	callUploadBegin   = 15
	callUploadMore    = 16
	callUploadEnd     = 17
	callDownload      = 18
	callDownloadBegin = 19
	callDownloadMore  = 20
	callDownloadEnd   = 21
)

// header has the fields of M3, in their order.
type header struct {
	Created             time.Time
	From, To, Subject   string
	Seqno               uint64
	Typ                 int64
	CallID              string
	Serial              int64
	LocalRecvTm         time.Time
	Deadline            time.Time
	StreamPart          int64
	ServiceName         string
	Args                map[string]string
	NoSystemCompression bool
}

// message is M1.
type message struct {
	HDR     header
	JobSerz []byte
	JobErrs string
}

// structWriter counts the entries of a struct, for zero values are left out (G12).
type structWriter struct {
	entries int
	bytes   []byte
}

func (w *structWriter) key(name string) {
	w.entries++
	w.bytes = appendText(w.bytes, name)
}

func (w *structWriter) text(key, v string) {
	if v != "" {
		w.key(key)
		w.bytes = appendText(w.bytes, v)
	}
}

func (w *structWriter) integer(key string, v int64) {
	if v != 0 {
		w.key(key)
		w.bytes = appendInt(w.bytes, v)
	}
}

func (w *structWriter) time(key string, v time.Time) {
	if !v.IsZero() {
		w.key(key)
		w.bytes = appendTime(w.bytes, v)
	}
}

func (w *structWriter) finish() []byte {
	return append(appendMap(nil, w.entries), w.bytes...)
}

// encode makes the greenpack bytes of a message.
func (m *message) encode() []byte {
	w := structWriter{bytes: make([]byte, 0, len(m.JobSerz)+512)}
	w.key("HDR_zid00_rct")
	w.bytes = append(w.bytes, m.HDR.encode()...)
	if len(m.JobSerz) > 0 {
		w.key("JobSerz_zid01_bin")
		w.bytes = appendBytes(w.bytes, m.JobSerz)
	}
	w.text("JobErrs_zid02_str", m.JobErrs)
	return w.finish()
}

func (h *header) encode() []byte {
	var w structWriter
	w.time("Created_zid00_tim", h.Created)
	w.text("From_zid01_str", h.From)
	w.text("To_zid02_str", h.To)
	w.text("Subject_zid03_str", h.Subject)
	if h.Seqno != 0 {
		w.key("Seqno_zid04_u64")
		w.bytes = appendUint(w.bytes, h.Seqno)
	}
	w.integer("Typ_zid05_rct", h.Typ)
	w.text("CallID_zid06_str", h.CallID)
	w.integer("Serial_zid07_i64", h.Serial)
	w.time("LocalRecvTm_zid08_tim", h.LocalRecvTm)
	w.time("Deadline_zid09_tim", h.Deadline)
	w.integer("StreamPart_zid10_i64", h.StreamPart)
	w.text("ServiceName_zid11_str", h.ServiceName)
	if len(h.Args) > 0 {
		w.key("Args_zid12_map")
		w.bytes = appendMap(w.bytes, len(h.Args))
		for _, key := range slices.Sorted(maps.Keys(h.Args)) {
			w.bytes = appendText(appendText(w.bytes, key), h.Args[key])
		}
	}
	if h.NoSystemCompression {
		w.key("NoSystemCompression_zid13_boo")
		w.bytes = append(w.bytes, 0xc3)
	}
	return w.finish()
}

// decode reads a message; bytes behind it are not looked at (G19).
func decode(body []byte) (*message, error) {
	r := &reader{left: body}
	m := &message{}
	if r.nilNext() {
		return m, nil
	}
	err := r.entries(func(key string) (err error) {
		switch key {
		case "HDR_zid00_rct":
			m.HDR = header{}
			if !r.nilNext() {
				err = m.HDR.decode(r)
			}
		case "JobSerz_zid01_bin":
			err = field(r, &m.JobSerz, r.bytes)
		case "JobErrs_zid02_str":
			err = field(r, &m.JobErrs, r.text)
		default:
			err = r.skip()
		}
		return within(key, err)
	})
	return m, err
}

func (h *header) decode(r *reader) error {
	return r.entries(func(key string) (err error) {
		switch key {
		case "Created_zid00_tim":
			err = field(r, &h.Created, r.time)
		case "From_zid01_str":
			err = field(r, &h.From, r.text)
		case "To_zid02_str":
			err = field(r, &h.To, r.text)
		case "Subject_zid03_str":
			err = field(r, &h.Subject, r.text)
		case "Seqno_zid04_u64":
			err = field(r, &h.Seqno, r.unsigned)
		case "Typ_zid05_rct":
			err = field(r, &h.Typ, r.integer)
		case "CallID_zid06_str":
			err = field(r, &h.CallID, r.text)
		case "Serial_zid07_i64":
			err = field(r, &h.Serial, r.integer)
		case "LocalRecvTm_zid08_tim":
			err = field(r, &h.LocalRecvTm, r.time)
		case "Deadline_zid09_tim":
			err = field(r, &h.Deadline, r.time)
		case "StreamPart_zid10_i64":
			err = field(r, &h.StreamPart, r.integer)
		case "ServiceName_zid11_str":
			err = field(r, &h.ServiceName, r.text)
		case "Args_zid12_map":
			h.Args = nil
			if !r.nilNext() {
				h.Args, err = args(r)
			}
		case "NoSystemCompression_zid13_boo":
			err = field(r, &h.NoSystemCompression, r.boolean)
		default:
			err = r.skip()
		}
		return within(key, err)
	})
}

func args(r *reader) (map[string]string, error) {
	read := map[string]string{}
	err := r.entries(func(key string) error {
		var value string
		err := field(r, &value, r.text)
		read[key] = value
		return err
	})
	return read, err
}

// field reads a value, or a nil in its place, which is the zero value (G17).
func field[T any](r *reader, to *T, read func() (T, error)) (err error) {
	if r.nilNext() {
		var zero T
		*to = zero
		return nil
	}
	*to, err = read()
	return err
}

func within(key string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return err
}
