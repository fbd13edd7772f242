package main

import (
	"net"
	"time"

	"github.com/inconshreveable/muxado"

	"towline.dev/interop/mux/play"
)

func original() play.Mux {
	config := func(options play.Options) *muxado.Config {
		return &muxado.Config{AcceptBacklog: uint32(options.Backlog)}
	}
	return play.Mux{
		Name: "muxado",
		Client: func(conn net.Conn, options play.Options) (play.Session, error) {
			return originalSession{muxado.Client(conn, config(options))}, nil
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			return originalSession{muxado.Server(conn, config(options))}, nil
		},
	}
}

type originalSession struct{ inner muxado.Session }

func (s originalSession) Open() (play.Stream, error) {
	opened, err := s.inner.OpenStream()
	return originalStream{opened}, err
}

func (s originalSession) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptStream()
	return originalStream{accepted}, err
}

func (s originalSession) Ping() error { return play.ErrNoOperation }

// GoAway is on the session itself, not in the package's interface.
func (s originalSession) GoAway() error {
	inner, ok := s.inner.(interface {
		GoAway(muxado.ErrorCode, []byte, time.Time) error
	})
	if !ok {
		return play.ErrNoOperation
	}
	return inner.GoAway(muxado.NoError, nil, time.Now().Add(time.Second))
}

func (s originalSession) Close() error { return s.inner.Close() }

type originalStream struct{ muxado.Stream }

// Reset is as near as the package comes: the stream is forgotten, and whatever still arrives for it is answered
// by a reset.
func (s originalStream) Reset() error { return s.Close() }
