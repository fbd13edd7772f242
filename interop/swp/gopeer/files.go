package main

import (
	"errors"
	"time"
)

// file is docs/wire W12, W53.
type file struct {
	path    string
	size    int64
	sum     []byte
	sent    time.Time
	content []byte
}

func (f *file) fields() []field {
	return []field{
		{"Filepath", &f.path}, {"SizeInBytes", &f.size}, {"Blake2b", &f.sum}, {"SendTime", &f.sent}, {"Data", &f.content},
	}
}

func (s *session) SendFile(name string, content []byte) error {
	f := file{path: name, size: int64(len(content)), sum: checksum(content), sent: time.Now(), content: content}
	for wire := appendFields([]byte{0x85}, f.fields()); len(wire) > 0; {
		piece := wire[:min(len(wire), 1<<19, int(s.options.Bytes))]
		if err := s.Send(piece); err != nil {
			return err
		}
		wire = wire[len(piece):]
	}
	return s.Acked()
}

func (s *session) RecvFile(bool) (string, []byte, error) {
	from := &stream{session: s}
	header, err := from.take(1)
	if err != nil {
		return "", nil, err
	}
	if header[0] != 0x85 {
		return "", nil, errForm
	}
	var f file
	if err := readFields(from, 5, f.fields()); err != nil {
		return "", nil, err
	}
	if len(from.rest) > 0 {
		return "", nil, errors.New("bytes behind the file")
	}
	if f.size != int64(len(f.content)) || string(f.sum) != string(checksum(f.content)) {
		return "", nil, errors.New("the file is not what was sent")
	}
	return f.path, f.content, nil
}

// stream is a source that waits for what has not come.
type stream struct {
	session *session
	rest    []byte
}

func (s *stream) take(n int) ([]byte, error) {
	var taken []byte
	for len(taken) < n {
		if len(s.rest) == 0 {
			var err error
			if s.rest, err = s.session.Recv(); err != nil {
				return nil, err
			}
		}
		part := s.rest[:min(len(s.rest), n-len(taken))]
		s.rest = s.rest[len(part):]
		taken = append(taken, part...)
	}
	return taken, nil
}
